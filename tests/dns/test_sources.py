"""When a DNS list or the resolver is out of order, and when it is back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import RESOLVER, Zone
from greyd.dns.lookup import RecordType
from greyd.dns.resolver import EndedLookup
from greyd.dns.sources import monitor as monitoring
from greyd.dns.sources.faults import FaultKind, SourceFault
from greyd.dns.sources.monitor import SourceMonitor
from greyd.dns.sources.source import (
    MAX_LISTINGS_PER_PROOF,
    MIN_PROOF_SECONDS,
    PROOF_SECONDS,
    SourceState,
    list_source,
)
from tests.fake_dns import FakeDns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

A = RecordType.A
BL = "bl.example"
ZEN = "zen.spamhaus.org"
DBL = "dbl.spamhaus.org"
WL = "list.dnswl.org"
DOMAINS = "domains.example"
IPV6_ABSENT = "1.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20
IPV6_PRESENT = IPV6_ABSENT.replace("1", "2", 1)
SETTINGS = Settings(
    dnsbl=(Zone(BL), Zone(ZEN)),
    rhsbl=(Zone(DBL), Zone(DOMAINS)),
    dnswl=(Zone(WL),),
    dns_timeout_seconds=0.2,
)


class _Zones(FakeDns):
    """Lists whose zones may be replaced: by silence, failures, or one answer to all names."""

    def __init__(self) -> None:
        super().__init__()
        self.everywhere: dict[str, str | None] = {}
        """By zone: the answer to each name; None for no answer."""
        self.progress = asyncio.Event()

    async def query(self, name: bytes, record_type: RecordType) -> Any:
        self.progress.set()
        for zone, address in self.everywhere.items():
            if name.endswith(f".{zone}".encode()):
                self.asked.append((name, record_type))
                if address is None:
                    await asyncio.sleep(3600)
                answers = FakeDns()
                answers.add(name.decode(), A, str(address))
                return await answers.query(name, record_type)
        return await super().query(name, record_type)


@dataclass
class It:
    """A monitor, its lists, and what it has reported."""

    dns: _Zones = field(default_factory=_Zones)
    is_resolver_dead: bool = False
    changes: list[tuple[str, FaultKind | None]] = field(default_factory=list)
    faults: list[SourceFault] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    forgotten: int = 0
    forgotten_lists: list[str] = field(default_factory=list)
    now: float = 1000.0
    settings: Settings = SETTINGS

    def __post_init__(self) -> None:
        for zone in (BL, ZEN):
            self.dns.add(f"2.0.0.127.{zone}", A, "127.0.0.2")
        self.dns.add(f"2.0.0.127.{WL}", A, "127.0.10.0")
        for zone in (DBL, DOMAINS):
            self.dns.add(f"test.{zone}", A, "127.0.1.2")
        self.monitor = SourceMonitor(
            self.settings, self, self._changed, self.errors.append, lambda: self.now
        )

    def _changed(self, name: str, fault: SourceFault | None) -> None:
        self.changes.append((name, fault.kind if fault else None))
        self.dns.progress.set()
        if fault:
            self.faults.append(fault)

    # As the monitor's prober -----------------------------------------------------------------

    def for_probes(self) -> FakeDns:
        return _Dead() if self.is_resolver_dead else self.dns

    async def is_answering(self) -> bool:
        return not self.is_resolver_dead

    def forget_failures(self) -> None:
        self.forgotten += 1

    def forget_list(self, zone: str) -> None:
        self.forgotten_lists.append(zone)

    # Steps -----------------------------------------------------------------------------------

    def ended(
        self, zone: str = "", *, ok: bool = True, network: int = 1, name: str = "", took: float = 0
    ) -> None:
        """Let a client's lookup end."""
        asked = name or (f"7.2.0.192.{zone}" if zone else "mx.example.com")
        self.monitor.lookup_ended(
            EndedLookup(zone, asked.encode(), ("IPv4", network), ok, took, "" if ok else "SERVFAIL")
        )

    async def settle(self) -> None:
        """Wait until all probes have ended."""
        while self.monitor._probes:
            await asyncio.gather(*self.monitor._probes.values())
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a query or a change has made the condition true."""
        while not condition():
            self.dns.progress.clear()
            await self.dns.progress.wait()

    def asked(self, name: str) -> int:
        return self.dns.asked.count((name.encode(), A))


class _Dead(FakeDns):
    async def query(self, name: bytes, record_type: RecordType) -> Any:
        self.fail(name.decode(), record_type)
        return await super().query(name, record_type)


def run(steps: Callable[[It], Awaitable[None]], **given: Any) -> It:
    async def main() -> It:
        it = It(**given)
        try:
            await asyncio.wait_for(steps(it), 20)
        finally:
            it.monitor.close()
        return it

    it = asyncio.run(main())
    assert it.errors == []
    return it


# What a probe finds -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "entries", "fault"),
    [
        # In order, or tolerated.
        (BL, {}, None),
        (WL, {"2.0.0.127": "127.0.10.0"}, None),
        (WL, {"2.0.0.127": "127.0.5.2"}, None),
        (BL, {"2.0.0.127": ""}, None),
        (DOMAINS, {"test": ""}, None),
        (BL, {"2.0.0.127": "127.0.10.0"}, None),
        (BL, {"7.2.0.192": "127.0.0.1"}, None),
        # It answers errors.
        (ZEN, {"2.0.0.127": "127.255.255.254"}, FaultKind.ERROR_ANSWER),
        (ZEN, {"1.0.0.127": "127.255.255.252"}, FaultKind.ERROR_ANSWER),
        (BL, {"1.0.0.127": "127.255.255.255"}, FaultKind.ERROR_ANSWER),
        (BL, {"2.0.0.127": "127.0.0.1"}, FaultKind.ERROR_ANSWER),
        (BL, {"1.0.0.127": "127.0.0.1"}, FaultKind.ERROR_ANSWER),
        (WL, {"2.0.0.127": "127.0.0.255"}, FaultKind.ERROR_ANSWER),
        (WL, {"2.0.0.127": "127.0.10.3", "1.0.0.127": "127.0.10.3"}, FaultKind.ERROR_ANSWER),
        (DBL, {"invalid": "127.0.1.255"}, FaultKind.ERROR_ANSWER),
        (DBL, {"test": "127.0.1.255"}, FaultKind.ERROR_ANSWER),
        # It is parked, or the resolver replaces NXDOMAIN.
        (BL, {"2.0.0.127": "203.0.113.9", "1.0.0.127": "203.0.113.9"}, FaultKind.FOREIGN_ANSWER),
        (BL, {"1.0.0.127": "203.0.113.9"}, FaultKind.FOREIGN_ANSWER),
        (DOMAINS, {"test": "10.0.0.2"}, FaultKind.FOREIGN_ANSWER),
        # It lists everything.
        (BL, {"1.0.0.127": "127.0.0.2"}, FaultKind.LISTS_EVERYTHING),
        (WL, {"1.0.0.127": "127.0.5.3"}, FaultKind.LISTS_EVERYTHING),
        (DBL, {"invalid": "127.0.1.2"}, FaultKind.LISTS_EVERYTHING),
        # It is empty, although its operator documents a test entry.
        (ZEN, {"2.0.0.127": ""}, FaultKind.NO_TEST_ENTRY),
        (WL, {"2.0.0.127": ""}, FaultKind.NO_TEST_ENTRY),
        (DBL, {"test": ""}, FaultKind.NO_TEST_ENTRY),
    ],
)  # fmt: skip
def test_a_probe_shows_whether_a_list_is_in_order(
    zone: str, entries: dict[str, str], fault: FaultKind | None
) -> None:
    async def steps(it: It) -> None:
        for name, answer in entries.items():
            if answer:
                it.dns.add(f"{name}.{zone}", A, answer)
            else:
                del it.dns.records[f"{name}.{zone}".encode(), A]
        await it.monitor.probe_all()
        assert it.monitor.is_up(zone) is (fault is None)
        # The neighbours are not affected.
        others = {each.name: each.is_up for each in it.monitor.sources() if each.name != zone}
        assert set(others.values()) == {True}

    it = run(steps)
    assert it.changes == ([] if fault is None else [(zone, fault)])
    for each in it.faults:
        assert zone in each.text
        assert each.remedy


def test_a_list_that_has_shown_its_test_entry_has_to_keep_it() -> None:
    async def steps(it: It) -> None:
        await it.monitor.probe_all()
        del it.dns.records[f"2.0.0.127.{BL}".encode(), A]
        await it.monitor.probe_all()

    assert run(steps).changes == [(BL, FaultKind.NO_TEST_ENTRY)]


def test_the_test_addresses_of_ipv6_are_asked_for_once_an_ipv6_client_is_listed() -> None:
    async def steps(it: It) -> None:
        assert await it.monitor.is_listing_valid(BL)
        assert it.asked(f"{IPV6_ABSENT}.{BL}") == 0
        assert await it.monitor.is_listing_valid(BL, ipv6=True)
        assert it.asked(f"{IPV6_ABSENT}.{BL}") == 1
        it.dns.add(f"{IPV6_PRESENT}.{BL}", A, "127.0.0.2")
        it.now += PROOF_SECONDS + 1
        assert await it.monitor.is_listing_valid(BL, ipv6=True)
        it.dns.add(f"{IPV6_ABSENT}.{BL}", A, "127.0.0.2")
        it.now += PROOF_SECONDS + 1
        assert not await it.monitor.is_listing_valid(BL)

    assert run(steps).changes == [(BL, FaultKind.LISTS_EVERYTHING)]


# Listings -----------------------------------------------------------------------------------------


def test_a_listing_counts_only_if_a_recent_probe_was_right() -> None:
    async def steps(it: It) -> None:
        assert await it.monitor.is_listing_valid(BL)
        assert it.asked(f"1.0.0.127.{BL}") == 1
        it.dns.everywhere[BL] = "127.0.0.2"
        it.now += PROOF_SECONDS
        assert await it.monitor.is_listing_valid(BL)
        assert await it.monitor.is_listing_valid(ZEN)
        it.now += 1
        assert not await it.monitor.is_listing_valid(BL)
        assert not it.monitor.is_up(BL)
        assert await it.monitor.is_listing_valid(ZEN)

    assert run(steps).changes == [(BL, FaultKind.LISTS_EVERYTHING)]


def test_a_list_that_begins_to_list_everything_is_found_out_after_some_listings() -> None:
    async def steps(it: It) -> None:
        assert await it.monitor.is_listing_valid(BL)
        it.dns.everywhere[BL] = "127.0.0.2"
        it.now += MIN_PROOF_SECONDS + 1
        valid = [await it.monitor.is_listing_valid(BL) for _ in range(2 * MAX_LISTINGS_PER_PROOF)]
        assert sum(valid) < MAX_LISTINGS_PER_PROOF

    assert run(steps).changes == [(BL, FaultKind.LISTS_EVERYTHING)]


def test_simultaneous_listings_wait_for_one_probe() -> None:
    async def steps(it: It) -> None:
        valid = await asyncio.gather(*(it.monitor.is_listing_valid(BL) for _ in range(10)))
        assert all(valid)
        assert it.asked(f"1.0.0.127.{BL}") == 1

    run(steps)


def test_a_request_that_stops_waiting_for_a_probe_leaves_it_to_the_others() -> None:
    async def steps(it: It) -> None:
        waits = [asyncio.ensure_future(it.monitor.is_listing_valid(BL)) for _ in range(2)]
        await asyncio.sleep(0)
        waits[0].cancel()
        assert await waits[1]

    run(steps)


# Errors in answers to clients ---------------------------------------------------------------------


def test_an_error_answer_to_a_client_is_believed_only_if_the_probe_fails_too() -> None:
    async def steps(it: It) -> None:
        # A client may choose a name that the list answers with an error.
        await it.monitor.check_error_answer(DBL)
        await it.monitor.check_error_answer(DBL)
        assert it.monitor.is_up(DBL)
        assert it.asked(f"invalid.{DBL}") == 1
        it.now += MIN_PROOF_SECONDS + 1
        it.dns.everywhere[DBL] = "127.255.255.254"
        await it.monitor.check_error_answer(DBL)
        assert not it.monitor.is_up(DBL)

    assert run(steps).changes == [(DBL, FaultKind.ERROR_ANSWER)]


# Failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lookups", "state"),
    [
        # Which lookups of the list end how: network and whether it answered.
        ([(1, False), (2, False)], SourceState.UP),
        ([(1, False), (2, False), (3, True), (4, False)], SourceState.UP),
        ([(1, False), (1, False), (1, False), (1, False)], SourceState.UP),
        ([(1, False), (2, False), (2, False)], SourceState.CHECKING),
        ([(1, False), (2, False), (3, False), (4, True)], SourceState.UP),
    ],
)
def test_a_list_is_not_asked_while_a_probe_follows_up_failures_of_several_networks(
    lookups: list[tuple[int, bool]], state: SourceState
) -> None:
    async def steps(it: It) -> None:
        for network, ok in lookups:
            it.ended(BL, ok=ok, network=network)
        source = next(each for each in it.monitor.sources() if each.name == BL)
        assert source.state is state
        await it.settle()
        assert it.monitor.is_up(BL)

    assert run(steps).changes == []


@pytest.mark.parametrize("networks", [(1, 2, 3), (1, 1, 1)])
def test_a_silent_list_is_off_once_its_probe_has_failed(networks: tuple[int, ...]) -> None:
    async def steps(it: It) -> None:
        it.dns.everywhere[BL] = None
        for network in networks:
            it.ended(BL, ok=False, network=network)
        await it.settle()
        assert not it.monitor.is_up(BL)
        assert it.monitor.is_up(ZEN)
        assert it.monitor.is_resolver_up

    assert run(steps).changes == [(BL, FaultKind.NO_ANSWER)]


def test_a_list_whose_answers_come_after_the_deadline_is_silent() -> None:
    async def steps(it: It) -> None:
        it.dns.everywhere[BL] = None
        for network in range(3):
            it.ended(BL, network=network, took=0.3)
            it.ended(ZEN, network=network, took=0.1)
        await it.settle()

    assert run(steps).changes == [(BL, FaultKind.NO_ANSWER)]


def test_a_list_whose_responses_cannot_be_read_is_silent() -> None:
    async def steps(it: It) -> None:
        it.dns.everywhere[BL] = None
        for network in range(3):
            ended = EndedLookup(BL, b"7.2.0.192.bl.example", ("IPv4", network), True, 0, "FORMERR")
            it.monitor.lookup_ended(ended)
        await it.settle()
        assert it.monitor.is_resolver_up
        assert not it.monitor.is_up(BL)

    assert run(steps).changes == [(BL, FaultKind.NO_ANSWER)]


def test_a_list_is_off_only_if_no_client_has_got_an_answer_during_its_probe() -> None:
    async def steps(it: It) -> None:
        it.dns.everywhere[BL] = None
        for network in range(3):
            it.ended(BL, ok=False, network=network)
        await asyncio.sleep(0)  # the probe begins
        it.now += 1
        it.ended(BL)
        await it.settle()
        assert it.monitor.is_up(BL)

    assert run(steps).changes == []


def test_slow_name_servers_of_clients_put_nothing_out() -> None:
    async def steps(it: It) -> None:
        for number in range(500):
            it.ended(ok=False, network=number, name=f"mx.bot{number}.example")
            it.ended(BL, ok=False, network=7, name=f"bot{number}.example.{BL}")
            # Other clients are asked about while a probe is under way.
            assert it.monitor.is_resolver_up
        await it.settle()
        assert it.monitor.is_resolver_up
        assert it.monitor.is_up(BL)

    assert run(steps).changes == []


# The resolver -------------------------------------------------------------------------------------


def test_a_dead_resolver_is_off_and_its_lists_are_not() -> None:
    async def steps(it: It) -> None:
        await it.monitor.probe_all()
        it.is_resolver_dead = True
        for network in range(3):
            for zone in (BL, ZEN, ""):
                it.ended(zone, ok=False, network=network)
        assert it.monitor.is_resolver_up
        await it.settle()
        assert not it.monitor.is_resolver_up
        it.is_resolver_dead = False
        it.ended("", ok=True)
        await it.settle()
        assert it.monitor.is_resolver_up
        assert {each.is_up for each in it.monitor.sources()} == {True}
        assert it.forgotten == 1

    assert run(steps).changes == [(RESOLVER, FaultKind.NO_ANSWER), (RESOLVER, None)]


def test_a_dead_resolver_is_found_out_at_the_start() -> None:
    async def steps(it: It) -> None:
        it.monitor.start()
        await it.settle()
        assert not it.monitor.is_resolver_up

    assert run(steps, is_resolver_dead=True).changes == [(RESOLVER, FaultKind.NO_ANSWER)]
    without_lists = Settings(identity=("spf",))
    it = run(steps, is_resolver_dead=True, settings=without_lists)
    assert it.changes == [(RESOLVER, FaultKind.NO_ANSWER)]


def test_one_domain_whose_servers_fail_does_not_even_raise_doubts_about_the_resolver() -> None:
    async def steps(it: It) -> None:
        for number in range(100):
            it.ended(ok=False, network=number, name=f"mx{number}.bot.example")
        assert not it.monitor._probes
        assert it.monitor.is_resolver_up

    run(steps, is_resolver_dead=True)


# Back again ---------------------------------------------------------------------------------------


def test_a_source_that_is_off_is_probed_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(monitoring, "RESOLVER_RETRY_SECONDS", 0.01)

    async def steps(it: It) -> None:
        it.dns.everywhere[BL] = "127.0.0.2"
        await it.monitor.probe_all()
        await it.until(lambda: it.asked(f"1.0.0.127.{BL}") >= 3)
        assert it.changes == [(BL, FaultKind.LISTS_EVERYTHING)]
        del it.dns.everywhere[BL]
        await it.until(lambda: it.monitor.is_up(BL))
        it.is_resolver_dead = True
        await it.monitor.probe_all()
        assert not it.monitor.is_resolver_up
        it.is_resolver_dead = False
        await it.until(lambda: it.monitor.is_resolver_up)

    assert run(steps).changes == [
        (BL, FaultKind.LISTS_EVERYTHING), (BL, None),
        (RESOLVER, FaultKind.NO_ANSWER), (RESOLVER, None),
    ]  # fmt: skip


def test_what_a_list_has_answered_before_it_is_back_is_forgotten() -> None:
    async def steps(it: It) -> None:
        await it.monitor.probe_all()
        it.dns.everywhere[BL] = "127.0.0.2"
        await it.monitor.probe_all()
        assert it.forgotten_lists == []
        del it.dns.everywhere[BL]
        await it.monitor.probe_all()
        await it.monitor.probe_all()
        assert it.forgotten_lists == [BL]

    run(steps)


def test_the_time_between_two_probes_doubles_up_to_a_limit() -> None:
    async def steps(it: It) -> None:
        source = list_source(BL, addresses=True, domains=False)
        delays = []
        for count in (1, 2, 3, 20, 2000):
            source.failed_probe_count = count
            it.monitor._schedule_retry(source)
            timer = it.monitor._timers[BL]
            delays.append(round(timer.when() - asyncio.get_running_loop().time()))
            timer.cancel()
        assert delays == [5, 10, 20, 60, 60]

    run(steps)


def test_nothing_is_probed_after_the_end() -> None:
    async def steps(it: It) -> None:
        it.monitor.close()
        for network in range(3):
            it.ended(BL, ok=False, network=network)
        assert not it.monitor._probes
        assert not await it.monitor.is_listing_valid(ZEN)

    run(steps)
