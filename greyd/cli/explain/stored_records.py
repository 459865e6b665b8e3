"""Describes stored records in words: triplets, clients, identities and correspondences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.step import entry_text
from greyd.config.durations import format_duration
from greyd.escaping import printable
from greyd.rules.correspondence.keys import CorrespondenceForm, answered_key
from greyd.rules.evidence import delay_for
from greyd.rules.records import SINGLE_NETWORK_AGE_FACTOR, Client, Identity, Triplet
from greyd.rules.triplets import awaited_since, has_passed
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.rules.correspondence.keys import CorrespondenceKey


def describe_triplet(case: ExplainedRequest, key: bytes) -> str:
    """Describe the record of a triplet, or that there is none."""
    now, settings = case.dry_run.now, case.settings
    value = case.value(key)
    triplet = Triplet.load(value) if value is not None else None
    if triplet is None:
        return "never seen"
    first, last = _ago(triplet.first_seen, now), _ago(triplet.last_seen, now)
    seen = f"first seen {first}, last {last}"
    delay = delay_for(case.dry_run.evidence, settings)
    if _is_forgotten(triplet.last_seen, case):
        return f"{seen}; that is longer ago than --max-age, so it is new"
    if has_passed(triplet, delay, settings):
        at = f" at {format_timestamp(triplet.passed_at)}" if triplet.passed_at else ""
        return f"{seen}; it has passed{at}"
    if now - awaited_since(triplet) > settings.retry_window_seconds:
        return f"{seen}; it has not passed within --retry-window, so it is new"
    if triplet.released_at is not None:
        return f"{seen}; released {_ago(triplet.released_at, now)}: its next attempt passes"
    return f"{seen}; it has not passed yet"


def describe_client(case: ExplainedRequest, key: bytes) -> str:
    """Describe a client's successes."""
    needed = case.settings.auto_whitelist_clients
    if case.applied and (entry := case.applied.never_auto_entry):
        where = f'{entry.file}:{entry.line}: "{entry_text(entry.text)}"'
        return f"never auto-whitelisted, because of {where}"
    if not needed:
        return "auto-whitelisting is off"
    client = client_record(case, key)
    if client is None:
        return f"has come back 0 of {needed} times"
    last = _ago(client.last_counted, case.dry_run.now)
    is_known = "; auto-whitelisted" if client.successes >= needed else ""
    return f"has come back {client.successes} of {needed} times, last {last}{is_known}"


def client_record(case: ExplainedRequest, key: bytes) -> Client | None:
    """Return the record of a client; None without one, or if it is too old."""
    value = case.value(key)
    client = Client.load(value) if value is not None else None
    return None if client is None or _is_forgotten(client.last_counted, case) else client


def identity_record(case: ExplainedRequest, key: bytes) -> Identity:
    """Return the record of an identity; without successes if it is new or too old."""
    value = case.value(key)
    identity = Identity.load(value) if value is not None else None
    if identity is None or _is_forgotten(identity.last_counted, case):
        return Identity(0, case.dry_run.now, case.dry_run.now)
    return identity


def describe_identity(case: ExplainedRequest, key: bytes) -> str:
    """Describe an identity's successes, the time that they span, and their networks."""
    settings = case.settings
    needed = settings.auto_whitelist_identities
    record = identity_record(case, key)
    earned = f"has come back {record.successes} of {needed} times"
    if not record.successes:
        return earned
    age = format_duration(record.last_counted - record.first_counted)
    networks = "several networks" if record.network_count > 1 else "one network"
    is_known = "; auto-whitelisted" if record.is_auto_whitelisted(settings) else ""
    needed_age = format_duration(needed_age_seconds(case, record))
    return f"{earned}, over {age} of the {needed_age} needed, from {networks}{is_known}"


def needed_age_seconds(case: ExplainedRequest, record: Identity) -> int:
    """Return the time that the successes of an identity have to span."""
    factor = 1 if record.network_count > 1 else SINGLE_NETWORK_AGE_FACTOR
    return case.settings.identity_age_seconds * factor


_WHOM = {
    CorrespondenceForm.ADDRESS: "the sender ({})",
    CorrespondenceForm.ORGANISATION: "somebody at {}",
    CorrespondenceForm.BOUNCE: "somebody whose mail {} handles, and this is a bounce",
}
"""The correspondent in words, by the form of the key."""


def describe_correspondence(case: ExplainedRequest, keys: Sequence[CorrespondenceKey]) -> str:
    """Describe whether, and when, the recipient has written to the sender."""
    now, records = case.dry_run.now, {each.key: case.value(each.key) for each in keys}
    if (answered := answered_key(keys, records, now)) is not None:
        written = Triplet.load(records[answered.key] or b"")
        ago = _ago(written.first_seen, now) if written else ""
        whom = _WHOM[answered.form].format(printable(answered.correspondent))
        return f"the recipient has written to {whom}, last {ago}"
    if any(records.values()):
        days = format_duration(max(each.max_age_seconds for each in keys))
        return f"the recipient has not written there for {days}"
    names = ", ".join(
        dict.fromkeys(_WHOM[each.form].format(printable(each.correspondent)) for each in keys)
    )
    return f"the recipient has not written to {names}"


def _ago(when: int, now: int) -> str:
    return f"{format_timestamp(when)} ({format_duration(now - when)} ago)"


def _is_forgotten(last: int, case: ExplainedRequest) -> bool:
    return abs(case.dry_run.now - last) > case.settings.max_age_seconds
