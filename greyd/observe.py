"""What greyd tells of its work: one log line and the metrics of each decision, in one place.

No metric carries a client, a sender or a recipient. All series that can be known exist from the
start at 0. Answers come first: what is to be told of them is gathered, and told when those of one
turn of the loop are on their way. So counters add up to the requests answered.

In ``--workers`` processes the numbers live in files that prometheus-client's multiprocess mode
adds up, so this module is imported after ``PROMETHEUS_MULTIPROC_DIR`` has been set.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Counted
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import Collector

from greyd import __version__
from greyd.greylist import NO_EVIDENCE, Evidence
from greyd.log import Severity, one_line, render_json
from greyd.settings import IDENTITY_WAYS, MODES, SIGNALS
from greyd.supervision import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

    from greyd.dns import Kind, Result
    from greyd.log import Log
    from greyd.protocol import Request

PASS = "pass"  # noqa: S105 - what is done with mail
GREYLIST = "greylist"

OUTCOMES: tuple[tuple[str, str], ...] = (
    (GREYLIST, "new"),
    (GREYLIST, "early-retry"),
    (GREYLIST, "store unavailable"),
    (PASS, "triplet found"),
    (PASS, "client AWL"),
    (PASS, "identity AWL"),
    (PASS, "correspondent"),
    (PASS, "not suspicious"),
    (PASS, "DNS whitelist"),
    (PASS, "outbound"),
    (PASS, "client whitelist"),
    (PASS, "recipient whitelist"),
    (PASS, "authenticated"),
    (PASS, "expected"),
    (PASS, "learning"),
    (PASS, "mode off"),
    (PASS, "missing attribute"),
    (PASS, "client address"),
    (PASS, "store unavailable"),
    (PASS, "internal error"),
)
"""Every action and reason that a request can end with."""

PARTS = (
    "connections",
    "control polling",
    "DNS",
    "event loop",
    "log",
    "metrics port",
    "Redis",
    "reload",
    "requests",
    "SQLite",
    "status page",
    "store",
    "store size",
    "whitelist hits",
    "workers",
)
"""The parts of the server whose internal errors are counted: ``greyd_internal_errors_total``."""

MOST_LINES_A_SECOND = 20
"""About what was not understood."""

# Up to 10 s, which Postfix waits with the recommended settings: what is slower comes too late.
_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 2, 5, 10)
_DELAY_SECONDS = (60, 120, 300, 450, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        # The moment of each series' creation would double their number and tells nobody anything.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(
            "greyd_requests", "Requests answered.", ["action", "reason"], registry=registry
        )
        self.requests = {outcome: self._requests.labels(*outcome) for outcome in OUTCOMES}
        self.duration = Histogram(
            "greyd_request_duration_seconds",
            "From a request's last octet to its answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.delay = Histogram(
            "greyd_greylist_delay_seconds",
            "How long mail that passed for the first time had been kept waiting.",
            buckets=_DELAY_SECONDS,
            registry=registry,
        )
        self.connections = Gauge(
            "greyd_connections",
            "Open connections of policy clients.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        hits = Counter(
            "greyd_whitelist_hits",
            "Requests that a whitelist let pass.",
            ["list"],
            registry=registry,
        )
        self.whitelist_hits = {name: hits.labels(name) for name in ("clients", "recipients")}
        entries = Gauge(
            "greyd_whitelist_entries",
            "Entries in force.",
            ["list"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.whitelist_entries = {name: entries.labels(name) for name in ("clients", "recipients")}
        reloads = Counter(
            "greyd_whitelist_reloads",
            "Times that the whitelists were read again.",
            ["result"],
            registry=registry,
        )
        self.reloads = {result: reloads.labels(result) for result in ("success", "failure")}
        # The counters can't tell which of the two came last, nor how the start went.
        self.whitelists_read = Gauge(
            "greyd_whitelist_last_read_successful",
            "1 if all whitelist files could be read the last time, at the start or since.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.auto_whitelisted = Counter(
            "greyd_auto_whitelisted_clients", "Clients that became auto-whitelisted.",
            registry=registry,
        )  # fmt: skip
        self.auto_whitelisted_identities = Counter(
            "greyd_auto_whitelisted_identities", "Identities that became auto-whitelisted.",
            registry=registry,
        )  # fmt: skip
        signals = Counter(
            "greyd_signals",
            "Requests of clients that showed a mark of spamware.",
            ["signal"],
            registry=registry,
        )
        self.signals = {name: signals.labels(name) for name in SIGNALS}
        self.unsure = Counter(
            "greyd_unsure",
            "Requests that were answered without all that DNS was asked for.",
            registry=registry,
        )
        identities = Counter(
            "greyd_identities",
            "Requests, by how it was known for whom the client sends.",
            ["way"],
            registry=registry,
        )
        self.identities = {way: identities.labels(way) for way in (*IDENTITY_WAYS, "subnet")}
        store_seconds = Histogram(
            "greyd_store_duration_seconds",
            "How long the store took.",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.store_seconds = store_seconds.labels("transact")
        store_errors = Counter(
            "greyd_store_errors",
            "Requests that the store failed, and those that did not ask it for that reason.",
            ["operation"],
            registry=registry,
        )
        self.store_errors = store_errors.labels("transact")
        self.store_up = Gauge(
            "greyd_store_up",
            "1 while the store answers.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.store_bytes = Gauge(
            "greyd_store_size_bytes",
            "How much of the SQLite file is in use; 0 for another store.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.max_store_bytes = Gauge(
            "greyd_store_max_size_bytes",
            "From which size of the SQLite file new triplets pass ungreylisted; 0: no limit here.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        mode = Gauge(
            "greyd_mode",
            "1 for the mode in force, which a command may have switched.",
            ["mode"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.mode = {name: mode.labels(name) for name in MODES}
        self.protocol_errors = Counter(
            "greyd_protocol_errors",
            "Lines, requests and connections that were not understood.",
            registry=registry,
        )
        self._internal_errors = Counter(
            "greyd_internal_errors",
            "Errors of greyd's own, by the part of the server that they ended or held up.",
            ["part"],
            registry=registry,
        )
        for part in PARTS:
            self._internal_errors.labels(part)
        self.build = Gauge(
            "greyd_build_info",
            "The version that runs, as a label.",
            ["version"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.build.labels(__version__).set(1)
        self.scraped = Gauge(
            "greyd_last_scrape_timestamp_seconds",
            "When a Prometheus asked for all this the last time before; 0: never.",
            registry=registry,
            multiprocess_mode="max",
        )
        self.clock = Gauge(
            "greyd_clock_timestamp_seconds",
            "What time it is by this machine's clock.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.store_up.set(1)
        # Memory, processor time and descriptors. They don't add up in files, so with several
        # workers, whose registries nobody is shown, they are left out.
        ProcessCollector(registry=registry)

    def count_internal_error(self, part: str) -> None:
        """Count an error of greyd's own in one of ``PARTS``."""
        self._internal_errors.labels(part).inc()

    def show_mode(self, mode: str) -> None:
        """Show which mode is in force."""
        for each in MODES:
            self.mode[each].set(each == mode)

    def watch_dns(self) -> DnsWatcher:
        """Add the metrics of DNS lookups: only where there can be any."""
        return DnsWatcher(self.registry)

    def families(self, files: str = "*.db") -> Iterator[Metric]:
        """Return what is to be shown, one metric after the other, as they are collected.

        Whichever worker is asked answers for all of them, of what is in some ``files`` of theirs.
        """
        folder = os.environ.get(_FOLDER_OF_WORKERS)
        if folder is None:
            return iter(self.registry.collect())
        return _of_all_workers(Path(folder), files)

    def store_is_up(self) -> bool | None:
        """Return whether the store answers all workers; None where none of them has a file."""
        for family in self.families("gauge_livemin_*.db"):
            for sample in family.samples:
                if sample.name == "greyd_store_up":
                    return sample.value == 1
        return None


