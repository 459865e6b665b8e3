"""Records the DNS queries of a decision."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lookup import DisabledLookup, DnsError, Lookup, RecordType
from greyd.escaping import printable

if TYPE_CHECKING:
    from greyd.dns.lookup import DnsAnswer

MAX_QUERIES = 200
"""The maximum number of recorded queries."""

_MAX_LINE = 300


@dataclass(frozen=True)
class DnsQuery:
    """A DNS query, and its answer in words."""

    question: str
    """The record type and the name."""
    answer: str
    is_answered: bool
    failure: str = ""
    """The query and why it has no answer; empty if it has one."""

    def __str__(self) -> str:
        """Return a line for display."""
        return f"{self.question}: {self.answer}"[:_MAX_LINE]


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
            answer_text = f"no answer ({error})"
            self._record(DnsQuery(question, answer_text, is_answered=False, failure=str(error)))
            raise
        except asyncio.CancelledError:
            failure = f"{question}: no answer in time"
            late = DnsQuery(question, "no answer in time", is_answered=False, failure=failure)
            self._record(late)
            raise
        self._record(DnsQuery(question, _values(answer, kind), is_answered=True))
        return answer

    def _record(self, query: DnsQuery) -> None:
        if len(self.queries) < MAX_QUERIES and query not in self.queries:
            self.queries.append(query)


class SilentLookup(RecordingLookup):
    """Sends and records no query (``--no-dns``)."""

    def __init__(self) -> None:
        super().__init__(DisabledLookup())

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
