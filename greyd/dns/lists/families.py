"""Answers and test entries of DNS lists, as their operators document them.

RFC 5782 defines for all lists (sections 2.1, 2.3, 5): answers are in 127.0.0.0/8; lists of
addresses contain 127.0.0.2 and not 127.0.0.1, lists of domains ``TEST`` and not ``INVALID``.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

CodeRange = tuple[int, int]
"""The first and the last answer of a range, as 32-bit numbers."""


def _codes(first: str, last: str = "") -> CodeRange:
    return int(IPv4Address(first)), int(IPv4Address(last or first))


GENERAL_ERRORS = (_codes("127.0.0.1"), _codes("127.255.255.0", "127.255.255.255"))
"""Answers that are errors on any list: Spamhaus's error codes, and URIBL's refusal."""

LOOPBACK = _codes("127.0.0.0", "127.255.255.255")

OWN_RESOLVER = "run your own resolver on this machine, and set --resolver to it"


@dataclass(frozen=True, slots=True)
class ListFamily:
    """The lists of one operator."""

    domains: tuple[str, ...] = ()
    """The domains of its zones."""
    errors: tuple[CodeRange, ...] = ()
    """Answers that are errors, besides ``GENERAL_ERRORS``."""
    test_entry_codes: tuple[CodeRange, ...] = ()
    """Answers for the test entry that would be errors for any other name."""
    uncounted: tuple[CodeRange, ...] = ()
    """Answers that count as listings only if the settings name them (``codes``)."""
    has_test_entry: bool = False
    """Whether the operator documents that the test entry exists."""
    test_domain: bytes = b"test"
    """The domain that a list of domains contains for tests."""
    access_remedy: str = OWN_RESOLVER
    """The remedy if the list refuses to answer."""

    def is_error(self, code: int) -> bool:
        """Whether an answer is an error of the list."""
        return is_in(code, GENERAL_ERRORS) or is_in(code, self.errors)

    def is_counted(self, code: int) -> bool:
        """Whether an answer counts as a listing if the settings do not say which ones do."""
        return not is_in(code, self.uncounted)


ANY_LIST = ListFamily()

FAMILIES = (
    # docs.spamhaus.com, "Available zones": 102 to 106 are abused legitimate domains; 255 is the
    # answer to an address.
    ListFamily(
        domains=("spamhaus.org", "dq.spamhaus.net"),
        errors=(_codes("127.0.1.255"),),
        uncounted=(_codes("127.0.1.102", "127.0.1.106"),),
        has_test_entry=True,
        access_remedy=f"{OWN_RESOLVER}; or register for a key (docs/dns-lists.md)",
    ),
    # dnswl.org, "Return codes": 255 is for blocked resolvers. 10 is the category of special cases,
    # to which the test entry belongs (127.0.10.0), and which blocked resolvers have got, too.
    ListFamily(
        domains=("dnswl.org",),
        errors=(_codes("127.0.0.255"), _codes("127.0.10.0", "127.0.10.255")),
        test_entry_codes=(_codes("127.0.10.0", "127.0.10.255"),),
        has_test_entry=True,
        access_remedy=f"{OWN_RESOLVER}; or subscribe (docs/dns-lists.md)",
    ),
    ListFamily(domains=("bl.spamcop.net",), has_test_entry=True),
    ListFamily(
        domains=("barracudacentral.org",),
        has_test_entry=True,
        access_remedy=f"{OWN_RESOLVER}, and register its address (docs/dns-lists.md)",
    ),
    ListFamily(domains=("surbl.org",), has_test_entry=True, test_domain=b"test.surbl.org"),
    ListFamily(domains=("uribl.com",), has_test_entry=True, test_domain=b"test.uribl.com"),
)


def family_of(zone: str) -> ListFamily:
    """Return the family of a zone; ``ANY_LIST`` for an unknown one."""
    for family in FAMILIES:
        if any(zone == domain or zone.endswith(f".{domain}") for domain in family.domains):
            return family
    return ANY_LIST


def is_in(code: int, ranges: tuple[CodeRange, ...]) -> bool:
    """Whether an answer is in one of the ranges."""
    return any(first <= code <= last for first, last in ranges)


def code_text(code: int) -> str:
    """Return an answer as an address."""
    return str(IPv4Address(code))
