"""Reasons: what users depend on stays, and each place with a text for every reason has them all."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from greyd.cli.explain.steps import DECIDING_STEPS
from greyd.cli.report.kinds import DecisionKind, kind_of
from greyd.monitoring.metrics import Metrics
from greyd.rules.reasons import GREYLIST, OUTCOMES, PASS, Category, Reason

CHECKOUT = Path(__file__).parents[2]

PUBLISHED = {
    ("greylist", "new"), ("greylist", "early-retry"), ("greylist", "store unavailable"),
    ("pass", "triplet found"), ("pass", "client AWL"), ("pass", "client whitelist"),
    ("pass", "recipient whitelist"), ("pass", "authenticated"), ("pass", "learning"),
    ("pass", "identity AWL"), ("pass", "correspondent"), ("pass", "not suspicious"),
    ("pass", "DNS whitelist"), ("pass", "outbound"), ("pass", "expected"),
    ("pass", "mode off"), ("pass", "missing attribute"), ("pass", "client address"),
    ("pass", "store unavailable"), ("pass", "internal error"),
}  # fmt: skip
"""Logs, dashboards and scripts of users have these."""


def test_a_published_reason_keeps_its_text() -> None:
    assert set(OUTCOMES) >= PUBLISHED


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_found_by_what_its_log_line_says(reason: Reason) -> None:
    assert reason.action in (PASS, GREYLIST)
    assert OUTCOMES[reason.action, reason.text] is reason


def test_the_words_for_people_differ() -> None:
    words = Counter(reason.in_words for reason in Reason)
    assert [each for each, count in words.items() if count > 1] == []


@pytest.mark.parametrize("reason", Reason)
def test_the_metric_of_requests_has_a_series_for_each_reason(reason: Reason) -> None:
    labels = {"action": reason.action, "reason": reason.text}
    assert Metrics().registry.get_sample_value("greyd_requests_total", labels) == 0


@pytest.mark.parametrize("category", Category)
def test_a_report_draws_each_category(category: Category) -> None:
    reason = next(each for each in Reason if each.category is category)
    assert kind_of(reason.action, reason.text, delay_seconds=None) in DecisionKind


# Places that have a text of their own for every reason ------------------------------------------


def missing_in(place: str, there: set[Reason]) -> list[str]:
    return [f"{place}: nothing about Reason.{each.name}" for each in Reason if each not in there]


def test_a_step_of_explain_decides_for_each_reason() -> None:
    assert missing_in("greyd/cli/explain/steps.py, _STEPS", set(DECIDING_STEPS)) == []


def reasons_in_the_table() -> set[Reason]:
    """Return the reasons in the table of actions and reasons; all of them must exist."""
    text = (CHECKOUT / "docs" / "troubleshooting.md").read_text()
    return {
        OUTCOMES[action, reason]
        for action, cell in re.findall(
            r"^\| `?(greylist|pass)`? \| (`[^|]*) \|", text, re.MULTILINE
        )
        for reason in re.findall(r"`([\w -]+?)(?: \([^`]*\))?`", cell)
    }


def test_the_table_in_the_docs_explains_each_reason() -> None:
    there = reasons_in_the_table()
    assert missing_in("docs/troubleshooting.md, the table of reasons", there) == []


FILES = [
    *sorted((CHECKOUT / "prometheus").glob("*.yml")),
    *sorted((CHECKOUT / "grafana" / "dashboards").glob("*.json")),
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_alerts_and_dashboards_ask_only_for_reasons_that_exist(file: Path) -> None:
    text = file.read_text()
    if file.suffix == ".json":
        text = "\n".join(strings_of(json.loads(text)))
    selectors = re.findall(r"greyd_requests_total\{([^}]*)\}", text)
    named = {
        (dict(re.findall(r'(action|reason)="([^"]*)"', each)).get("action"), reason)
        for each in selectors
        for reason in re.findall(r'reason="([^"]*)"', each)
    }
    actions = {reason: action for action, reason in OUTCOMES}
    assert {(action or actions.get(reason), reason) for action, reason in named} <= set(OUTCOMES)


def strings_of(value: object) -> list[str]:
    """Return all strings of a JSON document."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings_of(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings_of(each)]
    return [value] if isinstance(value, str) else []
