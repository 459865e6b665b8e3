"""The resolver's answers, cache and limits, against a small real name server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from dataclasses import dataclass, field, replace
from socket import inet_aton
from typing import TYPE_CHECKING, Any

import pycares
import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from greyd.config.vocabulary import Endpoint
from greyd.dns import answer_cache, channels, fair_share, resolver
from greyd.dns.channels import CHANNEL_SECONDS
from greyd.dns.lists.zones import NO_LIST_ZONES, ListZones
from greyd.dns.lookup import DnsAnswer, DnsError, LookupResult, RecordType
from greyd.dns.resolver import Resolver
from greyd.dns.responses import FAILURE_TTL_SECONDS
from tests.dns_server import (
    GARBAGE,
    NO_SOA,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    SILENT,
    WRONG_ID,
    WRONG_QUESTION,
    DnsServer,
    Held,
    Slow,
    Truncated,
    Zone,
    dns_server,
)
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

A = RecordType.A
MX1 = b"mx1.example.com"
ABSENT = DnsAnswer(exists=False)


@dataclass
class Asked:
    """A resolver under test, its clock, and what its observer has counted."""

    server: DnsServer
    resolver: Resolver = field(init=False)
    now: float = 1000.0
    results: Counter[tuple[RecordType, LookupResult]] = field(default_factory=Counter)
    zones: Counter[str] = field(default_factory=Counter)
    found: int = 0
    timed: int = 0

    def cache_hit(self) -> None:
        self.found += 1

    def lookup_ended(
        self, kind: RecordType, zone: str, result: LookupResult, seconds: float | None
    ) -> None:
        self.results[kind, result] += 1
        self.zones[zone] += 1
        self.timed += seconds is not None

    async def a(self, name: bytes = MX1) -> DnsAnswer:
        """Ask for addresses; each is one byte, the last."""
        return _short(await self.resolver.query(name, A))

    async def times_out(self, name: bytes = MX1) -> None:
        """Give up on a question, which has gone to the server."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await self.resolver.query(name, A)

    def questions(self, name: bytes = MX1, kind: str = "A") -> int:
        return self.server.asked[name.decode(), kind]


def _short(answer: DnsAnswer) -> DnsAnswer:
    return replace(answer, values=tuple(value[-1:] for value in answer.values))


def addresses(*last: int) -> DnsAnswer:
    return DnsAnswer(tuple(bytes([each]) for each in last))


Loop = "Callable[[], asyncio.AbstractEventLoop]"


def with_resolver(
    zone: Zone,
    do: Callable[[Asked], Coroutine[Any, Any, None]],
    *,
    timeout_seconds: float = 10,
    loop: Loop = uvloop.new_event_loop,
    zones: ListZones = NO_LIST_ZONES,
    **server_options: Any,
) -> None:
    """Do something with a resolver; faults in the loop's callbacks fail the test."""
    faults: list[dict[str, Any]] = []

    async def run(asked: Asked) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        asked.resolver = Resolver(
            [Endpoint("127.0.0.1", asked.server.port)],
            timeout_seconds,
            observer=asked,
            now=lambda: asked.now,
            zones=zones,
        )
        try:
            await asyncio.wait_for(do(asked), 30)
        finally:
            await asked.resolver.close()

    with dns_server(zone, **server_options) as server, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run(Asked(server)))
    assert faults == []


async def until(true: Callable[[], object]) -> None:
    """Wait for what happens in the server, or to a lookup that nobody waits for."""
    while not true():  # noqa: ASYNC110 - neither has an event
        await asyncio.sleep(0.001)


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Yield a port of which the kernel says that nobody is there, and that nobody else gets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        # So it takes packets only from where nothing comes from.
        taken.connect(("127.0.0.1", 9))
        yield taken.getsockname()[1]


def fails(name: bytes = MX1) -> contextlib.AbstractContextManager[Any]:
    return pytest.raises(DnsError, match=rf"A of {name.decode()}: .")


# What it answers ----------------------------------------------------------------------------------

