"""Probes: queries with known answers, which show whether a source is in order.

A list has an entry for tests, and another that must not exist (RFC 5782, 5). A probe queries both.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lists.families import LOOPBACK, family_of, is_in
from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.sources.faults import (
    FaultKind,
    SourceFault,
    bad_answer,
    lists_everything,
    no_answer_of_list,
    no_test_entry,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.dns.lookup import Lookup
    from greyd.dns.sources.source import ListSource


@dataclass(frozen=True, slots=True)
class TestPoint:
    """The pair of names that a list contains and does not contain."""

    absent: bytes
    """The name that must not be listed, in the form of a question."""
    present: bytes
    """The name that must be listed."""
    absent_text: str
    present_text: str
    is_required: bool = True
    """Whether a list with a test entry must list ``present``; not all lists support IPv6."""


_IPV4 = TestPoint(b"1.0.0.127", b"2.0.0.127", "127.0.0.1", "127.0.0.2")
_MAPPED = b".0.0.0.0.0.f.7.f.f.f.f" + b".0" * 20
_IPV6 = TestPoint(
    b"1" + _MAPPED, b"2" + _MAPPED, "::ffff:127.0.0.1", "::ffff:127.0.0.2", is_required=False
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe of a list."""

    fault: SourceFault | None
    has_test_entry: bool = False
    """Whether the list contains its test entry."""

    @property
    def is_unanswered(self) -> bool:
        """Whether no server of the list, or the resolver itself, has answered."""
        return self.fault is not None and self.fault.kind is FaultKind.NO_ANSWER


async def probe_list(lookup: Lookup, source: ListSource, timeout_seconds: float) -> ProbeResult:
    """Query the test points of a list; a list that answers later than the timeout has a fault."""
    points = list(_test_points(source))
    try:
        async with asyncio.timeout(timeout_seconds):
            results = await asyncio.gather(*(_probe_point(lookup, source, each) for each in points))
    except TimeoutError:
        return ProbeResult(
            no_answer_of_list(source.name, f"no answer within {timeout_seconds:g} s")
        )
    faults = [each.fault for each in results if each.fault is not None]
    return ProbeResult(
        faults[0] if faults else None, has_test_entry=any(each.has_test_entry for each in results)
    )


def _test_points(source: ListSource) -> Iterator[TestPoint]:
    if source.lists_addresses:
        yield _IPV4
        if source.asks_ipv6:
            yield _IPV6
    if source.lists_domains:
        domain = family_of(source.name).test_domain
        yield TestPoint(b"invalid", domain, "INVALID", domain.decode().upper())


async def _probe_point(lookup: Lookup, source: ListSource, point: TestPoint) -> ProbeResult:
    absent, present = await asyncio.gather(
        _codes(lookup, source, point.absent), _codes(lookup, source, point.present)
    )
    # The first answer is enough: a lost query for the second name is no fault.
    if isinstance(absent, DnsError):
        return ProbeResult(no_answer_of_list(source.name, _reason(absent)))
    return ProbeResult(
        _fault(source, point, absent, () if isinstance(present, DnsError) else present)
        or _fault_of_absence(source, point, present),
        has_test_entry=point.is_required and not isinstance(present, DnsError) and bool(present),
    )


async def _codes(lookup: Lookup, source: ListSource, name: bytes) -> tuple[int, ...] | DnsError:
    try:
        answer = await lookup.query(name + b"." + source.name.encode(), RecordType.A)
    except DnsError as error:
        return error
    return tuple(int.from_bytes(value, "big") for value in answer.values)


def _fault(
    source: ListSource, point: TestPoint, absent: tuple[int, ...], present: tuple[int, ...]
) -> SourceFault | None:
    """Return the fault that the answers show, or None."""
    family = family_of(source.name)
    for code in absent:
        if not is_in(code, (LOOPBACK,)) or family.is_error(code):
            return bad_answer(source.name, code)
    if absent:
        return lists_everything(source.name, point.absent_text)
    for code in present:
        is_error = family.is_error(code) and not is_in(code, family.test_entry_codes)
        if not is_in(code, (LOOPBACK,)) or is_error:
            return bad_answer(source.name, code)
    return None


def _fault_of_absence(
    source: ListSource, point: TestPoint, present: tuple[int, ...] | DnsError
) -> SourceFault | None:
    if present == () and point.is_required and source.has_test_entry:
        return no_test_entry(source.name, point.present_text)
    return None


def _reason(error: DnsError) -> str:
    """Return the reason of a failed lookup, without its name."""
    return str(error).rpartition(": ")[2]
