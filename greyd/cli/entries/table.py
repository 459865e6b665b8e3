"""The columns in which entries are shown."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from greyd.cli.tables.column import Kind, Meaning, TableColumn
from greyd.escaping import printable
from greyd.rules.entries import EntryKind, EntryState, StoredEntry
from greyd.rules.networks import parse_network, with_prefix_length
from greyd.rules.records import Triplet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings

_MEANINGS = {
    EntryState.WAITING: Meaning.WAITING,
    EntryState.PASSED: Meaning.GOOD,
    EntryState.NEVER_RETURNED: Meaning.BAD,
    EntryState.AUTO_WHITELISTED: Meaning.GOOD,
    EntryState.UNREADABLE: Meaning.BAD,
}


MIN_ADDRESS_WIDTH = 20
"""Below this width, in cells, too many senders look alike."""


def entry_columns(
    settings: Settings, *, keys: bool = False, one_state: bool = False
) -> list[TableColumn[StoredEntry]]:
    """Return the columns of a table of entries.

    Args:
        settings: the server's settings.
        keys: whether the table has keys instead of names.
        one_state: whether all entries have the same state, which a narrow terminal can do without.
    """
    columns: list[TableColumn[StoredEntry]] = [
        TableColumn(
            "state",
            Kind.VERDICT,
            format_state,
            meaning=state_meaning,
            priority=4 if one_state else 1,
        ),
        TableColumn("last seen", Kind.TIME, _last_seen, label="seen", priority=3),
        TableColumn("passes at", Kind.DUE, passes_at, label="passes", priority=2),
    ]
    if keys:
        return [*columns, TableColumn("key", Kind.NAME, _key, label="")]
    return columns + name_columns(settings)


def name_columns(settings: Settings) -> list[TableColumn[StoredEntry]]:
    """Return the columns with the client, the sender and the recipient of an entry."""
    return [
        TableColumn(
            "client", Kind.NETWORK, partial(_name, 0, settings), label="", order=network_order
        ),
        TableColumn(
            "sender",
            Kind.ADDRESS,
            partial(_name, 1, settings),
            label="from",
            min_width=MIN_ADDRESS_WIDTH,
        ),
        TableColumn(
            "recipient",
            Kind.ADDRESS,
            partial(_name, 2, settings),
            label="to",
            min_width=MIN_ADDRESS_WIDTH,
        ),
    ]


def state_meaning(entry: StoredEntry) -> Meaning:
    """Return what the colour of an entry's state stands for."""
    if is_released(entry):
        return Meaning.GOOD
    return Meaning.SECONDARY if entry.is_expired else _MEANINGS.get(entry.state, Meaning.PLAIN)


def is_released(entry: StoredEntry) -> bool:
    """Whether an entry is a triplet that waits no longer than for its sender's next attempt."""
    return (
        entry.state is EntryState.WAITING
        and not entry.is_expired
        and isinstance(entry.record, Triplet)
        and entry.record.released_at is not None
    )


def format_state(entry: StoredEntry) -> str:
    """Return an entry's state, or that it is released; with a mark if it has no time to live."""
    waiting = "released" if is_released(entry) else entry.state.value
    state = "expired" if entry.is_expired else waiting
    return state + (", no end" if entry.ttl_seconds is None else "")


def passes_at(entry: StoredEntry) -> int:
    """Return when a waiting triplet passes, in seconds since 1970; 0 for others."""
    waits = entry.state is EntryState.WAITING and not entry.is_expired
    return entry.passes_at if waits else 0


def network_order(entry: StoredEntry) -> str:
    """Return a text by which entries are sorted by client, see ``client_order``."""
    return client_order(entry.names.network)


def client_order(name: bytes) -> str:
    """Return a text by which clients are sorted: networks by their number, then names."""
    network = parse_network(name)
    if network is None:
        return f"z{name!r}"
    return f"{network.bits:03}{network.number:039}"


def _last_seen(entry: StoredEntry) -> int:
    return entry.last_seen


def _key(entry: StoredEntry) -> str:
    return printable(entry.key)


def _name(at: int, settings: Settings, entry: StoredEntry) -> str | None:
    name = display_names(entry, settings)[at]
    return None if name == "-" else name


def display_names(entry: StoredEntry, settings: Settings) -> Sequence[str]:
    """Return client, sender and recipient; for a hashed entry, its hash in place of the names.

    The client of a triplet is a network in CIDR notation, or an identity's domain.
    """
    if entry.is_hidden:
        return [printable(entry.key), "-", "-"]
    client, sender, recipient = map(printable, entry.names)
    if entry.kind is EntryKind.TRIPLET:
        client = printable(with_prefix_length(entry.names.network, settings))
    if entry.kind.is_triplet:
        return [client, sender or "<>", recipient]
    return [client or "-", sender or "-", "-"]
