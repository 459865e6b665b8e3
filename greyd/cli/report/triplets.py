"""Tracks triplets through a log, from the first attempt until they pass or count as lost."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from greyd.cli.report.kinds import GREYLISTED, DecisionKind
from greyd.cli.report.log_report import FirstContacts
from greyd.cli.report.lost_mail import PendingTriplet
from greyd.cli.report.shadow import ShadowComparison
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.reasons import PASS

if TYPE_CHECKING:
    from greyd.cli.report.clients import ClientGroups
    from greyd.cli.report.lost_mail import LostMailRanking
    from greyd.cli.report.pools import PoolCounter
    from greyd.maillog.decisions import LoggedDecision
    from greyd.maillog.shadow_lines import LoggedShadowDecision

MAX_PENDING = 200_000
"""The maximum number of mails that wait for a retry at the same time."""
MAX_NETWORKS = 100
"""The maximum number of networks counted for one mail."""


class TripletTracker:
    """Counts the outcomes of first contacts."""

    def __init__(
        self, clients: ClientGroups, lost: LostMailRanking, pools: PoolCounter, due_seconds: int
    ) -> None:
        """Count a triplet as lost more than ``due_seconds`` after its first attempt."""
        self._clients = clients
        self._lost = lost
        self._pools = pools
        self._due_seconds = due_seconds
        self.shadow = ShadowComparison()
        self._pending: dict[bytes, PendingTriplet] = {}
        """The waiting mails by sender and recipient, oldest first."""
        self._contacts = self._waited = self._otherwise = self._too_young = 0
        self.evicted_early = 0
        """Mails that were counted as lost before they were due, to free memory."""

    def add(self, decision: LoggedDecision, kind: DecisionKind, last: float) -> None:
        """Add a decision on a mail; ``last`` is the latest time in the log so far."""
        mail = _mail(decision)
        pending = self._pending.get(mail)
        if kind in GREYLISTED:
            if network := self._clients.network(decision.client_address):
                self._begin(decision, kind, network, mail, pending, last)
        elif pending is not None and decision.action == PASS:
            del self._pending[mail]
            self._end(pending, decision, kind)

    def add_shadow(self, shadow: LoggedShadowDecision) -> None:
        """Add a decision of the shadow, which follows the decision of the server."""
        self.shadow.add(shadow, self._pending.get(_mail(shadow.decision)))

    def finish(self, first: float, last: float) -> FirstContacts:
        """Count the waiting mails at the end of the log; ``first`` is 0 if the log has no dates."""
        for pending in self._pending.values():
            if first and last - pending.first <= self._due_seconds:
                self._too_young += sum(1 for _ in pending.all())
            else:
                self._give_up(pending)
        self._pending.clear()
        return FirstContacts(
            count=self._contacts,
            waited=self._waited,
            passed_otherwise=self._otherwise,
            never_returned=self._lost.triplets,
            too_young=self._too_young,
        )

    def _begin(
        self,
        decision: LoggedDecision,
        kind: DecisionKind,
        network: bytes,
        mail: bytes,
        pending: PendingTriplet | None,
        last: float,
    ) -> None:
        number, tail, each = 0, pending, pending
        while each is not None:
            if each.network == network:
                each.last = decision.when
                each.tries += 1
                return
            tail, each, number = each, each.other, number + 1
        # An early retry without a first attempt in the log began before the log.
        if kind is not DecisionKind.NEW or number >= MAX_NETWORKS:
            return
        self._contacts += 1
        opened = PendingTriplet(
            network=network,
            first=decision.when,
            last=decision.when,
            tries=1,
            client_name=decision.client_name,
            client_address=decision.client_address,
            sender=decision.sender,
            recipient=decision.recipient,
            identity=decision.identity,
        )
        if tail is not None:
            tail.other = opened
            return
        if len(self._pending) >= MAX_PENDING:
            self._evict(last)
        self._pending[mail] = opened

    def _evict(self, last: float) -> None:
        """Count the oldest quarter as lost: a dict finds its first key slowly after deletions."""
        for mail in list(islice(self._pending, MAX_PENDING // 4)):
            pending = self._pending.pop(mail)
            self.evicted_early += last - pending.first <= self._due_seconds
            self._give_up(pending)

    def _end(self, pending: PendingTriplet, decision: LoggedDecision, kind: DecisionKind) -> None:
        """Count the outcomes of the triplets of a mail that has passed."""
        self.shadow.end(pending, is_lost=False)
        network, number = self._clients.network(decision.client_address), 0
        for each in pending.all():
            is_known = kind in (DecisionKind.WAITED, DecisionKind.KNOWN)
            waited = each.network == network and is_known
            self._waited += waited
            self._otherwise += not waited
            number += 1
        if number > 1:
            self._pools.add_passed(pending, number, int(decision.when - pending.first))

    def _give_up(self, pending: PendingTriplet) -> None:
        """Count a mail as lost."""
        self.shadow.end(pending, is_lost=True)
        networks = sum(1 for _ in pending.all()) if pending.other else 1
        if networks > 1:
            self._pools.add_lost(pending, networks)
        self._lost.add(pending, networks)


def _mail(decision: LoggedDecision) -> bytes:
    """Return the key of a mail: sender and recipient."""
    return (b"%b\0%b" % (normalise_sender(decision.sender), decision.recipient)).lower()