EVERYTHING: Zone = {
    "mx1.example.com": [
        "300 A 192.0.2.1", "300 A 192.0.2.2", "300 AAAA 2001:db8::1",
        '300 TXT "v=spf1 " "a -all"', '300 TXT "\\000\\255"',
    ],
    "example.com": ["300 MX 20 MX2.example.com.", "300 MX 10 mx1.example.com."],
    "silent.example.com": ["300 MX 0 ."],
    "1.2.0.192.in-addr.arpa": [
        "300 PTR Mail.Example.com.", "300 PTR b\\009ad.example.com.", "300 PTR .",
        "300 PTR with\\.dot.example.com.",
    ],
    "alias.example.com": ["300 CNAME other.example.com."],
    "other.example.com": ["300 CNAME MX1.example.com."],
    "to-nothing.example.com": ["300 CNAME gone.example.com."],
    "to-empty.example.com": ["300 CNAME empty.example.com."],
    "empty.example.com": [],
    "gone.example.com": NXDOMAIN,
    "truncated.example.com": Truncated(["300 A 192.0.2.9"]),
    "long.example.com": [f'300 TXT "{"x" * 200}{number}"' for number in range(40)],
}  # fmt: skip

LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


async def all_kinds(asked: Asked) -> None:
    """Ask for one of everything."""
    query = asked.resolver.query
    assert await query(MX1, A) == DnsAnswer((inet_aton("192.0.2.1"), inet_aton("192.0.2.2")))
    assert await query(MX1, RecordType.AAAA) == DnsAnswer(
        (bytes.fromhex("20010db8" + "0" * 23 + "1"),)
    )
    assert await query(MX1, RecordType.TXT) == DnsAnswer((b"v=spf1 a -all", b"\x00\xff"))
    assert await query(b"example.com", RecordType.MX) == DnsAnswer(
        (b"mx1.example.com", b"mx2.example.com")
    )
    assert await query(b"silent.example.com", RecordType.MX) == DnsAnswer((b"",))
    assert await query(b"1.2.0.192.in-addr.arpa", RecordType.PTR) == DnsAnswer(
        (b"mail.example.com",)
    )
    assert await query(MX1, RecordType.MX) == DnsAnswer()
    assert await query(b"gone.example.com", A) == ABSENT
    assert await asked.a(b"alias.example.com") == addresses(1, 2)
    assert await asked.a(b"to-nothing.example.com") == ABSENT
    assert await asked.a(b"to-empty.example.com") == DnsAnswer()
    assert await asked.a(b"MX1.Example.com") == addresses(1, 2)
    assert await asked.a(b"truncated.example.com") == addresses(9)
    assert len((await query(b"long.example.com", RecordType.TXT)).values) == 40
    assert asked.server.over_tcp == 2
    assert asked.results == {
        (RecordType.A, LookupResult.ANSWERED): 3, (RecordType.AAAA, LookupResult.ANSWERED): 1,
        (RecordType.TXT, LookupResult.ANSWERED): 2, (RecordType.MX, LookupResult.ANSWERED): 2,
        (RecordType.PTR, LookupResult.ANSWERED): 1, (RecordType.MX, LookupResult.NODATA): 1,
        (RecordType.A, LookupResult.NXDOMAIN): 2, (RecordType.A, LookupResult.NODATA): 1,
    }  # fmt: skip
    assert asked.timed == asked.results.total()
    assert asked.found == 1


@LOOPS
def test_every_kind_of_answer_arrives(loop: Loop) -> None:
    with_resolver(EVERYTHING, all_kinds, loop=loop)


