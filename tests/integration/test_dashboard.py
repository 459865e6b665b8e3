"""Every query of the dashboard, and every rule, shows something of a real greyd."""

from __future__ import annotations

import math
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import grafana
from tests.integration.lives import (
    SOON_SECONDS,
    get,
    has_said,
    nothing_left_of,
    ready,
    workers_of,
)
from tests.integration.prometheus import (
    asked,
    prometheus_of,
    query,
    query_range,
    remember,
)
from tests.processes import PolicyClient, free_port, redis_server, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Running

pytestmark = pytest.mark.integration

RULES = Path(__file__).parents[2] / "prometheus"
SCRAPE_SECONDS = 1.0

HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True)
class Scene:
    """A Prometheus that has seen greyd do all that can happen."""

    prometheus: Running
    instances: tuple[str, ...]
    started_at: float
    ended_at: float


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("dashboard")
    with nothing_left_of(folder), redis_server(folder) as redis:
        (clients := folder / "clients").write_text("friend.example.net\n")
        (recipients := folder / "recipients").write_text("postmaster@\n")
        options = [
            f"--store=redis://127.0.0.1:{redis.port}/0", "--store-timeout=0.5",
            "--test-time", "--auto-whitelist-clients=1",
            f"--whitelist-clients={clients}", f"--whitelist-recipients={recipients}",
        ]  # fmt: skip
        ports = (free_port(), free_port())
        with (
            ready(
                folder / "mx1",
                *options,
                f"--metrics=127.0.0.1:{ports[0]}",
                # A shadow that asks the DNS changes no decision.
                "--shadow=dnsbl=bl.example.net",
                f"--resolver=127.0.0.1:{free_port()}",
            ) as first,  # fmt: skip
            ready(
                folder / "mx2", *options, f"--metrics=127.0.0.1:{ports[1]}", "--workers=2"
            ) as second,
        ):
            instances = tuple(f"127.0.0.1:{port}" for port in ports)
            home = folder / "prometheus"
            give_a_past(home, instances)
            with prometheus_of(home, *ports, rules=rules_every_second(folder)) as prometheus:
                wait_until(lambda: len(query(prometheus, "up == 1")) == 2, "both are looked at")
                started_at = time.time()
                play(first, second, redis, clients, ports[0])
                answered = "sum(greyd_requests_total)"
                wait_until(
                    lambda: query(prometheus, answered)[0][1] == ANSWERS, "all answers are seen"
                )
                # The servers count the store some seconds after the first scrape.
                wait_until(
                    lambda: bool(query(prometheus, "greyd_triplets")),
                    "the triplets are counted",
                    SOON_SECONDS,
                )
                # Rules that rest on other rules, and those on what has just been seen.
                time.sleep(3 * SCRAPE_SECONDS)
                yield Scene(prometheus, instances, started_at, time.time())


def give_a_past(home: Path, instances: tuple[str, ...]) -> None:
    """Let rules that compare with last week have one."""
    home.mkdir()
    now = int(time.time())
    hourly = range(now - 8 * DAY, now - HOUR, HOUR)
    half_an_hour_ago = range(now - 40 * 60, now - 20 * 60, 60)
    series = [
        'job:greyd_first_contacts:increase30m{job="greyd"}',
        'job:greyd_first_contacts:increase6h{job="greyd"}',
        'job:greyd_return:ratio6h{job="greyd"}',
        'job:greyd_waiting_triplets:max{job="greyd"}',
        *(
            f'instance:greyd_requests:increase1h{{job="greyd",instance="{instance}"}}'
            for instance in instances
        ),
    ]
    remember(home, series, [*hourly, *half_an_hour_ago], 0.5)


def rules_every_second(folder: Path) -> list[Path]:
    """Return copies of the rules that are looked at every second."""
    copies = []
    for path in RULES.glob("*.rules.yml"):
        (copy := folder / path.name).write_text(
            path.read_text().replace("interval: 1m\n", "interval: 1s\n")
        )
        copies.append(copy)
    return copies


MAILS = 40
ANSWERS = 9 * MAILS + 20


