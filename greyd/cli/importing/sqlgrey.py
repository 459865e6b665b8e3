"""What sqlgrey has remembered in its SQLite file.

What sqlgrey knows, and what becomes of it:

- ``connect``, who waits: a triplet that waits.
- ``from_awl`` and ``domain_awl``, senders and domains of senders that passed from a source, to
  whatever recipient. greyd remembers nobody without a recipient, but it does count how often a
  client came back. So where the source is an address, each hour in which a sender of it was added
  counts as a success of that client. Where the source is a network there is no place for it:
  whoever else is in that network has not earned anything.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.merging import Found, Item, Refused, Unreadable
from greyd.rules.address import network_prefix, parse_address
from greyd.rules.entries import EntryKind
from greyd.rules.greylist import COUNT_EVERY
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, Triplet
from greyd.store.sqlite.read_only import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from greyd.config.settings import Settings
    from greyd.rules.address import Address

_NOBODY = b"-undef-"
"""A part of a sender that is not there."""

_IPV4_NETWORK = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){2}")
_IPV6_NETWORK = re.compile(rb"[0-9a-f]{4}(:[0-9a-f]{4}){3}")
"""Of addresses that are made of a network card's (EUI-64); other sources of IPv6 are addresses."""

_NO_PLACE = (
    "senders that sqlgrey knows by a network: greyd remembers no sender without a recipient; they"
    " are learned anew (--mode=learn)"
)
_TOO_WIDE = (
    "sources that are networks: this server looks for narrower ones (--lookup-by-host, --ipv4cidr,"
    " --ipv6cidr)"
)

_SHOWN = 200


@contextlib.contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file to read what it holds as bytes; nothing of it is changed.

    Raises:
        AdminError: it can't be read, or was changed meanwhile.
        StoreError: it can't be opened.
    """
    with contextlib.closing(ReadOnlyDatabase(os.path.realpath(path))) as reading:
        reading.connection.text_factory = bytes
        try:
            yield reading.connection
        except sqlite3.Error as error:
            if not reading.is_stale:
                raise CommandError(f"{path}: {error}") from None
        if reading.is_stale:
            raise CommandError(f"{path}: was changed while it was read; try again")


def tables(connection: sqlite3.Connection) -> set[str]:
    """Return the names of a file's tables."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {bytes(name).decode(errors="replace") for (name,) in rows}


def count(connection: sqlite3.Connection) -> int:
    """Return how many entries there are."""
    return sum(
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our names
        for table in ("connect", "from_awl", "domain_awl")
    )


def read_sqlgrey(connection: sqlite3.Connection, settings: Settings) -> Iterator[Item]:
    """Go through all that sqlgrey has remembered."""
    rows = connection.execute(
        "SELECT sender_name, sender_domain, src, rcpt, first_seen FROM connect"
    )
    for row in rows:
        yield _waiting(row, settings)
    yield from _clients(connection, settings)


def _waiting(row: tuple[object, ...], settings: Settings) -> Item:
    *texts, first_seen = row
    if not isinstance(first_seen, int) or not all(isinstance(text, bytes) for text in texts):
        return _unreadable(row)
    name, domain, source, recipient = [text for text in texts if isinstance(text, bytes)]
    address, is_network = _address(source)
    if address is None:
        return _unreadable(row)
    if is_network and _is_too_wide(address, settings):
        return Refused(EntryKind.TRIPLET, _TOO_WIDE)
    sender = b"" if name == _NOBODY else name
    if domain != _NOBODY:
        sender += b"@" + domain
    key = request_keys(address, sender, recipient, settings).triplet
    return Found(EntryKind.TRIPLET, (key,), Triplet(first_seen, first_seen))


def _address(source: bytes) -> tuple[Address | None, bool]:
    """Return a source's address, and whether it is a network's."""
    if _IPV4_NETWORK.fullmatch(source):
        return parse_address(source + b".0"), True
    if _IPV6_NETWORK.fullmatch(source):
        return parse_address(source + b"::"), True
    return parse_address(source), False


def _is_too_wide(network: Address, settings: Settings) -> bool:
    """Whether this server looks for something narrower than sqlgrey's /24 and /64."""
    prefix = network_prefix(network.number, network.bits, settings)
    return settings.lookup_by_host or prefix > (24 if network.bits == 32 else 64)


def _clients(connection: sqlite3.Connection, settings: Settings) -> Iterator[Item]:
    """Go through the sources of what passed, each with all its senders in turn."""
    rows = connection.execute(
        "SELECT src, first_seen, last_seen FROM from_awl UNION ALL"
        " SELECT src, first_seen, last_seen FROM domain_awl ORDER BY 1, 2"
    )
    counting = None
    for row in rows:
        source, first, last = row
        if not isinstance(source, bytes) or not (isinstance(first, int) and isinstance(last, int)):
            yield _unreadable(row)
            continue
        address, is_network = _address(source)
        if address is None:
            yield _unreadable(row)
        elif is_network:
            yield Refused(EntryKind.CLIENT, _NO_PLACE)
        else:
            if counting and counting.source != source:
                yield counting.found(settings)
                counting = None
            counting = counting or _Counting(source, address)
            counting.add(first)
            counting.last = max(counting.last, last)
    if counting:
        yield counting.found(settings)


class _Counting:
    """A client, while its senders are counted."""

    def __init__(self, source: bytes, address: Address) -> None:
        self.source = source
        self.address = address
        self.last = 0
        self._successes = 0
        self._counted = -COUNT_EVERY

    def add(self, when: int) -> None:
        """Count a sender that was added then, as greyd would have."""
        if when - self._counted >= COUNT_EVERY:
            self._successes += 1
            self._counted = when

    def found(self, settings: Settings) -> Found:
        """Return what is known of it."""
        key = request_keys(self.address, b"", b"", settings).client
        return Found(EntryKind.CLIENT, (key,), Client(self._successes, self.last))


def _unreadable(row: tuple[object, ...]) -> Unreadable:
    shown = (each if isinstance(each, bytes) else str(each).encode() for each in row)
    return Unreadable(b" ".join(each[:_SHOWN] for each in shown))
