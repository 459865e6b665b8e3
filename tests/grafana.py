"""The dashboard's file, and its queries as Grafana sends them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DASHBOARD = Path(__file__).parent.parent / "grafana" / "dashboards" / "greyd.json"

POINTS = 1000
"""The number of points that Grafana requests: about one per pixel of a panel."""


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    panel: str
    kind: str
    legend: str
    expression: str
    is_instant: bool
    least_interval_seconds: float

    def substituted(
        self, values: Mapping[str, Sequence[str]], range_seconds: float, scrape_seconds: float
    ) -> str:
        """Return the expression with its variables replaced as Grafana replaces them.

        Args:
            values: those that are chosen, of each variable.
            range_seconds: how long the period shown is.
            scrape_seconds: the scrape interval that the data source is told.
        """
        interval = self.interval_seconds(range_seconds, scrape_seconds)
        rate_interval = max(interval + scrape_seconds, 4 * scrape_seconds)
        seconds = {"__rate_interval": rate_interval, "__range": range_seconds}
        expression = self.expression
        for name, value in seconds.items():
            expression = expression.replace(f"${name}", f"{value * 1000:.0f}ms")
        for name, chosen in values.items():
            escaped = "|".join(re.escape(each).replace("\\", "\\\\") for each in chosen)
            expression = expression.replace(f"${name}", f"({escaped})")
        assert "$" not in expression, f"nothing is known of a variable in {expression}"
        return expression

    def interval_seconds(self, range_seconds: float, scrape_seconds: float) -> float:
        """Return Grafana's ``$__interval``: from one point to the next."""
        return max(range_seconds / POINTS, self.least_interval_seconds, scrape_seconds)


def dashboard() -> dict[str, Any]:
    """Return the file's content."""
    content: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return content


def panels() -> list[dict[str, Any]]:
    """Return all panels except rows, including those in a collapsed row."""
    rows_too = dashboard()["panels"]
    folded = [inner for row in rows_too for inner in row.get("panels", [])]
    return [panel for panel in rows_too + folded if panel["type"] != "row"]


def queries() -> list[Query]:
    """Return the queries of all panels."""
    return [
        Query(
            panel["title"],
            panel["type"],
            target["legendFormat"],
            target["expr"],
            target["instant"],
            _seconds(panel.get("interval", "0s")),
        )
        for panel in panels()
        for target in panel["targets"]
    ]


def _seconds(text: str) -> float:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def named(key: str, within: object) -> Iterator[Any]:
    """Return every value that has a key, however deep."""
    if isinstance(within, dict):
        for name, value in within.items():
            if name == key:
                yield value
            yield from named(key, value)
    elif isinstance(within, list):
        for each in within:
            yield from named(key, each)
