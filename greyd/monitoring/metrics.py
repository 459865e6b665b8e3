"""The Prometheus metrics.

With ``--workers``, each process keeps its values in files, and prometheus-client's multiprocess
mode adds them up. Import this module only after ``PROMETHEUS_MULTIPROC_DIR`` has been set.
"""

from __future__ import annotations

import os
from bisect import bisect_left
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
from greyd.config.vocabulary import GROUP_WAY, IDENTITY_WAYS, MODES, RESOLVER, SIGNALS
from greyd.monitoring.state_metrics import StateMetrics
from greyd.rules.reasons import Reason
from greyd.whitelist.list_names import ALL_LISTS, WHITELISTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client import Metric

    from greyd.dns.lookup import LookupResult, RecordType
    from greyd.monitoring.shadow.metrics import ShadowMetrics


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
    "resources",
    "shadow",
    "SQLite",
    "status page",
    "store",
    "store size",
    "whitelist hits",
    "workers",
)
"""The parts of the server whose internal errors are counted: ``greyd_internal_errors_total``."""

LAST_SCRAPE = "greyd_last_scrape_timestamp_seconds"

# Up to 10 s: with the recommended settings Postfix does not wait longer for a reply.
_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 2, 5, 10)
_DELAY_SECONDS = (60, 120, 300, 450, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800)


class BatchHistogram(Histogram):
    """A histogram that observes several amounts at once.

    ``Histogram.observe`` takes two locks and searches the buckets for each amount. greyd observes
    two amounts for each request, which took 2 % of its time. ``observe_all`` increments each bucket
    once for a batch.
    """

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe all amounts of a batch."""
        self._sum.inc(sum(amounts))
        numbers: dict[int, int] = {}
        for amount in amounts:
            bucket = bisect_left(self._upper_bounds, amount)
            numbers[bucket] = numbers.get(bucket, 0) + 1
        for bucket, number in numbers.items():
            self._buckets[bucket].inc(number)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        # The creation times, which are not needed, would double the number of series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(
            "greyd_requests", "Requests answered.", ["action", "reason"], registry=registry
        )
        self.requests = {reason: self._requests.labels(*reason.outcome) for reason in Reason}
        self.duration = BatchHistogram(
            "greyd_request_duration_seconds",
            "Time from a request's last byte to its reply.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.delay = Histogram(
            "greyd_greylist_delay_seconds",
            "How long mail waited that passed for the first time.",
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
            "Requests that passed by a whitelist.",
            ["list"],
            registry=registry,
        )
        self.whitelist_hits = {name: hits.labels(name) for name in WHITELISTS}
        entries = Gauge(
            "greyd_whitelist_entries",
            "Whitelist entries in force.",
            ["list"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.whitelist_entries = {name: entries.labels(name) for name in ALL_LISTS}
        reloads = Counter(
            "greyd_whitelist_reloads",
            "Reloads of the whitelists.",
            ["result"],
            registry=registry,
        )
        self.reloads = {result: reloads.labels(result) for result in ("success", "failure")}
        # The counters show neither the last result nor whether the load at the start succeeded.
        self.whitelists_read = Gauge(
            "greyd_whitelist_last_read_successful",
            "1 if the last start or reload could read all whitelist files.",
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
            "Requests of clients that showed a signal of spamware.",
            ["signal"],
            registry=registry,
        )
        self.signals = {name: signals.labels(name) for name in SIGNALS}
        self.unsure = Counter(
            "greyd_unsure",
            "Requests that were decided before all DNS answers had come.",
            registry=registry,
        )
        identities = Counter(
            "greyd_identities",
            "Requests by the way in which the client was identified.",
            ["way"],
            registry=registry,
        )
        ways = (*IDENTITY_WAYS, GROUP_WAY, "subnet")
        self.identities = {way: identities.labels(way) for way in ways}
        store_seconds = BatchHistogram(
            "greyd_store_duration_seconds",
            "Time that requests waited for the store.",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.store_seconds = store_seconds.labels("transact")
        store_errors = Counter(
            "greyd_store_errors",
            "Requests that failed in the store, or skipped it because it had failed.",
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
            "Used size of the SQLite file; 0 for another store.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.max_store_bytes = Gauge(
            "greyd_store_max_size_bytes",
            "Size of the SQLite file at which new triplets pass without greylisting; 0: no limit.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        mode = Gauge(
            "greyd_mode",
            "1 for the mode in force: that of --mode or of greyd mode.",
            ["mode"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.mode = {name: mode.labels(name) for name in MODES}
        self.protocol_errors = Counter(
            "greyd_protocol_errors",
            "Lines, requests and connections that did not follow the policy protocol.",
            registry=registry,
        )
        self.probes = Counter(
            "greyd_doctor_probes",
            "Requests of greyd doctor, which no other metric counts.",
            registry=registry,
        )
        self.outbound_not_learnt = Counter(
            "greyd_outbound_not_learnt",
            "Outbound mail that was not learnt, because its login may not use its sender.",
            registry=registry,
        )
        self._internal_errors = Counter(
            "greyd_internal_errors",
            "Internal errors by the part of the server that they ended or interrupted.",
            ["part"],
            registry=registry,
        )
        for part in PARTS:
            self._internal_errors.labels(part)
        self.build = Gauge(
            "greyd_build_info",
            "The running version, as a label.",
            ["version"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.build.labels(__version__).set(1)
        self.scraped = Gauge(
            LAST_SCRAPE,
            "Time of the previous scrape; 0: never.",
            registry=registry,
            multiprocess_mode="max",
        )
        self.clock = Gauge(
            "greyd_clock_timestamp_seconds",
            "Time of this machine's clock.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.store_up.set(1)
        self.state = StateMetrics(registry)
        # Memory, processor time and descriptors. With several workers /metrics lacks these, because
        # they are not in the workers' files.
        ProcessCollector(registry=registry)

    def count_internal_error(self, part: str) -> None:
        """Count an internal error in one of ``PARTS``."""
        self._internal_errors.labels(part).inc()

    def show_mode(self, mode: str) -> None:
        """Set the mode in force."""
        for each in MODES:
            self.mode[each].set(each == mode)

    def watch_dns(self, zones: Iterable[str] = ()) -> DnsWatcher:
        """Add the metrics of DNS lookups. Call this only if an option needs DNS.

        Args:
            zones: the DNS lists.
        """
        zones = tuple(zones)
        self._dns_source_up = Gauge(
            "greyd_dns_source_up",
            "1 while the DNS list, or the resolver, is in order.",
            ["zone"],
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        for name in (RESOLVER, *zones):
            self.show_dns_source(name, is_up=True)
        return DnsWatcher(self.registry, zones)

    def show_dns_source(self, name: str, *, is_up: bool) -> None:
        """Set whether a DNS list, or the resolver, is in order."""
        self._dns_source_up.labels(name).set(is_up)

    def watch_shadow(self) -> ShadowMetrics:
        """Add the metrics of the shadow. Call this only if there is one."""
        from greyd.monitoring.shadow.metrics import ShadowMetrics

        return ShadowMetrics(self.registry)

    def families(self, files: str = "*.db") -> Iterator[Metric]:
        """Return the metrics; each is collected when the iterator reaches it.

        With ``--workers`` they are the sums over all workers, from the workers' files that match
        the pattern ``files``.
        """
        folder = os.environ.get(_FOLDER_OF_WORKERS)
        if folder is None:
            return iter(self.registry.collect())
        return _of_all_workers(Path(folder), files)

    def store_is_up(self) -> bool | None:
        """Return whether the store answers all workers; None if no worker has a file."""
        for family in self.families("gauge_livemin_*.db"):
            for sample in family.samples:
                if sample.name == "greyd_store_up":
                    return sample.value == 1
        return None


_FOLDER_OF_WORKERS = "PROMETHEUS_MULTIPROC_DIR"


def folder_of_workers() -> str | None:
    """Return the folder that the workers of this server share; None with one worker."""
    return os.environ.get(_FOLDER_OF_WORKERS)


def exposition(family: Metric) -> bytes:
    """Return a metric in Prometheus's text format."""
    return generate_latest(_OneFamily(family))


