"""Lints addresses and networks."""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING

from greyd.rules.address import parse_address
from greyd.whitelist.lint.findings import NOTE, Problem, display_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.rules.networks import Network

_RANGE = re.compile(rb"[0-9.]+\.[0-9]+\s*-\s*[0-9.]+")
_STARS = re.compile(rb"([0-9]{1,3}(?:\.[0-9]{1,3}){0,2})(?:\.\*)+")
_MASK = re.compile(rb"([0-9]{1,3}(?:\.[0-9]{1,3}){3})/([0-9]{1,3}(?:\.[0-9]{1,3}){3})")
_BAD_OCTET = re.compile(rb"[0-9]+(?:\.[0-9]+){3}(?:/[0-9]*)?")
ADDRESS_LIKE = re.compile(
    rb"[0-9.]+(/.*)?|[0-9a-f.:/]*:[0-9a-f.:/]*:[0-9a-f.:/%a-z]*", re.IGNORECASE
)


def broken_network_problem(text: bytes) -> Problem | None:
    """Return what is wrong with what looks like an address or a network, and is read as a name."""
    if found := _STARS.fullmatch(text):
        data = found[1].split(b".")
        network = b".".join([*data, *[b"0"] * (4 - len(data))]) + b"/%d" % (8 * len(data))
        return Problem("* stands for nothing in a network", f"write {network.decode()}")
    if _RANGE.fullmatch(text):
        return Problem("a range of addresses is no entry", "write networks, such as 192.0.2.0/28")
    if (found := _MASK.fullmatch(text)) and (prefix := _prefix_of_netmask(found[2])) is not None:
        return Problem("no network: its length is a number", f"write {found[1].decode()}/{prefix}")
    if re.fullmatch(rb"[0-9]{1,3}", text) and int(text) < 256:
        return Problem("no network", f"write {int(text)}.0.0.0/8 out")
    if _BAD_OCTET.fullmatch(text):
        host, _, length = text.partition(b"/")
        numbers = host.split(b".")
        if large := [each for each in numbers if int(each[:9]) > 255]:
            return Problem(f"no address: {large[0][:20].decode()} is more than 255", "correct it")
        if any(len(each) > 1 and each.startswith(b"0") for each in numbers):
            plain = ".".join(str(int(each)) for each in numbers)
            rest = f"/{length.decode()}" if length else ""
            return Problem("no address: a zero in front", f"write {plain}{rest}")
        return Problem("no network: its length is 0 to 32", f"write {host.decode()}/24, say")
    return None


def _prefix_of_netmask(mask: bytes) -> int | None:
    """Return how many bits a netmask has; None where it has holes, or is none."""
    address = parse_address(mask)
    if address is None:
        return None
    bits = f"{address.number:032b}"
    return bits.count("1") if "01" not in bits else None


_BROAD_PREFIX = {32: 8, 128: 16}


def network_problems(text: bytes, network: Network) -> Iterator[Problem]:
    """Yield the problems of a network."""
    number, prefix, bits = network
    if prefix == 0:
        yield Problem("lets everybody pass", "take it out; --mode=off turns greylisting off")
        return
    if prefix < _BROAD_PREFIX[bits]:
        yield Problem("an enormous network", "write those that are meant", NOTE)
    host, slash, _ = text.partition(b"/")
    if not slash or b"." not in text + b"." or _is_network_address(host, network):
        return
    packed = number.to_bytes(bits // 8, "big")
    written = inet_ntop(AF_INET if bits == 32 else AF_INET6, packed)
    yield Problem(
        f"read as {written}/{prefix}",
        f"write {written}/{prefix}, or {display_text(host)} for the one address",
        NOTE,
    )


def _is_network_address(host: bytes, network: Network) -> bool:
    address = parse_address(host)
    return address is None or address.number == network.number
