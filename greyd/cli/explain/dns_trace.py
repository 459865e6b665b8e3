"""Records the DNS queries of a decision, and looks up the client's name in DNS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lookup import DisabledLookup, DnsError, Lookup, RecordType
from greyd.escaping import printable
from greyd.rules.address import parse_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from greyd.config.settings import Settings
    from greyd.dns.lookup import DnsAnswer
    from greyd.rules.address import Address

MAX_QUERIES = 200
"""The maximum number of recorded queries."""

_MAX_LINE = 300
_MAX_NAMES = 5
_NAME_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class DnsQuery:
    """A DNS query, and its answer in words."""

    question: str
    """The record type and the name."""
    answer: str
    is_answered: bool

    def __str__(self) -> str:
        """Return a line for display."""
        return f"{self.question}: {self.answer}"[:_MAX_LINE]


@dataclass(frozen=True)
class ResolvedName:
    """The names that DNS has for an address."""

    confirmed: bytes
    """The name that resolves back to the address; empty if none does."""
    names: tuple[bytes, ...]
    """All names of the address."""


class RecordingLookup(Lookup):
    """Forwards queries to a resolver, and records them with their answers."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.queries: list[DnsQuery] = []

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        """Send a query, and record the answer."""
        question = f"{kind.value} {printable(name)}"
        try:
            answer = await self._lookup.query(name, kind)
        except DnsError as error:
            self._record(DnsQuery(question, f"no answer ({error})", is_answered=False))
            raise
        except asyncio.CancelledError:
            self._record(DnsQuery(question, "no answer in time", is_answered=False))
            raise
        self._record(DnsQuery(question, _values(answer, kind), is_answered=True))
        return answer

    def _record(self, query: DnsQuery) -> None:
        if len(self.queries) < MAX_QUERIES and query not in self.queries:
            self.queries.append(query)


@contextlib.asynccontextmanager
async def recording_lookup(
    settings: Settings, *, is_wanted: bool
) -> AsyncIterator[RecordingLookup]:
    """Open the server's resolver; without ``is_wanted``, send and record no query."""
    if not is_wanted:
        yield _SilentLookup(DisabledLookup())
        return
    from greyd.dns.resolver import Resolver

    resolver = Resolver(settings.resolvers, settings.dns_timeout_seconds)
    try:
        yield RecordingLookup(resolver)
    finally:
        await resolver.close()


class _SilentLookup(RecordingLookup):
    """Records no query, as none is sent."""

    def _record(self, query: DnsQuery) -> None:
        pass


def _values(answer: DnsAnswer, kind: RecordType) -> str:
    if not answer.values:
        return "no such record" if answer.exists else "no such name"
    return ", ".join(_value(value, kind) for value in answer.values)


def _value(value: bytes, kind: RecordType) -> str:
    if kind in (RecordType.A, RecordType.AAAA):
        return socket.inet_ntop(socket.AF_INET if kind is RecordType.A else socket.AF_INET6, value)
    return printable(value) or "(empty)"


# The client's name ------------------------------------------------------------------------------


async def resolve_client_name(
    attributes: Mapping[str, bytes], lookup: Lookup
) -> ResolvedName | None:
    """Look up the client's name in DNS as Postfix does.

    Return None if the request already has a name, or DNS does not answer.
    """
    address = parse_address(attributes.get("client_address", b""))
    if address is None or attributes.get("client_name", b"unknown").lower() != b"unknown":
        return None
    try:
        async with asyncio.timeout(_NAME_TIMEOUT_SECONDS):
            return await _confirm(address, lookup)
    except (DnsError, TimeoutError):
        return None


async def _confirm(address: Address, lookup: Lookup) -> ResolvedName:
    from greyd.dns.reverse_names import pointer_name

    names = (await lookup.query(pointer_name(address), RecordType.PTR)).values[:_MAX_NAMES]
    kind = RecordType.A if address.bits == 32 else RecordType.AAAA
    for name in names:
        if address.packed in (await lookup.query(name, kind)).values:
            return ResolvedName(name, names)
    return ResolvedName(b"", names)
