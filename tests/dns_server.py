"""A small name server on loopback: gives scripted answers and counts the queries.

What it knows is a dict of names: records, each ``"TTL TYPE DATA"``, or a behaviour. ``*.NAME`` is
what all names below one have that are not in it. A name that is not in it does not exist; one
without records of the type that is asked for answers so, both
with the SOA that says how long. CNAMEs are followed, as a resolver of a mail server's network
does. It speaks UDP and TCP on one port, in a thread of its own: tests with and without a loop can
use it, and real programs can ask it::

    with dns_server({"mx.example.com": ["300 A 192.0.2.1"], "bad.example.com": SERVFAIL}) as server:
        ...  # ask at server.address
        assert server.asked["mx.example.com", "A"] == 1
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CNAMES = 16
"""The maximum number of CNAMEs in one answer."""


class Behaviour(Enum):
    """The behaviour for a name without records."""

    NXDOMAIN = "nxdomain"
    """NXDOMAIN, as for any name that is not in the zone."""
    NO_SOA = "no soa"
    """No records, and no SOA that gives the negative TTL."""
    SERVFAIL = "servfail"
    REFUSED = "refused"
    SILENT = "silent"
    GARBAGE = "garbage"
    """Bytes that are not a DNS message."""
    WRONG_ID = "wrong id"
    """An answer with a wrong id, as a spoofer sends who guesses ids."""
    WRONG_QUESTION = "wrong question"
    """An answer with the right id to a question about another name."""


NXDOMAIN = Behaviour.NXDOMAIN
NO_SOA = Behaviour.NO_SOA
SERVFAIL = Behaviour.SERVFAIL
REFUSED = Behaviour.REFUSED
SILENT = Behaviour.SILENT
GARBAGE = Behaviour.GARBAGE
WRONG_ID = Behaviour.WRONG_ID
WRONG_QUESTION = Behaviour.WRONG_QUESTION

_RCODES = {
    NXDOMAIN: dns.rcode.NXDOMAIN,
    SERVFAIL: dns.rcode.SERVFAIL,
    REFUSED: dns.rcode.REFUSED,
}

Records = Sequence[str]


@dataclass(frozen=True)
class Slow:
    """Answers after some seconds."""

    seconds: float
    entry: Records | Behaviour


@dataclass(frozen=True)
class Held:
    """Answers when the test calls ``release()``."""

    entry: Records | Behaviour


@dataclass(frozen=True)
class Truncated:
    """Answers over TCP only; a UDP answer is truncated, as one that is too long for UDP."""

    records: Records


Entry = Records | Behaviour | Slow | Held | Truncated
Zone = dict[str, Entry]


@dataclass
class DnsServer:
    """A running server, which records its queries for the test."""

    zone: Zone
    """May be changed while it runs."""
    negative_ttl: int
    """The negative TTL in seconds: minimum and TTL of the SOA."""
    follows: bool
    """Whether an answer contains the whole chain of CNAMEs, or only the first."""
    port: int
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The number of queries by name and type, over UDP or TCP."""
    over_tcp: int = 0
    """The number of queries over TCP."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    """Errors in the server itself; the end of the ``with`` block raises them."""

    def __post_init__(self) -> None:
        self._ready = threading.Event()

    @property
    def address(self) -> str:
        """The address of the server, in the form of ``--resolver``."""
        return f"127.0.0.1:{self.port}"

    def release(self) -> None:
        """Send the delayed answers, and delay no more."""
        self._loop.call_soon_threadsafe(self._released.set)

    # Answers ------------------------------------------------------------------------------------

    async def answer(self, wire: bytes, *, over_tcp: bool) -> bytes | None:
        """Return the answer to a query after its delay; None for no answer."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked[name, dns.rdatatype.to_text(question.rdtype)] += 1
        self.over_tcp += over_tcp
        entry = self._entry(name)
        if isinstance(entry, Slow):
            await asyncio.sleep(entry.seconds)
            entry = entry.entry
        elif isinstance(entry, Held):
            await self._released.wait()
            entry = entry.entry
        if entry in (SILENT, GARBAGE):
            return None if entry is SILENT else b"\x00garbage"
        response = self._response(query, name, question.rdtype, entry)
        if isinstance(entry, Truncated) and not over_tcp:
            response.answer.clear()
            response.flags |= dns.flags.TC
        most = 65535 if over_tcp else max(query.payload, 512)
        return response.to_wire(max_size=most, prefer_truncation=True)

    def _response(
        self, query: dns.message.Message, name: str, wanted: int, entry: Entry
    ) -> dns.message.Message:
        if entry is WRONG_QUESTION:
            query = dns.message.make_query("another.example.", wanted, id=query.id)
            entry = ["300 A 192.0.2.66"]
        response = dns.message.make_response(query, recursion_available=True)
        if entry is WRONG_ID:
            response.id ^= 0x5555
            entry = ["300 A 192.0.2.66"]
        end, entry = self._add_records(response, name, wanted, entry)
        if isinstance(entry, Behaviour):
            response.set_rcode(_RCODES.get(entry, dns.rcode.NOERROR))
        if entry is NXDOMAIN or end == "nothing":
            soa = f"ns.example. hostmaster.example. 1 3600 600 86400 {self.negative_ttl}"
            response.authority.append(
                dns.rrset.from_text("example.", self.negative_ttl, "IN", "SOA", soa)
            )
        return response

    def _add_records(
        self, response: dns.message.Message, name: str, wanted: int, entry: Entry
    ) -> tuple[str, Entry]:
        """Add the matching records; returns the response code and the last entry."""
        seen = set()
        for _ in range(MAX_CNAMES if self.follows else 1):
            seen.add(name)
            records = entry.records if isinstance(entry, Truncated) else entry
            if not isinstance(records, Sequence):
                return "behaviour", entry
            fitting = [
                (ttl, kind, data)
                for ttl, kind, data in (record.split(" ", 2) for record in records)
                if dns.rdatatype.from_text(kind) in (wanted, dns.rdatatype.CNAME)
            ]
            for ttl, kind, data in fitting:
                rdata = dns.rdata.from_text(
                    "IN", kind, data, origin=dns.name.root, relativize=False
                )
                response.answer.append(dns.rrset.from_rdata(f"{name}.", int(ttl), rdata))
            aliases = [data for _, kind, data in fitting if kind == "CNAME"]
            if not aliases or wanted == dns.rdatatype.CNAME:
                return "records" if fitting else "nothing", entry
            name = aliases[0].rstrip(".").lower()
            if name in seen:
                return "loop", entry
            entry = self._entry(name)
        return "cut", []

    def _entry(self, name: str) -> Entry:
        if name in self.zone:
            return self.zone[name]
        labels = name.split(".")
        above = (f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels)))
        return next((self.zone[each] for each in above if each in self.zone), NXDOMAIN)

    # Serving ------------------------------------------------------------------------------------

    async def serve(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Answer until ``stop`` is called."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, fault: self.faults.append(fault))
        self._released, self._stopped = asyncio.Event(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(asyncio.TaskGroup())

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.create_task(self._speak_tcp(reader, writer))

            listener = await asyncio.start_server(connected, sock=tcp)
            transport, _ = await self._loop.create_datagram_endpoint(
                lambda: _Udp(self, tasks), sock=udp
            )
            self._ready.set()
            await self._stopped.wait()
            transport.close()
            listener.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    async def _speak_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                wire = await reader.readexactly(length)
                answer = await self.answer(wire, over_tcp=True)
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        assert self._ready.wait(20), "the DNS server did not start"

    def stop(self) -> None:
        """Stop the server."""
        self._loop.call_soon_threadsafe(self._stopped.set)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer, tasks: asyncio.TaskGroup) -> None:
        self._server = server
        self._tasks = tasks
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._tasks.create_task(self._answer(data, addr))

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = await self._server.answer(data, over_tcp=False)
        if answer is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)


def _bind(port: int) -> tuple[socket.socket, socket.socket]:
    """Return sockets for UDP and TCP on one port; 0 takes a free one."""
    while True:
        tcp = socket.create_server(("127.0.0.1", port))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError as error:
            tcp.close()
            udp.close()
            if port or error.errno != errno.EADDRINUSE:
                raise
        else:
            return udp, tcp


@contextlib.contextmanager
def dns_server(
    zone: Zone, *, negative_ttl: int = 60, follows: bool = True, port: int = 0
) -> Iterator[DnsServer]:
    """Run a name server in a thread, and stop it at the end."""
    udp, tcp = _bind(port)
    server = DnsServer(zone, negative_ttl, follows, tcp.getsockname()[1])
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(udp, tcp)), name="DNS server")
    thread.start()
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
        thread.join()
    assert server.faults == []
