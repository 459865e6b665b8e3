"""Recognises generic host names, which providers derive from a customer's address or line.

A name is generic for one of these reasons:

- It contains the client's address, or three bytes of it, in any form that providers use.
- It has a word for customers' lines next to a number (``dsl-23``, ``aadg12.neoplus.adsl``).
- It has only such words (``dynamic-ip-adsl``).
- It begins with a provider's number for a machine (``vmi1234567``).

Only the part before the domain that somebody registered counts, by the ICANN section of the public
suffix list: ``mail.dynamic.example`` may be the mail server of a company of that name, but
``ec2-192-0-2-7.eu-west-2.compute.amazonaws.com`` was named by the registrant of ``amazonaws.com``.

Mail platforms name their servers after addresses too (``mta-84-1-2-3.sparkpostmail.com``). A label
for a mail role distinguishes them, unless another word shows that the name is a customer's.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from greyd.rules.client_names.address_in_name import find_address
from greyd.rules.hostnames import is_fqdn, organisation_of
from greyd.rules.public_suffixes import suffix_list_in_force

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

    from greyd.rules.address import Address


_LINE_WORD = re.compile(
    rb"[a-z]*(?:dsl|dialup|dhcp|broadband|modem)|adslplus|asdl|dhcp[a-z]+|modemcable|abhsia|abts"
    rb"|bbcust|bbtec|bredband|breitband|catv|cgn|cgnat|cpe|dial|dialer|dialin|dinamic[ao]?|dip"
    rb"|docsis|dslam|dslb|dyn|dynamic|dynamicip|dynip|fixip|ftt[bchx]|gprs|gpon|hsd|hsia?|ipad"
    rb"|ipbfp?|ipngn|ipngnfx|ipoe|isdn|neoplus|ppp|pppo[ae]|residential|umts|unallocated"
    rb"|unassigned|wimax|wline|wll"
)
"""Words for the technology of customers' lines. A mail server's name does not contain them."""

_CUSTOMER_WORDS = frozenset(b"cable client cust customer dclient kabel klient kunde pool".split())
"""Words for one customer. They also occur in names of servers, e.g. ``mail-pool-3``."""

_SHARED_WORDS = frozenset(
    b"abo abonent abonnent bb clients customers fiber fibra fibre home ip lns lte members mobil"
    b" mobile nat pools priv subs subscriber user users wifi wireless wlan".split()
)
"""Words that companies use in names of their own servers, too: ``mail.customers.bank.com``."""

_HOSTERS_WORDS = frozenset(b"dedicated host hosted rev reverse static unused vps".split())
"""Words in names that providers derive from addresses, e.g. ``mail-192-0-2-7.static``."""

_FILLERS = frozenset(b"access internet ip static".split())
"""Words that may stand beside words for lines in a name without numbers."""

_ROLE = re.compile(
    rb"[a-z]*(?:mail|smtp|mta|relay)[a-z]*|mx[a-z]?|mxout|mout|out|outbound|outgoing|bounces?"
    rb"|sender|newsletter"
)
"""Words for the role of a mail server."""

_MACHINE = re.compile(
    rb"(?:h|v|s|u|vps|vmi|vmd|vds|vm|kvm|vserver|srv|hwsrv|server|ns|ks|sd|dedi|node|cloud|instance)"
    rb"-?[0-9]{5,}|vps-[0-9a-f]{8}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    rb"|(?:s0106)?(?=[a-f]*[0-9])[0-9a-f]{12}"
)
"""A provider's number for a machine, as the first label of its name: a serial number, a UUID or a
MAC address."""

_WORD_OR_NUMBER = re.compile(rb"[a-z]+|[0-9]+")

_MIN_LINE_DIGITS = 2
_MIN_SHARED_DIGITS = 3
"""The number of a line is long: ``mx2`` and ``dc1`` beside a word prove nothing."""


def is_generic(name: bytes, address: Address) -> bool:
    """Whether a client's name is generic. ``name`` is in lower case, without a dot at its end."""
    return generic_reason(name, address) is not None


