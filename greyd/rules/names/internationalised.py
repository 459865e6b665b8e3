"""Internationalised domain names: the DNS has them in an ASCII form (``xn--…``, an A-label).

With SMTPUTF8 (RFC 6531) a mail server may use either form of a domain. greyd compares and stores
the ASCII form. The conversion is that of IDNA 2008 (RFC 5891) after the mapping of UTS 46, so upper
case, decomposed characters and full-width dots make no difference; ``ß`` and the final sigma keep
their own names.
"""

from __future__ import annotations

import re
from functools import lru_cache

import idna

from greyd.escaping import printable

MAX_NAME_CHARACTERS = 253
"""Longer names are not converted: no name in the DNS is longer, and none gets shorter in ASCII."""

MAX_LABEL_CHARACTERS = 63

_ASCII_LABEL = re.compile(rb"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_A_LABEL = re.compile(rb"(?:^|\.)xn--", re.IGNORECASE)


def ascii_domain(domain: bytes) -> bytes:
    """Return a domain in UTF-8 with its labels in ASCII.

    An ASCII domain is returned as it is, and so is each label that is invalid in IDNA 2008, e.g.
    one with an emoji.
    """
    return domain if domain.isascii() else _ascii_domain(domain)


def ascii_address(address: bytes) -> bytes:
    """Return a mail address with its domain in ASCII; the local part and ASCII stay as they are."""
    if address.isascii():
        return address
    local, at, domain = address.rpartition(b"@")
    return local + at + ascii_domain(domain) if at else address


@lru_cache(2000)
def unicode_domain(domain: bytes) -> bytes:
    """Return a domain in UTF-8; an ASCII label that is no valid A-label stays as it is."""
    if not _A_LABEL.search(domain):
        return domain
    return b".".join(map(_unicode_label, domain.split(b".")))


def unicode_address(address: bytes) -> bytes:
    """Return a mail address with its domain in UTF-8; see ``unicode_domain``."""
    local, at, domain = address.rpartition(b"@")
    return local + at + unicode_domain(domain) if at else address


def both_forms(domain: bytes) -> str:
    """Return a domain for display, with its other form if it has one.

    For example ``bücher.example (xn--bcher-kva.example)``, whichever form ``domain`` has.
    """
    labels = ascii_domain(domain).split(b".")
    # Only labels that are valid in IDNA 2008 are shown in UTF-8: those have no control characters.
    texts = [_unicode_label(each).decode() if each.isascii() else "" for each in labels]
    shown = [printable(each) for each in labels]
    if all(text.isascii() for text in texts):
        return printable(domain)
    pairs = zip(texts, shown, strict=True)
    text = ".".join(each if not each.isascii() else escaped for each, escaped in pairs)
    return f"{text} ({'.'.join(shown)})"


@lru_cache(2000)
def _ascii_domain(domain: bytes) -> bytes:
    try:
        text = domain.decode("utf-8")
    except UnicodeDecodeError:
        return domain
    if len(text) > MAX_NAME_CHARACTERS:
        return domain
    # UTS 46 maps some characters to dots: the ideographic, the full-width and the half-width one.
    labels = re.split("[.\u3002\uff0e\uff61]", text)
    return b".".join(map(_ascii_label, labels))


def _ascii_label(label: str) -> bytes:
    unchanged = label.encode()
    if label.isascii() or len(label) > MAX_LABEL_CHARACTERS:
        return unchanged
    try:
        mapped = idna.uts46_remap(label, std3_rules=False)
        if len(mapped) > MAX_LABEL_CHARACTERS:
            return unchanged
        encoded = mapped.encode() if mapped.isascii() else idna.alabel(mapped)
    except UnicodeError:
        return unchanged
    # The mapping can yield any ASCII, e.g. an at sign for a full-width one.
    return encoded if _ASCII_LABEL.fullmatch(encoded) else unchanged


def _unicode_label(label: bytes) -> bytes:
    if not _A_LABEL.match(label) or len(label) > MAX_LABEL_CHARACTERS:
        return label
    try:
        return idna.ulabel(label.lower()).encode()
    except UnicodeError:
        return label
