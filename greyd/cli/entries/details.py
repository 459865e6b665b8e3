"""All details of one entry, as text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from greyd.cli.entries.table import display_names
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable
from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.triplets import awaited_since
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record


def expires_at(entry: StoredEntry, now: int, settings: Settings) -> int | None:
    """Return the Unix time when an entry expires unless mail renews it; None: never."""
    ends = [] if entry.ttl_seconds is None else [now + entry.ttl_seconds]
    if entry.state in (EntryState.WAITING, EntryState.NEVER_RETURNED):
        since = awaited_since(entry.record) if isinstance(entry.record, Triplet) else 0
        ends.append((since or entry.first_seen) + settings.retry_window_seconds)
    elif entry.kind is not EntryKind.CORRESPONDENCE and entry.state is not EntryState.UNREADABLE:
        ends.append(entry.last_seen + settings.max_age_seconds)
    return min(ends, default=None)


def record_details(record: Record, settings: Settings) -> list[tuple[str, str]]:
    """Return the details of a record as pairs of a name and a text."""
    now = int(time.time())
    entry = interpret(record, now, settings, expired=True, unreadable=True)
    facts: list[tuple[str, str]] = []
    if entry is None:
        facts.append(("kind", "internal, or not greyd's: no mail is decided by it"))
    else:
        facts += _entry_facts(entry, now, settings)
        if entry.is_expired:
            facts.append(("expired", "it is too old, and is ignored"))
    return [
        *facts,
        ("leaves store", _store_expiry(record.ttl_seconds, now)),
        ("key", printable(record.key)),
        ("record", _content(record)),
    ]


def _store_expiry(ttl_seconds: int | None, now: int) -> str:
    if ttl_seconds is None:
        return "never: it has no time to live, and only greyd forget removes it"
    return _time_and_distance(now + ttl_seconds, now)


def _content(record: Record) -> str:
    if record.foreign_type:
        return f"a Redis {printable(record.foreign_type.encode())}, not written by greyd"
    return printable(record.value) or "(empty)"


def _entry_facts(entry: StoredEntry, now: int, settings: Settings) -> Iterable[tuple[str, str]]:
    client, sender, recipient = display_names(entry, settings)
    yield "kind", entry.kind.value
    if entry.is_hidden:
        yield "names", "hidden by --privacy"
    else:
        facts: Mapping[str, str] = {"client": client, "sender": sender, "recipient": recipient}
        yield from ((name, text) for name, text in facts.items() if text != "-")
    yield "state", describe_state(entry, now, settings)
    if entry.first_seen:
        yield "first seen", _time_and_distance(entry.first_seen, now)
    if entry.state is EntryState.UNREADABLE:
        return
    yield "last seen", _time_and_distance(entry.last_seen, now)
    if isinstance(entry.record, Triplet) and entry.record.passed_at is not None:
        yield "passed", _time_and_distance(entry.record.passed_at, now)
    if isinstance(entry.record, Triplet) and entry.record.released_at is not None:
        yield "released", _time_and_distance(entry.record.released_at, now)
    end = expires_at(entry, now, settings)
    yield "forgotten", "never" if end is None else _time_and_distance(end, now)


def describe_state(entry: StoredEntry, now: int, settings: Settings) -> str:
    """Describe the state of an entry, with the count of a client or an identity."""
    state = entry.state.value
    match entry.record:
        case Client(successes=number):
            return f"{state}: {_success_count(number)}{_threshold(settings.auto_whitelist_clients)}"
        case Identity(successes=number):
            return (
                f"{state}: {_success_count(number)}{_threshold(settings.auto_whitelist_identities)}"
            )
    if entry.is_expired:
        return f"expired; it was {state}"
    if entry.state is EntryState.WAITING and entry.passes_at > now:
        least = "at the earliest " if settings.delay_varies else ""
        return f"{state}, passes {least}{_time_and_distance(entry.passes_at, now)}"
    if isinstance(entry.record, Triplet) and entry.record.released_at is not None:
        passed = entry.state is EntryState.PASSED
        if passed:
            return state
        away = _distance(entry.record.released_at, now)
        if entry.state is EntryState.WAITING:
            return f"released {away}; its next attempt passes"
        return f"{state}; released {away}, so its next attempt passes"
    if entry.state is EntryState.UNREADABLE:
        return f"{state}: ignored when mail is decided"
    if entry.state in (EntryState.WAITING, EntryState.NEVER_RETURNED):
        return f"{state}; a retry may pass since {_time_and_distance(entry.passes_at, now)}"
    return state


def _success_count(number: int) -> str:
    return "came back once" if number == 1 else f"came back {number} times"


def _threshold(threshold: int) -> str:
    return f" ({threshold} are enough)" if threshold else ", and auto-whitelisting is off"


def _time_and_distance(when: int, now: int) -> str:
    """Format a time, with its distance from now."""
    return f"{format_timestamp(when) or 0} ({_distance(when, now)})"


def _distance(when: int, now: int) -> str:
    away = format_breakable_duration(abs(when - now))
    return f"in {away}" if when > now else f"{away} ago"
