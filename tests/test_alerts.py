"""Each alert has a description, tests of firing and not firing, and a place in the runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from greyd.config.settings import Settings
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.store.entry_counts import EntryCounts
from greyd.store.contract import StoreMemory
from tests import grafana
from tests.test_site import build

CHECKOUT = Path(__file__).parent.parent
RULES = CHECKOUT / "prometheus"
RUNBOOK = CHECKOUT / "docs" / "operations.md"


def rules(file: str) -> list[dict[str, Any]]:
    """Return the rules of a file."""
    groups = yaml.safe_load((RULES / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alert.rules.yml")


def by_name(alert: dict[str, Any]) -> str:
    return str(alert["alert"])


def expectations() -> list[dict[str, Any]]:
    """Return the expectations in the promtool tests."""
    files = [yaml.safe_load(path.read_text()) for path in RULES.glob("*.test.yml")]
    return [each for file in files for test in file["tests"] for each in test["alert_rule_test"]]


def anchors(page: Path) -> list[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings]


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_each_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on(
    alert: dict[str, Any],
) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert page == str(RUNBOOK.relative_to(CHECKOUT))
    assert anchor == alert["alert"].lower()
    assert anchors(RUNBOOK).count(anchor) == 1


def test_the_runbook_has_the_alerts_in_their_order_and_says_how_bad_they_are() -> None:
    text = RUNBOOK.read_text()
    told = re.findall(r"^### (Greyd\w+)\n\n\*(\w+)\.\*", text, re.MULTILINE)
    assert told == [(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages as ``make docs`` does."""
    folder = tmp_path_factory.mktemp("site")
    built = build(CHECKOUT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_each_runbook_url_leads_to_a_paragraph_of_the_built_pages(site: Path) -> None:
    for alert in ALERTS:
        url = alert["annotations"]["runbook_url"]
        base, slash, rest = url.partition("/")
        assert (base, slash) == ("{{ $externalLabels.greyd_docs }}", "/"), url
        page, _, anchor = rest.partition("#")
        assert anchor == alert["alert"].lower()
        html = (site / page).read_text()
        assert re.findall(rf'<h3 id="{anchor}">{alert["alert"]}<', html), url
    configuration = yaml.safe_load((RULES / "scrape.yml").read_text())
    assert configuration["global"]["external_labels"]["greyd_docs"].startswith("https://")


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_each_paragraph_says_what_users_feel_what_to_check_and_what_to_do(
    alert: dict[str, Any],
) -> None:
    paragraph = RUNBOOK.read_text().split(f"### {alert['alert']}\n")[1].split("\n### ")[0]
    assert re.findall(r"\*\*(\w+)\*\*", paragraph) == ["Users", "Check", "Do"]


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_each_alert_is_tested_to_fire_and_not_to_fire(alert: dict[str, Any]) -> None:
    of_this = [each for each in expectations() if each["alertname"] == alert["alert"]]
    assert {bool(each.get("exp_alerts")) for each in of_this} == {True, False}


def test_every_metric_in_rules_and_dashboard_is_one_of_greyd_or_recorded() -> None:
    there = {"up", "ALERTS"} | {rule["record"] for rule in rules("recording.rules.yml")}
    metrics = Metrics()
    metrics.watch_dns(["zen.example"])
    metrics.state.show_settings(Settings())
    metrics.state.show_triplets(EntryCounts())
    metrics.state.show_descriptors(1, 2)
    metrics.state.show_memory(StoreMemory(1, 2, 3))
    there |= {sample.name for family in metrics.registry.collect() for sample in family.samples}
    expressions = [rule["expr"] for rule in [*ALERTS, *rules("recording.rules.yml")]]
    expressions += [query.expression for query in grafana.queries()]
    for expression in expressions:
        used = set(re.findall(r"\b(?:up|ALERTS|(?:\w+:)?(?:greyd|process)_[\w:]+)\b", expression))
        assert used, expression
        assert used <= there, used - there


def test_the_links_of_the_dashboard_lead_into_the_runbook() -> None:
    links = [link for panel in grafana.panels() for link in panel.get("links", [])]
    linked = {link["url"].removeprefix("${runbook:raw}#") for link in links}
    assert linked == {alert["alert"].lower() for alert in ALERTS} - {"greydabsent"}
    (page,) = grafana.dashboard()["links"]
    assert page["url"] == "${runbook:raw}"
    assert [
        each["query"]
        for each in grafana.dashboard()["templating"]["list"]
        if each["name"] == "runbook"
    ] == [str(RUNBOOK.relative_to(CHECKOUT))]
