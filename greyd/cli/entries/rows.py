"""Entries as they are shown: rows and details for people, objects for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable
from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret, is_too_old
from greyd.rules.records import Client, Identity, Triplet
from greyd.terminal import format_time, format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.cli.context import CommandContext
    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record

TRIPLETS = (EntryKind.TRIPLET, EntryKind.IDENTITY_TRIPLET)

_TODAY_SECONDS = 20 * 3600
_WIDE = 120
"""Columns of a terminal from which on all times have room."""


# For programs -------------------------------------------------------------------------------------


def text_of(data: bytes) -> str:
    """Return octets of a stranger as text for JSON, which escapes what could steer a terminal."""
    return data.decode(errors="backslashreplace")


def object_of(entry: StoredEntry, now: int, settings: Settings) -> dict[str, Any]:
    """Return an entry for a program; what it has not is left out."""
    shown: dict[str, Any] = {"kind": entry.kind.value, "state": entry.state.value}
    if not entry.is_hidden:
        names = zip(("client", "sender", "recipient"), entry.names, strict=True)
        has = 3 if entry.kind in TRIPLETS else 2 if entry.kind is EntryKind.CORRESPONDENCE else 1
        shown |= {name: text_of(data) for name, data in [*names][:has]}
    shown |= {"first_seen": entry.first_seen} if entry.first_seen else {}
    shown |= {"last_seen": entry.last_seen} if entry.state is not EntryState.UNREADABLE else {}
    match entry.record:
        case Triplet(passed_at=passed_at):
            shown |= {"passes_at": entry.passes_at}
            shown |= {"passed_at": passed_at} if passed_at is not None else {}
        case Client(successes=number) | Identity(successes=number):
            shown["successes"] = number
    return {
        **shown,
        "forgotten_at": forgotten_at(entry, now, settings),
        **({"no_end": True} if entry.ttl_seconds is None else {}),
        "key": text_of(entry.key),
    }


def forgotten_at(entry: StoredEntry, now: int, settings: Settings) -> int | None:
    """Return when an entry counts no more, if it is not seen until then; None: never."""
    ends = [] if entry.ttl_seconds is None else [now + entry.ttl_seconds]
    if entry.state in (EntryState.WAITING, EntryState.NEVER_RETURNED):
        ends.append(entry.first_seen + settings.retry_window_seconds)
    elif entry.kind is not EntryKind.CORRESPONDENCE and entry.state is not EntryState.UNREADABLE:
        ends.append(entry.last_seen + settings.max_age_seconds)
    return min(ends, default=None)


class JsonRows:
    """One document that is written as it comes, an entry a line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._number = 0

    def show(self, entries: Iterable[StoredEntry]) -> None:
        """Write entries."""
        now = int(time.time())
        for entry in entries:
            text = json.dumps(object_of(entry, now, self._settings))
            sys.stdout.write(f"{',' if self._number else self._head()}\n{text}")
            self._number += 1
        sys.stdout.flush()

    def end(self, **facts: object) -> None:
        """Write what is known at the end."""
        more = json.dumps(facts)[1:]
        sys.stdout.write(f"{'' if self._number else self._head()}\n], {more}\n")

    @staticmethod
    def _head() -> str:
        return '{"entries": ['


# For people ---------------------------------------------------------------------------------------


