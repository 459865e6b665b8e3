"""Converts ranges, wildcards and masks of IP addresses to the equivalent networks."""

from __future__ import annotations

import ipaddress
import re
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NETWORKS = 16
"""Maximum number of networks that are written out."""

_OCTET = rb"(?:\d{1,3}|\d{0,2}\*|[xX]|\[\d{1,3}-\d{1,3}\]|\{\d{1,3}(?:,\d{1,3})*\}|\d{1,3}-\d{1,3})"
_WITH_WILDCARDS = re.compile(rb"%b(?:\.%b){1,3}" % (_OCTET, _OCTET))
_RANGE = re.compile(rb"([0-9a-fA-F:.]+)\s*-\s*([0-9a-fA-F:.]+)")
_NETMASK = re.compile(rb"(\d{1,3}(?:\.\d{1,3}){3})/(\d{1,3}(?:\.\d{1,3}){3})")
_PARTIAL = re.compile(rb"(\d{1,3}(?:\.\d{1,3}){0,2})\.?(?:/\d{1,2})?")
_PARTIAL_IPV6 = re.compile(rb"([0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,6}):{1,2}\*")


def networks_meant(text: bytes) -> list[str]:
    """Return the networks that a range, a wildcard or a mask denotes.

    ``192.0.2.0-192.0.2.9``, ``192.0.2.0-9``, ``192.0.2.*``, ``192.0.2.1*``, ``192.0.2.[1-4]``,
    ``192.0.2.``, ``192.0.2.0/255.255.255.0``, ``192.0.2.0/0.0.0.255``, ``2001:db8::*`` and
    ``2001:db8::1-2001:db8::9`` are recognised. The list is empty for other texts, and if there are
    more than ``MAX_NETWORKS``.
    """
    try:
        found = list(islice(_networks(text), MAX_NETWORKS + 1))
    except ValueError:
        return []
    if len(found) > MAX_NETWORKS or any(network.prefixlen == 0 for network in found):
        return []
    return [
        str(network.network_address) if network.num_addresses == 1 else str(network)
        for network in found
    ]


def _networks(text: bytes) -> Iterable[Network]:
    if found := _NETMASK.fullmatch(text):
        return [ipaddress.ip_network(text.decode(), strict=False)]
    if found := _PARTIAL_IPV6.fullmatch(text):
        # In 2001:db8::* only the last group is open.
        length = 112 if b"::" in text else 16 * (found[1].count(b":") + 1)
        return [ipaddress.ip_network(f"{found[1].decode()}::/{length}")]
    if (found := _PARTIAL.fullmatch(text)) and (text.endswith(b".") or b"." not in text):
        numbers = found[1].split(b".")
        return _of_octets([[int(number)] for number in numbers])
    if (found := _RANGE.fullmatch(text)) and (b"." in found[2] or b":" in found[2]):
        first, last = (ipaddress.ip_address(each.decode()) for each in found.groups())
        if first.version != last.version:
            return []
        return ipaddress.summarize_address_range(first, last)
    if _WITH_WILDCARDS.fullmatch(text):
        return _of_octets([_octet_values(each) for each in re.split(rb"\.(?![^{\[]*[}\]])", text)])
    return []


def _octet_values(octet: bytes) -> list[int]:
    text = octet.decode()
    if text in ("*", "x", "X"):
        return list(range(256))
    if text.endswith("*"):
        return [each for each in range(256) if str(each).startswith(text[:-1])]
    if text.startswith("{"):
        return [int(each) for each in text[1:-1].split(",")]
    first, _, last = text.strip("[]").partition("-")
    return list(range(int(first), int(last or first) + 1))


def _of_octets(octets: list[list[int]]) -> Iterator[Network]:
    """Yield the networks of all addresses with these values of their first octets."""
    if len(octets) > 4 or any(not 0 <= each <= 255 for values in octets for each in values):
        raise ValueError
    octets = octets + [list(range(256))] * (4 - len(octets))
    length = 32
    while length and len(octets[length // 8 - 1]) == 256:
        length -= 8
    numbers = [0]
    for values in octets[: length // 8]:
        numbers = [number << 8 | value for number in numbers for value in values]
        if len(numbers) > 256:
            raise ValueError
    free = 32 - length
    return ipaddress.collapse_addresses(
        ipaddress.IPv4Network((number << free, length)) for number in numbers
    )
