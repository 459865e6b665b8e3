"""Converts the responses of c-ares to outcomes of lookups, and enforces the limits on their size.

c-ares reports NXDOMAIN and an empty answer as errors, without the SOA record (RFC 2308), so both
are cached for ``NEGATIVE_TTL_SECONDS``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton  # arithmetic on addresses, no I/O
from typing import Any

import aiodns
import pycares

from greyd.dns.lookup import DnsError, LookupResult, RecordType

NEGATIVE_TTL_SECONDS = 60
"""Cache time of a negative answer (NXDOMAIN, or no such records) without an SOA record."""

FAILURE_TTL_SECONDS = 5
"""Cache time of a failure: all recipients of a message cause the same lookup within seconds."""

MAX_RECORDS = 256
"""Maximum number of records in an answer; a longer answer is a failure."""

MAX_ANSWER_BYTES = 16 * 1024
"""Maximum total size of an answer's values; a larger answer is a failure."""

_LABEL = rb"[!-\-/-~]{1,63}"  # printable, without a dot
VALID_NAME = re.compile(rb"(?!.{254})" + _LABEL + rb"(?:\." + _LABEL + rb")*")
QUERYABLE_NAME = re.compile(rb"[a-z0-9_.*/-]+")
"""The only bytes that c-ares accepts in a name."""

