"""Recognises generic host names, which providers derive from a customer's address or line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.rules.hostnames import organisation_of

if TYPE_CHECKING:
    from greyd.rules.address import Address

_GENERIC_WORDS = re.compile(
    rb"(?:^|[^a-z])(?:a?dsl|vdsl|sdsl|xdsl|dial(?:in|up)?|dhcp|dyn(?:amic)?(?:ip)?|ppp(?:oe)?|pool|cable"
    rb"|broadband|catv|ftth|fttb|fiber|wimax|lte|mobile|customers?|cust|clients?|residential|home"
    rb"|nat|unassigned|static-?ip|ip[0-9]+)(?=[^a-z]|$)"
)
"""Words that occur in the names of customers' lines."""

_MIN_DISTINCTIVE = 32


def is_generic(name: bytes, address: Address) -> bool:
    """Whether a name is generic: it contains a word for customers' lines, or the address itself.

    Only the part before the registered domain counts: ``mail.dynamic.example`` may be the mail
    server of a company of that name.
    """
    organisation = organisation_of(name)
    host = name[: -len(organisation)] if organisation else name
    return _GENERIC_WORDS.search(host) is not None or _contains_address(host, address)


def _contains_address(host: bytes, address: Address) -> bool:
    if address.bits == 32:
        data = [address.number >> shift & 0xFF for shift in (24, 16, 8, 0)]
        return _contains_ipv4(host, data)
    digits = b"%032x" % address.number
    hexadecimal = re.sub(rb"[^0-9a-f]", b"", host)
    # Only the host's half of the address counts: all hosts of a company share the network's half.
    return digits[16:] in hexadecimal or digits[20:] in hexadecimal


def _contains_ipv4(host: bytes, data: list[int]) -> bool:
    """Whether a name contains an IPv4 address.

    True for the last three or the last two octets as separate numbers, in either order, and for all
    four octets without separators, each written as three decimal or two hexadecimal digits.
    """
    numbers = [int(each) for each in re.findall(rb"[0-9]{1,12}", host)]
    for count in (3, 2):
        last = data[-count:]
        # Two small numbers side by side are common: mx1-23 may be the 23rd server of site 1.
        if count == 2 and min(last) < _MIN_DISTINCTIVE:
            continue
        if _has_run(numbers, last) or _has_run(numbers, last[::-1]):
            return True
    together = b"".join(b"%03d" % byte for byte in data)
    hexadecimal = b"".join(b"%02x" % byte for byte in data)
    return together in host or hexadecimal in host


def _has_run(numbers: list[int], wanted: list[int]) -> bool:
    size = len(wanted)
    return any(numbers[at : at + size] == wanted for at in range(len(numbers) - size + 1))
