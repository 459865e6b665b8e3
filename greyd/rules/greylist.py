"""The rules of greylisting: from the records under a request's keys to a decision.

Everything here is pure: bytes, times and settings go in, a decision comes out. Times are whole
seconds since 1970, and are arguments.

Keys, the same on every store (``TAG`` is the client's network in braces, so that Redis Cluster
keeps what belongs to one request on one node)::

    triplet = TAG "/" sender "/" recipient
    client  = TAG ":" address

If the client's identity is known, a request also has the identity's keys, whose tag is the domain
in braces, and the key of the sender's correspondence, whose tag is the sender's domain::

    identity's triplet = TAG "/" sender "/" recipient
    identity           = TAG ":" domain
    correspondence     = TAG "~" hash

In the sender, ``/`` is written as ``%2f`` and ``%`` as ``%25``, so the next ``/`` ends it. With
``--privacy`` the key is ``/`` or ``:`` and a hash, without a tag.

Records are readable text. Redundant fields at the end are omitted; records of older and newer
versions and of postgrey are accepted too::

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


COUNT_EVERY = HOUR
"""Seconds in which a client's success counts once (postgrey's behaviour)."""

CLOCK_SKEW = 5
"""Seconds by which the clocks of servers on one store may differ without other decisions."""


_Record = TypeVar("_Record", Triplet, Client, Identity)
_Counted = TypeVar("_Counted", Client, Identity)


class Decision(NamedTuple):
    """What to do with a request, and why. It is a tuple, because each request creates it."""

    passes: bool
    reason: Reason
    waited_seconds: int = 0
    """Since the triplet was first seen."""
    missing_seconds: int = 0
    """Until a retry passes."""
    first_pass: bool = False
    """The triplet had not passed before: the mail carries the header, and the client counts."""
    whitelisted: bool = False
    """The client is auto-whitelisted from now on."""
    identity_whitelisted: bool = False
    """The identity is auto-whitelisted from now on."""


def decide(
    keys: Keys,
    remembered: RememberedRecords,
    now: int,
    settings: Settings,
    evidence: Evidence = NO_EVIDENCE,
) -> tuple[Decision, tuple[Change, ...]]:
    """Decide on a request as postgrey does; the identity's records can only let more mail pass.

    Args:
        keys: the request's keys.
        remembered: the records under these keys; a client's or an identity's is needed only if
            its auto-whitelist is on.
        now: the time.
        settings: delay, retry window, max-age and the auto-whitelists' thresholds.
        evidence: what else is known about the client; it sets the delay.

    Returns:
        The decision, and the changes to store, provided that the records are still the same.
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
        # A listed identity loses its auto-whitelisting.
        identity = None
        changes.append(_remember(keys.identity, Identity(0, now, now), settings))
    best = max(sights, key=_by_merit) if keys.identity else sights[0]
    waited = best.waited
    if not best.passes:
        reason = Reason.EARLY_RETRY if waited else Reason.NEW
        return Decision(False, reason, waited, delay - waited), tuple(changes)
    first_pass = True not in [sight.passed_before for sight in sights]
    decision = Decision(True, Reason.TRIPLET_FOUND, waited, first_pass=first_pass)
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
    """Decide as ``decide`` does while the clock tells a time before ``EARLIEST_TIME``.

    Known triplets and clients pass, and their records stay unchanged until the clock is set:
    compared with such a time, they would look as if a wrong clock had written them.
    """
    if _is_known(keys, remembered, settings):
        return Decision(passes=True, reason=Reason.TRIPLET_FOUND), ()
    return decide(keys, remembered, now, settings, evidence)


def _is_known(keys: Keys, remembered: RememberedRecords, settings: Settings) -> bool:
    """Whether a triplet has passed or a client is auto-whitelisted, by a clock that was set."""
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
    """Decide on an auto-whitelisted client or identity, or a correspondent; None for others."""
    if client is not None and client.successes >= settings.auto_whitelist_clients:
        decision = Decision(passes=True, reason=Reason.CLIENT_AWL)
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
    """Renew the record of an auto-whitelisted client or identity, once in ``COUNT_EVERY``."""
    if 0 <= now - record.last_counted < COUNT_EVERY:
        return ()
    return (_remember(key, record.with_success(now), settings),)


