"""Prints entries as a table."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from greyd.escaping import printable
from greyd.rules.entries import EntryKind, EntryState, StoredEntry
from greyd.rules.networks import with_prefix_length
from greyd.terminal import format_time, format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.config.settings import Settings


_SAME_DAY_SECONDS = 20 * 3600
_WIDE_COLUMNS = 120
"""Minimum width of a terminal, in columns, for a table with all times."""


class EntryTable:
    """Prints entries as they are found: a table on a terminal, otherwise one line per entry."""

    def __init__(self, context: CommandContext, *, keys: bool) -> None:
        self._context = context
        self._keys = keys
        self._begun = False

    def show(self, entries: Sequence[StoredEntry]) -> None:
        """Print entries below those that are already printed."""
        if self._context.console.is_terminal:
            self._fold(entries)
        else:
            self._write(entries)

    def _fold(self, entries: Sequence[StoredEntry]) -> None:
        """Print a table for a terminal; fold long names."""
        from rich.table import Table

        width = self._context.console.width
        wide = width >= _WIDE_COLUMNS
        head = ["state", "last seen", *(["passes at"] if wide else []), *self._name_heads()]
        now = time.time()
        fixed = [16, 11, 11][: 3 if wide else 2]
        left = max(width - sum(fixed) - 2 * (len(head) - 1), 9 * (len(head) - len(fixed)))
        table = Table(
            box=None, pad_edge=False, header_style="bold", show_header=not self._begun,
            padding=(0, 2, 0, 0),
        )  # fmt: skip
        widths = [*fixed, *self._name_widths(left)]
        for name, columns in zip(head, widths, strict=True):
            table.add_column(name, width=columns, overflow="fold")
        for entry in entries:
            times = [_short_time(entry.last_seen, now), _short_time(_passes_at(entry), now)]
            table.add_row(_format_state(entry), *times[: len(fixed) - 1], *self._names(entry))
        if entries:
            self._context.console.print(table)
            self._begun = True

    def _write(self, entries: Sequence[StoredEntry]) -> None:
        """Print one line per entry."""
        if entries and not self._begun:
            self._begun = True
            sys.stdout.write(_format_line("state", "last seen", "passes at", *self._name_heads()))
        for entry in entries:
            times = (
                format_timestamp(entry.last_seen) or "-",
                format_timestamp(_passes_at(entry)) or "-",
            )
            sys.stdout.write(_format_line(_format_state(entry), *times, *self._names(entry)))
        sys.stdout.flush()

    def _name_heads(self) -> list[str]:
        return ["key"] if self._keys else ["client", "sender", "recipient"]

    def _name_widths(self, left: int) -> list[int]:
        if self._keys:
            return [left]
        client = min(max(left // 4, 15), 39)
        return [client, (left - client) // 2, (left - client) // 2]

    def _names(self, entry: StoredEntry) -> list[str]:
        if self._keys:
            return [printable(entry.key)]
        return display_names(entry, self._context.settings)


def _format_state(entry: StoredEntry) -> str:
    """Return an entry's state, with a mark if it has no time to live."""
    state = "expired" if entry.is_expired else entry.state.value
    return state + (", no end" if entry.ttl_seconds is None else "")


def _format_line(state: str, seen: str, passes: str, first: str, *more: str) -> str:
    names = f"{first:<18}  {more[0]:<30}  {more[1]}" if more else first
    return f"{state:<16}  {seen:<19}  {passes:<19}  {names}\n"


def _short_time(when: float, now: float) -> str:
    """Format a Unix time in at most eleven characters."""
    if not when:
        return ""
    near = abs(now - when) < _SAME_DAY_SECONDS
    return format_time("%H:%M:%S" if near else "%m-%d %H:%M", when)


def _passes_at(entry: StoredEntry) -> int:
    waits = entry.state is EntryState.WAITING and not entry.is_expired
    return entry.passes_at if waits else 0


def display_names(entry: StoredEntry, settings: Settings) -> list[str]:
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
