"""Checks a server through its metrics port: version, store, mode, counters, and scrapes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd import __version__
from greyd.config.vocabulary import MODES
from greyd.doctor.clocks import finding_of_offset
from greyd.doctor.errors import DoctorError
from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.listeners import TcpListener
from greyd.escaping import printable
from greyd.monitoring.http_client import FetchedResponse, HttpClientError, get

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.vocabulary import Endpoint
    from greyd.doctor.policy_request import PolicyAnswer

TIMEOUT_SECONDS = 5.0
MAX_BODY_BYTES = 4 * 1024 * 1024

MAX_SCRAPE_AGE_SECONDS = 600
"""Without a scrape for so long, nobody monitors the server."""

PASSED = ("greyd_requests_total", "pass/authenticated")
"""The counter that counts the doctor's own policy requests."""

_STORE_AWAY_REMEDY = "journalctl -u greyd (the line “store away” has the reason)"


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """What a server's metrics port shows."""

    values: Mapping[tuple[str, str], float]
    """By the name of the metric and the values of its labels, joined by ``/``."""
    version: str
    is_ready: bool
    asked_at: float
    """Unix time by this machine's clock, in the middle of the request."""
    took_seconds: float

    def value(self, name: str, label: str = "") -> float | None:
        """Return the value of a metric."""
        return self.values.get((name, label))

    @property
    def clock_offset_seconds(self) -> float | None:
        """How far its clock is ahead of this machine's, to within half of ``took_seconds``."""
        clock = self.value("greyd_clock_timestamp_seconds")
        return None if clock is None else clock - self.asked_at


class MetricsError(DoctorError):
    """A metrics port does not answer, or not as greyd does."""


def url_of(endpoint: Endpoint) -> str:
    """Return the URL at which this machine reaches its metrics port."""
    return f"http://{TcpListener(endpoint.host, endpoint.port).local_addresses()[0]}"


async def fetch_metrics(url: str) -> ServerMetrics:
    """Fetch the metrics of the server whose metrics port has this URL.

    Raises:
        MetricsError: nothing answers there, or it is not greyd.
    """
    if not url.startswith(("http://", "https://")):
        raise MetricsError("write http://HOST:PORT")
    url = url.rstrip("/")
    await _fetch(f"{url}/healthz")
    readiness = await _fetch(f"{url}/readyz")
    before = time.time()
    metrics = await _fetch(f"{url}/metrics")
    after = time.time()
    values, version = _parse(metrics.body.decode(errors="replace"))
    return ServerMetrics(
        values=values,
        version=version,
        is_ready=readiness.status == 200,
        asked_at=(before + after) / 2,
        took_seconds=after - before,
    )


async def _fetch(url: str) -> FetchedResponse:
    try:
        response = await get(url, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_BODY_BYTES)
    except HttpClientError as fault:
        raise MetricsError(f"{url}: {fault}") from None
    # 503 is an answer too: the server is not ready.
    if response.status not in (200, 503):
        raise MetricsError(f"{url}: HTTP status {response.status}")
    return response


def _parse(text: str) -> tuple[dict[tuple[str, str], float], str]:
    """Return the values of a page of metrics, and the server's version."""
    from prometheus_client.parser import text_string_to_metric_families

    values: dict[tuple[str, str], float] = {}
    version = ""
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "greyd_build_info":
                    version = printable(sample.labels["version"].encode())[:40]
                values[sample.name, "/".join(sample.labels.values())] = sample.value
    except (ValueError, KeyError):
        raise MetricsError("the answer is not in Prometheus's format") from None
    if not version:
        raise MetricsError("greyd_build_info is missing: this is another program")
    return values, version


# This machine's server ----------------------------------------------------------------------------