_RECORD_DATA = {
    RecordType.A: pycares.ARecordData,
    RecordType.AAAA: pycares.AAAARecordData,
    RecordType.MX: pycares.MXRecordData,
    RecordType.PTR: pycares.PTRRecordData,
    RecordType.TXT: pycares.TXTRecordData,
}
_RESULTS = {
    pycares.errno.ARES_ENODATA: LookupResult.NODATA,
    pycares.errno.ARES_ENOTFOUND: LookupResult.NXDOMAIN,
    pycares.errno.ARES_ETIMEOUT: LookupResult.TIMEOUT,
}
_SERVER_FAILURES = frozenset({
    pycares.errno.ARES_ETIMEOUT,
    pycares.errno.ARES_ESERVFAIL,
    pycares.errno.ARES_EREFUSED,
    pycares.errno.ARES_ECONNREFUSED,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class LookupOutcome:
    """The outcome of a lookup: its values or its failure, and how long to cache it."""

    result: LookupResult
    ttl_seconds: float
    values: tuple[bytes, ...] = ()
    failure: str = ""
    is_server_failure: bool = False
    """Whether the name servers gave no answer: a time-out, SERVFAIL, REFUSED, or unreachable."""
    is_unreachable: bool = False
    """Whether the query reached no name server. Such a failure is not cached: to repeat the query
    costs nothing, and so a restarted server is noticed at once."""


@dataclass(frozen=True, slots=True)
class CnameRedirect:
    """The target of an answer's CNAMEs, to be queried if the answer has no records for it."""

    target: bytes
    ttl_seconds: float


class UnusableAnswerError(DnsError):
    """An answer exceeds a limit, or its CNAMEs cannot be followed."""


def failed_outcome(reason: str) -> LookupOutcome:
    """Return the outcome of a lookup without a usable answer."""
    return LookupOutcome(LookupResult.FAILED, FAILURE_TTL_SECONDS, failure=reason)


def error_outcome(error: BaseException, ttl_seconds: float) -> LookupOutcome:
    """Return the outcome for an exception of aiodns; ``ttl_seconds`` limits its cache time."""
    if not isinstance(error, aiodns.error.DNSError):
        return failed_outcome(str(error))
    number, text = error.args
    result = _RESULTS.get(number, LookupResult.FAILED)
    if result in (LookupResult.NODATA, LookupResult.NXDOMAIN):
        return LookupOutcome(result, min(ttl_seconds, NEGATIVE_TTL_SECONDS))
    return LookupOutcome(
        result,
        FAILURE_TTL_SECONDS,
        failure=text,
        is_server_failure=number in _SERVER_FAILURES,
        is_unreachable=number == pycares.errno.ARES_ECONNREFUSED,
    )


def read_response(
    response: pycares.DNSResult, name: bytes, record_type: RecordType, ttl_seconds: float
) -> LookupOutcome | CnameRedirect:
    """Return the outcome of a response, or the CNAME target to query next.

    Args:
        response: the response of c-ares.
        name: the queried name.
        record_type: the queried type.
        ttl_seconds: the smallest TTL of the lookup's earlier responses.

    Raises:
        UnusableAnswerError: the answer exceeds a limit, or its CNAMEs form a loop.
    """
    sections = (response.answer, response.authority, response.additional)
    if sum(map(len, sections)) > 2 * MAX_RECORDS:
        raise UnusableAnswerError(f"more than {2 * MAX_RECORDS} records in all sections")
    redirect = _follow_cnames(response, name, ttl_seconds)
    target, ttl_seconds = redirect.target, redirect.ttl_seconds
    records = [
        record
        for record in response.answer
        if isinstance(record.data, _RECORD_DATA[record_type])
        and _decoded_name(record.name) == target
    ]
    if records:
        ttl_seconds = min(ttl_seconds, *(record.ttl for record in records))
        return LookupOutcome(LookupResult.ANSWERED, ttl_seconds, _values(record_type, records))
    soa_seconds = _negative_ttl(response)
    if target == name or soa_seconds is not None:
        seconds = NEGATIVE_TTL_SECONDS if soa_seconds is None else soa_seconds
        return LookupOutcome(LookupResult.NODATA, min(ttl_seconds, seconds))
    return redirect


def _decoded_name(text: str | bytes) -> bytes:
    """Return a name from c-ares in lower case; c-ares escapes unusual bytes with a backslash."""
    return (text.encode("ascii") if isinstance(text, str) else text).lower()


def _follow_cnames(response: pycares.DNSResult, name: bytes, ttl_seconds: float) -> CnameRedirect:
    start = name
    cnames = {
        _decoded_name(record.name): (_decoded_name(record.data.cname), record.ttl)
        for record in response.answer
        if isinstance(record.data, pycares.CNAMERecordData)
    }
    while cname := cnames.pop(name, None):
        name, ttl = cname
        ttl_seconds = min(ttl_seconds, ttl)
        if name == start:
            raise UnusableAnswerError("its CNAMEs form a loop")
    return CnameRedirect(name, ttl_seconds)


def _negative_ttl(response: pycares.DNSResult) -> float | None:
    """Return the TTL of a negative answer (RFC 2308, 5); None without an SOA record."""
    for record in response.authority:
        if isinstance(record.data, pycares.SOARecordData):
            return float(min(record.ttl, record.data.minimum))
    return None


def _values(record_type: RecordType, records: list[Any]) -> tuple[bytes, ...]:
    if len(records) > MAX_RECORDS:
        raise UnusableAnswerError(f"more than {MAX_RECORDS} records")
    if record_type is RecordType.MX:
        records.sort(key=lambda record: record.data.priority)
        values = [_decoded_name(record.data.exchange) for record in records]
        # The empty name is a null MX: the domain accepts no mail (RFC 7505).
        values = [each for each in values if _is_valid_name(each) or not each]
    elif record_type is RecordType.PTR:
        values = [_decoded_name(record.data.dname) for record in records]
        values = [each for each in values if _is_valid_name(each)]
    elif record_type is RecordType.TXT:
        values = [record.data.data for record in records]
    else:
        family = AF_INET if record_type is RecordType.A else AF_INET6
        values = [inet_pton(family, record.data.addr) for record in records]
    if sum(map(len, values)) > MAX_ANSWER_BYTES:
        raise UnusableAnswerError(f"more than {MAX_ANSWER_BYTES} bytes")
    return tuple(values)


def _is_valid_name(name: bytes) -> bool:
    return VALID_NAME.fullmatch(name) is not None and b"\\" not in name
