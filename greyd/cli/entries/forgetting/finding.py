"""Finds the entries that ``greyd forget`` removes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.cli.entries.correspondences import CorrespondenceSearch
from greyd.cli.entries.search.key_texts import texts_of_selection
from greyd.cli.entries.selection import NULL_SENDER, Selection
from greyd.rules.correspondence.keys import keys_to_learn
from greyd.rules.entries import EntryKind, EntryState, interpret
from greyd.rules.reserved_keys import SHADOW_PREFIX
from greyd.store.contract import scan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.cli.entries.aliases import AddressAliases
    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store


@dataclass(frozen=True)
class FoundToForget:
    """The entries to remove."""

    entries: list[StoredEntry]
    are_unreadable: bool = False
    """Whether the entries were selected because greyd can't read them."""
    unchecked_count: int = 0
    """The number of correspondences that may belong to them and were not checked."""


async def find_selected(selection: Selection, store: Store, settings: Settings) -> FoundToForget:
    """Return the selected entries, including expired ones.

    Raises:
        CommandError: the store contains only hashes, and the selection does not name exactly one
            entry.
    """
    found: dict[bytes, StoredEntry] = {}
    wanted = [each for key in _correspondence_keys(selection, settings) for each in _both(key)]
    if settings.privacy:
        wanted += [each for key in selection.hashed_keys(settings) for each in _both(key)]
    else:
        texts = texts_of_selection(selection, settings)
        async for record, entry in _all_entries(store, settings, texts):
            if selection.matches(entry, settings):
                found[record.key] = entry
    for key in wanted:
        stored = await store.get(key)
        if stored is not None and (meant := _meaning(stored, settings)) is not None:
            found[key] = meant
    return FoundToForget(list(found.values()))


def _correspondence_keys(selection: Selection, settings: Settings) -> list[bytes]:
    """Return the keys of a selected sender's and recipient's correspondences, both ways."""
    sender, recipient = selection.sender_as_given, selection.recipient
    if sender == NULL_SENDER or b"@" not in sender.lstrip(b"@") or b"@" not in recipient:
        return []
    names_client = bool(selection.networks or selection.domain)
    if names_client and not settings.privacy:
        # Without --privacy, a client selects only its triplets.
        return []
    pairs = [(recipient, sender), *([] if names_client else [(sender, recipient)])]
    return [each.key for user, other in pairs for each in keys_to_learn(user, other, settings)]


async def find_unreadable(store: Store, settings: Settings) -> FoundToForget:
    """Return the entries that greyd can't read."""
    found: dict[bytes, StoredEntry] = {}
    now = int(time.time())
    async for group in scan(store):
        entries = [interpret(each, now, settings, expired=True, unreadable=True) for each in group]
        found |= {e.key: e for e in entries if e and e.state is EntryState.UNREADABLE}
    return FoundToForget(list(found.values()), are_unreadable=True)


async def is_unreadable(store: Store, key: bytes, settings: Settings) -> bool:
    """Whether the entry under a key is still one that greyd can't read."""
    record = await store.get(key)
    if record is None:
        return False
    entry = interpret(record, int(time.time()), settings, expired=True, unreadable=True)
    return entry is not None and entry.state is EntryState.UNREADABLE


async def find_naming(aliases: AddressAliases, store: Store, settings: Settings) -> FoundToForget:
    """Return all entries that name an address in any form, including unreadable ones."""
    if settings.privacy:
        return FoundToForget([])
    found: dict[bytes, StoredEntry] = {}
    correspondences: dict[bytes, StoredEntry] = {}
    search = CorrespondenceSearch(aliases, settings)
    async for record, entry in _all_entries(store, settings):
        if _names(entry, record, aliases):
            found[record.key] = entry
        elif entry.kind is EntryKind.CORRESPONDENCE:
            own_key = record.key.removeprefix(SHADOW_PREFIX)
            correspondences[record.key] = entry
            search.add_correspondence(own_key, entry.names.sender.removeprefix(b"@"))
        if entry.kind.is_triplet and not entry.is_hidden:
            search.add_names(entry.names)
    for key in search.search():
        found |= {each: correspondences[each] for each in _both(key) if each in correspondences}
    return FoundToForget(list(found.values()), unchecked_count=search.unchecked_count)


def _names(entry: StoredEntry, record: Record, aliases: AddressAliases) -> bool:
    """Whether an entry names an address or a domain."""
    if entry.state is EntryState.UNREADABLE and any(
        map(aliases.are_mentioned_in, (record.key, record.value))
    ):
        return True
    is_of_identity = entry.kind in (EntryKind.IDENTITY, EntryKind.IDENTITY_TRIPLET)
    if is_of_identity and aliases.include_domain(entry.names.network):
        return True
    if entry.kind is EntryKind.CORRESPONDENCE:
        return aliases.include_domain(entry.names.sender.removeprefix(b"@"))
    return entry.kind.is_triplet and not entry.is_hidden and aliases.are_named_by(entry.names)


def shown_kind(entry: StoredEntry) -> EntryKind:
    """Return the kind under which an entry is counted; ``OTHER`` for those of the shadow."""
    return EntryKind.OTHER if entry.key.startswith(SHADOW_PREFIX) else entry.kind


def _both(key: bytes) -> tuple[bytes, bytes]:
    """Return the server's key, and the corresponding key of its shadow."""
    return key, SHADOW_PREFIX + key


async def _all_entries(
    store: Store, settings: Settings, containing: Sequence[bytes] = ()
) -> AsyncIterator[tuple[Record, StoredEntry]]:
    async for group in scan(store, containing=containing):
        for record in group:
            if (entry := _meaning(record, settings)) is not None:
                yield record, entry


def _meaning(record: Record, settings: Settings) -> StoredEntry | None:
    """Interpret an entry, or one of the shadow as if it were the server's own."""
    own = record._replace(key=record.key.removeprefix(SHADOW_PREFIX))
    entry = interpret(own, int(time.time()), settings, expired=True, unreadable=True)
    return entry and replace(entry, key=record.key)
