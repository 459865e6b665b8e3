"""Finds redundant entries: those that another entry of the list covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.entries import WhitelistEntry, is_pattern, network_of_entry
from greyd.whitelist.list_names import LISTS_OF_CLIENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from greyd.rules.networks import Network


def redundant_entries(
    entries: Iterable[WhitelistEntry], which: str
) -> Iterator[tuple[WhitelistEntry, WhitelistEntry]]:
    """Yield each redundant entry together with the entry that covers it."""
    patterns, networks, rest = [], [], []
    for entry in entries:
        if is_pattern(entry.text):
            patterns.append(entry)
        elif which in LISTS_OF_CLIENTS and (network := network_of_entry(entry.text)):
            networks.append((entry, network))
        else:
            rest.append(entry)
    yield from _duplicates(patterns, lambda text: text)
    yield from _covered_networks(networks)
    yield from _covered_names(rest, which)


def _duplicates(
    entries: Iterable[WhitelistEntry], key: Callable[[bytes], bytes]
) -> Iterator[tuple[WhitelistEntry, WhitelistEntry]]:
    seen: dict[bytes, WhitelistEntry] = {}
    for entry in entries:
        first = seen.setdefault(key(entry.text), entry)
        if first is not entry:
            yield entry, first


def _covered_networks(
    networks: Sequence[tuple[WhitelistEntry, Network]],
) -> Iterator[tuple[WhitelistEntry, WhitelistEntry]]:
    known: dict[tuple[int, int], dict[int, WhitelistEntry]] = {}
    for entry, network in networks:
        key = (network.bits, network.prefix)
        known.setdefault(key, {}).setdefault(network.number, entry)
    prefixes = sorted(known)
    for entry, network in networks:
        for bits, prefix in prefixes:
            if bits != network.bits or prefix > network.prefix:
                continue
            free = bits - prefix
            other = known[bits, prefix].get(network.number >> free << free)
            if other is not None and other is not entry:
                yield entry, other
                break


def _covered_names(
    entries: Sequence[WhitelistEntry], which: str
) -> Iterator[tuple[WhitelistEntry, WhitelistEntry]]:
    known: dict[bytes, WhitelistEntry] = {}
    for entry in entries:
        known.setdefault(entry.text.lower(), entry)
    for entry in entries:
        text = entry.text.lower()
        for broader in (text, *_covering_texts(text, which)):
            other = known.get(broader)
            if other is not None and other is not entry:
                yield entry, other
                break


def _covering_texts(text: bytes, which: str) -> Iterator[bytes]:
    """Yield the texts of broader entries that would cover this one."""
    user, at, domain = text.rpartition(b"@")
    if at and which not in LISTS_OF_CLIENTS:
        plain = user.partition(b"+")[0]
        yield from (b"%b@%b" % (plain, domain), plain + b"@", user + b"@")
        if not domain:
            return
        yield domain
    while b"." in domain:
        domain = domain.partition(b".")[2]
        yield domain
