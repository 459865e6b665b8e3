"""Servers of ``greyd tune`` share their records, and still decide as those of ``greyd replay``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greyd.cli.tune.grid import grid_of, read_axis
from greyd.cli.tune.parts import GridPart, PartReplay, divide
from greyd.config.loading import with_changes
from greyd.config.settings import Settings
from greyd.config.shadow import setting_changes
from greyd.config.vocabulary import DAY, HOUR
from greyd.maillog.attempts import Attempt
from tests.mail_log import START

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.tune.grid import GridPoint
    from greyd.cli.tune.outcome import Outcome

AXES = [
    read_axis("--delay", "delay", "0,60,900"),
    read_axis("--retry-window", "retry-window", "1h,2d"),
    read_axis("--auto-whitelist", "auto-whitelist-clients", "0,1,2"),
    read_axis("--subnet", "ipv4cidr", "24,32"),
]

TODAY = {
    "plain": {},
    "suspicious": {"greylist": "suspicious", "signals": "no_ptr,generic_name"},
    "identity": {"identity": "name", "auto-whitelist-identities": "1"},
}

CLIENTS = (
    (b"mx.example.com", b"192.0.2.7"),
    (b"mx.example.com", b"192.0.2.8"),
    (b"out.example.net", b"192.0.2.9"),
    (b"unknown", b"198.51.100.3"),
    (b"mx6.example.com", b"2001:db8::1"),
)

# What a server may log: a reason, and whether it is one to pass.
SAID = (
    ("new", False), ("early-retry", False), ("triplet found", True), ("client AWL", True),
    ("identity AWL", True), ("correspondent", True), ("outbound", True), ("", True), ("", False),
)  # fmt: skip

attempts = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 50, 250, 310, 700, HOUR + 2, 7 * HOUR, 3 * DAY, 36 * DAY)),
        st.sampled_from(CLIENTS),
        st.sampled_from((b"a@example.com", b"b+1@example.net", b"")),
        st.sampled_from((b"c@example.org", b"D@example.org")),
        st.sampled_from(SAID),
        st.sampled_from((None, None, 310)),
    ),
    min_size=2,
    max_size=40,
).map(
    lambda rows: [
        Attempt(
            when=START + sum(each[0] for each in rows[: place + 1]),
            client_name=name,
            client_address=address,
            sender=sender,
            recipient=recipient,
            passed=passed,
            reason=reason,
            delay_seconds=delay if passed else None,
        )
        for place, (_, (name, address), sender, recipient, (reason, passed), delay)
        in enumerate(rows)
    ]
)  # fmt: skip


def replayed(part: GridPart, log: Sequence[Attempt]) -> PartReplay:
    replay = PartReplay(part, 0, None)
    replay.replay(log)
    replay.end()
    return replay


def outcomes(parts: Sequence[GridPart], log: Sequence[Attempt]) -> dict[str, Outcome]:
    return {
        each.point.text: each
        for part in parts
        for each in replayed(part, log).result_now().outcomes
    }


@pytest.mark.parametrize("name", TODAY)
@given(log=attempts, data=st.data())
@settings(max_examples=6)
def test_a_shared_record_decides_as_one_of_a_server_of_its_own(
    name: str, log: list[Attempt], data: st.DataObject
) -> None:
    given_today = setting_changes(TODAY[name].items(), "today")
    today, *others = grid_of(with_changes(Settings(), given_today), AXES)
    chosen: list[GridPoint] = data.draw(
        st.lists(st.sampled_from(others), max_size=8, unique_by=lambda each: each.text)
    )
    points = [today, *chosen]
    alone = replayed(GridPart(points, shares_records=False), log).result_now()
    together = replayed(GridPart(points, shares_records=True), log).result_now()
    assert together == alone
    # Parts in other processes have other neighbours.
    parts = divide(points, [], data.draw(st.integers(1, 3)), shares_records=True)
    assert outcomes(parts, log) == {each.point.text: each for each in alone.outcomes}


def test_a_grid_is_divided_into_parts_that_have_each_point_once() -> None:
    points = grid_of(Settings(), AXES)
    for count in (1, 2, 3, 4):
        for presets in ([], [points[1]]):
            parts = divide(points, presets, count, shares_records=True)
            assert len(parts) == max(count, 1 + len(presets))
            assert all(each.points[0] is points[0] for each in parts)
            grid = [each for part in parts if part.shares_records for each in part.points[1:]]
            assert sorted(map(id, grid)) == sorted(map(id, points[1:]))
