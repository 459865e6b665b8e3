"""Lints addresses and networks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.rules.address import address_text, parse_address
from greyd.whitelist.entries import display_text
from greyd.whitelist.lint.address_ranges import networks_meant
from greyd.whitelist.lint.findings import EVERYTHING, NOTE, Problem
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
"""Minimum prefix length, by the bits of an address; a wider network causes a note."""


def broken_network_problem(text: bytes) -> Problem | None:
    """Return the problem if text looks like a network but is read as a host name, else None."""
    if networks := networks_meant(text):
        return Problem(f"never matches: {_notation(text)}", f"write {', '.join(networks)}")
    if _RANGE.fullmatch(text):
        return Problem(
            "never matches: ranges of addresses are not supported",
            "write networks, such as 192.0.2.0/28",
        )
    return _four_numbers_problem(text) if _FOUR_NUMBERS.fullmatch(text) else None


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
    if network.prefix < _MIN_PREFIX[network.bits]:
        yield Problem("an enormous network", "write the networks you mean", NOTE)
    host, slash, _ = text.partition(b"/")
    if not slash or _is_network_address(host, network):
        return
    written = f"{address_text(network.number, network.bits).decode()}/{network.prefix}"
    yield Problem(
        f"read as {written}",
        f"write {written}, or {display_text(host)} for the single address",
        NOTE,
    )


def _is_network_address(host: bytes, network: Network) -> bool:
    address = parse_address(host)
    return address is None or address.number == network.number
