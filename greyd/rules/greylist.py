"""The rules of greylisting: whose mail is remembered under which key, and what is decided of it.

Everything here is pure: octets, times and settings go in, a decision comes out. Times are whole
seconds since 1970 and are handed in.

Keys, the same on every store (``TAG`` is the client's network in braces, so that Redis Cluster
keeps what belongs to one request on one node)::

    triplet = TAG "/" sender "/" recipient
    client  = TAG ":" address

Where it is known for whom the client sends, there are keys of that identity too, whose tag is the
domain in braces, and one of the sender's correspondence, whose tag is the sender's domain::

    identity's triplet = TAG "/" sender "/" recipient
    identity           = TAG ":" domain
    correspondence     = TAG "~" hash

In the sender ``/`` is written ``%2f`` and ``%`` is written ``%25``, so the first ``/`` after it
ends it. With ``--privacy`` the key is ``/`` or ``:`` and a hash, and has no tag.

Records are text that a person can read. Fields at the end are left out where they say nothing
new, and older, longer and postgrey's own forms are read too::

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
"""Seconds that the clocks of servers on one store may be apart without deciding differently."""


_Record = TypeVar("_Record", Triplet, Client, Identity)
_Counted = TypeVar("_Counted", Client, Identity)


class Decision(NamedTuple):
    """What is to be done with a request, and why."""

    passes: bool
    reason: Reason
    waited_seconds: int = 0
    """Since the triplet's first sight."""
    missing_seconds: int = 0
    """Still to wait."""
    first_pass: bool = False
    """The triplet had not passed before: the mail carries the header, and the client counts."""
    whitelisted: bool = False
    """The client is auto-whitelisted from now on."""
    identity_whitelisted: bool = False
    """The identity is."""


def decide(
    keys: Keys,
    remembered: RememberedRecords,
    now: int,
    settings: Settings,
    evidence: Evidence = NO_EVIDENCE,
) -> tuple[Decision, tuple[Change, ...]]:
    """Decide on a request: as postgrey does, and the identity's memory can only let more pass.

    Args:
        keys: the request's keys.
        remembered: the records under these keys; a client's or an identity's is needed only if
            its auto-whitelist is on.
        now: the time.
        settings: delay, retry window, max-age and the auto-whitelists' thresholds.
        evidence: what else is known of the client; it sets the delay.

    Returns:
        The decision, and what is to be stored if nothing that it rests on has changed.
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
        # It has to earn its pass anew.
        identity = None
        changes.append(_remember(keys.identity, Identity(0, now, now), settings))
    best = max(sights, key=_by_merit) if keys.identity else sights[0]
    waited = best.waited
    if not best.passes:
        reason = Reason.EARLY_RETRY if waited else Reason.NEW
        return Decision(False, reason, waited, delay - waited), tuple(changes)
    first_pass = True not in [sight.passed_before for sight in sights]
    decision = Decision(True, Reason.TRIPLET_FOUND, waited, first_pass=first_pass)
    # The client counts as if there were no identities: else those known by one would starve it.
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

    Whoever is known passes, and keeps the record that it has until the clock is set: compared with
    such a time it would be taken for one that a wrong clock has written.
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
    """Let pass who has earned it, or is awaited; None for all others."""
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
    """Count who passes by what it has earned, once in ``COUNT_EVERY``: so it is not forgotten."""
    if 0 <= now - record.last_counted < COUNT_EVERY:
        return ()
    return (_remember(key, record.with_success(now), settings),)


def _counted(record: _Counted | None, first: _Counted, now: int) -> _Counted | None:
    """Return a record with one more success; None if the last was within ``COUNT_EVERY``."""
    if record is None:
        return first
    return record.with_success(now) if now - record.last_counted >= COUNT_EVERY else None


class _Sight(NamedTuple):
    """What the history of one triplet says."""

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
    """Look at a triplet's history, and see it now."""
    before = _recall(Triplet, text, now, settings)
    if before is not None and before.passed_at is not None:
        now = _not_behind(before.last_seen, now)
    passed_before, first_seen = _history(before, now, delay, settings)
    waited = now - first_seen
    # Where the delay depends on the request, a longer one does not take back what has passed.
    passes = waited >= delay or (passed_before and settings.delay_varies)
    passed_at = None
    if passes:
        passed_at = before.passed_at if before and passed_before else now
    triplet = Triplet(first_seen, now, passed_at)
    seconds = settings.max_age_seconds if passes else settings.retry_window_seconds
    return _Sight(passes, passed_before, waited, Change(key, triplet.dump(), _ttl(seconds)))


def _history(before: Triplet | None, now: int, delay: int, settings: Settings) -> tuple[bool, int]:
    """Whether the triplet has passed before, and since when it is waiting."""
    if before is None:
        return False, now
    passed_before = has_passed(before, delay, settings)
    if not passed_before and now - before.first_seen > settings.retry_window_seconds:
        return False, now
    # Somebody has set the clock back: nobody is to wait for that.
    return passed_before, min(before.first_seen, now)


def has_passed(triplet: Triplet, delay: int, settings: Settings) -> bool:
    """Whether a triplet has passed, as far as its record tells.

    With one delay for all it has if it was seen for so long (postgrey's behaviour). Where delays
    differ, nobody knows which was meant: it says so itself, or was seen for the longest of them.
    """
    seen_for = triplet.last_seen - triplet.first_seen
    if not settings.delay_varies:
        return seen_for >= delay
    return triplet.passed_at is not None or seen_for >= settings.longest_delay_seconds


def release(key: bytes, text: bytes | None, now: int, settings: Settings) -> tuple[Change, ...]:
    """Return what lets a waiting triplet pass at its next sight, whatever delay it then has.

    It is as if it had been seen first so long ago, by any server's clock.
    """
    triplet = None if text is None else Triplet.load(text)
    if triplet is None or has_passed(triplet, settings.delay_seconds, settings):
        return ()
    first_seen = now - settings.longest_delay_seconds - CLOCK_SKEW
    if triplet.first_seen <= first_seen:
        return ()
    # It has not passed yet: that is for its sender to do.
    last_seen = min(triplet.last_seen, now - CLOCK_SKEW - 1)
    released = Triplet(first_seen, max(first_seen, last_seen), triplet.passed_at)
    return (Change(key, released.dump(), _ttl(settings.retry_window_seconds)),)


def note_correspondence(key: bytes, now: int, settings: Settings) -> Change:
    """Return what remembers that a user has written to somebody."""
    return Change(key, b"%d" % now, _ttl(settings.max_age_seconds))


def _not_behind(seen: int, now: int) -> int:
    """Return the time, or that of the last sight where another server's clock is a little ahead.

    Else a triplet that has just passed there would be too early here, and pass twice.
    """
    return seen if 0 < seen - now <= CLOCK_SKEW else now


def _recall(
    kind: type[_Record], text: bytes | None, now: int, settings: Settings
) -> _Record | None:
    """Read a record; None where its last use is longer ago than max-age.

    One as far ahead, written while a clock was wrong, is no better.
    """
    record = None if text is None else kind.load(text)
    if record is None:
        return None
    used_at = record.last_seen if isinstance(record, Triplet) else record.last_counted
    return record if abs(now - used_at) <= settings.max_age_seconds else None


def _remember(key: bytes, record: Client | Identity, settings: Settings) -> Change:
    return Change(key, record.dump(), _ttl(settings.max_age_seconds))


def _ttl(seconds: int) -> int:
    # The rules look at the times themselves; the hour keeps a clock's fault from deciding for them.
    return max(seconds, 0) + HOUR