def findings_of_metrics(url: str, metrics: ServerMetrics, name: str = "server") -> list[Finding]:
    """Judge a server's version and whether its store answers."""
    findings = []
    if metrics.version == __version__:
        findings.append(ok(f"{name}: version", f"{metrics.version}, the same as this program's"))
    else:
        findings.append(
            warning(
                f"{name}: version",
                f"the server is {metrics.version}, this program is {__version__}",
                "systemctl restart greyd (an upgrade needs a restart)",
            )
        )
    if metrics.is_ready:
        findings.append(ok(f"{name}: ready", f"{url}/readyz: its store answers"))
    else:
        findings.append(
            error(
                f"{name}: ready",
                f"{url}/readyz: its store does not answer; mail passes without greylisting, or is"
                " deferred",
                _STORE_AWAY_REMEDY,
            )
        )
    return findings


def finding_of_store(metrics: ServerMetrics | None) -> Finding:
    """Judge whether the server reaches its store."""
    check = "store: as the server sees it"
    up = metrics.value("greyd_store_up") if metrics else None
    if up is None:
        return not_checked(check, "the server's metrics do not show it")
    if not up:
        return error(
            check,
            "no answer: mail passes without greylisting, or is deferred",
            _STORE_AWAY_REMEDY,
        )
    return ok(check, "it answers")


def finding_of_mode(metrics: ServerMetrics) -> Finding:
    """Check that the server greylists at all."""
    check = "server: mode"
    modes = [name for name in MODES if metrics.value("greyd_mode", name) == 1]
    if not modes:
        return not_checked(check, "this version's metrics do not show it")
    if modes != ["on"]:
        return hint(
            check,
            f"{modes[0]}: no mail is greylisted",
            'greyd mode on; or mode = "on" in greyd.toml',
        )
    return ok(check, "on")


def finding_of_counters(before: ServerMetrics, after: ServerMetrics, answers: int) -> Finding:
    """Check that the server that answered is the one whose metrics these are."""
    check = "server: is greyd"
    counted = (after.value(*PASSED) or 0) - (before.value(*PASSED) or 0)
    if counted >= answers:
        return ok(check, f"its counters have counted the doctor's {answers} requests")
    return error(
        check,
        f"its counters have counted {max(counted, 0):.0f} of the doctor's {answers} requests: the"
        " program that answered is not the greyd that these metrics belong to",
        "ss -lntp (shows the program that listens); name the settings of that greyd: --config",
    )


def finding_without_counters(answers: Sequence[PolicyAnswer], reason: str) -> Finding:
    """Return the finding that the program that answered is unknown."""
    actions = "; ".join(sorted({each.action for each in answers if each.action})) or "none"
    return not_checked("server: is greyd", f"{reason} (answers: {actions})")


def finding_of_scrapes(metrics: ServerMetrics | None, now: float) -> Finding:
    """Check that a Prometheus scrapes the metrics."""
    check = "metrics: scraped"
    if metrics is None:
        return not_checked(check, "the server's metrics cannot be read")
    last = metrics.value("greyd_last_scrape_timestamp_seconds")
    if last is None:
        return not_checked(check, "this version's metrics do not show it")
    if not last:
        return hint(
            check,
            "no scrape by Prometheus since the server started",
            "add to prometheus.yml: {job_name: greyd, static_configs: [{targets: [HOST:9923]}]}",
        )
    ago = now - last
    if ago > MAX_SCRAPE_AGE_SECONDS:
        return warning(
            check,
            f"the last scrape by Prometheus was {ago / 60:.0f} minutes ago",
            'check the page Targets of Prometheus, and up{job="greyd"}',
        )
    return ok(check, f"Prometheus scraped {max(ago, 0):.0f} s ago")


# Other mail exchangers ----------------------------------------------------------------------------


async def check_exchanger(url: str) -> list[Finding]:
    """Check the server of another mail exchanger by its metrics port."""
    name = url.partition("://")[2].rstrip("/") or url
    try:
        metrics = await fetch_metrics(url)
    except MetricsError as fault:
        remedy = "on that machine: systemctl status greyd; set --metrics to an address that this"
        return [error(f"exchangers: {name}", str(fault), f"{remedy} machine can reach")]
    check = f"clocks: {name}"
    offset = metrics.clock_offset_seconds
    clock = (
        not_checked(check, "its version's metrics do not show its time")
        if offset is None
        else finding_of_offset(check, offset, metrics.took_seconds)
    )
    return [*findings_of_metrics(url, metrics, f"exchangers: {name}"), clock]
