"""The dashboard is valid by Grafana's schema, and each panel has a description."""

from __future__ import annotations

import json
import types
from enum import Enum
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests import grafana

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVISIONING = grafana.DASHBOARD.parents[1] / "provisioning"
WIDTH = 24


# Grafana's schema -------------------------------------------------------------------------------


def misfits(value: Any, hint: Any, where: str) -> Iterator[str]:
    """Yield the paths of values that Grafana's schema does not allow."""
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        value = hint.from_json(value)
    if get_origin(hint) in (Union, types.UnionType):
        # What it comes nearest to is what it was meant to be.
        yield from min((list(misfits(value, each, where)) for each in get_args(hint)), key=len)
        return
    parts = list(_parts(value, hint))
    for name, part, its_hint in parts:
        yield from misfits(part, its_hint, f"{where}.{name}")
    if not parts and not _is_one(value, hint):
        yield f"{where}: {value!r} is no {hint}"


_hints = cache(get_type_hints)


def _parts(value: Any, hint: Any) -> Iterator[tuple[object, Any, Any]]:
    """Yield the parts of a value with their expected types."""
    if hasattr(value, "from_json"):
        for name, its_hint in _hints(type(value)).items():
            yield name, getattr(value, name), its_hint
    elif get_origin(hint) is list and isinstance(value, list):
        yield from ((number, each, get_args(hint)[0]) for number, each in enumerate(value))
    elif get_origin(hint) is dict and isinstance(value, dict):
        yield from ((name, each, get_args(hint)[1]) for name, each in value.items())


def _is_one(value: Any, hint: Any) -> bool:
    if hint in (object, Any):
        return True
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    # Empty, since else there would be parts.
    hint = get_origin(hint) or hint
    if issubclass(hint, Enum):
        return value in {each.value for each in hint}
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and isinstance(value, bool) == (hint is bool)


def lost(before: Any, after: Any, where: str) -> Iterator[str]:
    """Yield the differences after Grafana's schema has read and written the dashboard."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after.get(name), f"{where}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}[{number}]")
    elif before != after:
        yield f"{where}: {before!r} became {after!r}"


def faults_of(content: dict[str, Any]) -> list[str]:
    """Return the faults of a dashboard by Grafana's schema."""
    register_default_plugins()
    read = Dashboard.from_json(content)
    written = json.loads(json.dumps(read, cls=JSONEncoder))
    return [*misfits(read, Dashboard, "dashboard"), *lost(content, written, "dashboard")]


def test_the_dashboard_is_one_by_grafanas_schema() -> None:
    assert faults_of(grafana.dashboard()) == []


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (("refesh",), "5s"),
        (("time", "from"), 5),
        (("panels", 0, "fieldConfig", "defaults", "units"), "s"),
        (("panels", 0, "options", "graphMode"), "lines"),
        (("panels", 0, "targets", 0, "format"), "heat"),
        (("panels", 0, "gridPos", "w"), "3"),
        (("panels", 9, "fieldConfig", "defaults", "custom", "drawStyle"), "curve"),
    ],
)
def test_the_schema_finds_what_grafana_would_not_know(place: tuple[Any, ...], fault: Any) -> None:
    content = within = grafana.dashboard()
    for step in place[:-1]:
        within = within[step]
    within[place[-1]] = fault
    assert len(faults_of(content)) == 1


# What people see --------------------------------------------------------------------------------


def by_title(panel: dict[str, Any]) -> str:
    return str(panel["title"])


@pytest.mark.parametrize("panel", grafana.panels(), ids=by_title)
def test_each_panel_has_a_title_a_unit_and_a_description(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["description"].endswith(".")
    assert panel["targets"]
    assert all(target["expr"] for target in panel["targets"])
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_titles_and_ids_are_unique() -> None:
    titles = [panel["title"] for panel in grafana.panels()]
    assert len(set(titles)) == len(titles)
    ids = [panel["id"] for panel in grafana.dashboard()["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_lie_side_by_side_and_fill_their_lines() -> None:
    lines: dict[int, list[dict[str, int]]] = {}
    for panel in grafana.dashboard()["panels"]:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    for line in lines.values():
        assert sum(each["w"] for each in line) == WIDTH
        assert len({each["h"] for each in line}) == 1
        assert all(left["x"] + left["w"] == right["x"] for left, right in pairwise(line))
    tops = sorted((y, line[0]["h"]) for y, line in lines.items())
    assert all(y + height == below for (y, height), (below, _) in pairwise(tops))


def test_each_variable_of_a_query_is_one_that_can_be_chosen() -> None:
    variables = {each["name"] for each in grafana.dashboard()["templating"]["list"]}
    assert variables == {"datasource", "job", "instance", "runbook"}
    for query in grafana.queries():
        query.substituted({"job": ("a",), "instance": ("b:1",)}, 86400, 15)


def test_variables_are_replaced_as_grafana_replaces_them() -> None:
    query = grafana.Query(
        "", "stat", "", 'x{job=~"$job",instance=~"$instance"}[$__rate_interval:$__range]', True, 0
    )
    values = {"job": ("a", "b"), "instance": ("127.0.0.1:9923",)}
    # A day on a thousand points is one in 86.4 s, and 15 s more are four scrapes at the least.
    assert query.substituted(values, 86400, 15) == (
        'x{job=~"(a|b)",instance=~"(127\\\\.0\\\\.0\\\\.1:9923)"}[101400ms:86400000ms]'
    )
    assert "[60000ms:600000ms]" in query.substituted(values, 600, 15)


# What provides it -------------------------------------------------------------------------------


def test_the_data_source_is_where_the_environment_says() -> None:
    content = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())
    (source,) = content["datasources"]
    assert (content["apiVersion"], source["type"], source["url"]) == (
        1, "prometheus", "${PROMETHEUS_URL}"
    )  # fmt: skip
    scraped = yaml.safe_load((PROVISIONING.parents[1] / "prometheus" / "scrape.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


def test_the_folder_of_dashboards_is_provided() -> None:
    content = yaml.safe_load((PROVISIONING / "dashboards" / "greyd.yaml").read_text())
    (provider,) = content["providers"]
    assert (content["apiVersion"], provider["type"]) == (1, "file")
    assert provider["options"] == {"path": "/var/lib/grafana/dashboards"}
