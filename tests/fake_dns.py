"""A resolver for quick tests, which answers from a dict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import ip_address

from greyd.dns.lookup import DnsAnswer, DnsError, Lookup, RecordType
from greyd.rules.address import Address, parse_address


def address_of(text: str) -> Address:
    """Parse a client's address, which has to be valid."""
    address = parse_address(text.encode())
    assert address is not None
    return address


def addresses(*texts: str) -> DnsAnswer:
    return DnsAnswer(tuple(ip_address(text).packed for text in texts))


@dataclass
class FakeDns(Lookup):
    """A resolver that answers from ``records``; other names do not exist."""

    records: dict[tuple[bytes, RecordType], DnsAnswer | DnsError] = field(default_factory=dict)
    silent: set[bytes] = field(default_factory=set)
    asked: list[tuple[bytes, RecordType]] = field(default_factory=list)

    def add(self, name: str, kind: RecordType, *values: str | bytes) -> None:
        if kind in {RecordType.A, RecordType.AAAA}:
            answer = addresses(*(str(value) for value in values))
        else:
            answer = DnsAnswer(tuple(v if isinstance(v, bytes) else v.encode() for v in values))
        self.records[name.encode(), kind] = answer

    def fail(self, name: str, kind: RecordType) -> None:
        self.records[name.encode(), kind] = DnsError("SERVFAIL")

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        self.asked.append((name, record_type))
        if name in self.silent:
            await asyncio.sleep(3600)
        answer = self.records.get((name, record_type))
        if isinstance(answer, DnsError):
            raise answer
        if answer is None:
            return DnsAnswer(exists=any(known == name for known, _ in self.records))
        return answer
