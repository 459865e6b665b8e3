"""Writes entries as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from greyd.cli.entries.details import expires_at
from greyd.cli.entries.table import is_released
from greyd.cli.json_values import client_network_field, json_text
from greyd.rules.entries import EntryKind, EntryState, StoredEntry
from greyd.rules.records import Client, Identity, Triplet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.config.settings import Settings


def entry_object(entry: StoredEntry, now: int, settings: Settings) -> dict[str, Any]:
    """Return an entry as a JSON object, without the fields that the entry does not have."""
    shown: dict[str, Any] = {"kind": entry.kind.value, "state": entry.state.value}
    shown |= names_object(entry)
    if entry.kind is EntryKind.TRIPLET and not entry.is_hidden:
        shown |= client_network_field(entry.names.network, settings)
    shown |= {"first_seen": entry.first_seen} if entry.first_seen else {}
    shown |= {"last_seen": entry.last_seen} if entry.state is not EntryState.UNREADABLE else {}
    match entry.record:
        case Triplet(passed_at=passed_at, released_at=released_at):
            shown |= {"passes_at": entry.passes_at}
            shown |= {"passed_at": passed_at} if passed_at is not None else {}
            shown |= {"released_at": released_at} if released_at is not None else {}
        case Client(successes=number) | Identity(successes=number):
            shown["successes"] = number
    if is_released(entry):
        shown["released"] = True
    return {
        **shown,
        "forgotten_at": expires_at(entry, now, settings),
        **({"no_end": True} if entry.ttl_seconds is None else {}),
        **({"expired": True} if entry.is_expired else {}),
        "key": json_text(entry.key),
    }


def names_object(entry: StoredEntry) -> dict[str, str]:
    """Return the names of an entry as a JSON object; empty for a hashed entry."""
    if entry.is_hidden:
        return {}
    names = zip(("client", "sender", "recipient"), entry.names, strict=True)
    has = 3 if entry.kind.is_triplet else 2 if entry.kind is EntryKind.CORRESPONDENCE else 1
    return {name: json_text(data) for name, data in [*names][:has]}


class EntryJsonWriter:
    """Writes one JSON document, one entry per line, each as soon as it is found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._number = 0

    def show(self, entries: Iterable[StoredEntry]) -> None:
        """Write entries."""
        now = int(time.time())
        for entry in entries:
            text = json.dumps(entry_object(entry, now, self._settings))
            sys.stdout.write(f"{',' if self._number else self._head()}\n{text}")
            self._number += 1
        sys.stdout.flush()

    def end(self, **facts: object) -> None:
        """Write the fields that are known only at the end, and close the document."""
        more = json.dumps(facts)[1:]
        sys.stdout.write(f"{'' if self._number else self._head()}\n], {more}\n")

    @staticmethod
    def _head() -> str:
        return '{"entries": ['
