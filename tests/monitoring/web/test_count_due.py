"""When the server counts the triplets of the store without a reader of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greyd.monitoring.metrics import LAST_SCRAPE
from greyd.monitoring.state_metrics import TRIPLETS_COUNTED
from greyd.monitoring.web.status import is_count_due

if TYPE_CHECKING:
    from greyd.monitoring.activity.counter_history import Series

NOW = 1_700_000_000.0
NEVER = NOW


@pytest.mark.parametrize(
    ("up_seconds", "scraped_ago", "counted_ago", "is_due"),
    [
        # Nobody scrapes: once in a quarter of an hour, so that each slot of the week has a number.
        (60, NEVER, NEVER, False),
        (899, NEVER, NEVER, False),
        (900, NEVER, NEVER, True),
        (86400, NEVER, 300, False),
        (86400, NEVER, 899, False),
        (86400, NEVER, 900, True),
        (86400, 3600, 300, False),
        (86400, 3600, 900, True),
        # Prometheus scrapes: its metrics are to be fresh.
        (60, 15, NEVER, True),
        (86400, 15, 299, False),
        (86400, 15, 300, True),
        (86400, 15, 900, True),
        # The clock was set back.
        (-3600, NEVER, NEVER, True),
        (86400, NEVER, -3600, True),
        (86400, 15, -3600, True),
    ],
)
def test_triplets_are_counted_for_the_metrics_and_for_the_week(
    up_seconds: float, scraped_ago: float, counted_ago: float, is_due: bool
) -> None:
    totals: dict[Series, float] = {
        (LAST_SCRAPE,): NOW - scraped_ago,
        (TRIPLETS_COUNTED,): NOW - counted_ago,
    }
    assert is_count_due(totals, NOW, NOW - up_seconds) is is_due
