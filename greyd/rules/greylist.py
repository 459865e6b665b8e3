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

    triplet        = first-seen ["," last-seen ["," passed-at]]
    client         = count "," last-counted
    identity       = count "," last-counted "," first-counted ["," network "," network-count]
    correspondence = last-written
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from greyd.config.vocabulary import HOUR
from greyd.rules.correspondence.keys import answered_key
from greyd.rules.evidence import NO_EVIDENCE, Evidence, delay_for
from greyd.rules.reasons import Reason
from greyd.rules.records import Client, Identity, RememberedRecords, Triplet
from greyd.rules.transaction import Change
from greyd.runtime.clock import EARLIEST_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.rules.correspondence.keys import CorrespondenceKey
    from greyd.rules.keys import Keys


# On Python 3.11, reading a member through its class runs a Python function.
_NEW, _EARLY_RETRY = Reason.NEW, Reason.EARLY_RETRY
_TRIPLET_FOUND, _CLIENT_AWL = Reason.TRIPLET_FOUND, Reason.CLIENT_AWL

COUNT_EVERY = HOUR
"""Minimum seconds between two counted successes of a client or identity (postgrey's behaviour)."""

CLOCK_SKEW = 5
"""Seconds by which the clocks of servers on one store may differ without affecting decisions."""


