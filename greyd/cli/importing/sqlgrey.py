"""Reads sqlgrey's database from its SQLite file.

The tables, and how their rows are imported:

- ``connect``: each row becomes a waiting triplet.
- ``from_awl`` and ``domain_awl``: a row is a sender, or a sender's domain, that passed from a
  source to any recipient. greyd has no entries without a recipient, but counts a client's
  successes. So if the source is an address, each hour with a new sender counts as a success of that
  client. If the source is a network, the row is skipped, because the network's other hosts have not
  passed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.cli.importing.items import (
    MAX_EXCERPT_BYTES,
    ImportedEntry,
    ImportItem,
    SkippedEntry,
    UnreadableItem,
)
from greyd.rules.address import network_prefix, parse_address
from greyd.rules.entries import EntryKind
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, Triplet
from greyd.rules.retention import COUNT_EVERY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from greyd.config.settings import Settings
    from greyd.rules.address import Address

TABLES = frozenset({"connect", "from_awl", "domain_awl"})

_UNDEFINED = b"-undef-"
"""sqlgrey's value for a missing part of a sender."""

_IPV4_NETWORK = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){2}")
_IPV6_NETWORK = re.compile(rb"[0-9a-f]{4}(:[0-9a-f]{4}){3}")
"""The network of an EUI-64 address; for other IPv6 sources, sqlgrey stores the address."""

_NO_RECIPIENT = (
    "senders that sqlgrey knows by a network: greyd has no entries without a recipient; they are"
    " learned anew (--mode=learn)"
)
_TOO_WIDE = (
    "sources that are networks: this server uses longer prefixes (--lookup-by-host, --ipv4cidr,"
    " --ipv6cidr)"
)


def count_rows(connection: sqlite3.Connection) -> int:
    """Return the number of rows in the tables that ``read_items`` reads."""
    return sum(
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants
        for table in TABLES
    )


def read_items(connection: sqlite3.Connection, settings: Settings) -> Iterator[ImportItem]:
    """Yield an item for each triplet and client in the database."""
    rows = connection.execute(
        "SELECT sender_name, sender_domain, src, rcpt, first_seen FROM connect"
    )
    for row in rows:
        yield _waiting_triplet(row, settings)
    yield from _client_items(connection, settings)


def _waiting_triplet(row: tuple[object, ...], settings: Settings) -> ImportItem:
    *texts, first_seen = row
    if not isinstance(first_seen, int) or not all(isinstance(text, bytes) for text in texts):
        return _unreadable(row)
    name, domain, source, recipient = [text for text in texts if isinstance(text, bytes)]
    address, is_network = _parse_source(source)
    if address is None:
        return _unreadable(row)
    if is_network and _is_too_wide(address, settings):
        return SkippedEntry(EntryKind.TRIPLET, _TOO_WIDE)
    sender = b"" if name == _UNDEFINED else name
    if domain != _UNDEFINED:
        sender += b"@" + domain
    key = request_keys(address, sender, recipient, settings).triplet
    return ImportedEntry(EntryKind.TRIPLET, (key,), Triplet(first_seen, first_seen))


def _parse_source(source: bytes) -> tuple[Address | None, bool]:
    """Return the address of a source, and whether the source is a network."""
    if _IPV4_NETWORK.fullmatch(source):
        return parse_address(source + b".0"), True
    if _IPV6_NETWORK.fullmatch(source):
        return parse_address(source + b"::"), True
    return parse_address(source), False


def _is_too_wide(network: Address, settings: Settings) -> bool:
    """Whether this server uses longer prefixes than sqlgrey's /24 and /64."""
    prefix = network_prefix(network.number, network.bits, settings)
    return settings.lookup_by_host or prefix > (24 if network.bits == 32 else 64)


def _client_items(connection: sqlite3.Connection, settings: Settings) -> Iterator[ImportItem]:
    """Yield a client for each source that passed; the rows are ordered by source."""
    rows = connection.execute(
        "SELECT src, first_seen, last_seen FROM from_awl UNION ALL"
        " SELECT src, first_seen, last_seen FROM domain_awl ORDER BY 1, 2"
    )
    counter = None
    for row in rows:
        source, first, last = row
        if not isinstance(source, bytes) or not (isinstance(first, int) and isinstance(last, int)):
            yield _unreadable(row)
            continue
        address, is_network = _parse_source(source)
        if address is None:
            yield _unreadable(row)
        elif is_network:
            yield SkippedEntry(EntryKind.CLIENT, _NO_RECIPIENT)
        else:
            if counter and counter.source != source:
                yield counter.entry(settings)
                counter = None
            counter = counter or _SuccessCounter(source, address)
            counter.add(first, last)
    if counter:
        yield counter.entry(settings)


class _SuccessCounter:
    """Counts the successes of a client by greyd's rule: at most one per hour."""

    def __init__(self, source: bytes, address: Address) -> None:
        self.source = source
        self._address = address
        self._successes = 0
        self._last_counted = -COUNT_EVERY
        self._last_seen = 0

    def add(self, first: int, last: int) -> None:
        """Add a sender whose first and last passes were at these Unix times."""
        if first - self._last_counted >= COUNT_EVERY:
            self._successes += 1
            self._last_counted = first
        self._last_seen = max(self._last_seen, last)

    def entry(self, settings: Settings) -> ImportedEntry:
        """Return the client as an entry of this server."""
        key = request_keys(self._address, b"", b"", settings).client
        return ImportedEntry(EntryKind.CLIENT, (key,), Client(self._successes, self._last_seen))


def _unreadable(row: tuple[object, ...]) -> UnreadableItem:
    values = (each if isinstance(each, bytes) else str(each).encode() for each in row)
    return UnreadableItem(b" ".join(each[:MAX_EXCERPT_BYTES] for each in values))