@LOOPS
def test_it_works_without_inotify(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    initialise = pycares.Channel.__init__

    def fail_without_callback(self: pycares.Channel, **options: Any) -> None:
        if "sock_state_cb" not in options:
            self._channel = None
            raise pycares.AresError("Failed to initialize c-ares channel")
        initialise(self, **options)

    monkeypatch.setattr(pycares.Channel, "__init__", fail_without_callback)
    with_resolver(EVERYTHING, all_kinds, loop=loop)
    assert capfd.readouterr().err == ""


def test_the_resolver_follows_an_alias_that_the_server_does_not_follow() -> None:
    zone = EVERYTHING | {
        "a.loop.example.com": ["300 CNAME b.loop.example.com."],
        "b.loop.example.com": ["300 CNAME a.loop.example.com."],
        "odd.example.com": ["300 CNAME o+d.example.com."],
    }

    async def do(asked: Asked) -> None:
        assert await asked.a(b"alias.example.com") == addresses(1, 2)
        assert (asked.questions(b"other.example.com"), asked.questions()) == (1, 1)
        assert await asked.a(b"to-nothing.example.com") == ABSENT
        assert await asked.a(b"to-empty.example.com") == DnsAnswer()
        for name in (b"a.loop.example.com", b"odd.example.com"):
            with fails(name):
                await asked.a(name)
        assert asked.results[A, LookupResult.FAILED] == 2

    with_resolver(zone, do, follows=False)


def test_a_loop_of_aliases_is_a_failure() -> None:
    zone: Zone = {
        "a.example.com": ["300 CNAME b.example.com."],
        "b.example.com": ["300 CNAME a.example.com."],
    }

    async def do(asked: Asked) -> None:
        with fails(b"a.example.com"):
            await asked.a(b"a.example.com")

    with_resolver(zone, do)


# When there is none -------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [SERVFAIL, REFUSED, GARBAGE])
def test_what_a_server_can_t_answer_is_a_failure(behaviour: Any) -> None:
    async def do(asked: Asked) -> None:
        with fails():
            await asked.a()
        assert asked.results == {(A, LookupResult.FAILED): 1}

    with_resolver({"mx1.example.com": behaviour}, do)


@pytest.mark.parametrize("behaviour", [SILENT, WRONG_ID, WRONG_QUESTION])
def test_without_a_matching_response_the_lookup_times_out(behaviour: Any) -> None:
    async def do(asked: Asked) -> None:
        with fails():
            await asked.a()
        assert asked.results == {(A, LookupResult.TIMEOUT): 1}

    with_resolver({"mx1.example.com": behaviour}, do, timeout_seconds=0.2)


def test_an_unreachable_server_is_a_failure_at_once() -> None:
    async def do(port: int) -> None:
        asking = Resolver([Endpoint("127.0.0.1", port)], timeout_seconds=1000)
        with pytest.raises(DnsError, match="contact"):
            await asking.query(MX1, A)
        await asking.close()

    with refusing_port() as port:
        asyncio.run(do(port))


def test_a_server_that_was_unreachable_is_asked_again_at_once() -> None:
    async def do(port: int) -> None:
        asking = Resolver([Endpoint("127.0.0.1", port)])
        with pytest.raises(DnsError):
            await asking.query(MX1, A)
        assert not await asking.is_answering()
        with dns_server(EVERYTHING, port=port):
            assert _short(await asking.query(MX1, A)) == addresses(1, 2)
            assert await asking.is_answering()
        await asking.close()

    # Another program may take the port between the two servers.
    for _ in range(5):
        with refusing_port() as port:
            free = port
        try:
            asyncio.run(do(free))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    pytest.fail("another program took the port each time")


def test_once_the_servers_answer_again_earlier_failures_are_forgotten() -> None:
    zone: Zone = {"mx1.example.com": SILENT, "b.example.com": ["300 A 192.0.2.3"]}

    async def do(asked: Asked) -> None:
        assert await asked.a(b"b.example.com") == addresses(3)
        with fails():
            await asked.a()
        zone["mx1.example.com"] = ["300 A 192.0.2.1"]
        with fails():
            await asked.a()
        asked.resolver.forget_failures()
        assert await asked.a() == addresses(1)
        # Answers are kept.
        assert await asked.a(b"b.example.com") == addresses(3)
        assert asked.questions(b"b.example.com") == 1

    with_resolver(zone, do, timeout_seconds=0.2)


def test_the_answers_of_one_list_can_be_forgotten() -> None:
    zone: Zone = {
        "7.2.0.192.bl.example": ["3600 A 127.0.0.2"],
        "mx1.example.com": ["3600 A 192.0.2.1"],
        "xbl.example": ["3600 A 192.0.2.3"],
    }

    async def do(asked: Asked) -> None:
        for _ in range(2):
            for name in (b"7.2.0.192.bl.example", b"8.2.0.192.bl.example", *others):
                await asked.a(name)
            asked.resolver.forget_list("bl.example")
        assert asked.questions(b"7.2.0.192.bl.example") == 2
        assert asked.questions(b"8.2.0.192.bl.example") == 2
        assert [asked.questions(name) for name in others] == [1, 1]

    others = (b"mx1.example.com", b"xbl.example")
    with_resolver(zone, do)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_change_of_resolv_conf_is_noticed_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_replaced: bool
) -> None:
    file = tmp_path / "resolv.conf"
    now = 1000.0
    initialise = pycares.Channel.__init__

    def read_servers_from_the_file(self: pycares.Channel, **options: Any) -> None:
        # c-ares reads /etc/resolv.conf; this test has a file of its own.
        servers = [line.split()[1] for line in file.read_text().splitlines() if "name" in line]
        initialise(self, servers=servers, **options)

    monkeypatch.setattr(pycares.Channel, "__init__", read_servers_from_the_file)

    async def do(first: DnsServer, second: DnsServer) -> None:
        nonlocal now
        asking = Resolver(resolv_conf=file, now=lambda: now)
        assert _short(await asking.query(MX1, A)) == addresses(1)
        if is_replaced:
            (tmp_path / "new").write_text(f"nameserver 127.0.0.1:{second.port}\n")
            (tmp_path / "new").replace(file)
        else:
            file.write_text(f"# changed\nnameserver 127.0.0.1:{second.port}\n")
        now += 2
        assert _short(await asking.query(b"mx2.example.com", A)) == addresses(2)
        # An unchanged file leaves the channel as it is.
        now += 2
        assert _short(await asking.query(b"mx3.example.com", A)) == addresses(2)
        await asking.close()

    with (
        dns_server({"*.example.com": ["300 A 192.0.2.1"]}) as first,
        dns_server({"*.example.com": ["300 A 192.0.2.2"]}) as second,
    ):
        file.write_text(f"nameserver 127.0.0.1:{first.port}\n")
        asyncio.run(do(first, second))


