"""The rules that merge an imported entry with the store's entry. Pure functions.

A merged triplet has the earliest first attempt, the latest attempt and the earliest pass. A merged
client or identity has the greatest count and the latest time. So imports may run in any order, and
a repeated import changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from greyd.cli.importing.items import (
    ImportedCorrespondence,
    ImportedEntry,
    ImportedRecord,
    ImportOutcome,
)
from greyd.config.vocabulary import HOUR
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.site_rules.recipient_settings import settings_of_key
from greyd.rules.transaction import Change
from greyd.rules.triplets import awaited_since, has_passed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.rules.entries import EntryKind
    from greyd.rules.transaction import Remembered, Rule

    Answer = tuple[EntryKind, ImportOutcome]


def adapt_to_delay(triplet: Triplet, delay_seconds: int, settings: Settings) -> Triplet:
    """Adapt a triplet so that it has passed on this server if it has passed in the source.

    ``delay_seconds`` is the source's delay. If this server's delay is longer, the first attempt is
    dated back, so that mail that has waited once does not wait again.
    """
    first_seen, last_seen, passed_at = triplet.first_seen, triplet.last_seen, triplet.passed_at
    if passed_at is None:
        if last_seen - first_seen < delay_seconds:
            return triplet
        passed_at = max(first_seen, first_seen + delay_seconds)
    if not settings.delay_varies or not settings.keeps_passes:
        first_seen = min(first_seen, last_seen - settings.longest_delay_seconds)
    return triplet._replace(first_seen=first_seen, passed_at=passed_at)


def is_expired(record: ImportedRecord, now: int, settings: Settings) -> bool:
    """Whether a record is so old that the server would ignore it."""
    if abs(now - last_used_at(record)) > settings.max_age_seconds:
        return True
    return (
        isinstance(record, Triplet)
        and not has_passed(record, settings.delay_seconds, settings)
        and now - awaited_since(record) > settings.retry_window_seconds
    )


def merge_rule(
    entry: ImportedEntry, now: int, settings: Settings, *, dry_run: bool = False
) -> Rule[Answer]:
    """Return the rule that merges an entry with the records under its keys."""
    return partial(_merge_all, entry, now, settings, dry_run)


def _merge_all(
    entry: ImportedEntry, now: int, settings: Settings, dry_run: bool, remembered: Remembered
) -> tuple[Answer, Sequence[Change]]:
    outcome, changes = ImportOutcome.UNCHANGED, []
    for key, text in zip(entry.keys, remembered, strict=True):
        before = None if text is None else type(entry.record).load(text)
        if before is not None and is_expired(before, now, settings_of_key(key, settings)):
            before = None
        merged = entry.record if before is None else _merge(before, entry.record)
        if merged == before:
            continue
        if outcome is not ImportOutcome.IMPORTED:
            outcome = ImportOutcome.MERGED if before else ImportOutcome.IMPORTED
        changes.append(Change(key, merged.dump(), _ttl_seconds(merged, entry, now, settings)))
    return (entry.kind, outcome), () if dry_run else changes


def _merge(one: ImportedRecord, other: ImportedRecord) -> ImportedRecord:
    match one, other:
        case Triplet(), Triplet():
            passes = [each for each in (one.passed_at, other.passed_at) if each is not None]
            releases = [each for each in (one.released_at, other.released_at) if each is not None]
            return Triplet(
                min(one.first_seen, other.first_seen),
                max(one.last_seen, other.last_seen),
                min(passes, default=None),
                max(releases, default=None),
            )
        case Client(), Client():
            return Client(
                max(one.successes, other.successes), max(one.last_counted, other.last_counted)
            )
        case Identity(), Identity():
            return Identity(
                max(one.successes, other.successes),
                max(one.last_counted, other.last_counted),
                min(one.first_counted, other.first_counted),
                one.network or other.network,
                _merged_network_count(one, other),
            )
        case _:
            return max(one, other, key=last_used_at)


def _merged_network_count(one: Identity, other: Identity) -> int:
    if one.network and other.network and one.network != other.network:
        return 2
    return max(one.network_count, other.network_count)


def last_used_at(record: ImportedRecord) -> int:
    """Return when a server last used a record, in seconds since 1970."""
    match record:
        case Triplet(last_seen=time) | ImportedCorrespondence(last_written=time):
            return time
        case Client(last_counted=time) | Identity(last_counted=time):
            return time


def _ttl_seconds(record: ImportedRecord, entry: ImportedEntry, now: int, settings: Settings) -> int:
    """Return a merged record's time to live: this server's, or the source's if longer."""
    if entry.ttl_seconds and record == entry.record:
        return entry.ttl_seconds
    seconds = settings.max_age_seconds
    if isinstance(record, Triplet) and not has_passed(record, settings.delay_seconds, settings):
        seconds = settings.retry_window_seconds
    seconds = max(seconds, 0)
    # As if the server had written the record at the record's last time; it adds an hour, too.
    age_seconds = now - last_used_at(record)
    return max(min(max(seconds - age_seconds, 0), seconds) + HOUR, entry.ttl_seconds)
