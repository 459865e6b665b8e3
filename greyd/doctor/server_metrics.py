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
"""The age of the last scrape above which the finding is a warning."""

_PROBES = "greyd_doctor_probes_total"
_PASSED = ("greyd_requests_total", "pass/authenticated")
"""The counter of the doctor's policy requests in versions before 0.2.0."""

_STORE_AWAY_REMEDY = "journalctl -u greyd (the line “store away” has the reason)"


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """One response of a server's metrics port, parsed."""

    values: Mapping[tuple[str, str], float]
    """The values, by the metric's name and its label values joined by ``/``."""
    version: str
    is_ready: bool
    asked_at: float
    """Unix time on this machine's clock, halfway between request and response."""
    took_seconds: float

    def value(self, name: str, label: str = "") -> float | None:
        """Return the value of a metric; None if the server does not have it."""
        return self.values.get((name, label))

    @property
    def probe_count(self) -> float:
        """The number of the doctor's policy requests that the server has counted."""
        count = self.value(_PROBES)
        return (self.value(*_PASSED) or 0) if count is None else count

    @property
    def clock_offset_seconds(self) -> float | None:
        """Seconds by which the server's clock is ahead, accurate to half of ``took_seconds``."""
        clock = self.value("greyd_clock_timestamp_seconds")
        return None if clock is None else clock - self.asked_at


class MetricsError(DoctorError):
    """A metrics port does not answer, or the answer is not greyd's."""


def url_of(endpoint: Endpoint) -> str:
    """Return the URL at which this machine reaches the metrics port on ``endpoint``."""
    return f"http://{TcpListener(endpoint.host, endpoint.port).local_addresses()[0]}"


async def fetch_metrics(url: str) -> ServerMetrics:
    """Fetch the metrics of the server whose metrics port has this URL.

    Raises:
        MetricsError: no server answers, or the server is not greyd.
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
    # The server answers 503 with its metrics while it is not ready.
    if response.status not in (200, 503):
        raise MetricsError(f"{url}: HTTP status {response.status}")
    return response


def _parse(text: str) -> tuple[dict[tuple[str, str], float], str]:
    """Parse a response in Prometheus's format; return the values and greyd's version."""
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
        raise MetricsError("no metric greyd_build_info: another program answers at this address")
    return values, version


# This machine's server ----------------------------------------------------------------------------


def findings_of_metrics(
    url: str,
    metrics: ServerMetrics,
    name: str = "server",
    outcome: str = "mail passes without greylisting, or is deferred (--on-store-failure there)",
) -> list[Finding]:
    """Judge the version of a server, and whether its store answers.

    ``outcome`` is what happens to mail while the store does not answer.
    """
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
                f"{url}/readyz: its store does not answer; {outcome}",
                _STORE_AWAY_REMEDY,
            )
        )
    return findings


def finding_of_store(metrics: ServerMetrics | None, outcome: str) -> Finding:
    """Check that the server reaches its store; ``outcome`` is what happens to mail otherwise."""
    check = "store: as the server sees it"
    up = metrics.value("greyd_store_up") if metrics else None
    if up is None:
        return not_checked(check, "the server's metrics do not show it")
    if not up:
        return error(
            check,
            f"no answer: {outcome}",
            _STORE_AWAY_REMEDY,
        )
    return ok(check, "it answers")


def finding_of_mode(metrics: ServerMetrics) -> Finding:
    """Check that the server's mode is on, so that it greylists."""
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


def finding_of_outbound(metrics: ServerMetrics) -> Finding:
    """Report how much outbound mail the server has not learnt (``--outbound-senders``)."""
    check = "server: outbound mail"
    count = metrics.value("greyd_outbound_not_learnt_total") or 0
    total = metrics.value("greyd_requests_total", "pass/outbound") or 0
    if not count:
        return ok(check, f"{total:.0f} mails, all with senders of their logins")
    return hint(
        check,
        f"{count:.0f} of {total:.0f} mails were not learnt: the login may not use the sender",
        "list such senders in --sender-logins, or set --outbound-senders (the log has an example)",
    )


def finding_of_counters(before: ServerMetrics, after: ServerMetrics, answers: int) -> Finding:
    """Check that the metrics belong to the server that answered the policy requests."""
    check = "server: is greyd"
    counted = after.probe_count - before.probe_count
    if counted >= answers:
        return ok(check, f"its counters have counted the doctor's {answers} requests")
    return error(
        check,
        f"its counters have counted {max(counted, 0):.0f} of the doctor's {answers} requests: the"
        " program that answered is not the greyd that these metrics belong to",
        "ss -lntp (shows the program that listens); name the settings of that greyd: --config",
    )


def finding_without_counters(answers: Sequence[PolicyAnswer], reason: str) -> Finding:
    """Return the finding for unreadable metrics: only the answers can show which program it is."""
    check = "server: is greyd"
    answered = [each for each in answers if not each.fault]
    if answered and all(each.version for each in answered):
        versions = ", ".join(sorted({each.version for each in answered}))
        return ok(check, f"its answers are those of greyd {versions} (counters: {reason})")
    actions = "; ".join(sorted({each.action for each in answers if each.action})) or "none"
    return not_checked(check, f"{reason} (answers: {actions})")


def finding_of_scrapes(metrics: ServerMetrics | None, now: float) -> Finding:
    """Check that a Prometheus server scrapes the metrics."""
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
    """Check the server on another mail exchanger through its metrics port."""
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
