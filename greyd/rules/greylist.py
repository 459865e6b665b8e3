"""The rules of greylisting: decide on a request by the records under its keys.

The functions are pure: they take records, times and settings, and return a decision and the changes
to store. Times are whole seconds since 1970.

The keys are the same on every store. ``TAG`` is the client's network in braces, so that Redis
Cluster keeps the records of one request on one node::

    triplet = TAG "/" sender "/" recipient
    client  = TAG ":" address

For each identity of the client, a request also has two keys of the identity, whose tag is the
identity's domain in braces, and keys of correspondences, whose tag is the sender's domain::

    identity's triplet = TAG "/" sender "/" recipient
    identity           = TAG ":" domain
    correspondence     = TAG "~" hash

In the sender, ``/`` is written as ``%2f`` and ``%`` as ``%25``, so the next ``/`` ends the sender.
With ``--privacy`` a key is ``/``, ``:`` or ``~`` and a hash, without a tag.

Records are text. Redundant fields at the end are omitted. The rules also accept the records of
postgrey and of older and newer versions::

    triplet        = first-seen ["," last-seen ["," passed-at]] [";released=" released-at]
    client         = count "," last-counted
    identity       = count "," last-counted "," first-counted ["," network "," network-count]
    correspondence = last-written
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.rules.correspondence.keys import answered_key
from greyd.rules.evidence import NO_EVIDENCE, Evidence, delay_for
from greyd.rules.merit import count_identities
from greyd.rules.reasons import Reason
from greyd.rules.records import Client, Identity, RememberedRecords, Triplet
from greyd.rules.retention import COUNT_EVERY, change_to_store, load_current, ttl_for
from greyd.rules.transaction import Change
from greyd.rules.triplets import (
    TripletOutcome,
    as_passed,
    by_merit,
    has_passed,
    not_behind,
    triplet_outcome,
)
from greyd.runtime.clock import EARLIEST_TIME

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.correspondence.keys import CorrespondenceKey
    from greyd.rules.keys import Keys


# On Python 3.11, reading a member through its class runs a Python function.
_NEW, _EARLY_RETRY = Reason.NEW, Reason.EARLY_RETRY
_TRIPLET_FOUND, _CLIENT_AWL = Reason.TRIPLET_FOUND, Reason.CLIENT_AWL


class Decision(NamedTuple):
    """The decision on a request. A tuple, because each request creates one."""

    passes: bool
    reason: Reason
    waited_seconds: int = 0
    """The time since the triplet was first seen."""
    missing_seconds: int = 0
    """The time until a retry passes."""
    first_pass: bool = False
    """Whether the triplet passes for the first time, so that the mail gets the header."""
    whitelisted: bool = False
    """Whether this decision makes the client auto-whitelisted."""
    identity_whitelisted: bool = False
    """Whether this decision makes the identity auto-whitelisted."""


def decide(
    keys: Keys,
    remembered: RememberedRecords,
    now: int,
    settings: Settings,
    evidence: Evidence = NO_EVIDENCE,
) -> tuple[Decision, tuple[Change, ...]]:
    """Decide on a request as postgrey does; evidence lets more mail pass, or changes the delay.

    Whatever passes is stored as a passed triplet, of the network and of each identity, so that it
    passes again if later evidence is worse.

    Args:
        keys: the request's keys.
        remembered: the records under these keys; that of the client only if its auto-whitelist is
            on, or if the client has an identity.
        now: the time.
        settings: the delay, retry window, max-age and auto-whitelist thresholds.
        evidence: the evidence about the client.

    Returns:
        The decision, and the changes to store if the records have not changed since.
    """
    client = None
    if settings.auto_whitelist_clients:
        client = load_current(Client, remembered.client, now, settings)
        if client is not None and client.successes >= settings.auto_whitelist_clients:
            return _pass_known_client(keys, client, now, settings)
    delay = delay_for(evidence, settings)
    outcome = triplet_outcome(keys.triplet, remembered.triplet, now, delay, settings)
    others: tuple[TripletOutcome, ...] = ()
    if keys.identities:
        others = tuple([
            triplet_outcome(each.triplet, remembered.others.get(each.triplet), now, delay, settings)
            for each in keys.identities
        ])  # fmt: skip
    best = max(outcome, *others, key=by_merit) if others else outcome
    waited = best.waited
    if best.passes:
        first_pass = not (outcome.passed_before or any(other.passed_before for other in others))
        decision = Decision(True, _TRIPLET_FOUND, waited, first_pass=first_pass)
    elif (reason := _reason_to_pass(keys, remembered, now, settings, evidence)) is not None:
        decision = Decision(passes=True, reason=reason)
    else:
        reason = _EARLY_RETRY if waited else _NEW
        decision = Decision(False, reason, waited, delay - waited)
    if decision.passes and settings.keeps_passes:
        outcome = as_passed(outcome, now, settings)
        others = tuple([as_passed(other, now, settings) for other in others])
    changes: tuple[Change, ...] = (outcome.change,)
    client_counts = outcome.passes and not outcome.passed_before and not evidence.listed
    if settings.auto_whitelist_clients and client_counts and (counted := _counted(client, now)):
        changes += (change_to_store(keys.client, counted, settings),)
        if counted.successes == settings.auto_whitelist_clients:
            decision = decision._replace(whitelisted=True)
    if others:
        counted_changes, whitelisted = count_identities(
            keys, remembered, others, now, settings, evidence
        )
        changes += (*[other.change for other in others], *counted_changes)
        decision = decision._replace(identity_whitelisted=whitelisted)
    return decision, changes


def decide_from_memory(
    keys: Keys, remembered: RememberedRecords, now: int, settings: Settings
) -> tuple[Decision | None, tuple[Change, ...]]:
    """Let a request pass that needs no evidence; return None for the decision of all others.

    An auto-whitelisted client passes, and a triplet of the client's network or of its sender group
    that has passed before. If the triplet passed at first contact, the client's success counts once
    more when the triplet is seen after the delay: postgrey would count it then. So no client is
    auto-whitelisted later than by postgrey.

    Args:
        keys: the request's keys; an identity among them needs no evidence.
        remembered: the records under ``keys_to_remember``.
        now: the time.
        settings: as for ``decide``.

    Returns:
        The decision or None, and the changes to store if the records have not changed since.
    """
    before = load_current(Triplet, remembered.triplet, now, settings)
    client = None
    if settings.auto_whitelist_clients:
        client = load_current(Client, remembered.client, now, settings)
        if client is not None and client.successes >= settings.auto_whitelist_clients:
            decision, changes = _pass_known_client(keys, client, now, settings)
            return decision, (*changes, *_renew_pass(keys, before, now, settings))
    delay = settings.delay_seconds
    if before is None or not has_passed(before, delay, settings):
        return _pass_known_identity(keys, remembered, now, settings)
    now = not_behind(before.last_seen, now)
    triplet = _seen_passing(before, now)
    decision = Decision(True, _TRIPLET_FOUND, now - triplet.first_seen)
    renewed = (_change_of_passed(keys.triplet, triplet, settings),)
    seen_for = before.last_seen - before.first_seen
    is_due = before.released_at is None and seen_for < delay <= now - before.first_seen
    if settings.auto_whitelist_clients and is_due and (counted := _counted(client, now)):
        whitelisted = counted.successes == settings.auto_whitelist_clients
        decision = decision._replace(whitelisted=whitelisted)
        return decision, (*renewed, change_to_store(keys.client, counted, settings))
    return decision, renewed


def _pass_known_identity(
    keys: Keys, remembered: RememberedRecords, now: int, settings: Settings
) -> tuple[Decision | None, tuple[Change, ...]]:
    """Let a request pass if the triplet of an identity has passed before, else return None."""
    for each in keys.identities:
        triplet = load_current(Triplet, remembered.others.get(each.triplet), now, settings)
        if triplet is not None and has_passed(triplet, settings.delay_seconds, settings):
            now = not_behind(triplet.last_seen, now)
            passed = _seen_passing(triplet, now)
            changes = [
                _change_of_passed(key, passed, settings) for key in (each.triplet, keys.triplet)
            ]
            return Decision(True, _TRIPLET_FOUND, now - passed.first_seen), tuple(changes)
    return None, ()


def decide_from_memory_with_unset_clock(
    keys: Keys, remembered: RememberedRecords, now: int, settings: Settings
) -> tuple[Decision | None, tuple[Change, ...]]:
    """Decide as ``decide_from_memory``, while the clock is not set."""
    if _is_known(keys, remembered, settings):
        return Decision(passes=True, reason=_TRIPLET_FOUND), ()
    return decide_from_memory(keys, remembered, now, settings)


def decide_with_unset_clock(
    keys: Keys,
    remembered: RememberedRecords,
    now: int,
    settings: Settings,
    evidence: Evidence = NO_EVIDENCE,
) -> tuple[Decision, tuple[Change, ...]]:
    """Decide on a request while the clock is not set: ``now`` is before ``EARLIEST_TIME``.

    Known triplets and clients pass, and their records stay unchanged. ``decide`` would discard
    these records, because their times are far in the future. It decides on all other requests.
    """
    if _is_known(keys, remembered, settings):
        return Decision(passes=True, reason=_TRIPLET_FOUND), ()
    return decide(keys, remembered, now, settings, evidence)


def _is_known(keys: Keys, remembered: RememberedRecords, settings: Settings) -> bool:
    """Whether records that a correct clock wrote show a passed triplet or whitelisted client."""
    texts = [remembered.triplet]
    texts += [remembered.others.get(each.triplet) for each in keys.identities]
    triplets = [Triplet.load(text) for text in texts if text is not None]
    if any(
        triplet.last_seen >= EARLIEST_TIME and has_passed(triplet, settings.delay_seconds, settings)
        for triplet in triplets
        if triplet is not None
    ):
        return True
    text = remembered.client if settings.auto_whitelist_clients else None
    client = None if text is None else Client.load(text)
    return (
        client is not None
        and client.last_counted >= EARLIEST_TIME
        and client.successes >= settings.auto_whitelist_clients
    )


def _pass_known_client(
    keys: Keys, client: Client, now: int, settings: Settings
) -> tuple[Decision, tuple[Change, ...]]:
    """Let an auto-whitelisted client pass, and renew its record at most once in ``COUNT_EVERY``."""
    decision = Decision(passes=True, reason=_CLIENT_AWL)
    if 0 <= now - client.last_counted < COUNT_EVERY:
        return decision, ()
    return decision, (change_to_store(keys.client, client.with_success(now), settings),)


def _renew_pass(
    keys: Keys, before: Triplet | None, now: int, settings: Settings
) -> tuple[Change, ...]:
    """Return the change that remembers a triplet as passed, at most once in ``COUNT_EVERY``.

    So the triplet also passes for other clients of the network, and when the client's
    auto-whitelisting has expired.
    """
    if before is None:
        before = Triplet(now, now)
    elif before.passed_at is not None and 0 <= now - before.last_seen < COUNT_EVERY:
        return ()
    return (_change_of_passed(keys.triplet, _seen_passing(before, now), settings),)


def _seen_passing(before: Triplet, now: int) -> Triplet:
    """Return the record of a triplet that passes now, and may have passed before."""
    # If the clock has been set back, the triplet must not look younger because of that.
    first_seen, passed_at = min(before.first_seen, now), before.passed_at or now
    return Triplet(first_seen, now, passed_at, before.released_at)


def _change_of_passed(key: bytes, triplet: Triplet, settings: Settings) -> Change:
    return Change(key, triplet.dump(), ttl_for(settings.max_age_seconds))


def _reason_to_pass(
    keys: Keys,
    remembered: RememberedRecords,
    now: int,
    settings: Settings,
    evidence: Evidence,
) -> Reason | None:
    """Return the reason why evidence lets a request pass that has to wait without it, or None."""
    if evidence is NO_EVIDENCE:
        return None
    if evidence.exemption is not None:
        return evidence.exemption
    if evidence.listed:
        return None
    if not evidence.voids_merit:
        for each, proven in zip(keys.identities, evidence.identities, strict=True):
            record = load_current(Identity, remembered.others.get(each.identity), now, settings)
            if proven.can_earn and record and record.is_auto_whitelisted(settings):
                return Reason.IDENTITY_AWL
    if answered_key(keys.correspondences, remembered.others, now) is not None:
        return Reason.CORRESPONDENT
    if settings.greylist == "suspicious" and evidence.is_clean:
        return Reason.NOT_SUSPICIOUS
    return None


def _counted(client: Client | None, now: int) -> Client | None:
    """Return a client's record with one more success.

    Return None if its last success was counted less than ``COUNT_EVERY`` ago.
    """
    if client is None:
        return Client(1, now)
    return client.with_success(now) if now - client.last_counted >= COUNT_EVERY else None


def note_correspondence(key: CorrespondenceKey, now: int) -> Change:
    """Return the change that records that a local user has written to a correspondent now."""
    return Change(key.key, b"%d" % now, ttl_for(key.max_age_seconds))
