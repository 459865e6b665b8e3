"""Converts the entries of another greyd store.

Keys are converted to this server's settings: its network prefixes, and with ``--privacy`` its
hashes. A key that is already hashed is kept unchanged or skipped.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.cli.importing.items import (
    MAX_EXCERPT_BYTES,
    ImportedCorrespondence,
    ImportedEntry,
    ImportItem,
    SkippedEntry,
    UnreadableItem,
)
from greyd.cli.importing.merge import adapt_to_delay
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind, is_internal_key, kind_of
from greyd.rules.keys import hash_key, keys_of_normal, names_in
from greyd.rules.records import Client, Identity, Triplet
from greyd.store.sqlite.rows import NEWEST, entries_before
from greyd.store.url import RedisUrl, StoreUrlError, parse_redis_url

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.rules.transaction import Record


_HASH = re.compile(rb"[/:~]([0-9a-f]+)")
_SHA1_DIGITS, _SHA256_DIGITS = 40, 64

_INTERNAL = (
    "internal entries (mode, expect windows, actions for the log): they belong to their store"
)
_HASHED = (
    "hashed keys: this server can use them only with the --privacy and --privacy-key that they were"
    " made with"
)
_HASHED_WITHOUT_KEY = "correspondences: hashed without --privacy-key, and this server has one"


def read_records(connection: sqlite3.Connection) -> Iterator[Record]:
    """Yield the entries of a SQLite store, newest first."""
    row = NEWEST
    while (step := entries_before(connection, int(time.time()), row)) is not None:
        row, records = step
        yield from records


def count_records(connection: sqlite3.Connection) -> int:
    """Return the number of entries in a SQLite store."""
    return int(connection.execute("SELECT count(*) FROM record").fetchone()[0])


def convert_record(record: Record, settings: Settings, delay_seconds: int) -> ImportItem:
    """Convert a record of another store; ``delay_seconds`` is the delay of that store's server."""
    kind = kind_of(record.key)
    if is_internal_key(record.key):
        return SkippedEntry(kind, _INTERNAL)
    if record.foreign_type or kind is EntryKind.OTHER:
        return _unreadable(record)
    value = _parse_value(kind, record.value)
    if value is None:
        return _unreadable(record)
    if isinstance(value, Identity):
        # Hashed keys of clients and identities look the same; only the record differs.
        kind = EntryKind.IDENTITY
    elif isinstance(value, Triplet):
        value = adapt_to_delay(value, delay_seconds, settings)
    key = _convert_key(record.key, kind, settings)
    if isinstance(key, str):
        return SkippedEntry(kind, key, is_problem=True)
    # 0: an entry without a time to live gets the one that this server would set.
    return ImportedEntry(kind, (key,), value, record.ttl_seconds or 0)


def _unreadable(record: Record) -> UnreadableItem:
    content = record.foreign_type.encode() or record.value[:MAX_EXCERPT_BYTES]
    return UnreadableItem(record.key[:MAX_EXCERPT_BYTES] + b" " + content)


def _parse_value(
    kind: EntryKind, value: bytes
) -> Triplet | Client | Identity | ImportedCorrespondence | None:
    if kind in (EntryKind.TRIPLET, EntryKind.IDENTITY_TRIPLET):
        return Triplet.load(value)
    if kind is EntryKind.CORRESPONDENCE:
        return ImportedCorrespondence.load(value)
    return Identity.load(value) or Client.load(value)


def _convert_key(key: bytes, kind: EntryKind, settings: Settings) -> bytes | str:
    """Return the key in this store as bytes, or the reason why the entry has none as text."""
    if not key.startswith(b"{"):
        return _check_hashed_key(key, settings)
    if kind is EntryKind.CORRESPONDENCE:
        if settings.privacy_key is not None:
            return _HASHED_WITHOUT_KEY
        return b"~" + key.partition(b"}~")[2] if settings.privacy else key
    if kind in (EntryKind.IDENTITY, EntryKind.IDENTITY_TRIPLET):
        return hash_key(key, settings) if settings.privacy else key
    if kind is EntryKind.CLIENT:
        address = parse_address(key.partition(b"}:")[2])
        return keys_of_normal(address, b"", b"", settings).client if address else key
    return _convert_triplet_key(key, settings)


def _convert_triplet_key(key: bytes, settings: Settings) -> bytes:
    names = names_in(key)
    address: Address | None = names and parse_address(names.network)
    if names is None or address is None:
        return key
    return keys_of_normal(address, names.sender, names.recipient, settings).triplet


def _check_hashed_key(key: bytes, settings: Settings) -> bytes | str:
    # Without --privacy-key, keys are SHA-1 as in postgrey, except those of correspondences.
    is_sha256 = settings.privacy_key is not None or key.startswith(b"~")
    digits = _HASH.fullmatch(key)
    is_usable = digits is not None and len(digits[1]) == (
        _SHA256_DIGITS if is_sha256 else _SHA1_DIGITS
    )
    return key if settings.privacy and is_usable else _HASHED


def is_same_database(one: str, other: str) -> bool:
    """Whether two Redis URLs name the same database; two names of one host count as different."""
    try:
        return _database_of(parse_redis_url(one)) == _database_of(parse_redis_url(other))
    except StoreUrlError:
        return False


_LOOPBACK_NAMES = ("localhost", "::1")


def _database_of(url: RedisUrl) -> RedisUrl:
    """Return a URL with only the parts that identify the database, and one name for loopback."""
    hosts = tuple(
        each._replace(name="127.0.0.1") if each.name in _LOOPBACK_NAMES else each
        for each in url.hosts
    )
    return replace(url, scheme="", connection="", hosts=hosts, username="", password="", options=())