@pytest.mark.parametrize(
    ("behaviour", "is_answering"),
    [
        (NXDOMAIN, True), (NO_SOA, True), (SERVFAIL, False),
        (REFUSED, False), (SILENT, False),
    ],
)  # fmt: skip
def test_any_answer_shows_that_the_servers_answer(behaviour: Any, *, is_answering: bool) -> None:
    async def do(asked: Asked) -> None:
        assert await asked.resolver.is_answering() is is_answering

    with_resolver({".": behaviour, "com": behaviour}, do, timeout_seconds=0.2)
    if behaviour is REFUSED:
        with_resolver({".": REFUSED, "com": NXDOMAIN}, the_servers_answer)


async def the_servers_answer(asked: Asked) -> None:
    assert await asked.resolver.is_answering()


def test_a_probe_asks_the_servers_each_time_and_follows_aliases() -> None:
    zone: Zone = {
        "mx1.example.com": ["300 A 192.0.2.1"],
        "alias.example.com": ["300 CNAME mx1.example.com."],
        "loop.example.com": ["300 CNAME loop.example.com."],
        "bad.example.com": SERVFAIL,
    }

    async def do(asked: Asked) -> None:
        probes = asked.resolver.for_probes()
        await asked.a()
        for _ in range(3):
            assert _short(await probes.query(MX1, A)) == addresses(1)
        assert asked.questions() == 4
        assert _short(await probes.query(b"alias.example.com", A)) == addresses(1)
        assert await probes.query(b"absent.example.com", A) == ABSENT
        for name in (b"bad.example.com", b"loop.example.com", b"{}.example.com"):
            with pytest.raises(DnsError):
                await probes.query(name, A)
        # Probes are not the clients' lookups.
        assert asked.results.total() == 1

    with_resolver(zone, do, follows=False)


def test_lookups_in_dns_lists_are_counted_by_their_zones() -> None:
    names = [b"7.2.0.192.bl.example", b"mx1.example.com", b"bl.example", b"xbl.example"]

    async def do(asked: Asked) -> None:
        ended = []
        asked.resolver.on_lookup_ended = lambda lookup: ended.append((lookup.zone, lookup.name))
        for name in names:
            await asked.a(name)
        assert asked.zones == {"bl.example": 1, "": 3}
        assert ended == [("bl.example" if name is names[0] else "", name) for name in names]

    with_resolver(EVERYTHING, do, zones=ListZones(["bl.example"]))


def test_the_second_server_answers_if_the_first_is_unreachable() -> None:
    async def do(asked: Asked) -> None:
        with refusing_port() as port:
            two = [Endpoint("127.0.0.1", each) for each in (port, asked.server.port)]
            asking = Resolver(two)
            assert _short(await asking.query(MX1, A)) == addresses(1, 2)
            await asking.close()

    with_resolver(EVERYTHING, do)


