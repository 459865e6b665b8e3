"""What is told of answers, gathered, then told once and in order; and of DNS lookups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from greyd.dns.lookup import LookupResult, RecordType
from greyd.monitoring.log import Line, Log
from greyd.monitoring.metrics import PARTS, Metrics
from greyd.monitoring.observer import Observer
from greyd.rules.reasons import GREYLIST, PASS
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


def counted(observer: Observer, action: str, reason: str) -> float | None:
    labels = {"action": action, "reason": reason}
    return observer.metrics.registry.get_sample_value("greyd_requests_total", labels)


def asked(number: int) -> Request:
    return Request(client_address=b"192.0.2.%d" % number, client_name=b"mx.example.net")


def test_answers_are_gathered_until_it_is_time_to_tell_of_them() -> None:
    kept = Kept()
    log = Log(kept)
    observer = Observer(Metrics(), log)
    times: list[bool] = []
    observer.gather(lambda: times.append(True))
    for number in range(5):
        observer.stored(0.001)
        observer.answered(asked(number), GREYLIST, "new", 0.002)
    observer.answered(asked(5), PASS, "client AWL", 0.002)
    assert times == [True]
    assert counted(observer, GREYLIST, "new") == 0
    observer.flush()
    observer.flush()
    assert counted(observer, GREYLIST, "new") == 5
    assert counted(observer, PASS, "client AWL") == 1
    value = observer.metrics.registry.get_sample_value
    assert value("greyd_request_duration_seconds_count") == 6
    assert value("greyd_store_duration_seconds_count", {"operation": "transact"}) == 5
    observer.answered(asked(6), GREYLIST, "new", 0.002)
    assert times == [True, True]
    observer.gather(None)
    log.close(10)
    assert [line.split("client_address=")[1] for line in kept.lines] == [
        f"192.0.2.{number}" for number in range(7)
    ]


def test_what_happens_between_answers_is_told_between_them() -> None:
    kept = Kept()
    log = Log(kept)
    observer = Observer(Metrics(), log)
    observer.gather(lambda: None)
    observer.answered(asked(1), GREYLIST, "new", 0.001)
    observer.store_changed("on fire")
    observer.answered(asked(2), PASS, "store unavailable", 0.001)
    observer.whitelisted(asked(3))
    observer.answered(asked(3), PASS, "triplet found", 0.001)
    observer.protocol_error("odd", b"octets")
    log.close(10)
    assert [line.split(", client_name")[0].split(":")[0] for line in kept.lines] == [
        "action=greylist, reason=new",
        "warning",
        "action=pass, reason=store unavailable",
        "whitelisted",
        "action=pass, reason=triplet found",
        "warning",
    ]


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
        (raised(ValueError("odd")), r"ValueError: odd \(.*test_observer\.py:\d+\)"),
        (raised(MemoryError()), r"MemoryError \(.*test_observer\.py:\d+\)"),
        (raised(OSError(12, "No memory")), r"OSError: \[Errno 12\] No memory \(.*py:\d+\)"),
        (KeyError("never raised"), "KeyError: 'never raised'"),
        (RuntimeError("two\nlines"), r"RuntimeError: two\?lines"),
    ],
)
def test_an_internal_error_is_one_line_with_its_cause_and_is_counted_for_its_part(
    part: str, error: Exception, cause: str
) -> None:
    kept = Kept()
    log = Log(kept)
    observer = Observer(Metrics(), log)
    observer.internal_error(part, error, "starting again in 1 s")
    observer.internal_error(part, error)
    log.close(10)
    first, second = kept.lines
    assert re.fullmatch(f"error: internal error, {part}: {cause}; starting again in 1 s", first)
    assert re.fullmatch(f"error: internal error, {part}: {cause}", second)
    value = observer.metrics.registry.get_sample_value
    counts = {each: value("greyd_internal_errors_total", {"part": each}) for each in PARTS}
    assert counts == {**dict.fromkeys(PARTS, 0), part: 2}


def test_lookups_are_counted_by_kind_and_result_and_those_that_were_begun_are_timed() -> None:
    metrics = Metrics()
    watcher = metrics.watch_dns()
    value = metrics.registry.get_sample_value
    for kind in RecordType:
        for result in LookupResult:
            labels = {"type": kind.value, "result": result.value}
            assert value("greyd_dns_lookups_total", labels) == 0
    watcher.lookup_ended(RecordType.MX, LookupResult.NXDOMAIN, 0.25)
    watcher.lookup_ended(RecordType.MX, LookupResult.NXDOMAIN, 0.5)
    watcher.lookup_ended(RecordType.A, LookupResult.TOO_MANY, None)
    watcher.cache_hit()
    assert value("greyd_dns_lookups_total", {"type": "MX", "result": "nxdomain"}) == 2
    assert value("greyd_dns_lookups_total", {"type": "A", "result": "too many"}) == 1
    assert value("greyd_dns_cache_hits_total") == 1
    assert value("greyd_dns_duration_seconds_count") == 2
    assert value("greyd_dns_duration_seconds_sum") == 0.75


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
