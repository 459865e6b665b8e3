"""Reads sqlgrey's database from its SQLite file, or from one that was made from a dump.

The tables, and how their rows are imported:

- ``connect``: each row becomes a waiting triplet.
- ``from_awl`` and ``domain_awl``: a row is a sender, or a sender's domain, that passed from a
  source to any recipient. greyd has no entries without a recipient, but counts a client's
  successes. So if the source is an address, each hour with a new sender counts as a success of that
  client. If the source is a network, the row is skipped, because the network's other hosts have not
  passed.

Times are Unix times in SQLite, and dates in the other databases. Before version 1.5 the source was
named ``ip_addr`` or ``host_ip``, and the last two tables had no ``first_seen``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.importing.items import (
    MAX_EXCERPT_BYTES,
    ImportedEntry,
    ImportItem,
    SkippedEntry,
    SourceWarning,
    UnreadableItem,
)
from greyd.cli.importing.timestamps import parse_time
from greyd.plurals import counted
from greyd.rules.address import network_prefix, parse_address
from greyd.rules.entries import EntryKind
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, Triplet
from greyd.rules.retention import COUNT_EVERY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

    from greyd.config.settings import Settings
    from greyd.rules.address import Address

_SENDER = ("sender_name", "sender_domain")
COLUMNS: Mapping[str, Sequence[str]] = {
    "connect": (*_SENDER, "src", "rcpt", "first_seen"),
    "from_awl": (*_SENDER, "src", "first_seen", "last_seen"),
    "domain_awl": ("sender_domain", "src", "first_seen", "last_seen"),
}
"""The columns of the tables that are imported, in the order of sqlgrey 1.5 to 1.8."""

ADDRESS_TABLES: Mapping[str, Sequence[str]] = {
    "optin_domain": ("domain",),
    "optin_email": ("email",),
    "optout_domain": ("domain",),
    "optout_email": ("email",),
}
"""Tables of recipients, which are whitelists in greyd."""

OTHER_NAMES = {"ip_addr": "src", "host_ip": "src"}
"""The names of columns in older versions, and their current names."""

TIMES = frozenset({"first_seen", "last_seen"})

_UNDEFINED = b"-undef-"
"""sqlgrey's value for a missing part of a sender."""

_IPV4_NETWORK = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){2}")
_IPV6_NETWORK = re.compile(rb"[0-9a-f]{4}(:[0-9a-f]{4}){3}")
"""The network of an EUI-64 address; for other IPv6 sources, sqlgrey stores the address."""

_MAX_CLOCK_DIFFERENCE_SECONDS = 600

_FUTURE = (
    "times in the future: name the source's time zone with --from-timezone, e.g."
    " --from-timezone=UTC"
)
_NO_RECIPIENT = (
    "senders that sqlgrey knows by a network: greyd has no entries without a recipient; they are"
    " learned anew (--mode=learn)"
)
_TOO_WIDE = (
    "sources that are networks: this server uses longer prefixes (--lookup-by-host, --ipv4cidr,"
    " --ipv6cidr)"
)