def test_a_lost_query_is_repeated() -> None:
    zone: Zone = {"mx1.example.com": SILENT}

    async def do(asked: Asked) -> None:
        waiting = asyncio.ensure_future(asked.a())
        await until(asked.questions)
        zone["mx1.example.com"] = ["300 A 192.0.2.1"]
        assert await waiting == addresses(1)
        assert asked.questions() == 2

    with_resolver(zone, do, timeout_seconds=5)


@pytest.mark.parametrize(
    "records",
    [
        [f"300 A 10.0.{number // 256}.{number % 256}" for number in range(1000)],
        [f"300 TXT {' '.join([chr(34) + 'x' * 250 + chr(34)] * 10)}" for _ in range(8)],
    ],
    ids=["records", "bytes"],
)
def test_an_answer_that_is_too_large_is_a_failure(records: list[str]) -> None:
    kind = RecordType(records[0].split()[1])

    async def do(asked: Asked) -> None:
        with pytest.raises(DnsError, match="more than"):
            await asked.resolver.query(MX1, kind)
        assert asked.results == {(kind, LookupResult.FAILED): 1}

    with_resolver({"mx1.example.com": records}, do)


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        b"", b".", b".example.com", b"example.com.", b"a..example.com", b"x" * 64 + b".com",
        b"x." * 126 + b"xx", b"a b.example.com", b"\x00", b"a.\xff", b"example.com\n",
    ],
)  # fmt: skip
def test_an_invalid_name_does_not_exist(name: bytes) -> None:
    async def do(asked: Asked) -> None:
        assert asked.resolver.cached(name, A) == ABSENT
        assert await asked.resolver.query(name, A) == ABSENT
        assert not asked.server.asked
        assert not asked.results

    with_resolver({}, do)


def test_the_longest_valid_name_is_queried() -> None:
    async def do(asked: Asked) -> None:
        for name in (b"x." * 126 + b"x", b"x" * 63 + b".com", b"_dmarc.a-b.c*/d"):
            assert await asked.a(name) == ABSENT
            assert asked.questions(name) == 1

    with_resolver({}, do)


def test_a_name_that_c_ares_rejects_is_a_failure() -> None:
    async def do(asked: Asked) -> None:
        for name in (b"user+tag.example.com", b"a\\.b.example.com", b"a!b"):
            with pytest.raises(DnsError, match="can't be queried"):
                await asked.resolver.query(name, A)
        assert not asked.results

    with_resolver({}, do)


async def ask_all(port: int, names: list[bytes]) -> None:
    asking = Resolver([Endpoint("127.0.0.1", port)])
    for name in names:
        for kind in (A, RecordType.TXT):
            known = asking.cached(name, kind)
            try:
                answer = await asking.query(name, kind)
            except DnsError as error:
                assert known is None
                why = str(error)
                assert why.isprintable()
            else:
                assert answer == ABSENT
                assert known in (None, ABSENT)
    await asking.close()


def test_any_bytes_as_a_name_give_an_answer_or_a_dns_error() -> None:
    names = st.binary(max_size=80) | st.text("abA-_.\\*/\n", max_size=300).map(str.encode)

    @settings(max_examples=500, deadline=None)
    @given(st.lists(names))
    @example([b"\\", b"\\001", b"a.\\", b"%s", b"*" * 253, b"a" * 63, b"A" * 254])
    def ask(names: list[bytes]) -> None:
        asyncio.run(ask_all(server.port, names))

    with dns_server({}) as server:
        ask()