_Record = TypeVar("_Record", Triplet, Client, Identity)


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
        client = _recall(Client, remembered.client, now, settings)
        if client is not None and client.successes >= settings.auto_whitelist_clients:
            return _pass_known_client(keys, client, now, settings)
    delay = delay_for(evidence, settings)
    sight = _see(keys.triplet, remembered.triplet, now, delay, settings)
    others: tuple[_Sight, ...] = ()
    if keys.identities:
        others = tuple([
            _see(each.triplet, remembered.others.get(each.triplet), now, delay, settings)
            for each in keys.identities
        ])  # fmt: skip
    best = max(sight, *others, key=_by_merit) if others else sight
    waited = best.waited
    if best.passes:
        first_pass = not (sight.passed_before or any(other.passed_before for other in others))
        decision = Decision(True, _TRIPLET_FOUND, waited, first_pass=first_pass)
    elif (reason := _reason_to_pass(keys, remembered, now, settings, evidence)) is not None:
        decision = Decision(passes=True, reason=reason)
    else:
        reason = _EARLY_RETRY if waited else _NEW
        decision = Decision(False, reason, waited, delay - waited)
    if decision.passes and settings.keeps_passes:
        sight = _passed(sight, now, settings)
        others = tuple([_passed(other, now, settings) for other in others])
    changes: tuple[Change, ...] = (sight.change,)
    client_counts = sight.passes and not sight.passed_before and not evidence.listed
    if settings.auto_whitelist_clients and client_counts and (counted := _counted(client, now)):
        changes += (_remember(keys.client, counted, settings),)
        if counted.successes == settings.auto_whitelist_clients:
            decision = decision._replace(whitelisted=True)
    if others:
        counted_changes, whitelisted = _count_identities(
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
    before = _recall(Triplet, remembered.triplet, now, settings)
    client = None
    if settings.auto_whitelist_clients:
        client = _recall(Client, remembered.client, now, settings)
        if client is not None and client.successes >= settings.auto_whitelist_clients:
            decision, changes = _pass_known_client(keys, client, now, settings)
            return decision, (*changes, *_renew_pass(keys, before, now, settings))
    delay = settings.delay_seconds
    if before is None or not has_passed(before, delay, settings):
        return _pass_known_identity(keys, remembered, now, settings)
    now = _not_behind(before.last_seen, now)
    # If the clock has been set back, the triplet must not look younger because of that.
    triplet = Triplet(min(before.first_seen, now), now, before.passed_at or now)
    decision = Decision(True, _TRIPLET_FOUND, now - triplet.first_seen)
    renewed = (Change(keys.triplet, triplet.dump(), _ttl(settings.max_age_seconds)),)
    seen_for = before.last_seen - before.first_seen
    is_due = seen_for < delay <= now - before.first_seen
    if settings.auto_whitelist_clients and is_due and (counted := _counted(client, now)):
        whitelisted = counted.successes == settings.auto_whitelist_clients
        decision = decision._replace(whitelisted=whitelisted)
        return decision, (*renewed, _remember(keys.client, counted, settings))
    return decision, renewed


def _pass_known_identity(
    keys: Keys, remembered: RememberedRecords, now: int, settings: Settings
) -> tuple[Decision | None, tuple[Change, ...]]:
    """Let a request pass if the triplet of an identity has passed before, else return None."""
    for each in keys.identities:
        triplet = _recall(Triplet, remembered.others.get(each.triplet), now, settings)
        if triplet is not None and has_passed(triplet, settings.delay_seconds, settings):
            now = _not_behind(triplet.last_seen, now)
            passed = Triplet(min(triplet.first_seen, now), now, triplet.passed_at or now)
            ttl = _ttl(settings.max_age_seconds)
            changes = [Change(key, passed.dump(), ttl) for key in (each.triplet, keys.triplet)]
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
    return decision, (_remember(keys.client, client.with_success(now), settings),)


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
    triplet = Triplet(min(before.first_seen, now), now, before.passed_at or now)
    return (Change(keys.triplet, triplet.dump(), _ttl(settings.max_age_seconds)),)


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
    if not evidence.has_strong_signal:
        for each, proven in zip(keys.identities, evidence.identities, strict=True):
            record = _recall(Identity, remembered.others.get(each.identity), now, settings)
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


def _with_mail(record: Identity, network: int, now: int) -> Identity:
    """Return an identity's record after a mail from this network has passed.

    It counts as a success unless one was counted less than ``COUNT_EVERY`` ago.
    """
    if not record.successes or now - record.last_counted >= COUNT_EVERY:
        return record.with_success(now, network)
    if record.network_count == 1 and record.network != network:
        return record._replace(network_count=2)
    return record


def _count_identities(
    keys: Keys,
    remembered: RememberedRecords,
    sights: Sequence[_Sight],
    now: int,
    settings: Settings,
    evidence: Evidence,
) -> tuple[list[Change], bool]:
    """Return the changes of the identities' records, and whether one becomes auto-whitelisted.

    A success of a client with a strong signal or on a blocklist does not count. An identity with a
    domain on a blocklist loses its successes.
    """
    changes = []
    becomes_whitelisted = False
    is_void = evidence.listed or evidence.has_strong_signal
    for each, sight, proven in zip(keys.identities, sights, evidence.identities, strict=True):
        record = _recall(Identity, remembered.others.get(each.identity), now, settings)
        record = record or Identity(0, now, now)
        if proven.is_listed:
            if record.successes:
                changes.append(_remember(each.identity, Identity(0, now, now), settings))
        elif sight.passes_first and proven.can_earn and not is_void:
            counted = _with_mail(record, keys.network_checksum, now)
            if counted == record:
                continue
            changes.append(_remember(each.identity, counted, settings))
            is_new = not record.is_auto_whitelisted(settings)
            becomes_whitelisted |= is_new and counted.is_auto_whitelisted(settings)
    return changes, becomes_whitelisted


class _Sight(NamedTuple):
    """The outcome for one of a request's triplets. A tuple, because each request creates one."""

    passes: bool
    passed_before: bool
    waited: int
    change: Change

    @property
    def passes_first(self) -> bool:
        return self.passes and not self.passed_before


def _by_merit(sight: _Sight) -> tuple[bool, int]:
    return sight.passes, sight.waited


def _passed(sight: _Sight, now: int, settings: Settings) -> _Sight:
    """Return the outcome as passed now, if the triplet alone would not pass yet."""
    if sight.passes:
        return sight
    triplet = Triplet(now - sight.waited, now, now)
    change = Change(sight.change.key, triplet.dump(), _ttl(settings.max_age_seconds))
    return _Sight(True, sight.passed_before, sight.waited, change)


def _see(key: bytes, text: bytes | None, now: int, delay: int, settings: Settings) -> _Sight:
    """Return the outcome for a triplet seen at ``now``; ``text`` is its record."""
    before = _recall(Triplet, text, now, settings)
    if before is not None and before.passed_at is not None:
        now = _not_behind(before.last_seen, now)
    passed_before, first_seen = _history(before, now, delay, settings)
    waited = now - first_seen
    # A longer delay, by worse evidence, does not revoke an earlier pass.
    passes = waited >= delay or (passed_before and settings.keeps_passes)
    passed_at = None
    if passes:
        passed_at = before.passed_at if before and passed_before else now
    triplet = Triplet(first_seen, now, passed_at)
    seconds = settings.max_age_seconds if passes else settings.retry_window_seconds
    return _Sight(passes, passed_before, waited, Change(key, triplet.dump(), _ttl(seconds)))


def _history(before: Triplet | None, now: int, delay: int, settings: Settings) -> tuple[bool, int]:
    """Return whether a triplet has passed before, and when it was first seen.

    A triplet that has not passed within the retry window counts as first seen now.
    """
    if before is None:
        return False, now
    passed_before = has_passed(before, delay, settings)
    if not passed_before and now - before.first_seen > settings.retry_window_seconds:
        return False, now
    # If the clock has been set back, the triplet must not wait longer because of that.
    return passed_before, min(before.first_seen, now)


def has_passed(triplet: Triplet, delay: int, settings: Settings) -> bool:
    """Whether a triplet has passed, according to its record.

    It has passed if it was last seen at least this delay after it was first seen (postgrey's
    behaviour). If decisions need evidence, it has passed if its record has the time of the pass, or
    if it was last seen at least the longest delay after it was first seen.
    """
    seen_for = triplet.last_seen - triplet.first_seen
    if not settings.keeps_passes:
        return seen_for >= delay
    return triplet.passed_at is not None or seen_for >= settings.longest_delay_seconds


def release(key: bytes, text: bytes | None, now: int, settings: Settings) -> tuple[Change, ...]:
    """Return the change that lets a waiting triplet pass when it is next seen; empty for others.

    The change sets the first sight to the longest delay before ``now``, and ``CLOCK_SKEW`` earlier
    for servers with a slower clock.
    """
    triplet = None if text is None else Triplet.load(text)
    if triplet is None or has_passed(triplet, settings.delay_seconds, settings):
        return ()
    first_seen = now - settings.longest_delay_seconds - CLOCK_SKEW
    if triplet.first_seen <= first_seen:
        return ()
    # The record must not show a pass: only a retry makes a triplet pass.
    last_seen = min(triplet.last_seen, now - CLOCK_SKEW - 1)
    released = Triplet(first_seen, max(first_seen, last_seen), triplet.passed_at)
    return (Change(key, released.dump(), _ttl(settings.retry_window_seconds)),)


def note_correspondence(key: CorrespondenceKey, now: int) -> Change:
    """Return the change that records that a local user has written to a correspondent now."""
    return Change(key.key, b"%d" % now, _ttl(key.max_age_seconds))


def _not_behind(seen: int, now: int) -> int:
    """Return ``now``, or ``seen`` if that is up to ``CLOCK_SKEW`` later, by another server's clock.

    Otherwise a triplet that has just passed on that server would be too early on this one, and
    would pass for the first time twice.
    """
    return seen if 0 < seen - now <= CLOCK_SKEW else now


def _recall(
    kind: type[_Record], text: bytes | None, now: int, settings: Settings
) -> _Record | None:
    """Load a record; return None if its last use is more than max-age before or after ``now``.

    Only a wrong clock writes a last use that far in the future.
    """
    record = None if text is None else kind.load(text)
    if record is None:
        return None
    used_at = record.last_seen if isinstance(record, Triplet) else record.last_counted
    return record if abs(now - used_at) <= settings.max_age_seconds else None


def _remember(key: bytes, record: Client | Identity, settings: Settings) -> Change:
    return Change(key, record.dump(), _ttl(settings.max_age_seconds))


def _ttl(seconds: int) -> int:
    # The rules check the age themselves. The extra hour keeps a store whose clock is slightly wrong
    # from dropping a record before that.
    return max(seconds, 0) + HOUR
