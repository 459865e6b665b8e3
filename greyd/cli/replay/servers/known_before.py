"""The entries that a server must have had before its log began, to decide as the log says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.vocabulary import DAY
from greyd.rules.correspondence.keys import answered_key
from greyd.rules.keys import is_triplet
from greyd.rules.reasons import Category, Reason
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.retention import load_current
from greyd.rules.triplets import awaited_since, has_passed

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.keys import Keys

KNOWN_FOR_SECONDS = DAY
"""An entry that the real server had before the log began is given this age at that time."""

KNOWN_BEFORE = frozenset(
    reason for reason in Reason if reason.category in (Category.KNOWN, Category.AUTO_WHITELISTED)
)
"""Reasons to pass that need an entry in the store."""


def passing_keys(keys: Keys, reason: Reason) -> list[bytes]:
    """Return the keys of which one has a record if a request passes for ``reason``."""
    return {
        Reason.CLIENT_AWL: [keys.client],
        Reason.IDENTITY_AWL: [each.identity for each in keys.identities],
        Reason.CORRESPONDENT: [each.key for each in keys.correspondences],
    }.get(reason, [keys.triplet])


def known_records(settings: Settings, keys: Keys, reason: Reason, now: int) -> dict[bytes, bytes]:
    """Return the records that let a request pass for ``reason``, as they were at time ``now``."""
    began = now - KNOWN_FOR_SECONDS
    if reason is Reason.CLIENT_AWL:
        return {keys.client: Client(max(settings.auto_whitelist_clients, 1), now).dump()}
    if reason is Reason.IDENTITY_AWL:
        times = max(settings.auto_whitelist_identities, 1)
        first = now - settings.identity_age_seconds
        record = Identity(times, now, first, keys.network_checksum, 2)
        return {each.identity: record.dump() for each in keys.identities}
    if reason is Reason.CORRESPONDENT:
        return dict.fromkeys([each.key for each in keys.correspondences], b"%d" % began)
    began = min(began, now - settings.longest_delay_seconds)
    passed = Triplet(began, now - 1, now - 1).dump()
    return {keys.triplet: passed} | {each.triplet: passed for each in keys.identities}


def lifetime_seconds(keys: Keys, settings: Settings) -> int:
    """Return for how long the rules may use records under the keys of a request."""
    ages = [each.max_age_seconds for each in keys.correspondences]
    return max(settings.max_age_seconds, *ages) if ages else settings.max_age_seconds


def is_in_use(key: bytes, text: bytes, keys: Keys, settings: Settings, now: int) -> bool:
    """Whether the rules still use a record at time ``now``; a store may also have older ones.

    Args:
        key: one of the keys.
        text: its record.
        keys: the keys of a request.
        settings: the server's settings.
        now: the Unix time.
    """
    for each in keys.correspondences:
        if each.key == key:
            return answered_key((each,), {key: text}, now) is not None
    if is_triplet(key):
        triplet = load_current(Triplet, text, now, settings)
        return triplet is not None and (
            has_passed(triplet, settings.delay_seconds, settings)
            or now - awaited_since(triplet) <= settings.retry_window_seconds
        )
    kind = Client if key == keys.client else Identity
    return load_current(kind, text, now, settings) is not None  # type: ignore[type-var] # both are
