"""Host names: their syntax, and the organisation that registered a name.

Names are bytes in lower case without a dot at the end. Internationalised names are in ASCII.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from greyd.rules.names.internationalised import ascii_domain
from greyd.rules.public_suffixes import suffix_list_in_force

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


_LABEL = rb"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_FQDN = re.compile(rb"(?=.{1,253}\Z)%b(?:\.%b)+" % (_LABEL, _LABEL))
_HOST_LABEL = re.compile(_LABEL)
_QUERYABLE_LABEL = re.compile(rb"[a-z0-9_-]{1,63}")
_LITERAL = re.compile(rb"\[(?:ipv6:)?[0-9a-f:.]{2,45}\]")


MAX_NAME_BYTES = 253
"""Maximum length of a name in the DNS, written with dots (RFC 1035, 2.3.4)."""


def normal_name(name: bytes | None) -> bytes:
    """Return a host name in ASCII, in lower case and without a dot at its end; empty for None."""
    return ascii_domain(name or b"").lower().rstrip(b".")


def is_fqdn(name: bytes) -> bool:
    """Whether a name has at least two valid labels, of which the last one is not numeric."""
    return _FQDN.fullmatch(name) is not None and not name.rpartition(b".")[2].isdigit()


def is_literal(helo: bytes) -> bool:
    """Whether a HELO name is an address literal (RFC 5321, 4.1.3)."""
    return _LITERAL.fullmatch(helo) is not None


def domain_of(sender: bytes) -> bytes:
    """Return the domain of a mail address, in ASCII and lower case; empty if it has none."""
    return normal_name(sender.rpartition(b"@")[2]) if b"@" in sender else b""


@lru_cache(10_000)
def organisation_of(name: bytes) -> bytes:
    """Return the registered domain of a name, according to the public suffix list.

    It is empty for a public suffix, and for a name that is not below a suffix in the list.
    """
    if not is_fqdn(name):
        return b""
    registered = load_suffixes().privatesuffix(name.decode("ascii"))
    return registered.encode("ascii") if registered else b""


def is_public_suffix(name: bytes) -> bool:
    """Whether anyone can register names below this one, according to the public suffix list."""
    if not name.isascii():
        return False
    text = name.decode("ascii")
    return bool(load_suffixes().publicsuffix(text) == text)


@lru_cache(10_000)
def registered_domain(name: bytes) -> bytes:
    """Return the registered domain of a name, whose other labels may be invalid.

    If the name is not below a suffix in the public suffix list, it is the last two labels. It is
    empty if the name does not end with two valid labels.
    """
    end = _longest_suffix(name, _HOST_LABEL)
    return organisation_of(end) or b".".join(end.split(b".")[-2:])


def queryable_suffix(name: bytes, max_bytes: int = MAX_NAME_BYTES) -> bytes:
    """Return the longest suffix of a name, up to ``max_bytes``, that is valid in a DNS query.

    Labels may have hyphens and underscores anywhere. The suffix is empty if it would be a single
    label or an IP address.
    """
    return _longest_suffix(name, _QUERYABLE_LABEL, max_bytes)


def _longest_suffix(name: bytes, form: re.Pattern[bytes], max_bytes: int = MAX_NAME_BYTES) -> bytes:
    labels: list[bytes] = []
    left = max_bytes + 1
    for label in reversed(name.split(b".")):
        left -= len(label) + 1
        if left < 0 or not form.fullmatch(label):
            break
        labels.append(label)
    if len(labels) < 2 or labels[0].isdigit():
        return b""
    return b".".join(reversed(labels))


@cache
def load_suffixes() -> PublicSuffixList:
    """Return the public suffix list in force; cached."""
    return suffix_list_in_force().suffixes.parse()


def is_or_is_below(name: bytes, domain: bytes) -> bool:
    """Whether a name is a domain or below that domain; both must be in lower case."""
    return name == domain or name.endswith(b"." + domain)
