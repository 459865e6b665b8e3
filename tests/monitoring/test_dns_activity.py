"""What the page says of DNS: the lookups of the last hour, and what is out of order."""

from __future__ import annotations

from greyd.dns.lookup import LookupResult, RecordType
from greyd.dns.sources.faults import no_answer_of_list
from greyd.monitoring.activity.counter_history import totals_of
from greyd.monitoring.activity.dns_activity import DnsActivity, DnsSourceStatus
from greyd.monitoring.metrics import Metrics

ZONE = "zen.example"


class Server:
    """The metrics of lookups, and what is made of them."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.watcher = self.metrics.watch_dns([ZONE])
        self.activity = DnsActivity()
        self.now = 0.0

    def look_up(self, number: int, result: LookupResult, zone: str = ZONE) -> None:
        for _ in range(number):
            self.watcher.lookup_ended(RecordType.A, zone, result, 0.01)

    def run(self, seconds: int) -> None:
        for _ in range(seconds // 10):
            self.now += 10
            self.activity.note(self.now, totals_of(self.metrics.families()))

    def sources(self) -> list[DnsSourceStatus]:
        return self.activity.sources(self.now, totals_of(self.metrics.families()))


def test_the_lookups_of_the_last_hour_are_counted_by_source() -> None:
    server = Server()
    server.run(60)
    server.look_up(50, LookupResult.ANSWERED)
    server.run(2 * 3600)
    server.look_up(3, LookupResult.NXDOMAIN)
    server.look_up(1, LookupResult.TIMEOUT)
    server.look_up(7, LookupResult.ANSWERED, "")
    assert server.sources() == [
        DnsSourceStatus("resolver", True, 7, 0),
        DnsSourceStatus(ZONE, True, 4, 1),
    ]


def test_the_lookups_since_the_start_count_in_the_first_hour() -> None:
    server = Server()
    server.look_up(5, LookupResult.ANSWERED)
    server.run(600)
    server.look_up(2, LookupResult.FAILED)
    assert server.sources()[1] == DnsSourceStatus(ZONE, True, 7, 2)


def test_a_source_is_late_if_many_lookups_have_no_answer_in_time() -> None:
    assert not DnsSourceStatus(ZONE, True, 100, 5).is_late
    assert DnsSourceStatus(ZONE, True, 100, 6).is_late
    assert not DnsSourceStatus(ZONE, True, 0, 0).is_late


def test_the_fault_of_a_source_is_known_until_it_is_in_order_again() -> None:
    server = Server()
    fault = no_answer_of_list(ZONE, "timeout")
    server.metrics.show_dns_source(ZONE, is_up=False)
    assert [each.fault for each in server.sources()] == ["", ""]
    server.activity.dns_source_changed(ZONE, fault)
    assert [each.fault for each in server.sources()] == ["", fault.text]
    assert server.sources()[1].off_since
    server.metrics.show_dns_source(ZONE, is_up=True)
    server.activity.dns_source_changed(ZONE, None)
    assert [each.fault for each in server.sources()] == ["", ""]


def test_without_dns_there_is_no_source() -> None:
    assert DnsActivity().sources(0, totals_of(Metrics().families())) == []
