"""The Prometheus metrics.

In ``--workers`` processes the values live in files that prometheus-client's multiprocess mode adds
up, so this module is imported after ``PROMETHEUS_MULTIPROC_DIR`` has been set.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

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
from greyd.config.vocabulary import IDENTITY_WAYS, MODES, SIGNALS
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

    from greyd.dns.lookup import LookupResult, RecordType


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
        self.requests = {reason: self._requests.labels(*reason.outcome) for reason in Reason}
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
    """Counts DNS lookups, see ``greyd.dns.resolver.LookupObserver``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from greyd.dns.lookup import LookupResult, RecordType

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
            for kind in RecordType
            for result in LookupResult
        }
        self._seconds = Histogram(
            "greyd_dns_duration_seconds",
            "How long lookups took.",
            buckets=_SECONDS,
            registry=registry,
        )

    def cache_hit(self) -> None:
        """Count an answer that was remembered."""
        self._hits.inc()

    def lookup_ended(self, kind: RecordType, result: LookupResult, seconds: float | None) -> None:
        """Count a lookup that has ended, or was not begun."""
        self._lookups[kind, result].inc()
        if seconds is not None:
            self._seconds.observe(seconds)
