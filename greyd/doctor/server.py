"""The server: whether it answers, whether it is greyd, what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

from greyd import __version__
from greyd.config.vocabulary import MODES
from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.listeners import Tcp
from greyd.doctor.mail_owner import connect
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from greyd.config.vocabulary import Endpoint
    from greyd.doctor.mail_owner import MailOwner

SECONDS = 5.0
"""How long an answer may take; Postfix is told to wait ten."""

SLOW_SECONDS = 1.0

MAX_ACTION_BYTES = 1000
"""Of an action that are shown."""

MAX_BYTES = 4 * 1024 * 1024

_NO_SUCH_FAMILY = ("Address family not supported by protocol", "Cannot assign requested address")

NOT_BY_THIS_NAME = (
    "the server does not answer to this name (HTTP status 421); give it there by --metrics-host"
)

QUESTION = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
    b"client_address=127.0.0.1\nclient_name=localhost\nreverse_client_name=localhost\n"
    b"helo_name=localhost\nsender=greyd-doctor@localhost\nrecipient=greyd-doctor@localhost\n"
    b"sasl_username=greyd-doctor\n\n"
)
"""Who has logged in passes before anything is looked up or remembered."""


class Answered(NamedTuple):
    """What somebody has answered to ``QUESTION``."""

    action: str = ""
    seconds: float = 0
    fault: str = ""
    """Why there is no answer."""


async def question(
    listener: Tcp | Path, request: bytes = QUESTION, owner: MailOwner | None = None
) -> Answered:
    """Ask for a decision; for one that changes nothing unless another request is given.

    A Unix socket is asked with the rights of ``owner``, where there is one.
    """
    started = time.perf_counter()
    try:
        async with asyncio.timeout(SECONDS):
            reply = await _exchange(listener, request, owner)
    except TimeoutError:
        return Answered(fault=f"no answer within {SECONDS:g} s")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as fault:
        return Answered(fault=_why(fault))
    action = reply.strip().removeprefix(b"action=")
    return Answered(printable(action[:MAX_ACTION_BYTES]), time.perf_counter() - started)


async def _exchange(listener: Tcp | Path, request: bytes, owner: MailOwner | None) -> bytes:
    if isinstance(listener, Tcp):
        reader, writer = await asyncio.open_connection(*listener, limit=4096)
    elif owner is not None:
        connected = connect(listener, owner)
        reader, writer = await asyncio.open_unix_connection(sock=connected, limit=4096)
    else:
        reader, writer = await asyncio.open_unix_connection(str(listener), limit=4096)
    try:
        writer.write(request)
        return await reader.readuntil(b"\n\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _why(fault: Exception) -> str:
    if not isinstance(fault, OSError):
        return "closed without an answer"
    # asyncio's own words have the address in them, which stands in the check's name.
    return os.strerror(fault.errno) if fault.errno else printable(str(fault).encode()[:200])


def finding_of_answer(
    listener: Tcp | Path, answered: Answered, owner: MailOwner | None = None
) -> Finding:
    """Judge what was answered; ``owner`` is with whose rights a Unix socket was asked."""
    check = f"server: {listener}"
    if answered.fault in _NO_SUCH_FAMILY:
        return not_checked(check, f"this machine has no such address ({answered.fault})")
    if answered.fault == "Permission denied" and owner is not None:
        return error(
            check,
            f"Postfix's user {owner.name} may not connect; its mail is deferred with 451, or passes"
            " ungreylisted",
            f"--socketmode=0666, or --group with {owner.name}'s own group; namei -l {listener}"
            " (whether it gets as far as the socket)",
        )
    if answered.fault == "Permission denied":
        return not_checked(check, "this user may not connect", "run greyd doctor as root")
    if answered.fault:
        return error(
            check,
            f"{answered.fault}; mail is not greylisted, or deferred",
            "systemctl status greyd (why it does not run); ss -lntp (who listens where)",
        )
    if answered.action != "DUNNO":
        return error(
            check,
            f"answers {answered.action!r} to a client that has logged in: that is not greyd",
            "ss -lntp (who it is); stop it, then systemctl restart greyd",
        )
    took = f"answers in {answered.seconds * 1000:.1f} ms"
    if owner is not None and not isinstance(listener, Tcp):
        took += f", asked as Postfix's user {owner.name}"
    if answered.seconds > SLOW_SECONDS:
        return warning(check, f"{took}; each recipient waits for it", "look at this machine's load")
    return ok(check, took)


# What it says of itself ---------------------------------------------------------------------------


class Report(NamedTuple):
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


class ReportError(Exception):
    """The metrics port does not answer as greyd does."""


def url_of(endpoint: Endpoint) -> str:
    """Return the address of the metrics port."""
    asked = Tcp(*endpoint).to_ask()[0]
    return f"http://{asked}"


async def report(url: str) -> Report:
    """Ask a metrics port.

    Raises:
        ReportError: nobody answers there, or not as greyd.
    """
    return await asyncio.to_thread(_report, url.rstrip("/"))


def _report(url: str) -> Report:
    from prometheus_client.parser import text_string_to_metric_families

    if not url.startswith(("http://", "https://")):
        raise ReportError("write http://HOST:PORT")
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
        raise ReportError("what it shows are no metrics") from None
    if not version:
        raise ReportError("greyd_build_info is missing: that is another program")
    return Report(values, version, status == 200, (before + after) / 2, after - before)


def _fetch(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return answer.status, answer.read(MAX_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as fault:
        with fault:
            if fault.code == 503:
                return fault.code, ""
            if fault.code == 421:
                raise ReportError(f"{url}: {NOT_BY_THIS_NAME}") from None
        raise ReportError(f"{url}: HTTP status {fault.code}") from None
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "reason", fault)
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise ReportError(f"{url}: {printable(said.encode()[:200])}") from None
    except Exception as fault:  # noqa: BLE001 - http.client's have no common base with the others
        raise ReportError(f"{url}: does not speak HTTP ({type(fault).__name__})") from None


def findings_of_report(url: str, found: Report, name: str = "server") -> list[Finding]:
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


def finding_of_mode(found: Report) -> Finding:
    """Say whether it greylists at all."""
    check = "server: mode"
    modes = [name for name in MODES if found.value("greyd_mode", name) == 1]
    if not modes:
        return not_checked(check, "this version does not say so")
    if modes != ["on"]:
        return hint(check, f"{modes[0]}: nothing is greylisted", "greyd mode on; or greyd.toml")
    return ok(check, "on")


PASSED = ("greyd_requests_total", "pass/authenticated")


def finding_of_counters(before: Report, after: Report, answers: int) -> Finding:
    """Say whether who has answered is the server whose metrics these are."""
    check = "server: is greyd"
    counted = (after.value(*PASSED) or 0) - (before.value(*PASSED) or 0)
    if counted >= answers:
        return ok(check, f"its counters have counted the {answers} questions")
    return error(
        check,
        f"of {answers} questions that were answered, its counters saw {max(counted, 0):.0f}:"
        " who listens there is another program, or another greyd than that of the metrics",
        "ss -lntp (who listens); name its settings by --config",
    )


SCRAPE_SECONDS = 600
"""Without a scrape for so long nobody watches."""


def finding_of_scrapes(found: Report, now: float) -> Finding:
    """Say whether a Prometheus asks for the metrics."""
    check = "metrics: scraped"
    last = found.value("greyd_last_scrape_timestamp_seconds")
    remedy = "add to prometheus.yml: {job_name: greyd, static_configs: [{targets: [HOST:9923]}]}"
    if last is None:
        return not_checked(check, "this version does not say so")
    if not last:
        return hint(check, "no Prometheus has asked since the server's start", remedy)
    ago = now - last
    if ago > SCRAPE_SECONDS:
        return warning(
            check,
            f"Prometheus asked {ago / 60:.0f} minutes ago, and no more since",
            'look at its page Targets; up{job="greyd"} says it too',
        )
    return ok(check, f"Prometheus asked {max(ago, 0):.0f} s ago")


def finding_without_counters(answers: Sequence[Answered], why: str) -> Finding:
    """Say that it is not known whose answers these are."""
    told = "; ".join(sorted({each.action for each in answers if each.action})) or "nothing"
    return not_checked("server: is greyd", f"{why} (what was answered: {told})")