_FOLDER_OF_WORKERS = "PROMETHEUS_MULTIPROC_DIR"


def exposition(family: Metric) -> bytes:
    """Return a metric as ``/metrics`` shows it."""
    return generate_latest(_OneFamily(family))


class _OneFamily(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _of_all_workers(folder: Path, pattern: str) -> Iterator[Metric]:
    """Return the sums of what the workers' files say, those of one kind of metric at a time.

    A file's name is the kind and the worker, so no metric is in files of two kinds.
    """
    kinds: dict[str, list[str]] = {}
    for file in folder.glob(pattern):
        # prometheus-client fails on a file that is empty: that of a worker that has only just made
        # it, and has counted nothing yet.
        if _says_something(file):
            kinds.setdefault(file.name.rpartition("_")[0], []).append(str(file))
    for _, files in sorted(kinds.items()):
        yield from multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]


def _says_something(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        # That of a worker that has just ended.
        return False


class DnsWatcher:
    """Counts DNS lookups, see ``greyd.dns.resolver.Watcher``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from greyd.dns import Kind, Result

        self._hits = Counter(
            "greyd_dns_cache_hits",
            "Answers that were remembered from an earlier lookup.",
            registry=registry,
        )
        lookups = Counter(
            "greyd_dns_lookups",
            "Lookups by record type and how they ended; too many: not begun.",
            ["type", "result"],
            registry=registry,
        )
        self._lookups = {
            (kind, result): lookups.labels(kind.value, result.value)
            for kind in Kind
            for result in Result
        }
        self._seconds = Histogram(
            "greyd_dns_duration_seconds",
            "How long lookups took.",
            buckets=_SECONDS,
            registry=registry,
        )

    def found_in_cache(self) -> None:
        """Count an answer that was remembered."""
        self._hits.inc()

    def looked_up(self, kind: Kind, result: Result, seconds: float | None) -> None:
        """Count a lookup that has ended, or was not begun."""
        self._lookups[kind, result].inc()
        if seconds is not None:
            self._seconds.observe(seconds)


class _Answer(NamedTuple):
    request: Request
    action: str
    reason: str
    seconds: float
    detail: str
    delay_seconds: int | None
    evidence: Evidence


class Observer:
    """Writes and counts what happens."""

    def __init__(self, metrics: Metrics, log: Log, *, passes_without_store: bool = True) -> None:
        """Tell what happens, also what becomes of mail while the store is away."""
        self.metrics = metrics
        self.log = log
        self._meanwhile = "passing mail ungreylisted" if passes_without_store else "deferring mail"
        self._second = 0
        self._misunderstood = 0
        self._answers: list[_Answer] = []
        self._store_seconds: list[float] = []
        self._soon: Callable[[], object] | None = None

    def gather(self, soon: Callable[[], object] | None) -> None:
        """Call ``soon`` when there begins to be something to tell; it is to call ``flush`` later.

        Without it all is told at once.
        """
        self._soon = soon
        self.flush()

    def answered(
        self,
        request: Request,
        action: str,
        reason: str,
        seconds: float,
        detail: str = "",
        delay_seconds: int | None = None,
        evidence: Evidence = NO_EVIDENCE,
    ) -> None:
        """Log and count one answer.

        Args:
            request: what was asked.
            action: ``pass`` or ``greylist``.
            reason: a reason out of ``OUTCOMES``.
            seconds: how long the answer took.
            detail: what the log adds to the reason.
            delay_seconds: how long the mail has waited, where it now carries the header.
            evidence: what else was known of the client.
        """
        self._answers.append(
            _Answer(request, action, reason, seconds, detail, delay_seconds, evidence)
        )
        if self._soon is None:
            self.flush()
        elif len(self._answers) == 1:
            self._soon()

    def stored(self, seconds: float) -> None:
        """Count how long the store took over a request that is about to be answered."""
        self._store_seconds.append(seconds)

    def flush(self) -> None:
        """Tell what was gathered."""
        answers, self._answers = self._answers, []
        store_seconds, self._store_seconds = self._store_seconds, []
        metrics = self.metrics
        for (action, reason), number in Counted((each[1], each[2]) for each in answers).items():
            metrics.requests[action, reason].inc(number)
        for each in answers:
            metrics.duration.observe(each.seconds)
        for seconds in store_seconds:
            metrics.store_seconds.observe(seconds)
        if answers and self.log.most >= Severity.INFO:
            render = _json_line if self.log.as_json else _postgrey_line
            self.log.write_all(Severity.INFO, [render(each) for each in answers])

    def passed_first(self, waited_seconds: int) -> None:
        """Count mail that passes for the first time."""
        self.metrics.delay.observe(waited_seconds)

    def whitelisted(self, request: Request) -> None:
        """Log and count a client that is auto-whitelisted from now on."""
        self.flush()
        self.metrics.auto_whitelisted.inc()
        client = one_line(request.client_address or b"").decode()
        if request.client_name:
            client = f"{one_line(request.client_name).decode()}[{client}]"
        self.log.notice(f"whitelisted: {client}")

    def whitelisted_identity(self, identity: bytes) -> None:
        """Log and count an identity that is auto-whitelisted from now on."""
        self.flush()
        self.metrics.auto_whitelisted_identities.inc()
        self.log.notice(f"whitelisted: identity {one_line(identity).decode()}")

    def witnessed(self, evidence: Evidence) -> None:
        """Count what was found out of a client."""
        for signal in evidence.signals:
            self.metrics.signals[signal].inc()
        if evidence.unsure:
            self.metrics.unsure.inc()
        self.metrics.identities[evidence.way or "subnet"].inc()

    def failed(self, request: Request, error: Exception) -> None:
        """Log and count a request that a fault of greyd's own has hit, and that passes for it."""
        self.internal_error("requests", error, "the mail passes")
        self.answered(request, PASS, "internal error", 0.0)

    def stumbled(self, error: BaseException) -> None:
        """Log and count a fault of greyd's own that the mail need not feel."""
        self.internal_error("DNS", error, "going on without DNS")

    def internal_error(self, part: str, error: BaseException, outcome: str = "") -> None:
        """Log and count an error that nothing but a fault of greyd's own explains.

        To be called on the event loop's thread, as all that logs or counts; a thread calls it
        by ``loop.call_soon_threadsafe``.

        Args:
            part: one of ``PARTS``, which the log names and the metric has as its label.
            error: the cause; the log names its type, its text and where it was raised.
            outcome: what happens now, e.g. "starting again in 1 s".
        """
        self.flush()
        self.metrics.count_internal_error(part)
        then = f"; {outcome}" if outcome else ""
        self.log.error(f"internal error, {part}: {describe_error(error)}{then}")

    def misunderstood(self, what: str, octets: bytes = b"") -> None:
        """Log and count something that is not the protocol; of many a second only some."""
        self.flush()
        self.metrics.protocol_errors.inc()
        second = int(time.monotonic())
        if second != self._second:
            if self._misunderstood > MOST_LINES_A_SECOND:
                more = self._misunderstood - MOST_LINES_A_SECOND
                self.log.warning(f"{more} more lines, requests or connections not understood")
            self._second, self._misunderstood = second, 0
        self._misunderstood += 1
        if self._misunderstood <= MOST_LINES_A_SECOND:
            shown = f": {one_line(octets[:200]).decode()}" if octets else ""
            self.log.warning(what + shown)

    def store_changed(self, reason: str | None) -> None:
        """Log and show that the store is away, or (with None) that it is back."""
        self.flush()
        self.metrics.store_up.set(0 if reason else 1)
        if reason:
            self.log.warning(f"store away: {reason}; {self._meanwhile} until it returns")
        else:
            self.log.notice("the store is back")


def _postgrey_line(answer: _Answer) -> bytes:
    """Return postgrey's log line; an empty attribute is left out."""
    request, action, reason, _, detail, delay_seconds, evidence = answer
    line = f"action={action}, reason={reason}{detail}".encode()
    if request.queue_id:
        line = request.queue_id + b": " + line
    if delay_seconds is not None:
        line += b", delay=%d" % delay_seconds
    if request.client_name:
        line += b", client_name=" + request.client_name
    if request.client_address:
        line += b", client_address=" + request.client_address
    if request.sender:
        line += b", sender=" + request.sender
    if request.recipient:
        line += b", recipient=" + request.recipient
    if evidence is not NO_EVIDENCE:
        line += _evidence(evidence)
    return one_line(line)


def _evidence(evidence: Evidence) -> bytes:
    """Return what a log line says of who asks, after all that postgrey's has."""
    said = b""
    if evidence.identity:
        said += b", identity=" + evidence.identity
    if evidence.signals:
        said += b", signals=" + "+".join(evidence.signals).encode()
    return said + b", dns=late" if evidence.unsure else said


def _json_line(answer: _Answer) -> bytes:
    event: dict[str, object] = {"action": answer.action, "reason": answer.reason + answer.detail}
    if answer.delay_seconds is not None:
        event["delay"] = answer.delay_seconds
    for name in ("queue_id", "client_name", "client_address", "sender", "recipient"):
        if value := getattr(answer.request, name):
            event[name] = value.decode(errors="backslashreplace")
    if answer.evidence.identity:
        event["identity"] = answer.evidence.identity.decode(errors="backslashreplace")
    if answer.evidence.signals:
        event["signals"] = list(answer.evidence.signals)
    if answer.evidence.unsure:
        event["dns"] = "late"
    return render_json(event, Severity.INFO)
