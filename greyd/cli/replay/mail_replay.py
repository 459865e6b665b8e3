"""Replays a log's mail on simulated servers; ``sender_model`` models the senders."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.replay.disagreements import Disagreements
from greyd.cli.replay.requests import origin_name, request_for_attempt, request_for_client
from greyd.cli.replay.sender_model import (
    GIVEN_UP_SECONDS,
    LIFE_SECONDS,
    MailOrigin,
    SimulatedMail,
)
from greyd.cli.replay.servers.known_before import KNOWN_BEFORE
from greyd.lru import LruCache
from greyd.rules.reasons import GREYLIST, OUTCOMES, PASS, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.maillog.attempts import Attempt
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request
    from greyd.whitelist.matcher import Whitelists

MAX_ORIGINS = 50_000
"""The maximum number of origins whose behaviour is stored."""

_UNCHANGEABLE = frozenset({Reason.AUTHENTICATED, Reason.EXPECTED, Reason.MISSING_ATTRIBUTE})
"""Reasons that do not depend on any setting."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """A scheduled attempt to deliver a mail to the servers on which it waits."""

    mail: SimulatedMail
    servers: int
    number: int
    """How many retries the sender makes after the attempt that passed in reality, with this one."""


class MailReplay(ABC):
    """Sends the mail of a log to several servers; each server has a place, and today's is 0.

    A set of servers is a bit mask: bit N is the server at place N.

    The subclasses have the servers, and count what they do. No server's result depends on another
    server, except on that of today: it shows which entries the log's server had before the log.
    """

    def __init__(self, server_count: int, whitelists: Whitelists, warm_up_seconds: int = 0) -> None:
        """Count only mail that begins ``warm_up_seconds`` or more after the log's first attempt.

        ``whitelists`` are today's.
        """
        self.first = self.last = 0
        """Unix times of the first and the last attempt."""
        self.attempts = 0
        self.mails = 0
        self.open = 0
        """Mails that still waited when the log ended; no other figure counts them."""
        self.compared = self.agreed = self.known_before = 0
        """Numbers of decisions in the log; of those that today's settings make too; and of those
        that depend on entries from before the log began."""
        self.disagreements = Disagreements(whitelists)
        self._all_servers = (1 << server_count) - 1
        self._warm_up = warm_up_seconds
        self._mails: dict[tuple[bytes, bytes, bytes], SimulatedMail] = {}
        self._origins: LruCache[MailOrigin] = LruCache(MAX_ORIGINS)
        self._retries: list[tuple[int, int, _Retry]] = []
        self._number = 0
        self._sweep_at = 0

    # The servers --------------------------------------------------------------------------------

    @abstractmethod
    def _learn_outbound(self, request: Request, now: int) -> None:
        """Store the correspondence of a local user's outbound mail on all servers."""

    @abstractmethod
    def _remembers(self, request: Request, reason: Reason, now: int, mail: SimulatedMail) -> bool:
        """Whether today's server has the entry with which a request can pass for ``reason``."""

    @abstractmethod
    def _assume_known(
        self, request: Request, reason: Reason, now: int, mail: SimulatedMail
    ) -> None:
        """Store on all servers the entry that the log's server must have had when it began."""

    @abstractmethod
    def _decide(
        self, servers: int, mail: SimulatedMail, request: Request, now: int
    ) -> Reason | None:
        """Send a request to servers on which the mail has not passed, and note where it passes.

        Returns:
            The decision of today's server; None if it is not among them.
        """

    @abstractmethod
    def _settle(self, servers: int, mail: SimulatedMail) -> None:
        """Count the outcome on servers of a mail that passed in reality."""

    @abstractmethod
    def _gave_up(self, mail: SimulatedMail) -> None:
        """Count the outcomes on all servers of a mail that did not pass in reality."""

    # The log ------------------------------------------------------------------------------------

    def replay(self, attempt: Attempt, evidence: Sequence[Evidence]) -> None:
        """Replay an attempt. Call it in the order of the attempts' times.

        Args:
            attempt: the next attempt of the log.
            evidence: what the subclass needs of the evidence about the client.
        """
        self.first = self.first or attempt.when
        self.last = attempt.when
        self._run_retries(attempt.when)
        if attempt.when >= self._sweep_at:
            self._sweep(attempt.when)
        reason = _reason_of(attempt)
        if reason is Reason.OUTBOUND:
            # A bounce shows no user who has written to the recipient.
            if attempt.sender:
                self._learn_outbound(request_for_attempt(attempt, attempt.when), attempt.when)
        elif reason not in _UNCHANGEABLE:
            self._try(attempt, evidence)

    def _try(self, attempt: Attempt, evidence: Sequence[Evidence]) -> None:
        """Send an attempt to each server that has not yet let its mail pass."""
        mail, is_new = self._mail_of(attempt)
        mail.evidence = evidence
        if mail.counts:
            self.attempts += 1
        now = _exact_time(attempt, mail)
        request = request_for_attempt(attempt, now)
        reason = _reason_of(attempt)
        if is_new and reason and reason in KNOWN_BEFORE and attempt.delay_seconds is None:
            self._require_known(request, reason, now, mail)
        decided = self._decide(mail.waiting, mail, request, now) if mail.waiting else None
        if decided is not None and mail.counts:
            self._compare(attempt, decided)
        if attempt.passed:
            del self._mails[_key(mail)]
            mail.origin.passed_count += 1
            mail.turn = mail.origin.passed_count
            self._settle_or_retry(self._all_servers, mail, now, 1)

    def finish(self) -> None:
        """End the log: let the senders of waiting mail retry until it passes or they give up."""
        for mail in self._mails.values():
            if mail.last >= self.last - GIVEN_UP_SECONDS:
                self.open += mail.counts
            else:
                self._gave_up(mail)
        self._mails.clear()
        self._run_retries(self.last + 2 * LIFE_SECONDS)

    def _mail_of(self, attempt: Attempt) -> tuple[SimulatedMail, bool]:
        """Return the mail that an attempt belongs to, and whether the mail is new."""
        name = attempt.identity.lower() or origin_name(attempt.client_name, attempt.client_address)
        key = (name, attempt.sender.lower(), attempt.recipient.lower())
        mail = self._mails.get(key)
        if mail is not None and attempt.when - mail.last > GIVEN_UP_SECONDS:
            self._gave_up(mail)
            mail = None
        if mail is not None:
            mail.add_attempt(attempt)
            mail.origin.add_path(mail.path)
            return mail, False
        if (origin := self._origins.get(name)) is None:
            origin = MailOrigin()
            self._origins.put(name, origin)
        mail = self._mails[key] = SimulatedMail(name, origin, attempt, self._all_servers)
        mail.counts = attempt.when >= self.first + self._warm_up
        origin.add_path(mail.path)
        self.mails += mail.counts
        return mail, True

    def _require_known(
        self, request: Request, reason: Reason, now: int, mail: SimulatedMail
    ) -> None:
        """Make sure that the servers have the entry with which a new mail passed in the log."""
        # If today's server has it, an earlier attempt in the log explains the decision.
        if not self._remembers(request, reason, now, mail):
            self.known_before += mail.counts
            self._assume_known(request, reason, now, mail)

    def _sweep(self, now: int) -> None:
        """Remove and count the mails that their senders have given up."""
        over = [mail for mail in self._mails.values() if now - mail.last > GIVEN_UP_SECONDS]
        for mail in over:
            del self._mails[_key(mail)]
            self._gave_up(mail)
        self._sweep_at = now + GIVEN_UP_SECONDS // 2

    def _compare(self, attempt: Attempt, decided: Reason) -> None:
        self.compared += 1
        same = (decided.action == PASS) == attempt.passed
        if same and attempt.reason in ("", decided.text):
            self.agreed += 1
        else:
            self.disagreements.add(attempt, _reason_of(attempt), decided)

    # Retries ------------------------------------------------------------------------------------

    def _run_retries(self, until: int) -> None:
        """Run the scheduled retries up to the time ``until``."""
        retries = self._retries
        while retries and retries[0][0] <= until:
            now, _, retry = heapq.heappop(retries)
            mail = retry.mail
            path = mail.origin.path_of_retry(mail, retry.number)
            names = mail.helo, mail.reverse_name
            request = request_for_client(path, mail.sender, mail.recipient, *names, now)
            self._decide(retry.servers, mail, request, now)
            self._settle_or_retry(retry.servers, mail, now, retry.number + 1)

    def _settle_or_retry(self, servers: int, mail: SimulatedMail, now: int, number: int) -> None:
        """Schedule a retry for the servers on which a mail waits, unless its sender gives up.

        The senders' times depend on no server, so a retry goes to several servers at once.
        """
        at = now + mail.next_pause(now)
        waiting = servers & mail.waiting if at <= mail.began + LIFE_SECONDS else 0
        if settled := servers & ~waiting:
            self._settle(settled, mail)
        if waiting:
            self._number += 1
            heapq.heappush(self._retries, (at, self._number, _Retry(mail, waiting, number)))


def _key(mail: SimulatedMail) -> tuple[bytes, bytes, bytes]:
    return mail.name, mail.sender.lower(), mail.recipient.lower()


def _exact_time(attempt: Attempt, mail: SimulatedMail) -> int:
    """Return the time of a decision, from its exact delay: the log's time may be a second off."""
    if attempt.delay_seconds is not None:
        exact = mail.began + attempt.delay_seconds
        if abs(exact - attempt.when) <= 2:
            return exact
    return attempt.when


def _reason_of(attempt: Attempt) -> Reason | None:
    """Return the reason in the log; None if it is not a reason of greyd."""
    return OUTCOMES.get((PASS if attempt.passed else GREYLIST, attempt.reason))
