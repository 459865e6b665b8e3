"""The rules of greylisting: decide on a request by the records under its keys.

The functions are pure: they take records, times and settings, and return a decision and the changes
to store. Times are whole seconds since 1970.

The keys are the same on every store. ``TAG`` is the client's network in braces, so that Redis
Cluster keeps the records of one request on one node::

    triplet = TAG "/" sender "/" recipient
    client  = TAG ":" address

If the client's identity is known, a request also has two keys of the identity, whose tag is the
identity's domain in braces, and a key of the correspondence, whose tag is the sender's domain::

    identity's triplet = TAG "/" sender "/" recipient
    identity           = TAG ":" domain
    correspondence     = TAG "~" hash

In the sender, ``/`` is written as ``%2f`` and ``%`` as ``%25``, so the next ``/`` ends the sender.
With ``--privacy`` a key is ``/``, ``:`` or ``~`` and a hash, without a tag.

Records are text. Redundant fields at the end are omitted. The rules also accept the records of
postgrey and of older and newer versions::

    triplet        = first-seen ["," last-seen ["," passed-at]]
    client         = count "," last-counted
    identity       = count "," last-counted "," first-counted
    correspondence = last-written
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from greyd.config.vocabulary import HOUR
from greyd.rules.evidence import NO_EVIDENCE, Evidence, delay_for
from greyd.rules.reasons import Reason
from greyd.rules.records import Client, Identity, RememberedRecords, Triplet
from greyd.rules.transaction import Change
from greyd.runtime.clock import EARLIEST_TIME

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.keys import Keys


# On Python 3.11, reading a member through its class runs a Python function.
_NEW, _EARLY_RETRY = Reason.NEW, Reason.EARLY_RETRY
_TRIPLET_FOUND, _CLIENT_AWL = Reason.TRIPLET_FOUND, Reason.CLIENT_AWL

COUNT_EVERY = HOUR
"""Minimum seconds between two counted successes of a client or identity (postgrey's behaviour)."""

CLOCK_SKEW = 5
"""Seconds by which the clocks of servers on one store may differ without affecting decisions."""


_Record = TypeVar("_Record", Triplet, Client, Identity)
_Counted = TypeVar("_Counted", Client, Identity)


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
    """Decide on a request as postgrey does; an identity's records can only let more mail pass.

    Args:
        keys: the request's keys.
        remembered: the records under these keys; those of the client and the identity only if
            their auto-whitelists are on.
        now: the time.
        settings: the delay, retry window, max-age and auto-whitelist thresholds.
        evidence: the evidence about the client, which may change the delay.

    Returns:
        The decision, and the changes to store if the records have not changed since.
    """
    client = identity = None
    if settings.auto_whitelist_clients:
        client = _recall(Client, remembered.client, now, settings)
    if keys.identity:
        identity = _recall(Identity, remembered.identity, now, settings)
    if (client or keys.identity) and not evidence.listed:
        corresponds = bool(keys.correspondence and remembered.correspondence)
        if at_once := _pass_at_once(keys, client, identity, corresponds, now, settings):
            return at_once
    delay = delay_for(evidence, settings)
    sights: tuple[_Sight, ...] = (_see(keys.triplet, remembered.triplet, now, delay, settings),)
    if keys.identity:
        sights += (_see(keys.identity_triplet, remembered.identity_triplet, now, delay, settings),)
    changes = [sight.change for sight in sights]
    if evidence.listed and identity is not None and identity.successes:
        # An identity on a blocklist loses its successes, and so its auto-whitelisting.
        identity = None
        changes.append(_remember(keys.identity, Identity(0, now, now), settings))
    best = max(sights, key=_by_merit) if keys.identity else sights[0]
    waited = best.waited
    if not best.passes:
        reason = _EARLY_RETRY if waited else _NEW
        return Decision(False, reason, waited, delay - waited), tuple(changes)
    first_pass = True not in [sight.passed_before for sight in sights]
    decision = Decision(True, _TRIPLET_FOUND, waited, first_pass=first_pass)
    # The client's success counts even if the identity has passed before, so that clients with an
    # identity can be auto-whitelisted too.
    client_counts = settings.auto_whitelist_clients and (first_pass or sights[0].passes_first)
    if client_counts and (client := _counted(client, Client(1, now), now)):
        changes.append(_remember(keys.client, client, settings))
        whitelisted = client.successes == settings.auto_whitelist_clients
        decision = decision._replace(whitelisted=whitelisted)
    identity_counts = keys.identity and sights[1].passes_first and not evidence.listed
    if identity_counts and (identity := _counted(identity, Identity(1, now, now), now)):
        changes.append(_remember(keys.identity, identity, settings))
        decision = decision._replace(identity_whitelisted=identity.is_auto_whitelisted(settings))
    return decision, tuple(changes)


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
    texts = (remembered.triplet, remembered.identity_triplet if keys.identity else None)
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


def _pass_at_once(
    keys: Keys,
    client: Client | None,
    identity: Identity | None,
    corresponds: bool,
    now: int,
    settings: Settings,
) -> tuple[Decision, tuple[Change, ...]] | None:
    """Return the decision on an auto-whitelisted client or identity, or on a correspondent.

    None for all others.
    """
    if client is not None and client.successes >= settings.auto_whitelist_clients:
        decision = Decision(passes=True, reason=_CLIENT_AWL)
        return decision, _seen_again(keys.client, client, now, settings)
    if identity is not None and identity.is_auto_whitelisted(settings):
        decision = Decision(passes=True, reason=Reason.IDENTITY_AWL)
        return decision, _seen_again(keys.identity, identity, now, settings)
    if corresponds:
        return Decision(passes=True, reason=Reason.CORRESPONDENT), ()
    return None


def _seen_again(
    key: bytes, record: Client | Identity, now: int, settings: Settings
) -> tuple[Change, ...]:
    """Return the change that renews an auto-whitelisted record, at most once in ``COUNT_EVERY``."""
    if 0 <= now - record.last_counted < COUNT_EVERY:
        return ()
    return (_remember(key, record.with_success(now), settings),)


def _counted(record: _Counted | None, first: _Counted, now: int) -> _Counted | None:
    """Return ``record`` with one more success, or ``first`` if it is None.

    Return None if the last success was counted less than ``COUNT_EVERY`` ago.
    """
    if record is None:
        return first
    return record.with_success(now) if now - record.last_counted >= COUNT_EVERY else None


class _Sight(NamedTuple):
    """The outcome for one of a request's two triplets."""

    passes: bool
    passed_before: bool
    waited: int
    change: Change

    @property
    def passes_first(self) -> bool:
        return self.passes and not self.passed_before


def _by_merit(sight: _Sight) -> tuple[bool, int]:
    return sight.passes, sight.waited


def _see(key: bytes, text: bytes | None, now: int, delay: int, settings: Settings) -> _Sight:
    """Return the outcome for a triplet seen at ``now``; ``text`` is its record."""
    before = _recall(Triplet, text, now, settings)
    if before is not None and before.passed_at is not None:
        now = _not_behind(before.last_seen, now)
    passed_before, first_seen = _history(before, now, delay, settings)
    waited = now - first_seen
    # If the delay varies by request, a longer delay does not revoke an earlier pass.
    passes = waited >= delay or (passed_before and settings.delay_varies)
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

    With a single delay, it has passed if it was last seen at least this delay after it was first
    seen (postgrey's behaviour). If delays vary, it has passed if its record has the time of the
    pass, or if it was last seen at least the longest delay after it was first seen.
    """
    seen_for = triplet.last_seen - triplet.first_seen
    if not settings.delay_varies:
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


def note_correspondence(key: bytes, now: int, settings: Settings) -> Change:
    """Return the change that records that a local user has written to a correspondent now."""
    return Change(key, b"%d" % now, _ttl(settings.max_age_seconds))


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
