"""The server: whether it answers, whether it is greyd, what it says of itself."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

from greyd import __version__
from greyd.config.vocabulary import MODES
from greyd.doctor.errors import DoctorError
from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.listeners import Tcp
from greyd.doctor.policy_request import TIMEOUT_SECONDS, PolicyAnswer
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.vocabulary import Endpoint


MAX_BYTES = 4 * 1024 * 1024

NOT_BY_THIS_NAME = (
    "the server does not answer to this name (HTTP status 421); give it there by --metrics-host"
)


# What it says of itself ---------------------------------------------------------------------------


class ServerMetrics(NamedTuple):
    """What the metrics port says."""

    values: Mapping[tuple[str, str], float]
    """By the metric's name and its first label's value."""
    version: str
    ready: bool
    asked_at: float
    """By this machine's clock; half of the way there and back."""
    took_seconds: float

    def value(self, name: str, label: str = "") -> float | None:
        """Return a metric."""
        return self.values.get((name, label))

    @property
    def clock_offset_seconds(self) -> float | None:
        """How far its clock is before this machine's, give or take half of ``took_seconds``."""
        clock = self.value("greyd_clock_timestamp_seconds")
        return None if clock is None else clock - self.asked_at


class MetricsError(DoctorError):
    """The metrics port does not answer as greyd does."""


def url_of(endpoint: Endpoint) -> str:
    """Return the address of the metrics port."""
    asked = Tcp(*endpoint).to_ask()[0]
    return f"http://{asked}"


async def fetch_metrics(url: str) -> ServerMetrics:
    """Ask a metrics port.

    Raises:
        ReportError: nobody answers there, or not as greyd.
    """
    return await asyncio.to_thread(_fetch_all, url.rstrip("/"))


def _fetch_all(url: str) -> ServerMetrics:
    from prometheus_client.parser import text_string_to_metric_families

    if not url.startswith(("http://", "https://")):
        raise MetricsError("write http://HOST:PORT")
    _fetch(f"{url}/healthz")
    status, _ = _fetch(f"{url}/readyz")
    before = time.time()
    _, text = _fetch(f"{url}/metrics")
    after = time.time()
    values: dict[tuple[str, str], float] = {}
    version = ""
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "greyd_build_info":
                    version = printable(sample.labels["version"].encode())[:40]
                label = "/".join(sample.labels.values())
                values[sample.name, label] = sample.value
    except (ValueError, KeyError):
        raise MetricsError("what it shows are no metrics") from None
    if not version:
        raise MetricsError("greyd_build_info is missing: that is another program")
    return ServerMetrics(values, version, status == 200, (before + after) / 2, after - before)


def _fetch(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read(MAX_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as fault:
        with fault:
            if fault.code == 503:
                return fault.code, ""
            if fault.code == 421:
                raise MetricsError(f"{url}: {NOT_BY_THIS_NAME}") from None
        raise MetricsError(f"{url}: HTTP status {fault.code}") from None
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "reason", fault)
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise MetricsError(f"{url}: {printable(said.encode()[:200])}") from None
    except Exception as fault:  # noqa: BLE001 - http.client's have no common base with the others
        raise MetricsError(f"{url}: does not speak HTTP ({type(fault).__name__})") from None


def findings_of_metrics(url: str, found: ServerMetrics, name: str = "server") -> list[Finding]:
    """Judge what a server says of itself."""
    findings = []
    if found.version == __version__:
        findings.append(ok(f"{name}: version", f"{found.version}, as this program"))
    else:
        findings.append(
            warning(
                f"{name}: version",
                f"the server is {found.version}, this program {__version__}",
                "systemctl restart greyd (the server still runs what was installed before)",
            )
        )
    if found.ready:
        findings.append(ok(f"{name}: ready", f"{url}/readyz: its store answers"))
    else:
        findings.append(
            error(
                f"{name}: ready",
                f"{url}/readyz: its store is away; mail passes ungreylisted, or is deferred",
                "journalctl -u greyd (the reason stands after “store away”)",
            )
        )
    return findings


def finding_of_mode(found: ServerMetrics) -> Finding:
    """Say whether it greylists at all."""
    check = "server: mode"
    modes = [name for name in MODES if found.value("greyd_mode", name) == 1]
    if not modes:
        return not_checked(check, "this version does not say so")
    if modes != ["on"]:
        return hint(check, f"{modes[0]}: nothing is greylisted", "greyd mode on; or greyd.toml")
    return ok(check, "on")


COUNTER = ("greyd_requests_total", "pass/authenticated")


def finding_of_counters(before: ServerMetrics, after: ServerMetrics, answers: int) -> Finding:
    """Say whether who has answered is the server whose metrics these are."""
    check = "server: is greyd"
    counted = (after.value(*COUNTER) or 0) - (before.value(*COUNTER) or 0)
    if counted >= answers:
        return ok(check, f"its counters have counted the {answers} questions")
    return error(
        check,
        f"of {answers} questions that were answered, its counters saw {max(counted, 0):.0f}:"
        " who listens there is another program, or another greyd than that of the metrics",
        "ss -lntp (who listens); name its settings by --config",
    )


MAX_SCRAPE_AGE_SECONDS = 600
"""Without a scrape for so long nobody watches."""


def finding_of_scrapes(found: ServerMetrics, now: float) -> Finding:
    """Say whether a Prometheus asks for the metrics."""
    check = "metrics: scraped"
    last = found.value("greyd_last_scrape_timestamp_seconds")
    remedy = "add to prometheus.yml: {job_name: greyd, static_configs: [{targets: [HOST:9923]}]}"
    if last is None:
        return not_checked(check, "this version does not say so")
    if not last:
        return hint(check, "no Prometheus has asked since the server's start", remedy)
    ago = now - last
    if ago > MAX_SCRAPE_AGE_SECONDS:
        return warning(
            check,
            f"Prometheus asked {ago / 60:.0f} minutes ago, and no more since",
            'look at its page Targets; up{job="greyd"} says it too',
        )
    return ok(check, f"Prometheus asked {max(ago, 0):.0f} s ago")


def finding_without_counters(answers: Sequence[PolicyAnswer], why: str) -> Finding:
    """Say that it is not known whose answers these are."""
    told = "; ".join(sorted({each.action for each in answers if each.action})) or "nothing"
    return not_checked("server: is greyd", f"{why} (what was answered: {told})")