@lru_cache(1000)  # the evidence about a request needs it more than once
def generic_reason(name: bytes, address: Address) -> str | None:
    """Return why a client's name is generic, as the end of a sentence; None if it is not.

    Args:
        name: the name in lower case, without a dot at its end.
        address: the client's address.
    """
    registered = icann_domain_of(name)
    host = name[: -len(registered)] if registered else name
    labels = [_WORD_OR_NUMBER.findall(label) for label in host.split(b".") if label]
    # Names below a private suffix are a company's defaults, whatever they contain.
    has_role = any(map(_is_mail_role, labels)) and organisation_of(name) == registered
    found = find_address(host, address) if not has_role or _has_providers_word(labels) else None
    # A hoster registers domains for networks: ns3012345.ip-192-0-2.eu
    found = found or find_address(registered, address)
    if found is not None:
        what = "the client's address" if found.is_whole else "three bytes of the client's address"
        return f"it contains {what} ({found.text})"
    word = _word_for_lines(labels, has_role=has_role)
    if word is not None:
        return f'it has the word "{word.decode()}" for customers\' lines next to a number'
    if _has_only_line_words(labels):
        return "it has only words for customers' lines"
    machine = _MACHINE.fullmatch(host.partition(b".")[0])
    if machine is not None and not has_role:
        return f'it is a provider\'s number for a machine ("{machine[0].decode()}")'
    return None


@lru_cache(10_000)
def icann_domain_of(name: bytes) -> bytes:
    """Return the domain that somebody registered, by the list's ICANN section only.

    Unlike ``organisation_of``, it ignores the suffixes below which a company lets its customers
    choose names, e.g. ``compute.amazonaws.com``. It is empty if no suffix of the list fits.
    """
    if not is_fqdn(name):
        return b""
    registered = load_icann_suffixes().privatesuffix(name.decode("ascii"))
    return registered.encode("ascii") if registered else b""


@cache
def load_icann_suffixes() -> PublicSuffixList:
    """Return the ICANN section of the public suffix list in force; cached."""
    return suffix_list_in_force().suffixes.parse(only_icann=True)


def _is_mail_role(label: list[bytes]) -> bool:
    return any(map(_ROLE.fullmatch, label))


def _has_providers_word(labels: list[list[bytes]]) -> bool:
    words = _CUSTOMER_WORDS | _SHARED_WORDS | _HOSTERS_WORDS
    return any(each in words or _LINE_WORD.fullmatch(each) for label in labels for each in label)


def _word_for_lines(labels: list[list[bytes]], *, has_role: bool) -> bytes | None:
    """Return the word for customers' lines that stands next to a number, or None."""
    has_line_number = any(
        _has_long_number(label, _MIN_LINE_DIGITS) for label in labels if not _is_mail_role(label)
    )
    for at, label in enumerate(labels):
        beside = labels[max(at - 1, 0) : at + 2]
        for word in label:
            if _LINE_WORD.fullmatch(word):
                is_line = has_line_number or _is_next_to_number(label, word)
            elif has_role:
                is_line = False
            elif word in _CUSTOMER_WORDS:
                is_line = _is_next_to_number(label, word) or any(map(_has_long_number, beside))
            else:
                is_line = word in _SHARED_WORDS and any(map(_has_long_number, beside))
            if is_line:
                return word
    return None


def _has_long_number(label: list[bytes], min_digits: int = _MIN_SHARED_DIGITS) -> bool:
    """Whether a label has at least this many digits, or two numbers."""
    numbers = [each for each in label if each.isdigit()]
    return len(numbers) > 1 or sum(map(len, numbers)) >= min_digits


def _is_next_to_number(label: list[bytes], word: bytes) -> bool:
    at = label.index(word)
    return any(each.isdigit() for each in label[max(at - 1, 0) : at + 2])


def _has_only_line_words(labels: list[list[bytes]]) -> bool:
    """Whether a name is e.g. ``dynamic-ip-adsl``: the same for all customers of a provider."""
    words = {each for label in labels for each in label}
    others = {each for each in words if not _LINE_WORD.fullmatch(each)}
    return others <= _FILLERS and others != words
