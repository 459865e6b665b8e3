"""The simulated DNS: hosts, mail domains, lists that learn with a delay, and their faults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsAnswer, DnsError, RecordType

if TYPE_CHECKING:
    from tests.outcome.clock import SimulatedClock
    from tests.outcome.mail import Host

ZEN = "zen.spamhaus.org"
DBL = "dbl.spamhaus.org"
DNSWL = "list.dnswl.org"

PBL, XBL, CSS = "127.0.0.11", "127.0.0.4", "127.0.0.3"
DOMAIN_CODE = "127.0.1.2"
_TEST_POINTS = {
    f"2.0.0.127.{ZEN}": "127.0.0.2",
    f"2.0.0.127.{DNSWL}": "127.0.2.0",
    f"test.{DBL}": DOMAIN_CODE,
    f"dbltest.com.{DBL}": DOMAIN_CODE,
}
"""The entries by which a client checks that a list works (RFC 5782, 5)."""


class Fault(Enum):
    """What a list or a resolver that is out of order does."""

    SILENT = "silent"
    SERVFAIL = "SERVFAIL"
    ERROR_CODE = "error code"
    """The list answers every question with its code for refused queries."""
    LISTS_WORLD = "lists the world"


@dataclass(frozen=True, slots=True)
class Outage:
    """A fault of a list, or of the resolver, for a time."""

    zone: str
    """The list; empty for the whole DNS."""
    fault: Fault
    begins: float
    ends: float

    def __str__(self) -> str:
        what = self.zone or "the resolver"
        return f"{what}: {self.fault.value}, {(self.ends - self.begins) / 3600:.0f} h"


@dataclass(frozen=True, slots=True)
class _Listing:
    code: str
    since: float
    until: float


class SimulatedDns:
    """The DNS of the simulated world, as it is at the simulated time."""

    def __init__(self, clock: SimulatedClock, outages: tuple[Outage, ...] = ()) -> None:
        self._clock = clock
        self.outages = outages
        self.question_count = 0
        self._records: dict[tuple[bytes, RecordType], tuple[bytes, ...]] = {}
        self._names: set[bytes] = set()
        self._wildcards: dict[bytes, tuple[bytes, ...]] = {}
        self._listings: dict[bytes, _Listing] = {}

    # The world ----------------------------------------------------------------------------------

    def add(self, name: str, kind: RecordType, *values: str) -> None:
        """Add records to a name; addresses as text."""
        is_address = kind in {RecordType.A, RecordType.AAAA}
        data = tuple(ip_address(v).packed if is_address else v.encode() for v in values)
        key = name.encode(), kind
        self._records[key] = (*self._records.get(key, ()), *data)
        self._names.add(name.encode())

    def add_host(self, host: Host) -> None:
        """Add the address record of a host's confirmed name."""
        if host.name != "unknown":
            self.add(host.name, RecordType.A, host.address)

    def add_domain(self, domain: str, *exchangers: str, spf: str = "") -> None:
        """Add a mail domain; without exchangers it has an address."""
        if exchangers:
            self.add(domain, RecordType.MX, *exchangers)
        else:
            self.add(domain, RecordType.A, "198.51.100.80")
        if spf:
            self.add(domain, RecordType.TXT, spf)

    def add_wildcard(self, domain: str, exchanger: str, spf: str) -> None:
        """Give each name directly below a domain this exchanger and this SPF record."""
        self._wildcards[domain.encode()] = exchanger.encode(), spf.encode()

    def list_address(
        self, zone: str, address: str, code: str, since: float, until: float = 1e9
    ) -> None:
        """List an address for a time."""
        reverse = ".".join(reversed(address.split(".")))
        self._list(f"{reverse}.{zone}", code, since, until)

    def list_domain(self, domain: str, since: float, until: float = 1e9) -> None:
        """List a domain for a time."""
        self._list(f"{domain}.{DBL}", DOMAIN_CODE, since, until)

    def _list(self, name: str, code: str, since: float, until: float) -> None:
        before = self._listings.get(name.encode())
        if before is None or since < before.since:
            self._listings[name.encode()] = _Listing(code, since, until)

    # Lookups ------------------------------------------------------------------------------------

    def outage(self, name: bytes) -> Outage | None:
        """Return the outage that a question for a name meets now, or None."""
        now = self._clock.elapsed
        for outage in self.outages:
            if outage.begins <= now < outage.ends and outage.zone in {"", list_of(name)}:
                return outage
        return None

    def answer(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name now.

        Raises:
            DnsError: the servers answer SERVFAIL, or not at all.
        """
        self.question_count += 1
        if (outage := self.outage(name)) is not None:
            return _faulty_answer(outage)
        if list_of(name):
            return self._listing(name, self._clock.elapsed, record_type)
        values = self._records.get((name, record_type))
        if values is not None:
            return DnsAnswer(values)
        parent = self._wildcards.get(name.partition(b".")[2])
        if parent is not None:
            wanted = {RecordType.MX: parent[0], RecordType.TXT: parent[1]}
            return DnsAnswer((wanted[record_type],) if record_type in wanted else ())
        return DnsAnswer(exists=name in self._names)

    def _listing(self, name: bytes, now: float, record_type: RecordType) -> DnsAnswer:
        code = _TEST_POINTS.get(name.decode("ascii"))
        listing = self._listings.get(name)
        if listing is not None and listing.since <= now < listing.until:
            code = listing.code
        if code is None:
            return DnsAnswer(exists=False)
        return DnsAnswer((ip_address(code).packed,) if record_type is RecordType.A else ())


def list_of(name: bytes) -> str:
    """Return the list that a question is for, or an empty text."""
    for zone in (ZEN, DBL, DNSWL):
        if name.endswith(b"." + zone.encode()):
            return zone
    return ""


def _faulty_answer(outage: Outage) -> DnsAnswer:
    if outage.fault in {Fault.SILENT, Fault.SERVFAIL}:
        raise DnsError("no answer" if outage.fault is Fault.SILENT else "SERVFAIL")
    if outage.fault is Fault.ERROR_CODE:
        code = "127.0.0.255" if outage.zone == DNSWL else "127.255.255.254"
    else:
        code = {ZEN: "127.0.0.2", DBL: DOMAIN_CODE, DNSWL: "127.0.2.3"}[outage.zone]
    return DnsAnswer((ip_address(code).packed,))
