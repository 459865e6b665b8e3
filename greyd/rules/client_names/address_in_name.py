"""Finds a client's address in its host name, in the forms that providers write it.

Examples for 93.203.1.2: ``93-203-1-2``, ``2.1.203.93``, ``093203001002``, ``5dcb0102``, and
1573585154 (the address as one number). Two bytes of an address prove nothing: great mail platforms
number their servers by them (``a37-140.smtp-out.amazonses.com``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.rules.address import Address

_NUMBER = re.compile(rb"[0-9]{1,12}")
_NOT_HEX = re.compile(rb"[^0-9a-f]+")
_HEX_GROUPS = re.compile(rb"[^0-9a-z]")
_SEPARATORS = b"-._"

_MIN_UNPADDED_DIGITS = 8
"""Fewer digits without padding are ambiguous: 1234 may be 1.2.3.4, and 12.3.4 the server 1234."""

_MIN_HEX_GROUPS = 3
"""An IPv6 address counts from its last three groups on: 48 bits."""


@dataclass(frozen=True, slots=True)
class AddressInName:
    """An address, or three of its four bytes, that was found in a host name."""

    text: str
    """The found text, with hyphens between separate numbers."""
    is_whole: bool
    """False if only three bytes of an IPv4 address were found."""


def find_address(name: bytes, address: Address) -> AddressInName | None:
    """Return the client's address as found in a name; None if the name does not contain it.

    Three adjacent bytes of an IPv4 address, and the last 48 bits of an IPv6 address, suffice.
    ``name`` is in lower case.
    """
    forms = _ipv4_forms if address.bits == 32 else _ipv6_forms
    return next(forms(name, address), None)


def _ipv4_forms(name: bytes, address: Address) -> Iterator[AddressInName]:
    data = list(address.packed)
    digits = _NUMBER.findall(name)
    numbers = [int(each) for each in digits]
    for wanted in (data, data[1:], data[:3]):
        for order in (wanted, wanted[::-1]):
            if _has_run(numbers, order):
                yield AddressInName("-".join(map(str, order)), is_whole=len(order) == 4)
    yield from _whole_without_separators(name, address, digits)
    yield from _three_bytes_without_separators(name, data, digits)


def _whole_without_separators(
    name: bytes, address: Address, digits: Sequence[bytes]
) -> Iterator[AddressInName]:
    data = tuple(address.packed)
    joined = name.translate(None, _SEPARATORS)
    for order in (data, data[::-1]):
        for text in (b"%03d%03d%03d%03d" % order, bytes(order).hex().encode()):
            if text in joined:
                yield AddressInName(text.decode(), is_whole=True)
    for number in (b"%d%d%d%d" % data, b"%d" % address.number):
        if number in digits and len(number) >= _MIN_UNPADDED_DIGITS:
            yield AddressInName(number.decode(), is_whole=True)


def _three_bytes_without_separators(
    name: bytes, data: Sequence[int], digits: Sequence[bytes]
) -> Iterator[AddressInName]:
    hexadecimal = _NOT_HEX.split(name)
    for part in (data[1:], data[:3]):
        for order in (tuple(part), tuple(reversed(part))):
            # A short number padded with zeros is a serial number.
            if not order[0]:
                continue
            for text, candidates in (
                (b"%03d%03d%03d" % order, digits),
                (bytes(order).hex().encode(), hexadecimal),
            ):
                if text in candidates:
                    yield AddressInName(text.decode(), is_whole=False)


def _has_run(parts: Sequence[object], wanted: Sequence[object]) -> bool:
    size = len(wanted)
    return any(parts[at : at + size] == wanted for at in range(len(parts) - size + 1))


def _ipv6_forms(name: bytes, address: Address) -> Iterator[AddressInName]:
    digits = b"%032x" % address.number
    groups = [digits[at : at + 4] for at in range(0, 32, 4)]
    plain = _NOT_HEX.sub(b"", name)
    # Only the host's half of the address counts: all hosts of a company share the network's half.
    for text in (digits, digits[16:], digits[20:], digits[::-1][:16]):
        if text in plain:
            yield AddressInName(text.decode(), is_whole=True)
    words = [each.lstrip(b"0") for each in _HEX_GROUPS.split(name)]
    for wanted in (groups, groups[-_MIN_HEX_GROUPS:]):
        short = [group.lstrip(b"0") for group in wanted]
        # A run of zeros, as in 2001:db8::7, is no more than one number.
        if sum(map(bool, short)) > 1 and _has_run(words, short):
            yield AddressInName(b"-".join(wanted).decode(), is_whole=True)
    compressed = address.text.replace(b":", b"-")
    if compressed in _HEX_GROUPS.sub(b"-", name):
        yield AddressInName(compressed.decode(), is_whole=True)
