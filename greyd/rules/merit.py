"""Counts the successes of identities, and resets those of identities on a blocklist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.records import Identity
from greyd.rules.retention import COUNT_EVERY, change_to_store, load_current

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.rules.evidence import Evidence
    from greyd.rules.keys import Keys
    from greyd.rules.records import RememberedRecords
    from greyd.rules.transaction import Change
    from greyd.rules.triplets import TripletOutcome


def _with_mail(record: Identity, network: int, now: int) -> Identity:
    """Return an identity's record after a mail from this network has passed.

    It counts as a success unless one was counted less than ``COUNT_EVERY`` ago.
    """
    if not record.successes or now - record.last_counted >= COUNT_EVERY:
        return record.with_success(now, network)
    if record.network_count == 1 and record.network != network:
        return record._replace(network_count=2)
    return record


def count_identities(
    keys: Keys,
    remembered: RememberedRecords,
    outcomes: Sequence[TripletOutcome],
    now: int,
    settings: Settings,
    evidence: Evidence,
) -> tuple[list[Change], bool]:
    """Return the changes of the identities' records, and whether one becomes auto-whitelisted.

    A success of a client whose evidence voids merit does not count. An identity with a domain on a
    blocklist loses its successes.
    """
    changes = []
    becomes_whitelisted = False
    for each, outcome, proven in zip(keys.identities, outcomes, evidence.identities, strict=True):
        record = load_current(Identity, remembered.others.get(each.identity), now, settings)
        record = record or Identity(0, now, now)
        if proven.is_listed:
            if record.successes:
                changes.append(change_to_store(each.identity, Identity(0, now, now), settings))
        elif outcome.passes_first and proven.can_earn and not evidence.voids_merit:
            counted = _with_mail(record, keys.network_checksum, now)
            if counted == record:
                continue
            changes.append(change_to_store(each.identity, counted, settings))
            is_new = not record.is_auto_whitelisted(settings)
            becomes_whitelisted |= is_new and counted.is_auto_whitelisted(settings)
    return changes, becomes_whitelisted