# What is remembered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "seconds"),
    [
        (["300 A 192.0.2.1"], 300),
        (["300 A 192.0.2.1", "100 A 192.0.2.2"], 100),
        (["0 A 192.0.2.1"], 5),
        (["604800 A 192.0.2.1"], 86400),
        (["40 CNAME b.example.com."], 40),
        (["4000 CNAME b.example.com."], 700),
        (["4000 CNAME empty.example.com."], 20),
        (["7 CNAME empty.example.com."], 7),
        (["4000 CNAME gone.example.com."], 60),
        (NXDOMAIN, 60),
        (NO_SOA, 60),
        ([], 60),
    ],
)
def test_an_answer_is_cached_for_its_ttl(entry: Any, seconds: int) -> None:
    zone: Zone = {
        "mx1.example.com": entry,
        "b.example.com": ["700 A 192.0.2.3"],
        "empty.example.com": [],
    }

    async def do(asked: Asked) -> None:
        first = await asked.a()
        asked.now += seconds - 0.01
        assert await asked.a() == first
        assert asked.found == 1
        assert asked.questions() == 1
        zone["mx1.example.com"] = ["300 A 192.0.2.99"]
        asked.now += 0.01
        assert asked.resolver.cached(MX1, A) is None
        # c-ares remembers too, by its own clock: but no longer than a channel lives.
        asked.now += CHANNEL_SECONDS
        assert await asked.a() == addresses(99)
        assert asked.questions() == 2

    with_resolver(zone, do, negative_ttl=20)


@pytest.mark.parametrize("behaviour", [SERVFAIL, SILENT])
def test_a_failure_is_cached_for_some_seconds(behaviour: Any) -> None:
    zone: Zone = {"mx1.example.com": behaviour}

    async def do(asked: Asked) -> None:
        with fails():
            await asked.a()
        zone["mx1.example.com"] = ["300 A 192.0.2.1"]
        asked.now += FAILURE_TTL_SECONDS - 0.01
        assert asked.resolver.cached(MX1, A) is None
        with fails():
            await asked.a()
        assert asked.results.total() == 1
        asked.now += 0.01
        assert await asked.a() == addresses(1)

    with_resolver(zone, do, timeout_seconds=0.2)


def test_the_channel_and_its_cache_are_replaced_after_some_lookups_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "CHANNEL_LOOKUPS", 3)
    zone: Zone = {"mx1.example.com": ["30 A 192.0.2.1"]}

    async def do(asked: Asked) -> None:
        assert await asked.a() == addresses(1)
        asked.now += 30
        zone["mx1.example.com"] = ["30 A 192.0.2.2"]
        assert await asked.a() == addresses(1), "c-ares has not been asked by a new channel"
        asked.now += 30
        await asked.a(b"another.example.com")
        assert await asked.a() == addresses(2)

    with_resolver(zone, do)


def test_record_types_are_cached_separately() -> None:
    async def do(asked: Asked) -> None:
        await asked.resolver.query(MX1, A)
        assert asked.resolver.cached(MX1, RecordType.AAAA) is None
        assert len((await asked.resolver.query(MX1, RecordType.AAAA)).values) == 1

    with_resolver(EVERYTHING, do)


def test_the_least_recently_used_answer_is_evicted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "MAX_CACHED_ANSWERS", 3)

    async def do(asked: Asked) -> None:
        for name in (b"a", b"b", b"c"):
            await asked.a(name)
        assert asked.resolver.cached(b"a", A) == ABSENT
        await asked.a(b"d")
        known = [name for name in (b"a", b"b", b"c", b"d") if asked.resolver.cached(name, A)]
        assert known == [b"a", b"c", b"d"]

    with_resolver({}, do)


def test_the_size_of_cached_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "MAX_CACHED_BYTES", 40_000)
    names = [b"x%d.example.com" % number for number in range(20)]
    records = [f"300 TXT {' '.join([chr(34) + 'x' * 250 + chr(34)] * 20)}"]

    async def do(asked: Asked) -> None:
        for _ in range(3):
            for name in names:
                await asked.resolver.query(name, RecordType.TXT)
            known = [bool(asked.resolver.cached(name, RecordType.TXT)) for name in names]
            assert known == [False] * 13 + [True] * 7
            asked.now += 300

    with_resolver({name.decode(): records for name in names}, do)


