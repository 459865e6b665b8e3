"""c-ares responses: validated, limited, and turned into lookup outcomes."""

from __future__ import annotations

import logging
import re
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, NamedTuple

import aiodns
import pycares

from greyd.dns.lookup import LookupResult, RecordType

NEGATIVE_TTL_SECONDS = 60
"""How long it is remembered that there is no such name, or no such record."""

FAILURE_TTL_SECONDS = 5
"""How long it is remembered that there was no answer: the recipients of one message ask at once."""

MAX_RECORDS = 256
"""In an answer; one with more is none."""

MAX_BYTES = 16 * 1024
"""Of the values of an answer; one with more is none."""

_LABEL = rb"[!-\-/-~]{1,63}"  # printable, and no dot
VALID_NAME = re.compile(rb"(?!.{254})" + _LABEL + rb"(?:\." + _LABEL + rb")*")
QUERYABLE_NAME = re.compile(rb"[a-z0-9_.*/-]+")  # c-ares takes nothing else

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

# aiodns warns where inotify can't be had, with each channel; that costs nothing here, see above.
logging.getLogger("aiodns").addHandler(logging.NullHandler())


class LookupOutcome(NamedTuple):
    """What became of a lookup."""

    result: LookupResult
    seconds: float
    """How long that is true."""
    values: tuple[bytes, ...] = ()
    failure: str = ""


class UnusableAnswerError(Exception):
    """What came is none; the text says why."""


def decoded_name(text: str | bytes) -> bytes:
    """Return a name as c-ares tells it; what is odd in it comes with a backslash."""
    return (text.encode("ascii") if isinstance(text, str) else text).lower()


def failed_outcome(reason: str) -> LookupOutcome:
    """Return the outcome of a lookup without a usable answer."""
    return LookupOutcome(LookupResult.FAILED, FAILURE_TTL_SECONDS, failure=reason)


def error_outcome(error: BaseException, seconds: float) -> LookupOutcome:
    """Return what an error of aiodns says: number and text."""
    if not isinstance(error, aiodns.error.DNSError):
        return failed_outcome(str(error))
    number, text = error.args
    result = _RESULTS.get(number, LookupResult.FAILED)
    if result in (LookupResult.NODATA, LookupResult.NXDOMAIN):
        return LookupOutcome(result, min(seconds, NEGATIVE_TTL_SECONDS))
    return LookupOutcome(result, FAILURE_TTL_SECONDS, failure=text)


def follow_cnames(response: pycares.DNSResult, name: bytes, seconds: float) -> tuple[bytes, float]:
    """Return where an answer's CNAMEs lead, and the smallest TTL on the way."""
    start = name
    cnames = {
        decoded_name(record.name): (decoded_name(record.data.cname), record.ttl)
        for record in response.answer
        if isinstance(record.data, pycares.CNAMERecordData)
    }
    while cname := cnames.pop(name, None):
        name, ttl = cname
        seconds = min(seconds, ttl)
        if name == start:
            raise UnusableAnswerError("its CNAMEs go in a circle")
    return name, seconds


def soa_seconds(response: pycares.DNSResult) -> float | None:
    """Return how long there is nothing (RFC 2308, 5); None where the answer does not say."""
    for record in response.authority:
        if isinstance(record.data, pycares.SOARecordData):
            return float(min(record.ttl, record.data.minimum))
    return None


def record_values(kind: RecordType, records: list[Any]) -> tuple[bytes, ...]:
    """Return the values of an answer's records.

    Raises:
        UnusableAnswerError: the answer exceeds a limit.
    """
    if len(records) > MAX_RECORDS:
        raise UnusableAnswerError(f"more than {MAX_RECORDS} records")
    if kind is RecordType.MX:
        records.sort(key=lambda record: record.data.priority)
        values = [decoded_name(record.data.exchange) for record in records]
        # RFC 7505: a lone MX of the root says that the domain takes no mail.
        values = [each for each in values if _is_printable_name(each) or not each]
    elif kind is RecordType.PTR:
        values = [decoded_name(record.data.dname) for record in records]
        values = [each for each in values if _is_printable_name(each)]
    elif kind is RecordType.TXT:
        values = [record.data.data for record in records]
    else:
        family = AF_INET if kind is RecordType.A else AF_INET6
        values = [inet_pton(family, record.data.addr) for record in records]
    if sum(map(len, values)) > MAX_BYTES:
        raise UnusableAnswerError(f"more than {MAX_BYTES} octets")
    return tuple(values)


def _is_printable_name(name: bytes) -> bool:
    return VALID_NAME.fullmatch(name) is not None and b"\\" not in name