def play(first: Running, second: Running, redis: Running, clients: Path, metrics: int) -> None:
    """Let all happen that mail, a mail server, an administrator and a fault can bring about."""
    with PolicyClient(first.port) as mx1, PolicyClient(second.port) as mx2:

        def mail(
            server: PolicyClient, number: int, later: int = 0, **attributes: str | None
        ) -> str:
            sender = {"client_address": f"198.51.100.{number}", "sender": f"s{number}@example.net"}
            sender |= {"client_name": "unknown", "instance": f"{number}.{later}"}
            at = {"policy_test_time": str(HOUR * 1000 + later)}
            return server.ask(request(**sender, **at, **attributes)) or "closed"

        for number in range(MAILS):
            assert "DEFER" in mail(mx1, number)
            assert mail(mx1, number, recipient="postmaster@example.org") == "action=DUNNO"
            assert mx1.ask(request(client_name="mx.friend.example.net")) == "action=DUNNO"
            assert mail(mx2, number, sasl_username="somebody") == "action=DUNNO"
            assert mail(mx2, number, recipient=None) == "action=DUNNO"
            assert "DEFER" in mail(mx1, number, 10), "too early"
            time.sleep(0.05)
        for number in range(MAILS):
            # First seen by one exchanger, let pass by the other.
            assert "PREPEND" in mail(mx2, number, 400)
            # Once is enough here for the client to be auto-whitelisted.
            assert mail(mx1, number, 410) == "action=DUNNO"
            assert mail(mx1, number, 420, recipient="another@example.org") == "action=DUNNO"
            time.sleep(0.05)

        with PolicyClient(first.port) as stranger:
            stranger.send(b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n")
        first.signal(signal.SIGHUP)
        has_said(first, "whitelists: ", times=2)
        clients.unlink()
        first.signal(signal.SIGHUP)
        has_said(first, "stay in force")

        os.kill(workers_of(second.process.pid)[0], signal.SIGKILL)
        has_said(second, "was killed by SIGKILL; starting another")
        time.sleep(2 * SCRAPE_SECONDS)

        redis.signal(signal.SIGSTOP)
        for number in range(20):
            assert mail(mx1, 100 + number) == "action=DUNNO"
            time.sleep(0.05)
        wait_until(lambda: get(metrics, "/readyz")[0] == 503, "the store away")
        time.sleep(2 * SCRAPE_SECONDS)
        redis.signal(signal.SIGCONT)
        wait_until(lambda: get(metrics, "/readyz")[0] == 200, "Redis again", 2 * SOON_SECONDS)


# The dashboard ----------------------------------------------------------------------------------


def test_no_panel_and_no_query_is_left_out() -> None:
    tried = grafana.queries()
    assert {each.panel for each in tried} == {panel["title"] for panel in grafana.panels()}
    in_the_file = list(grafana.named("expr", grafana.dashboard()))
    assert sorted(each.expression for each in tried) == sorted(in_the_file)


@pytest.mark.parametrize("shown", grafana.queries(), ids=lambda each: f"{each.panel}-{each.legend}")
def test_each_query_of_the_dashboard_shows_something(scene: Scene, shown: grafana.Query) -> None:
    seconds = scene.ended_at - scene.started_at
    expression = shown.substituted(
        {"job": ("greyd",), "instance": scene.instances}, seconds, SCRAPE_SECONDS
    )
    if shown.is_instant:
        values = [value for _, value in query(scene.prometheus, expression)]
    else:
        step = min(shown.interval_seconds(seconds, SCRAPE_SECONDS), seconds)
        series = query_range(scene.prometheus, expression, scene.started_at, scene.ended_at, step)
        values = [value for _, points in series for _, value in points]
    assert any(math.isfinite(value) for value in values), expression


def test_the_choices_of_the_dashboard_are_those_that_there_are(scene: Scene) -> None:
    chosen = {
        each["name"]: each["query"]["query"]
        for each in grafana.dashboard()["templating"]["list"]
        if each["type"] == "query"
    }
    assert set(chosen) == {"job", "instance"}
    found = {}
    for name, definition in chosen.items():
        selector, label = definition.removeprefix("label_values(").removesuffix(")").split(", ")
        selector = selector.replace("$job", "(greyd)")
        found[name] = asked(scene.prometheus, f"label/{label}/values", **{"match[]": selector})
    assert found == {"job": ["greyd"], "instance": sorted(scene.instances)}


def test_prometheus_takes_the_queries_of_the_page_of_metrics(scene: Scene) -> None:
    page = (RULES.parent / "docs" / "metrics.md").read_text().split("## Useful queries\n")[1]
    queries = re.findall(r"^```promql\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(queries) == 7
    for each in queries:
        query(scene.prometheus, each)


# The rules --------------------------------------------------------------------------------------


def rules_of(scene: Scene, kind: str) -> dict[str, dict[str, str]]:
    """Return the rules that Prometheus has loaded."""
    groups = asked(scene.prometheus, "rules")["groups"]
    return {
        rule["name"]: rule for group in groups for rule in group["rules"] if rule["type"] == kind
    }


def test_each_recording_rule_records_something(scene: Scene) -> None:
    rules = rules_of(scene, "recording")
    written = re.findall(r"- record: (\S+)", (RULES / "recording.rules.yml").read_text())
    assert list(rules) == written
    for name, rule in rules.items():
        assert rule["health"] == "ok", rule
        assert any(math.isfinite(value) for _, value in query(scene.prometheus, name)), name
        assert query(scene.prometheus, rule["query"]), name


def test_each_alert_can_be_looked_at_and_those_of_what_is_wrong_are_pending(scene: Scene) -> None:
    rules = rules_of(scene, "alerting")
    written = re.findall(r"- alert: (\w+)", (RULES / "alert.rules.yml").read_text())
    assert list(rules) == written
    for name, rule in rules.items():
        assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), name
        query(scene.prometheus, rule["query"])
    # The file is still missing. All else is well again, or has not lasted for long enough.
    assert rules["GreydWhitelistUnreadable"]["state"] == "pending"
    assert rules["GreydFailingOpen"]["state"] == "pending"
    quiet = {name for name, rule in rules.items() if rule["state"] == "inactive"}
    assert {"GreydDown", "GreydAbsent", "GreydSilent", "GreydStoreDown", "GreydSlow"} <= quiet
