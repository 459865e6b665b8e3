"""Observers: decisions in batches, all events in order; and metrics of DNS lookups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from greyd.dns.lookup import LookupResult, RecordType
from greyd.dns.sources.faults import bad_answer
from greyd.monitoring.log import Line, Log
from greyd.monitoring.log_observer import LogObserver
from greyd.monitoring.metrics import PARTS, Metrics
from greyd.monitoring.metrics_observer import MetricsObserver
from greyd.policy.events import DecisionEvent
from greyd.policy.observers import Observers
from greyd.rules.greylist import Decision
from greyd.rules.reasons import Reason
from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Kept:
    """A log's sink that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: Sequence[Line]) -> None:
        self.lines += [line.text.decode() for line in lines]


def counted(metrics: Metrics, reason: Reason) -> float | None:
    labels = {"action": reason.action, "reason": reason.text}
    return metrics.registry.get_sample_value("greyd_requests_total", labels)


def asked(number: int) -> Request:
    return Request(client_address=b"192.0.2.%d" % number, client_name=b"mx.example.net")


def test_decisions_are_collected_until_the_batch_is_flushed() -> None:
    kept = Kept()
    log, metrics = Log(kept), Metrics()
    observers = Observers(MetricsObserver(metrics), LogObserver(log))
    scheduled: list[bool] = []
    observers.batch(lambda: scheduled.append(True))
    for number in range(5):
        observers.decided(DecisionEvent(asked(number), Reason.NEW, 0.002, store_seconds=0.001))
    observers.decided(DecisionEvent(asked(5), Reason.CLIENT_AWL, 0.002))
    assert scheduled == [True]
    assert counted(metrics, Reason.NEW) == 0
    observers.flush()
    observers.flush()
    assert counted(metrics, Reason.NEW) == 5
    assert counted(metrics, Reason.CLIENT_AWL) == 1
    value = metrics.registry.get_sample_value
    assert value("greyd_request_duration_seconds_count") == 6
    assert value("greyd_store_duration_seconds_count", {"operation": "transact"}) == 5
    observers.decided(DecisionEvent(asked(6), Reason.NEW, 0.002))
    assert scheduled == [True, True]
    observers.batch(None)
    log.close(10)
    assert [line.split("client_address=")[1] for line in kept.lines] == [
        f"192.0.2.{number}" for number in range(7)
    ]


def test_an_event_between_decisions_is_logged_between_them() -> None:
    kept = Kept()
    log, metrics = Log(kept), Metrics()
    observers = Observers(MetricsObserver(metrics), LogObserver(log))
    observers.batch(lambda: None)
    observers.decided(DecisionEvent(asked(1), Reason.NEW, 0.001))
    observers.store_changed("on fire")
    observers.decided(DecisionEvent(asked(2), Reason.PASSED_WITHOUT_STORE, 0.001))
    passed = Decision(passes=True, reason=Reason.TRIPLET_FOUND, whitelisted=True)
    observers.auto_whitelisted(asked(3), passed, None)
    observers.decided(DecisionEvent(asked(3), Reason.TRIPLET_FOUND, 0.001))
    observers.protocol_error("odd", b"octets")
    log.close(10)
    assert [line.split(", client_name")[0].split(":")[0] for line in kept.lines] == [
        "action=greylist, reason=new",
        "warning",
        "action=pass, reason=store unavailable",
        "whitelisted",
        "action=pass, reason=triplet found",
        "warning",
    ]
    assert metrics.registry.get_sample_value("greyd_auto_whitelisted_clients_total") == 1
    assert metrics.registry.get_sample_value("greyd_protocol_errors_total") == 1


def raised(error: Exception) -> Exception:
    """Return the error as one that was raised here."""
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (raised(ValueError("odd")), r"ValueError: odd \(.*test_observers\.py:\d+\)"),
        (raised(MemoryError()), r"MemoryError \(.*test_observers\.py:\d+\)"),
        (raised(OSError(12, "No memory")), r"OSError: \[Errno 12\] No memory \(.*py:\d+\)"),
        (KeyError("never raised"), "KeyError: 'never raised'"),
        (RuntimeError("two\nlines"), r"RuntimeError: two\?lines"),
    ],
)
def test_an_internal_error_is_one_line_with_its_cause_and_is_counted_for_its_part(
    part: str, error: Exception, cause: str
) -> None:
    kept = Kept()
    log, metrics = Log(kept), Metrics()
    observers = Observers(MetricsObserver(metrics), LogObserver(log))
    observers.internal_error(part, error, "starting again in 1 s")
    observers.internal_error(part, error)
    log.close(10)
    first, second = kept.lines
    assert re.fullmatch(f"error: internal error, {part}: {cause}; starting again in 1 s", first)
    assert re.fullmatch(f"error: internal error, {part}: {cause}", second)
    value = metrics.registry.get_sample_value
    counts = {each: value("greyd_internal_errors_total", {"part": each}) for each in PARTS}
    assert counts == {**dict.fromkeys(PARTS, 0), part: 2}


def test_lookups_are_counted_by_kind_and_result_and_those_that_were_begun_are_timed() -> None:
    metrics = Metrics()
    watcher = metrics.watch_dns()
    value = metrics.registry.get_sample_value
    for kind in RecordType:
        for result in LookupResult:
            labels = {"type": kind.value, "result": result.value, "zone": ""}
            assert value("greyd_dns_lookups_total", labels) == 0
    watcher.lookup_ended(RecordType.MX, "", LookupResult.NXDOMAIN, 0.25)
    watcher.lookup_ended(RecordType.MX, "", LookupResult.NXDOMAIN, 0.5)
    watcher.lookup_ended(RecordType.A, "", LookupResult.TOO_MANY, None)
    watcher.cache_hit()
    assert value("greyd_dns_lookups_total", {"type": "MX", "result": "nxdomain", "zone": ""}) == 2
    assert value("greyd_dns_lookups_total", {"type": "A", "result": "too many", "zone": ""}) == 1
    assert value("greyd_dns_cache_hits_total") == 1
    assert value("greyd_dns_duration_seconds_count") == 2
    assert value("greyd_dns_duration_seconds_sum") == 0.75


def test_a_dns_source_is_up_until_it_is_out_of_order() -> None:
    metrics = Metrics()
    metrics.watch_dns(["zen.example"])
    value = metrics.registry.get_sample_value
    observer = MetricsObserver(metrics)
    for zone in ("resolver", "zen.example"):
        assert value("greyd_dns_source_up", {"zone": zone}) == 1
    fault = bad_answer("zen.example", 0x7FFFFFFE)
    observer.dns_source_changed("zen.example", fault)
    assert value("greyd_dns_source_up", {"zone": "zen.example"}) == 0
    assert value("greyd_dns_source_up", {"zone": "resolver"}) == 1
    observer.dns_source_changed("zen.example", None)
    assert value("greyd_dns_source_up", {"zone": "zen.example"}) == 1


# Several workers ----------------------------------------------------------------------------------


def test_a_worker_that_has_only_just_made_its_file_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = MmapedDict(str(tmp_path / "counter_1.db"))
    key = mmap_key("greyd_protocol_errors", "greyd_protocol_errors_total", [], [], "x")
    counted.write_value(key, 7.0, 0.0)
    counted.close()
    (tmp_path / "counter_2.db").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    shown = {each.name: each.value for family in Metrics().families() for each in family.samples}
    assert shown["greyd_protocol_errors_total"] == 7
