"""What the pages say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from docs.render_options import render
from greyd.observe import OUTCOMES, Metrics

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_options_is_the_one_that_the_table_makes() -> None:
    assert (DOCS / "options.md").read_text() == render()


def cells(page: str, begins: str) -> list[list[str]]:
    """Return the cells of a page's table rows whose first one begins so."""
    rows = [line.strip("|").split("|") for line in (DOCS / page).read_text().splitlines()]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip().startswith(begins)]


def test_the_page_of_metrics_has_those_that_there_are() -> None:
    told = {
        (row[0].strip("`"), row[1], frozenset(re.findall(r"`(\w+)`", row[2])))
        for row in [*cells("metrics.md", "`greyd_"), *cells("metrics.md", "`process_")]
    }
    there = set()
    for family in Metrics().registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        there.add((name, family.type, frozenset(labels)))
    assert told == there


def test_the_page_of_metrics_has_each_reason_of_each_action() -> None:
    told = {
        (action, reason)
        for action in ("greylist", "pass")
        for row in cells("metrics.md", f"`{action}`")
        for reason in re.findall(r"`([^`]+)`", row[1])
    }
    assert told == set(OUTCOMES)
