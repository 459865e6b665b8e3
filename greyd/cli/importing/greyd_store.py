"""greyd's own entries in another store: where each belongs in this one.

Their keys are made anew where the servers differ: networks are cut as this server cuts them, and
with ``--privacy`` readable keys are hashed. What is hashed there can only stay as it is.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from greyd.cli.importing.merging import (
    Correspondence,
    Found,
    Item,
    Refused,
    Unreadable,
    as_passed_here,
)
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind, is_internal_key, kind_of
from greyd.rules.keys import hidden, keys_of_normal, names_in
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
_SHA1, _SHA256 = 40, 64

_NOTES = "notes of the servers' own (mode, windows, the log's): they stay with their store"
_HASHED = (
    "hashed keys, and this server looks for others; they can only be used with the --privacy and"
    " --privacy-key that they were made with"
)
_KEYED = "correspondences: hashed without --privacy-key, and this server has one"


def records(connection: sqlite3.Connection) -> Iterator[Record]:
    """Go through a SQLite store's entries, without a thread and without writing."""
    row = NEWEST
    while (step := entries_before(connection, int(time.time()), row)) is not None:
        row, group = step
        yield from group


def count(connection: sqlite3.Connection) -> int:
    """Return how many entries there are."""
    return int(connection.execute("SELECT count(*) FROM record").fetchone()[0])


def understand(record: Record, settings: Settings, delay_seconds: int) -> Item:
    """Say where an entry belongs. Its triplets were decided with ``delay_seconds``."""
    kind = kind_of(record.key)
    if is_internal_key(record.key):
        return Refused(kind, _NOTES)
    if record.foreign_type or kind is EntryKind.OTHER:
        what = record.foreign_type.encode() or record.value[:200]
        return Unreadable(record.key[:200] + b" " + what)
    known = _known(kind, record.value)
    if known is None:
        return Unreadable(record.key[:200] + b" " + record.value[:200])
    if isinstance(known, Identity):
        # With --privacy only the record tells the one from the other.
        kind = EntryKind.IDENTITY
    elif isinstance(known, Triplet):
        known = as_passed_here(known, delay_seconds, settings)
    key = _key(record.key, kind, settings)
    if isinstance(key, str):
        return Refused(kind, key, is_wrong=True)
    # One without an end gets the end that it would have here.
    return Found(kind, (key,), known, record.ttl_seconds or 0)


def _known(kind: EntryKind, value: bytes) -> Triplet | Client | Identity | Correspondence | None:
    if kind in (EntryKind.TRIPLET, EntryKind.IDENTITY_TRIPLET):
        return Triplet.load(value)
    if kind is EntryKind.CORRESPONDENCE:
        return Correspondence.load(value)
    return Identity.load(value) or Client.load(value)


def _key(key: bytes, kind: EntryKind, settings: Settings) -> bytes | str:
    """Return the key here, or why there is none."""
    if not key.startswith(b"{"):
        return _hashed(key, settings)
    if kind is EntryKind.CORRESPONDENCE:
        if settings.privacy_key is not None:
            return _KEYED
        return b"~" + key.partition(b"}~")[2] if settings.privacy else key
    if kind in (EntryKind.IDENTITY, EntryKind.IDENTITY_TRIPLET):
        return hidden(key, settings) if settings.privacy else key
    if kind is EntryKind.CLIENT:
        address = parse_address(key.partition(b"}:")[2])
        return keys_of_normal(address, b"", b"", settings).client if address else key
    return _triplet(key, settings)


def _triplet(key: bytes, settings: Settings) -> bytes:
    names = names_in(key)
    address: Address | None = names and parse_address(names.network)
    if names is None or address is None:
        return key
    return keys_of_normal(address, names.sender, names.recipient, settings).triplet


def _hashed(key: bytes, settings: Settings) -> bytes | str:
    length = _SHA1 if settings.privacy_key is None else _SHA256
    if key.startswith(b"~"):
        length = _SHA256
    text = _HASH.fullmatch(key)
    fits = settings.privacy and text is not None and len(text[1]) == length
    return key if fits else _HASHED


def is_the_same(one: str, other: str) -> bool:
    """Whether two URLs of Redis lead to the same database, as far as they tell."""
    try:
        return _place(parse_redis_url(one)) == _place(parse_redis_url(other))
    except StoreUrlError:
        return False


_LOCAL = ("localhost", "::1")


def _place(url: RedisUrl) -> RedisUrl:
    """Return a URL with what does not matter left out, and this machine under one name."""
    hosts = tuple(
        each._replace(name="127.0.0.1") if each.name in _LOCAL else each for each in url.hosts
    )
    return url._replace(scheme="", connection="", hosts=hosts, username="", password="", options=())
