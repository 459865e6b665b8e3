"""Evidence while lists or the resolver are out of order, with a real resolver and name server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import RESOLVER, Endpoint
from greyd.config.vocabulary import Zone as ListZone
from greyd.dns.collector import DnsEvidenceCollector
from greyd.dns.lists.zones import list_zones
from greyd.dns.resolver import Resolver
from greyd.dns.sources.faults import FaultKind, SourceFault
from greyd.dns.sources.monitor import SourceMonitor
from greyd.rules.request import Request
from greyd.whitelist.dns_override import read_override
from tests.dns_server import NXDOMAIN, SERVFAIL, SILENT, DnsServer, Zone, dns_server
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from greyd.rules.evidence import Evidence

BL, OTHER, WL, DBL = "bl.example", "other.example", "list.dnswl.org", "dbl.spamhaus.org"
TIMEOUT = 0.6


def good_zone() -> Zone:
    """Lists with their test entries, a good domain, and a bot that two lists contain."""
    return {
        "example.com": ["300 MX 10 mail.example.com.", "300 TXT \"v=spf1 ip4:192.0.2.0/24 -all\""],
        "mail.example.com": ["300 A 192.0.2.7"],
        "slow.example.net": SILENT,
        f"2.0.0.127.{BL}": ["300 A 127.0.0.2"],
        f"2.0.0.127.{OTHER}": ["300 A 127.0.0.2"],
        f"2.0.0.127.{WL}": ["300 A 127.0.10.0"],
        f"test.{DBL}": ["300 A 127.0.1.2"],
        f"66.100.51.198.{BL}": ["300 A 127.0.0.4"],
        f"66.100.51.198.{OTHER}": ["300 A 127.0.0.4"],
        f"b.d.0.8.b.d.0.1.0.0.2.{BL}": NXDOMAIN,
        f"listed.example.{DBL}": ["300 A 127.0.1.2"],
    }  # fmt: skip


@dataclass
class It:
    server: DnsServer
    resolver: Resolver
    monitor: SourceMonitor
    collector: DnsEvidenceCollector
    changes: list[tuple[str, FaultKind | None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def evidence(self, address: str = "192.0.2.7", **attributes: bytes) -> Evidence:
        usual = Request(
            client_address=address.encode(), client_name=b"mail.example.com",
            reverse_client_name=b"mail.example.com", helo_name=b"mail.example.com",
            sender=b"alice@example.com", recipient=b"bob@example.org",
        )  # fmt: skip
        found: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        self.collector.collect(usual._replace(**attributes), address_of(address), found.set_result)
        return await found

    async def probes_end(self) -> None:
        while self.monitor._probes:
            await asyncio.gather(*self.monitor._probes.values())
            await asyncio.sleep(0)


def run(steps: Callable[[It], Awaitable[None]], zone: Zone, port: int = 0) -> It:
    errors: list[BaseException] = []

    async def main(server: DnsServer) -> It:
        settings = Settings(
            identity=("spf", "name"), greylist="suspicious",
            dnsbl=(ListZone(BL, 3600), ListZone(OTHER)), rhsbl=(ListZone(DBL),),
            dnswl=(ListZone(WL, trust=2),), dns_timeout_seconds=TIMEOUT,
            resolvers=(Endpoint("127.0.0.1", server.port),),
        )  # fmt: skip
        resolver = Resolver(settings.resolvers, TIMEOUT, zones=list_zones(settings))

        def on_change(name: str, fault: SourceFault | None) -> None:
            it.changes.append((name, fault.kind if fault else None))
            it.changed.set()

        monitor = SourceMonitor(settings, resolver, on_change, errors.append)
        resolver.on_lookup_ended = monitor.lookup_ended
        collector = DnsEvidenceCollector(
            settings, resolver, lambda: read_override([]), errors.append, monitor
        )
        it = It(server, resolver, monitor, collector)
        try:
            await asyncio.wait_for(steps(it), 60)
        finally:
            collector.close()
            monitor.close()
            await resolver.close()
        return it

    with dns_server(zone, port=port) as server:
        it = asyncio.run(main(server))
    assert errors == []
    return it


def test_in_order_a_good_client_is_clean_and_a_bot_is_listed() -> None:
    async def steps(it: It) -> None:
        good, bot = await asyncio.gather(it.evidence(), it.evidence("198.51.100.66"))
        assert good.is_clean
        assert good.sources_off == ()
        assert (bot.listed, bot.delay_seconds) == (True, 3600)
        domain = await it.evidence("203.0.113.9", sender=b"x@listed.example")
        assert "rhsbl" in domain.signals

    assert run(steps, good_zone()).changes == []


@pytest.mark.parametrize(
    ("zone", "answers", "kind"),
    [
        (BL, ["300 A 127.255.255.254"], FaultKind.ERROR_ANSWER),
        (BL, ["300 A 203.0.113.9"], FaultKind.FOREIGN_ANSWER),
        (BL, ["300 A 127.0.0.2"], FaultKind.LISTS_EVERYTHING),
        (BL, SERVFAIL, FaultKind.NO_ANSWER),
        (DBL, ["300 A 127.0.1.2"], FaultKind.LISTS_EVERYTHING),
        (DBL, ["300 A 127.255.255.255"], FaultKind.ERROR_ANSWER),
        (WL, ["300 A 127.0.10.3"], FaultKind.ERROR_ANSWER),
        (WL, ["300 A 127.0.0.255"], FaultKind.ERROR_ANSWER),
        (WL, ["300 A 127.0.5.3"], FaultKind.LISTS_EVERYTHING),
    ],
)
def test_a_list_out_of_order_speaks_neither_against_nor_for_anybody(
    zone: str, answers: Any, kind: FaultKind
) -> None:
    records = {name: each for name, each in good_zone().items() if not name.endswith(zone)}
    records[f"*.{zone}"] = answers

    async def steps(it: It) -> None:
        it.monitor.start()
        await it.probes_end()
        asked = it.server.asked.total()
        good = await it.evidence()
        assert good.is_clean
        assert (good.listed, good.exemption, good.sources_off) == (False, None, (zone,))
        bot = await it.evidence("198.51.100.66", client_name=b"unknown", sender=b"x@example.net")
        # The neighbours are believed.
        assert bot.listed
        assert bot.exemption is None
        assert it.server.asked.total() > asked
        assert it.server.asked[f"66.100.51.198.{zone}", "A"] == 0, "it is not asked"

    assert run(steps, records).changes == [(zone, kind)]


@pytest.mark.parametrize("answer", [["300 A 127.255.255.254"], ["300 A 127.0.0.2"]])
def test_the_first_listing_or_error_is_found_out_without_an_earlier_probe(answer: Any) -> None:
    zone = {name: each for name, each in good_zone().items() if not name.endswith(BL)}
    zone[f"*.{BL}"] = answer

    async def steps(it: It) -> None:
        evidence = await it.evidence()
        assert evidence.is_clean
        assert evidence.sources_off == (BL,)

    run(steps, zone)


def test_ipv6_clients_are_listed_and_lists_of_all_ipv6_are_not_believed() -> None:
    address = "2001:db8::66"
    name = ".".join(reversed(f"{'20010db8':0<30}66"))
    zone = good_zone() | {f"{name}.{BL}": ["300 A 127.0.0.4"]}
    everything: Zone = zone | {f"*.0.0.0.0.{BL}": ["300 A 127.0.0.4"]}

    async def listed(it: It) -> None:
        assert (await it.evidence(address)).listed

    async def not_listed(it: It) -> None:
        assert not (await it.evidence(address)).listed

    assert run(listed, zone).changes == []
    assert run(not_listed, everything).changes == [(BL, FaultKind.LISTS_EVERYTHING)]


def test_a_silent_list_delays_only_the_first_requests() -> None:
    zone = {name: each for name, each in good_zone().items() if not name.endswith(BL)}
    zone[f"*.{BL}"] = SILENT

    async def steps(it: It) -> None:
        first = await asyncio.gather(*(it.evidence(f"192.0.2{each}.7") for each in range(3)))
        assert all(each.unsure for each in first)
        await it.changed.wait()
        assert not it.monitor.is_up(BL)
        started_at = time.monotonic()
        evidence = await it.evidence("192.0.2.7")
        assert time.monotonic() - started_at < TIMEOUT
        assert (evidence.unsure, evidence.is_clean) == (False, True)

    run(steps, zone)


def test_a_client_s_own_silent_name_servers_make_only_it_unsure() -> None:
    async def steps(it: It) -> None:
        for number in range(4):
            bot = await it.evidence(f"203.0.{number}.9", sender=b"x@slow.example.net")
            assert (bot.unsure, bot.resolver_off, bot.sources_off) == (True, False, ())
        assert (await it.evidence()).is_clean

    assert run(steps, good_zone()).changes == []


def test_a_dead_resolver_is_not_waited_for_and_noticed_at_once_when_it_is_back() -> None:
    zone: Zone = {"*": SILENT, ".": SILENT, "com": SILENT}
    zone.update((f"*.{each}", SILENT) for each in ("com", "example", "org", "net", "arpa"))

    async def steps(it: It) -> None:
        it.monitor.start()
        await it.probes_end()
        assert it.changes == [(RESOLVER, FaultKind.NO_ANSWER)]
        started_at = time.monotonic()
        evidence = await it.evidence()
        assert time.monotonic() - started_at < TIMEOUT / 2
        assert (evidence.resolver_off, evidence.unsure, evidence.is_clean) == (True, False, False)
        it.changed.clear()
        zone.clear()
        zone.update(good_zone())
        await it.changed.wait()
        assert (await it.evidence()).is_clean

    assert run(steps, zone).changes == [(RESOLVER, FaultKind.NO_ANSWER), (RESOLVER, None)]