class _OneFamily(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _of_all_workers(folder: Path, pattern: str) -> Iterator[Metric]:
    """Return the sums over the workers' files, one kind of metric at a time.

    The name of a file consists of the kind and the worker, so a metric occurs in files of one kind
    only.
    """
    kinds: dict[str, list[str]] = {}
    for file in folder.glob(pattern):
        # prometheus-client fails on an empty file, which a worker has created but not yet written.
        if _has_content(file):
            kinds.setdefault(file.name.rpartition("_")[0], []).append(str(file))
    for _, files in sorted(kinds.items()):
        yield from multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        # The worker has just ended.
        return False


class DnsWatcher:
    """Counts DNS lookups, see ``greyd.dns.resolver.LookupObserver``."""

    def __init__(self, registry: CollectorRegistry, zones: Iterable[str] = ()) -> None:
        from greyd.dns.lookup import LookupResult, RecordType

        self._hits = Counter(
            "greyd_dns_cache_hits",
            "Answers from the cache.",
            registry=registry,
        )
        lookups = Counter(
            "greyd_dns_lookups",
            "Lookups by record type, result (too many: not started), and queried DNS list.",
            ["type", "result", "zone"],
            registry=registry,
        )
        # Not a list: the label is empty, which for Prometheus is a series without the label.
        questions = [
            *((kind, "") for kind in RecordType),
            *((RecordType.A, zone) for zone in zones),
        ]
        self._lookups = {
            (kind, zone, result): lookups.labels(kind.value, result.value, zone)
            for kind, zone in dict.fromkeys(questions)
            for result in LookupResult
        }
        self._seconds = Histogram(
            "greyd_dns_duration_seconds",
            "Duration of lookups.",
            buckets=_SECONDS,
            registry=registry,
        )

    def cache_hit(self) -> None:
        """Count an answer from the cache."""
        self._hits.inc()

    def lookup_ended(
        self, kind: RecordType, zone: str, result: LookupResult, seconds: float | None
    ) -> None:
        """Count a lookup that has ended, or that was never sent (``seconds`` is None)."""
        # A client may use a name below a list in its HELO or sender, and so cause other queries.
        counter = self._lookups.get((kind, zone, result)) or self._lookups[kind, "", result]
        counter.inc()
        if seconds is not None:
            self._seconds.observe(seconds)
