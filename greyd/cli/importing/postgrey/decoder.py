"""Converts postgrey's keys and values into entries of this server.

Keys and values, as postgrey 1.37 writes them::

    triplet = network "/" sender "/" recipient          first-seen "," last-seen
            | network "/" bits "/" sender "/" recipient
    client  = address                                   count "," last-counted
            | address "/" bits

Bits, the prefix length, are written with --lookup-by-host (32 or 128), and by some distributions'
versions also for networks and clients. IPv6 addresses are written in full. With ``--privacy`` a key
is a SHA-1 in hexadecimal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.importing.items import (
    MAX_EXCERPT_BYTES,
    ImportedEntry,
    ImportItem,
    SkippedEntry,
    UnreadableItem,
)
from greyd.cli.importing.merge import adapt_to_delay
from greyd.cli.importing.postgrey.network_prefixes import NetworkPrefixes
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind
from greyd.rules.keys import keys_of_normal
from greyd.rules.records import Client, Triplet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.cli.importing.postgrey.dump import KeyValue
    from greyd.config.settings import Settings

_VALUE = re.compile(rb"([0-9]{1,15}),([0-9]{1,15})")
_HASH = re.compile(rb"[0-9a-f]{40}")
_PREFIX_LENGTH = re.compile(rb"[1-9][0-9]{0,2}")
_CLIENT_WITH_BITS = re.compile(rb"[0-9.]+/32|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/128")
_MAX_COUNT = 10**8
"""A smaller first value is a client's count; a greater one is a time since 1973."""

_HASHED = (
    "keys hashed by postgrey --privacy: this server can use them only with --privacy and without"
    " --privacy-key"
)


@dataclass
class PostgreyDecoder:
    """Decodes the entries of postgrey's databases."""

    settings: Settings
    delay_seconds: int
    """Postgrey's ``--delay``."""
    network_prefixes: NetworkPrefixes = field(init=False)
    """The prefixes of the networks in the decoded keys."""

    def __post_init__(self) -> None:
        self.network_prefixes = NetworkPrefixes(self.settings)

    def decode_all(self, pairs: Iterable[KeyValue | UnreadableItem]) -> Iterator[ImportItem]:
        """Yield an item for each pair of a dump."""
        for pair in pairs:
            yield pair if isinstance(pair, UnreadableItem) else self.decode(pair)

    def decode(self, pair: KeyValue) -> ImportItem:
        """Decode a key and its value."""
        numbers = _VALUE.fullmatch(pair.value)
        if numbers is None:
            return _unreadable(pair)
        first, last = int(numbers[1]), int(numbers[2])
        if b"/" not in pair.key or _CLIENT_WITH_BITS.fullmatch(pair.key):
            return self._decode_without_names(pair, first, last)
        keys = self._triplet_keys(pair.key)
        if keys is None:
            return _unreadable(pair)
        return ImportedEntry(EntryKind.TRIPLET, keys, self._triplet(first, last))

    def _triplet(self, first: int, last: int) -> Triplet:
        return adapt_to_delay(Triplet(first, last), self.delay_seconds, self.settings)

    def _decode_without_names(self, pair: KeyValue, first: int, last: int) -> ImportItem:
        """Decode the pair of a client, or a pair with a hashed key (``--privacy``)."""
        address = parse_address(pair.key.partition(b"/")[0])
        if address is not None:
            key = keys_of_normal(address, b"", b"", self.settings).client
            return ImportedEntry(EntryKind.CLIENT, (key,), Client(first, last))
        if not _HASH.fullmatch(pair.key):
            return _unreadable(pair)
        kind = EntryKind.CLIENT if first < _MAX_COUNT else EntryKind.TRIPLET
        if not self.settings.privacy or self.settings.privacy_key is not None:
            return SkippedEntry(kind, _HASHED, is_problem=True)
        if kind is EntryKind.CLIENT:
            return ImportedEntry(kind, (b":" + pair.key,), Client(first, last))
        return ImportedEntry(kind, (b"/" + pair.key,), self._triplet(first, last))

    def _triplet_keys(self, key: bytes) -> tuple[bytes, ...] | None:
        """Return a triplet's possible keys in this store; None if the key is not a triplet's."""
        network, _, rest = key.partition(b"/")
        address = parse_address(network)
        if address is None or b"/" not in rest:
            return None
        bits, _, names = rest.partition(b"/")
        if b"/" in names and _is_prefix_length(bits, network):
            rest = names
        self.network_prefixes.add(address)
        keys = (
            keys_of_normal(address, sender, recipient, self.settings).triplet
            for sender, recipient in split_names(rest)
        )
        return tuple(dict.fromkeys(keys))


def _is_prefix_length(bits: bytes, network: bytes) -> bool:
    longest = 128 if b":" in network else 32
    return _PREFIX_LENGTH.fullmatch(bits) is not None and int(bits) <= longest


def _unreadable(pair: KeyValue) -> UnreadableItem:
    return UnreadableItem(b" ".join((pair.key[:MAX_EXCERPT_BYTES], pair.value[:MAX_EXCERPT_BYTES])))


_MAX_SLASHES = 16
_MAX_SPLITS = 4


def split_names(names: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Split ``sender "/" recipient``, where both may contain slashes.

    A recipient has a domain; a sender has one or is empty; a domain has no slash. Return the splits
    that meet the greatest number of these conditions, at most ``_MAX_SPLITS``.
    """
    if names.count(b"/") == 1:
        sender, _, recipient = names.partition(b"/")
        return ((sender, recipient),)
    parts = names.split(b"/")
    splits = [
        (b"/".join(parts[:at]), b"/".join(parts[at:]))
        for at in range(max(1, len(parts) - _MAX_SLASHES), len(parts))
    ]
    scores = [
        (not sender or _has_domain(sender)) + _has_domain(recipient) for sender, recipient in splits
    ]
    best = [split for split, score in zip(splits, scores, strict=True) if score == max(scores)]
    return best[-_MAX_SPLITS:]


def _has_domain(address: bytes) -> bool:
    _, at, domain = address.rpartition(b"@")
    return bool(at and domain) and b"/" not in domain