@dataclass(frozen=True, slots=True)
class SqlgreyDatabase:
    """An open sqlgrey database; its texts are read as bytes."""

    connection: sqlite3.Connection
    settings: Settings
    zone: tzinfo | None
    """The time zone of dates without an offset; None: this machine's."""
    now: int

    @staticmethod
    def has_tables(connection: sqlite3.Connection) -> bool:
        """Whether a database has sqlgrey's tables."""
        return any("src" in _columns(connection, table) for table in COLUMNS)

    def count_rows(self) -> int:
        """Return the number of rows in the tables that ``items`` reads."""
        return sum(self._count(table) for table in COLUMNS)

    def warnings(self) -> Iterator[SourceWarning]:
        """Yield a warning about recipients that sqlgrey treats differently."""
        count = sum(self._count(table) for table in ADDRESS_TABLES)
        if count:
            yield SourceWarning(
                f"the tables optin_… and optout_… have {counted(count, 'recipient')}, not"
                " imported: add those that must not wait to whitelist_recipients",
                is_problem=False,
            )

    def items(self) -> Iterator[ImportItem]:
        """Yield an item for each triplet and client in the database."""
        if self._count("connect"):
            select = self._select("connect", COLUMNS["connect"])
            for row in self.connection.execute(select):
                yield self._waiting_triplet(row)
        yield from self._clients()

    def _count(self, table: str) -> int:
        if not _columns(self.connection, table):
            return 0
        # The table's name is one of the constants above.
        row = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        return int(row[0])

    def _select(self, table: str, names: Sequence[str]) -> str:
        """Return a query for columns by their current names; a missing one is NULL."""
        columns = _columns(self.connection, table)
        values = ", ".join(f'"{columns[name]}"' if name in columns else "NULL" for name in names)
        return f"SELECT {values} FROM {table}"  # noqa: S608 - names of this module

    def _time(self, value: object) -> int | None:
        match value:
            case int():
                return value
            case float():
                return int(value)
            case bytes():
                return parse_time(value[:MAX_EXCERPT_BYTES].decode(errors="replace"), self.zone)
        return None

    def _is_future(self, when: int) -> bool:
        return when > self.now + _MAX_CLOCK_DIFFERENCE_SECONDS

    def _waiting_triplet(self, row: tuple[object, ...]) -> ImportItem:
        *texts, time_value = row
        first_seen = self._time(time_value)
        if first_seen is None or not all(isinstance(text, bytes) for text in texts):
            return _unreadable(row)
        name, domain, source, recipient = [text for text in texts if isinstance(text, bytes)]
        address, is_network = _parse_source(source)
        if address is None:
            return _unreadable(row)
        if self._is_future(first_seen):
            return SkippedEntry(EntryKind.TRIPLET, _FUTURE, is_problem=True)
        if is_network and _is_too_wide(address, self.settings):
            return SkippedEntry(EntryKind.TRIPLET, _TOO_WIDE)
        sender = b"" if name == _UNDEFINED else name
        if domain != _UNDEFINED:
            sender += b"@" + domain
        key = request_keys(address, sender, recipient, self.settings).triplet
        return ImportedEntry(EntryKind.TRIPLET, (key,), Triplet(first_seen, first_seen))

    def _clients(self) -> Iterator[ImportItem]:
        """Yield a client for each source that passed; the rows are ordered by source."""
        selects = [
            self._select(table, ("src", "first_seen", "last_seen"))
            for table in ("from_awl", "domain_awl")
            if _columns(self.connection, table)
        ]
        if not selects:
            return
        counter = None
        for row in self.connection.execute(f"{' UNION ALL '.join(selects)} ORDER BY 1, 2"):
            source, *time_values = row
            first, last = map(self._time, time_values)
            address, is_network = (
                _parse_source(source) if isinstance(source, bytes) else (None, False)
            )
            if address is None or last is None:
                yield _unreadable(row)
            elif is_network:
                yield SkippedEntry(EntryKind.CLIENT, _NO_RECIPIENT)
            elif self._is_future(last):
                yield SkippedEntry(EntryKind.CLIENT, _FUTURE, is_problem=True)
            else:
                if counter and counter.source != source:
                    yield counter.entry(self.settings)
                    counter = None
                counter = counter or _SuccessCounter(source, address)
                # MySQL has 0000-00-00 for a first time that older versions did not store.
                counter.add(first or last, last)
        if counter:
            yield counter.entry(self.settings)


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return a table's column names by their current names; empty if there is no such table."""
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    names = [bytes(name).decode(errors="replace") for (name,) in rows]
    return {OTHER_NAMES.get(name.lower(), name.lower()): name for name in names if '"' not in name}


def _parse_source(source: bytes) -> tuple[Address | None, bool]:
    """Return the address of a source, and whether the source is a network."""
    # PostgreSQL's type inet writes the prefix length of an address.
    source = source.removesuffix(b"/128" if b":" in source else b"/32")
    if _IPV4_NETWORK.fullmatch(source):
        return parse_address(source + b".0"), True
    if _IPV6_NETWORK.fullmatch(source):
        return parse_address(source + b"::"), True
    return parse_address(source), False


def _is_too_wide(network: Address, settings: Settings) -> bool:
    """Whether this server uses longer prefixes than sqlgrey's /24 and /64."""
    prefix = network_prefix(network.number, network.bits, settings)
    return settings.lookup_by_host or prefix > (24 if network.bits == 32 else 64)


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
