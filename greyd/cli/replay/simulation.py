"""What would have become of a log's mail: how senders behave, and what servers on trial say.

The model, which ``docs/what-if.md`` explains to postmasters:

- A **mail** is the attempts of one sender for one recipient from one origin, until one of them is
  let in. The origin is what the client's name says (its organisation), else its network. What has
  not come back for ``GIVEN_UP_SECONDS`` is given up; an attempt after that is a new mail.
- A server on trial sees an attempt of the log unless it has let that mail in before: then the
  sender would not have come again.
- Where it still defers the attempt that was let in in reality, the sender goes on: we know that it
  does come back. Where its last two intervals were alike it keeps to them; else they grow, as
  Postfix's do, from its last one, its origin's or Postfix's first. After ``LIFE_SECONDS`` it gives
  up.
- A mail that was given up in reality is given up.
"""

from __future__ import annotations

import heapq
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from greyd.cli.replay.simulated_server import KNOWN_BEFORE
from greyd.config.settings import Settings
from greyd.lru import LruCache
from greyd.rules.address import address_text, network_of, network_prefix, parse_address
from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import normal_name, organisation_of
from greyd.rules.reasons import GREYLIST, OUTCOMES, PASS, Reason
from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.cli.replay.simulated_server import SimulatedServer, Verdict
    from greyd.maillog.attempts import Attempt
    from greyd.rules.evidence import Evidence

GIVEN_UP_SECONDS = 6 * 3600
"""After which a mail does not come back any more; senders' intervals are shorter."""

LIFE_SECONDS = 5 * 86400
"""For which a sender tries (RFC 5321, 4.5.4.1: four to five days)."""

LEAST_PAUSE, MAX_PAUSE = 300, 4000
"""Postfix's: it waits as long as the mail has waited so far, but within these (qmgr(8))."""

GROWS_OLD = 8
"""A sender's pause is at least this part of the mail's age."""

MAX_ORIGINS = 50_000
MAX_PATHS = 256
"""Addresses remembered of an origin."""

MAX_SENDERS = 20_000
"""Of which it is kept who gains and who loses; those with the least go."""


_OF_NO_MATTER = frozenset({Reason.AUTHENTICATED, Reason.EXPECTED, Reason.MISSING_ATTRIBUTE})
"""Reasons that no setting changes."""


class Path(NamedTuple):
    """From where an attempt comes."""

    name: bytes
    address: bytes


class Origin:
    """How mail from somewhere behaves: the addresses that it comes from, and when it comes back."""

    __slots__ = ("_known", "first_pause", "moved", "paths", "stayed", "turn")

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self._known: set[Path] = set()
        self.first_pause = 0
        self.moved = self.stayed = 0
        """How often a mail came back from another address, and from the same."""
        self.turn = 0

    def note(self, path: Path) -> None:
        """See mail from an address."""
        if path not in self._known:
            if len(self.paths) == MAX_PATHS:
                self._known.remove(self.paths.pop(0))
            self.paths.append(path)
            self._known.add(path)

    def next_path(self, mail: Mail) -> Path:
        """Return from where a mail would come the next time."""
        moves = mail.moved if mail.came_back else self.moved > self.stayed
        if not moves or len(self.paths) < 2:
            return mail.path
        self.turn = (self.turn + 1) % len(self.paths)
        return self.paths[self.turn]