class Rows:
    """A table that is written as it comes: of fixed columns on a terminal, else a line an entry."""

    def __init__(self, context: CommandContext, *, keys: bool) -> None:
        self._context = context
        self._keys = keys
        self._begun = False

    def show(self, entries: Sequence[StoredEntry]) -> None:
        """Write entries."""
        if self._context.console.is_terminal:
            self._fold(entries)
        else:
            self._write(entries)

    def _fold(self, entries: Sequence[StoredEntry]) -> None:
        """Write them into columns that names are folded in."""
        from rich.table import Table

        width = self._context.console.width
        wide = width >= _WIDE
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
            times = [_short_clock(entry.last_seen, now), _short_clock(_passes_at(entry), now)]
            table.add_row(_state(entry), *times[: len(fixed) - 1], *self._names(entry))
        if entries:
            self._context.console.print(table)
            self._begun = True

    def _write(self, entries: Sequence[StoredEntry]) -> None:
        """Write them a line each."""
        if entries and not self._begun:
            self._begun = True
            sys.stdout.write(_line("state", "last seen", "passes at", *self._name_heads()))
        for entry in entries:
            times = (
                format_timestamp(entry.last_seen) or "-",
                format_timestamp(_passes_at(entry)) or "-",
            )
            sys.stdout.write(_line(_state(entry), *times, *self._names(entry)))
        sys.stdout.flush()

    def _name_heads(self) -> list[str]:
        return ["key"] if self._keys else ["client", "sender", "recipient"]

    def _name_widths(self, left: int) -> list[int]:
        if self._keys:
            return [left]
        client = min(max(left // 4, 15), 39)
        return [client, (left - client) // 2, (left - client) // 2]

    def _names(self, entry: StoredEntry) -> list[str]:
        return [printable(entry.key)] if self._keys else names_of(entry)


def _state(entry: StoredEntry) -> str:
    """Return an entry's state; one without a time to live stays until somebody forgets it."""
    return entry.state.value + (", no end" if entry.ttl_seconds is None else "")


def _line(state: str, seen: str, passes: str, first: str, *more: str) -> str:
    names = f"{first:<18}  {more[0]:<30}  {more[1]}" if more else first
    return f"{state:<16}  {seen:<19}  {passes:<19}  {names}\n"


def _short_clock(when: float, now: float) -> str:
    """Return a time in eleven characters."""
    if not when:
        return ""
    near = abs(now - when) < _TODAY_SECONDS
    return format_time("%H:%M:%S" if near else "%m-%d %H:%M", when)


def _passes_at(entry: StoredEntry) -> int:
    return entry.passes_at if entry.state is EntryState.WAITING else 0


def names_of(entry: StoredEntry) -> list[str]:
    """Return client, sender and recipient for people; a hash stands where the client would."""
    if entry.is_hidden:
        return [printable(entry.key), "-", "-"]
    client, sender, recipient = map(printable, entry.names)
    if entry.kind in TRIPLETS:
        return [client, sender or "<>", recipient]
    return [client or "-", sender or "-", "-"]


def details_of(record: Record, settings: Settings) -> list[tuple[str, str]]:
    """Return all that is known of a record: names of facts, and the facts."""
    now = int(time.time())
    entry = interpret(record, now, settings, expired=True, unreadable=True)
    facts: list[tuple[str, str]] = []
    if entry is None:
        facts.append(("kind", "none of what mail is decided by"))
    else:
        facts += _facts_of(entry, now, settings)
        if entry.state is not EntryState.UNREADABLE and is_too_old(entry, now, settings):
            facts.append(("passed over", "it is too old, and counts no more"))
    return [
        *facts,
        ("leaves store", _end(record.ttl_seconds, now)),
        ("key", printable(record.key)),
        ("record", _content(record)),
    ]


def _end(ttl_seconds: int | None, now: int) -> str:
    if ttl_seconds is None:
        return "no end: it has no time to live, and greyd forget alone removes it"
    return _moment(now + ttl_seconds, now)


def _content(record: Record) -> str:
    if record.foreign_type:
        return (
            f"a {printable(record.foreign_type.encode())} of Redis's: none that greyd has written"
        )
    return printable(record.value) or "(empty)"


def _facts_of(entry: StoredEntry, now: int, settings: Settings) -> Iterable[tuple[str, str]]:
    client, sender, recipient = names_of(entry)
    yield "kind", entry.kind.value
    if entry.is_hidden:
        yield "names", "hidden by --privacy"
    else:
        facts: Mapping[str, str] = {"client": client, "sender": sender, "recipient": recipient}
        yield from ((name, text) for name, text in facts.items() if text != "-")
    yield "state", _state_in_words(entry, now, settings)
    if entry.first_seen:
        yield "first seen", _moment(entry.first_seen, now)
    if entry.state is EntryState.UNREADABLE:
        return
    yield "last seen", _moment(entry.last_seen, now)
    if isinstance(entry.record, Triplet) and entry.record.passed_at is not None:
        yield "passed", _moment(entry.record.passed_at, now)
    end = forgotten_at(entry, now, settings)
    yield "forgotten", "no end" if end is None else _moment(end, now)


def _state_in_words(entry: StoredEntry, now: int, settings: Settings) -> str:
    state = entry.state.value
    match entry.record:
        case Client(successes=number):
            return f"{state}: {_times(number)}{_of(settings.auto_whitelist_clients)}"
        case Identity(successes=number):
            return f"{state}: {_times(number)}{_of(settings.auto_whitelist_identities)}"
    if entry.state is EntryState.WAITING and entry.passes_at > now:
        least = "at the earliest " if settings.delay_varies else ""
        return f"{state}, passes {least}{_moment(entry.passes_at, now)}"
    if entry.state is EntryState.UNREADABLE:
        return f"{state}: mail is decided as if it were not there"
    if entry.state in (EntryState.WAITING, EntryState.NEVER_RETURNED):
        return f"{state}; would pass since {_moment(entry.passes_at, now)}"
    return state


def _times(number: int) -> str:
    return "came back once" if number == 1 else f"came back {number} times"


def _of(threshold: int) -> str:
    return f" ({threshold} are enough)" if threshold else ", and auto-whitelisting is off"


def _moment(when: int, now: int) -> str:
    """Return a time, and how far away it is."""
    away = format_breakable_duration(abs(when - now))
    return f"{format_timestamp(when) or 0} ({f'in {away}' if when > now else f'{away} ago'})"
