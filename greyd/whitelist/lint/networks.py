"""Lints addresses and networks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.rules.address import address_text, parse_address
from greyd.rules.networks import parse_network
from greyd.whitelist.entries import display_text
from greyd.whitelist.lint.address_ranges import networks_meant
from greyd.whitelist.lint.findings import ERROR, EVERYTHING, NOTE, Problem
from greyd.whitelist.list_names import CLIENTS, NEVER_AUTO, OVERRIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.rules.networks import Network

ADDRESS_LIKE = re.compile(
    rb"[0-9][0-9.]*(/.*)?|[0-9a-f.:/]*:[0-9a-f.:/]*:[0-9a-f.:/%a-z]*", re.IGNORECASE
)
"""Text that looks like an address or a network, valid or not."""

_RANGE = re.compile(rb"[0-9.]+\.[0-9]+\s*-\s*[0-9.]+")
_FOUR_NUMBERS = re.compile(rb"[0-9]+(?:\.[0-9]+){3}(?:/[0-9]*)?")
_OPTIONS_FOR_ALL = {
    CLIENTS: "--mode=off turns greylisting off",
    OVERRIDE: "without --dnsbl no list is queried",
    NEVER_AUTO: "--auto-whitelist-clients=0 turns the auto-whitelist off",
}
_MIN_PREFIX = {32: 8, 128: 16}
"""Minimum prefix length, by the bits of an address; a wider network is an error."""

_LARGE_PREFIX = {32: 8, 128: 18}
"""Maximum prefix length of a network that causes a note; few organisations are that large."""

_NOT_ROUTED = tuple(
    network
    for text in (b"10.0.0.0/8", b"127.0.0.0/8", b"fc00::/7", b"fe80::/10")
    if (network := parse_network(text)) is not None
)
"""Large networks that no stranger sends from (RFC 1918, RFC 1122, RFC 4193, RFC 4291)."""


def broken_network_problem(text: bytes) -> Problem | None:
    """Return the problem if text looks like a network but is read as a host name, else None."""
    if _FOUR_NUMBERS.fullmatch(text):
        return _four_numbers_problem(text)
    if networks := networks_meant(text):
        return Problem(f"never matches: {_notation(text)}", f"write {', '.join(networks)}")
    if _RANGE.fullmatch(text):
        return Problem(
            "never matches: ranges of addresses are not supported",
            "write networks, such as 192.0.2.0/28",
        )
    if text.count(b"/") > 1 and parse_network(text.rpartition(b"/")[0]):
        instead = display_text(text.rpartition(b"/")[0])
        return Problem("never matches: it has two prefix lengths", f"write {instead}")
    return None


def _notation(text: bytes) -> str:
    """Return what is wrong with the notation of some addresses."""
    if b"/" in text:
        return "a network has a prefix length, not a netmask"
    if text.isdigit():
        return "a single number is read as a host name"
    if text.endswith(b"."):
        return "it ends with a dot, so it is read as a host name"
    if b"-" in text and b"[" not in text:
        return "ranges of addresses are not supported"
    return "wildcards are not supported in addresses"


def _four_numbers_problem(text: bytes) -> Problem:
    host, _, length = text.partition(b"/")
    numbers = host.split(b".")
    if large := [each for each in numbers if int(each[:9]) > 255]:
        number = large[0][:20].decode()
        return Problem(f"never matches: {number} is more than 255", "correct the address")
    if any(len(each) > 1 and each.startswith(b"0") for each in numbers):
        plain = ".".join(str(int(each)) for each in numbers)
        rest = f"/{length.decode()}" if length else ""
        return Problem("never matches: a number starts with 0", f"write {plain}{rest}")
    return Problem(
        "never matches: the prefix length must be 0 to 32",
        "write the prefix length you mean, or the address alone",
    )


def network_problems(text: bytes, network: Network, which: str) -> Iterator[Problem]:
    """Yield the problems of a network entry of the list ``which``."""
    if network.prefix == 0:
        yield Problem(EVERYTHING[which], f"remove it; {_OPTIONS_FOR_ALL[which]}")
        return
    host, slash, _ = text.partition(b"/")
    is_network_address = not slash or _is_network_address(host, network)
    if not _is_private(network) and network.prefix <= _LARGE_PREFIX[network.bits]:
        severity = ERROR if network.prefix < _MIN_PREFIX[network.bits] else NOTE
        share = f"1/{2**network.prefix} of all IPv{4 if network.bits == 32 else 6} addresses"
        single = "" if is_network_address else f", or {display_text(host)} for the single address"
        remedy = f"write the networks you mean{single}"
        yield Problem(f"an enormous network: {share}", remedy, severity)
        return
    if is_network_address:
        return
    written = f"{address_text(network.number, network.bits).decode()}/{network.prefix}"
    yield Problem(
        f"read as {written}",
        f"write {display_text(host)} for the single address, or {written} for the network",
        NOTE,
    )


def _is_private(network: Network) -> bool:
    return any(
        network.bits == other.bits
        and network.prefix >= other.prefix
        and network.number >> (other.bits - other.prefix)
        == other.number >> (other.bits - other.prefix)
        for other in _NOT_ROUTED
    )


def _is_network_address(host: bytes, network: Network) -> bool:
    address = parse_address(host)
    return address is None or address.number == network.number