class Mail:
    """A mail, as the log shows it, and when each server on trial let it in."""

    __slots__ = (
        "began", "came_back", "counts", "evidence", "helo", "last", "moved", "name", "origin",
        "path", "pause", "recipient", "reverse_name", "sender", "settled", "steady",
        "waits",
    )  # fmt: skip

    def __init__(self, name: bytes, origin: Origin, first: Attempt, trials: int) -> None:
        self.name = name
        """Its origin's."""
        self.origin = origin
        self.sender = first.sender
        self.recipient = first.recipient
        self.helo = first.helo
        self.reverse_name = first.reverse_name
        self.path = Path(first.client_name, first.client_address)
        self.began = self.last = first.when
        self.pause = 0
        """Between its last two attempts; 0 for a single one."""
        self.steady = False
        """Whether that was about as long as the one before."""
        self.came_back = self.moved = False
        self.counts = True
        self.waits: list[int | None] = [None] * trials
        """How long each server made it wait; None where it is not in."""
        self.settled: list[bool] = [False] * trials
        """Whether that is all that comes."""
        self.evidence: Sequence[Evidence] = ()
        """What each server knew of the client at the last attempt."""

    def see_again(self, attempt: Attempt) -> None:
        """See it come back."""
        path = Path(attempt.client_name, attempt.client_address)
        pause = max(attempt.when - self.last, 1)
        self.steady = 2 * abs(pause - self.pause) < pause
        self.pause = pause
        self.last = attempt.when
        self.moved = path.address != self.path.address
        self.path = path
        origin = self.origin
        if not self.came_back:
            origin.first_pause = self.pause
        self.came_back = True
        if self.moved:
            origin.moved += 1
        else:
            origin.stayed += 1

    def next_pause(self, now: int) -> int:
        """Return after how long its sender tries again."""
        age = now - self.began
        own = self.pause or self.origin.first_pause or LEAST_PAUSE
        return max(own, 0 if self.steady else min(age, MAX_PAUSE), age // GROWS_OLD)


class SimulationResult:
    """What one server on trial would have done."""

    def __init__(self) -> None:
        self.reasons: Counter[tuple[str, str]] = Counter()
        """Attempts by action and reason."""
        self.at_once = 0
        """Mails that came in in reality, and would have without waiting."""
        self.waits: list[int] = []
        """Seconds that the others of them would have waited."""
        self.lost = 0
        """Those of them that the sender would have given up."""
        self.kept_out = 0
        """Mails that did not come in in reality, nor here."""
        self.let_in = 0
        """Those that would have come in here."""
        self.let_in_at_once = 0

    @property
    def attempts(self) -> int:
        """How often it would have been asked."""
        return sum(self.reasons.values())


class Sender:
    """What an origin's mail gains or loses by the other settings."""

    __slots__ = ("let_in", "lost", "mails", "waits")

    def __init__(self) -> None:
        self.mails = 0
        self.waits = [0, 0]
        """Seconds that its mail waited in all, today and with the other settings."""
        self.lost = [0, 0]
        self.let_in = [0, 0]

    @property
    def gain(self) -> int:
        """Seconds that its mail gains; a lost mail is worth a sender's patience."""
        lost = (self.lost[0] - self.lost[1]) * LIFE_SECONDS
        return lost + self.waits[0] - self.waits[1]

    @property
    def weight(self) -> int:
        """How much there is to tell of it."""
        return abs(self.gain) + abs(self.let_in[1] - self.let_in[0]) * GIVEN_UP_SECONDS


class Simulation:
    """Sends a log's mail to servers on trial, the one with today's settings first."""

    def __init__(self, trials: Sequence[SimulatedServer], warm_up_seconds: int = 0) -> None:
        """Count only mail that begins ``warm_up_seconds`` after the first."""
        self.trials = trials
        self.figures = [SimulationResult() for _ in trials]
        self.senders: dict[bytes, Sender] = {}
        self.first = self.last = 0
        """When the first and the last attempt was."""
        self.attempts = 0
        self.mails = 0
        self.open = 0
        """Mails of which the log does not tell the end; they count for nothing else."""
        self.compared = self.agreed = self.known_before = 0
        """Decisions of the log, those that today's server makes too, and those of them that rest
        on what was known before."""
        self._warm_up = warm_up_seconds
        self._mails: dict[tuple[bytes, bytes, bytes], Mail] = {}
        self._origins: LruCache[Origin] = LruCache(MAX_ORIGINS)
        self._retries: list[tuple[int, int, int, Mail]] = []
        self._number = 0
        self._sweep_at = 0

    # The log ------------------------------------------------------------------------------------

    def see(self, attempt: Attempt, evidence: Sequence[Evidence]) -> None:
        """See an attempt; none is earlier than the one before.

        Args:
            attempt: what the log says.
            evidence: what each server on trial would know of the client.
        """
        self.first = self.first or attempt.when
        self.last = attempt.when
        self._run_retries(attempt.when)
        if attempt.when >= self._sweep_at:
            self._sweep(attempt.when)
        reason = _reason_of(attempt)
        if reason is Reason.OUTBOUND:
            for trial in self.trials:
                trial.learn(request_of(attempt, attempt.when), attempt.when)
        elif reason not in _OF_NO_MATTER:
            self._try(attempt, evidence)

    def _try(self, attempt: Attempt, evidence: Sequence[Evidence]) -> None:
        """Have a mail tried on all servers that have not let it in."""
        mail, is_new = self._mail_of(attempt)
        mail.evidence = evidence
        if mail.counts:
            self.attempts += 1
        now = _exact_time(attempt, mail)
        request = request_of(attempt, now)
        reason = _reason_of(attempt)
        if is_new and reason in KNOWN_BEFORE and attempt.delay_seconds is None:
            self._suppose(reason, request, mail)
        for place in range(len(self.trials)):
            if mail.waits[place] is None:
                verdict = self._ask(place, mail, request, now)
                if place == 0 and mail.counts:
                    self._compare(attempt, verdict)
        if attempt.passed:
            del self._mails[_key(mail)]
            self._came_in(mail, now)

    def end(self) -> None:
        """See the end of the log, and what still comes of its mail."""
        for mail in self._mails.values():
            if mail.last >= self.last - GIVEN_UP_SECONDS:
                self.open += mail.counts
            else:
                self._gave_up(mail)
        self._mails.clear()
        self._run_retries(self.last + 2 * LIFE_SECONDS)

    def _mail_of(self, attempt: Attempt) -> tuple[Mail, bool]:
        """Return the mail that an attempt is of, and whether it is a new one."""
        name = attempt.identity.lower() or _origin_of(attempt.client_name, attempt.client_address)
        key = (name, attempt.sender.lower(), attempt.recipient.lower())
        mail = self._mails.get(key)
        if mail is not None and attempt.when - mail.last > GIVEN_UP_SECONDS:
            self._gave_up(mail)
            mail = None
        if mail is not None:
            mail.see_again(attempt)
            mail.origin.note(mail.path)
            return mail, False
        if (origin := self._origins.get(name)) is None:
            origin = Origin()
            self._origins.put(name, origin)
        mail = self._mails[key] = Mail(name, origin, attempt, len(self.trials))
        mail.counts = attempt.when >= self.first + self._warm_up
        origin.note(mail.path)
        self.mails += mail.counts
        return mail, True

    def _sweep(self, now: int) -> None:
        """Settle what has been given up."""
        over = [mail for mail in self._mails.values() if now - mail.last > GIVEN_UP_SECONDS]
        for mail in over:
            del self._mails[_key(mail)]
            self._gave_up(mail)
        self._sweep_at = now + GIVEN_UP_SECONDS // 2

    def _suppose(self, reason: Reason, request: Request, mail: Mail) -> None:
        """Let all servers know what the real one must have known when the log began.

        Only today's server tells: what it would not know cannot have been in the log.
        """
        today, *_ = self.trials
        if today.knows(request, reason, mail.evidence[0]):
            return
        self.known_before += mail.counts
        for trial, evidence in zip(self.trials, mail.evidence, strict=True):
            trial.suppose(request, reason, self.first, evidence)

    def _compare(self, attempt: Attempt, verdict: Verdict) -> None:
        self.compared += 1
        same = verdict.passes == attempt.passed
        self.agreed += same and attempt.reason in ("", verdict.reason)

    # The servers --------------------------------------------------------------------------------

    def _ask(self, place: int, mail: Mail, request: Request, now: int) -> Verdict:
        verdict = self.trials[place].ask(request, now, mail.evidence[place])
        if mail.counts:
            action = PASS if verdict.passes else GREYLIST
            self.figures[place].reasons[action, verdict.reason] += 1
        if verdict.passes:
            mail.waits[place] = now - mail.began
        return verdict

    def _run_retries(self, until: int) -> None:
        """Have senders come back that are still kept waiting, up to a time."""
        retries = self._retries
        while retries and retries[0][0] <= until:
            now, _, place, mail = heapq.heappop(retries)
            path = mail.origin.next_path(mail)
            names = mail.helo, mail.reverse_name
            request = _request(path, mail.sender, mail.recipient, *names, now)
            if self._ask(place, mail, request, now).passes:
                self._settle(place, mail)
            else:
                self._retry(place, mail, now)

    def _retry(self, place: int, mail: Mail, now: int) -> None:
        """Have the sender come back, unless it has lost its patience."""
        at = now + mail.next_pause(now)
        if at > mail.began + LIFE_SECONDS:
            self._settle(place, mail)
            return
        self._number += 1
        heapq.heappush(self._retries, (at, self._number, place, mail))

    # What comes of it ---------------------------------------------------------------------------

    def _came_in(self, mail: Mail, now: int) -> None:
        for place, wait in enumerate(mail.waits):
            if wait is None:
                self._retry(place, mail, now)
            else:
                self._settle(place, mail)

    def _settle(self, place: int, mail: Mail) -> None:
        """Count what a server has done with a mail that came in in reality."""
        mail.settled[place] = True
        if not mail.counts:
            return
        figures, wait = self.figures[place], mail.waits[place]
        if wait is None:
            figures.lost += 1
        elif wait:
            figures.waits.append(wait)
        else:
            figures.at_once += 1
        if len(self.trials) == 2 and all(mail.settled):
            today, other = mail.waits
            if today != other:
                sender = self._sender(mail)
                sender.mails += 1
                for whose, each in enumerate((today, other)):
                    sender.waits[whose] += each or 0
                    sender.lost[whose] += each is None

    def _gave_up(self, mail: Mail) -> None:
        """Count what the servers have done with a mail that did not come in in reality."""
        if not mail.counts:
            return
        for figures, wait in zip(self.figures, mail.waits, strict=True):
            figures.kept_out += wait is None
            figures.let_in += wait is not None
            figures.let_in_at_once += wait == 0
        if len(self.trials) == 2 and (mail.waits[0] is None) != (mail.waits[1] is None):
            sender = self._sender(mail)
            for place, wait in enumerate(mail.waits):
                sender.let_in[place] += wait is not None

    def _sender(self, mail: Mail) -> Sender:
        if (sender := self.senders.get(mail.name)) is None:
            if len(self.senders) >= MAX_SENDERS:
                ranked = sorted(self.senders.items(), key=lambda each: -each[1].weight)
                self.senders = dict(ranked[: MAX_SENDERS // 2])
            sender = self.senders[mail.name] = Sender()
        return sender


def _reason_of(attempt: Attempt) -> Reason | None:
    """Return the reason that the log gives; None where it gives none that greyd has."""
    return OUTCOMES.get((PASS if attempt.passed else GREYLIST, attempt.reason))


# Names --------------------------------------------------------------------------------------------

_NETWORKS = Settings()
"""Whose /24 and /64 stand for clients without a name."""


@lru_cache(50_000)
def _origin_of(name: bytes, text: bytes) -> bytes:
    """Return whose mail it is: the organisation of a server's name, else its network."""
    address = parse_address(text)
    if address is None:
        return text
    name = normal_name(name)
    organisation = organisation_of(name)
    if organisation and not is_generic(name, address):
        return organisation
    network = network_of(address, _NETWORKS)
    prefix = network_prefix(network, address.bits, _NETWORKS)
    return b"%b/%d" % (address_text(network, address.bits), prefix)


def _key(mail: Mail) -> tuple[bytes, bytes, bytes]:
    return mail.name, mail.sender.lower(), mail.recipient.lower()


def _exact_time(attempt: Attempt, mail: Mail) -> int:
    """Return when it was decided: a log's seconds may be a second off, a delay in it is not."""
    if attempt.delay_seconds is not None:
        exact = mail.began + attempt.delay_seconds
        if abs(exact - attempt.when) <= 2:
            return exact
    return attempt.when


def request_of(attempt: Attempt, now: int) -> Request:
    """Return what Postfix had asked at a time."""
    path = Path(attempt.client_name, attempt.client_address)
    names = attempt.helo, attempt.reverse_name
    return _request(path, attempt.sender, attempt.recipient, *names, now)


def _request(
    path: Path,
    sender: bytes,
    recipient: bytes,
    helo: bytes | None,
    reverse_name: bytes | None,
    now: int,
) -> Request:
    name = path.name
    known = name not in (b"", b"unknown")
    return Request(
        request=b"smtpd_access_policy",
        client_address=path.address,
        client_name=name,
        sender=sender,
        recipient=recipient,
        # A server that is known by its name is taken to say that name, where the log is silent.
        helo_name=helo if helo is not None or not known else name,
        reverse_client_name=name if known else reverse_name or b"unknown",
        policy_test_time=b"%d" % now,
    )


def ranked(
    senders: Iterable[tuple[bytes, Sender]], most: int
) -> dict[str, list[tuple[bytes, Sender]]]:
    """Return the senders that gain most, those that lose most, and those that are let in."""
    everybody = list(senders)
    by_gain = sorted(everybody, key=lambda each: each[1].gain)
    by_spam = sorted(everybody, key=lambda each: each[1].let_in[0] - each[1].let_in[1])
    return {
        "gain": [each for each in by_gain[: -most - 1 : -1] if each[1].gain > 0],
        "lose": [each for each in by_gain[:most] if each[1].gain < 0],
        "let_in": [each for each in by_spam[:most] if each[1].let_in[1] > each[1].let_in[0]],
    }