def _counted(record: _Counted | None, first: _Counted, now: int) -> _Counted | None:
    """Return a record with one more success; None if the last was within ``COUNT_EVERY``."""
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
    """Return the outcome for a triplet that is seen now."""
    before = _recall(Triplet, text, now, settings)
    if before is not None and before.passed_at is not None:
        now = _not_behind(before.last_seen, now)
    passed_before, first_seen = _history(before, now, delay, settings)
    waited = now - first_seen
    # If the delay depends on the request, a longer one does not revoke an earlier pass.
    passes = waited >= delay or (passed_before and settings.delay_varies)
    passed_at = None
    if passes:
        passed_at = before.passed_at if before and passed_before else now
    triplet = Triplet(first_seen, now, passed_at)
    seconds = settings.max_age_seconds if passes else settings.retry_window_seconds
    return _Sight(passes, passed_before, waited, Change(key, triplet.dump(), _ttl(seconds)))


def _history(before: Triplet | None, now: int, delay: int, settings: Settings) -> tuple[bool, int]:
    """Return whether the triplet has passed before, and when it was first seen."""
    if before is None:
        return False, now
    passed_before = has_passed(before, delay, settings)
    if not passed_before and now - before.first_seen > settings.retry_window_seconds:
        return False, now
    # The clock may have been set back: nobody has to wait longer for that.
    return passed_before, min(before.first_seen, now)


def has_passed(triplet: Triplet, delay: int, settings: Settings) -> bool:
    """Whether a triplet has passed, according to its record.

    With a single delay, it has passed if it was seen for that long (postgrey's behaviour). If
    delays vary, it has passed if its record says so, or if it was seen for the longest of them.
    """
    seen_for = triplet.last_seen - triplet.first_seen
    if not settings.delay_varies:
        return seen_for >= delay
    return triplet.passed_at is not None or seen_for >= settings.longest_delay_seconds


def release(key: bytes, text: bytes | None, now: int, settings: Settings) -> tuple[Change, ...]:
    """Return the change that lets a waiting triplet pass when it is next seen.

    It moves the first sight back by the longest delay, and by ``CLOCK_SKEW`` for other servers.
    """
    triplet = None if text is None else Triplet.load(text)
    if triplet is None or has_passed(triplet, settings.delay_seconds, settings):
        return ()
    first_seen = now - settings.longest_delay_seconds - CLOCK_SKEW
    if triplet.first_seen <= first_seen:
        return ()
    # The triplet has not passed yet; only a retry can do that.
    last_seen = min(triplet.last_seen, now - CLOCK_SKEW - 1)
    released = Triplet(first_seen, max(first_seen, last_seen), triplet.passed_at)
    return (Change(key, released.dump(), _ttl(settings.retry_window_seconds)),)


def note_correspondence(key: bytes, now: int, settings: Settings) -> Change:
    """Return the change that remembers that a local user has written to a correspondent."""
    return Change(key, b"%d" % now, _ttl(settings.max_age_seconds))


def _not_behind(seen: int, now: int) -> int:
    """Return ``now``, or the later ``seen`` if another server's clock is a little ahead.

    Otherwise a triplet that has just passed there would be early here, and would pass twice.
    """
    return seen if 0 < seen - now <= CLOCK_SKEW else now


def _recall(
    kind: type[_Record], text: bytes | None, now: int, settings: Settings
) -> _Record | None:
    """Load a record; None if its last use is further away from now than max-age.

    A last use that far in the future was written by a wrong clock.
    """
    record = None if text is None else kind.load(text)
    if record is None:
        return None
    used_at = record.last_seen if isinstance(record, Triplet) else record.last_counted
    return record if abs(now - used_at) <= settings.max_age_seconds else None


def _remember(key: bytes, record: Client | Identity, settings: Settings) -> Change:
    return Change(key, record.dump(), _ttl(settings.max_age_seconds))


def _ttl(seconds: int) -> int:
    # The rules compare the times themselves; the extra hour keeps a store with a slightly wrong
    # clock from expiring a record earlier.
    return max(seconds, 0) + HOUR