def test_one_network_s_lookups_do_not_evict_answers_that_others_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answer_cache, "MAX_CACHED_ANSWERS", 40)

    async def do(asked: Asked) -> None:
        shared = [b"shared%d.example.com" % number for number in range(20)]
        for number in (1, 2):
            for name in shared:
                await asked.resolver.for_client(client(number)).query(name, A)
        stranger = asked.resolver.for_client(client(3))
        for number in range(100):
            await stranger.query(b"x%d.example.com" % number, A)
            await stranger.query(b"x%d.example.com" % number, A)
        assert all(asked.resolver.cached(name, A) for name in shared)
        # What it has room for it has; and others find room for theirs.
        assert asked.resolver.cached(b"x99.example.com", A) == ABSENT
        assert asked.resolver.cached(b"x81.example.com", A) == ABSENT
        assert asked.resolver.cached(b"x0.example.com", A) is None
        more = [b"more%d.example.com" % number for number in range(30)]
        for name in more:
            for number in (4, 5):
                await asked.resolver.for_client(client(number)).query(name, A)
        assert all(asked.resolver.cached(name, A) for name in more[-20:])
        known = [asked.resolver.cached(b"x%d.example.com" % number, A) for number in range(100)]
        assert sum(map(bool, known)) <= 12

    with_resolver({}, do)


# Several who ask ----------------------------------------------------------------------------------

HELD: Zone = {"mx1.example.com": Held(["300 A 192.0.2.1"])}


def test_simultaneous_queries_of_the_same_question_share_a_lookup() -> None:
    async def do(asked: Asked) -> None:
        several = [asyncio.ensure_future(asked.a()) for _ in range(20)]
        await asyncio.sleep(0)
        asked.server.release()
        assert await asyncio.gather(*several) == [addresses(1)] * 20
        assert asked.questions() == 1
        assert asked.results == {(A, LookupResult.ANSWERED): 1}

    with_resolver(HELD, do)


def test_a_cancelled_query_leaves_the_answer_to_the_others() -> None:
    async def do(asked: Asked) -> None:
        first = asyncio.ensure_future(asked.a())
        second = asyncio.ensure_future(asked.a())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert first.cancelled()
        asked.server.release()
        assert await second == addresses(1)
        assert asked.questions() == 1

    with_resolver(HELD, do)


def test_an_answer_that_comes_too_late_is_cached() -> None:
    async def do(asked: Asked) -> None:
        await asked.times_out()
        asked.server.release()
        await until(lambda: asked.resolver.cached(MX1, A))
        assert await asked.a() == addresses(1)
        assert asked.questions() == 1

    with_resolver(HELD, do)


def test_a_failure_that_nobody_waits_for_has_no_effect() -> None:
    async def do(asked: Asked) -> None:
        await asked.times_out()
        asked.server.release()
        await until(lambda: asked.results)
        with fails():
            await asked.a()

    with_resolver({"mx1.example.com": Held(SERVFAIL)}, do)


def test_a_slow_answer_is_waited_for() -> None:
    async def do(asked: Asked) -> None:
        assert await asked.a() == addresses(1)

    with_resolver({"mx1.example.com": Slow(0.2, ["300 A 192.0.2.1"])}, do)


def client(number: int) -> Any:
    """Return one of many clients, each of a network of its own."""
    return address_of(f"10.{number >> 8}.{number & 255}.7")


async def settle() -> None:
    """Let what has been asked be sent, or wait."""
    for _ in range(3):
        await asyncio.sleep(0)


def held(*names: bytes) -> Zone:
    return {name.decode(): Held(["300 A 192.0.2.1"]) for name in names} | EVERYTHING


def test_lookups_beyond_the_limit_are_queued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 2)
    names = (b"a.example.com", b"b.example.org")

    async def do(asked: Asked) -> None:
        clients = [asked.resolver.for_client(client(number)) for number in range(3)]
        waiting = [
            asyncio.ensure_future(each.query(name, A))
            for each, name in zip(clients, (*names, MX1), strict=True)
        ]
        waiting += [asyncio.ensure_future(clients[2].query(name, A)) for name in names]
        await until(lambda: asked.questions(names[1]))
        await settle()
        assert asked.questions() == 0
        asked.server.release()
        assert [_short(each) for each in await asyncio.gather(*waiting)] == [
            addresses(1), addresses(1), addresses(1, 2), addresses(1), addresses(1)
        ]  # fmt: skip
        assert asked.results == {(A, LookupResult.ANSWERED): 3}
        assert await asked.a(b"c.example.com") == ABSENT, "there is room again"

    with_resolver(held(*names), do)


def test_a_lookup_that_is_cancelled_in_the_queue_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 1)

    async def do(asked: Asked) -> None:
        first = asyncio.ensure_future(asked.a(b"a.example.com"))
        await settle()
        patient = [asyncio.ensure_future(asked.a(b"b.example.com")) for _ in range(2)]
        await settle()
        await asked.times_out()
        patient[0].cancel()
        await settle()
        assert asked.results == {(A, LookupResult.TOO_MANY): 1}
        assert asked.timed == 0
        asked.server.release()
        await asyncio.gather(first, patient[1])
        assert asked.questions() == 0
        assert await asked.a() == addresses(1, 2), "that it was not asked is not remembered"

    with_resolver(held(b"a.example.com", b"b.example.com"), do)


def test_a_question_of_a_crowded_network_starts_early_if_another_network_asks_too() -> None:
    async def do(asked: Asked) -> None:
        crowd = asked.resolver.for_client(client(1))
        names = [b"h%d.silent.example" % number for number in range(200)]
        many = [asyncio.ensure_future(crowd.query(name, A)) for name in (*names, MX1)]
        await settle()
        assert not many[-1].done()
        assert _short(await asked.resolver.for_client(client(2)).query(MX1, A)) == addresses(1, 2)
        assert _short(await many[-1]) == addresses(1, 2)
        for each in many:
            each.cancel()

    zone = {f"h{number}.silent.example": SILENT for number in range(200)} | EVERYTHING
    with_resolver(zone, do)


def test_the_queue_is_bounded_and_the_network_with_most_lookups_loses_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 1)
    monkeypatch.setattr(fair_share, "MAX_QUEUED", 5)

    async def do(asked: Asked) -> None:
        first = asyncio.ensure_future(asked.a(b"a.example.com"))
        await settle()
        crowd = asked.resolver.for_client(client(1))
        many = [
            asyncio.ensure_future(crowd.query(b"h%d.example.com" % number, A))
            for number in range(9)
        ]
        await settle()
        assert [each.done() for each in many] == [False] * 5 + [True] * 4
        other = asyncio.ensure_future(asked.resolver.for_client(client(2)).query(MX1, A))
        await settle()
        assert [each.done() for each in many] == [False] * 4 + [True] * 5
        assert not other.done()
        with pytest.raises(DnsError, match="too many lookups are queued"):
            await many[-1]
        asked.server.release()
        assert _short(await other) == addresses(1, 2)
        await asyncio.gather(first, *many[:4])
        assert asked.results[A, LookupResult.TOO_MANY] == 5
        for each in many[4:]:
            assert isinstance(each.exception(), DnsError)

    with_resolver(held(b"a.example.com"), do)


def test_queued_lookups_fail_when_the_resolver_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 1)

    async def do(asked: Asked) -> None:
        several = [asyncio.ensure_future(asked.a(name)) for name in (b"mx2.example.com", MX1)]
        await settle()
        await asked.resolver.close()
        for waiting in several:
            with pytest.raises(DnsError):
                await waiting

    with_resolver({"mx2.example.com": SILENT}, do)


def test_a_lookup_survives_the_replacement_of_its_channel() -> None:
    async def do(asked: Asked) -> None:
        waiting = asyncio.ensure_future(asked.a())
        await asyncio.sleep(0)
        for _ in range(3):
            asked.now += CHANNEL_SECONDS
            await asked.a(b"%d.example.com" % asked.now)
        asked.server.release()
        assert await waiting == addresses(1)

    with_resolver(HELD, do)


# The end ------------------------------------------------------------------------------------------


@LOOPS
def test_lookups_in_flight_fail_when_the_resolver_is_closed(
    loop: Loop, capfd: pytest.CaptureFixture[str]
) -> None:
    async def do(asked: Asked) -> None:
        first = asyncio.ensure_future(asked.a())
        await asyncio.sleep(0)
        asked.now += CHANNEL_SECONDS
        second = asyncio.ensure_future(asked.a(b"mx2.example.com"))
        await asyncio.sleep(0)
        await asked.resolver.close()
        for waiting in (first, second):
            with pytest.raises(DnsError):
                await waiting
        with pytest.raises(DnsError, match="closed"):
            await asked.a(b"mx3.example.com")

    zone: Zone = {**HELD, "mx2.example.com": SILENT}
    with_resolver(zone, do, loop=loop)
    assert capfd.readouterr().err == ""


def test_an_unused_resolver_can_be_closed() -> None:
    asyncio.run(Resolver().close())
