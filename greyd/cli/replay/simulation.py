"""Replays a log's mail on one or two simulated servers, and counts what they do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.replay.mail_replay import MailReplay
from greyd.cli.replay.requests import has_verified_name
from greyd.cli.replay.results import OriginDifference, SimulationResult
from greyd.rules.reasons import PASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.replay.sender_model import SimulatedMail
    from greyd.cli.replay.servers.simulated_server import SimulatedServer
    from greyd.rules.reasons import Reason
    from greyd.rules.request import Request

MAX_DIFFERENCES = 20_000
"""The maximum number of origins with stored differences; the smallest are dropped."""


class Simulation(MailReplay):
    """Replays a log's mail on simulated servers; the first server has today's settings.

    The evidence about an attempt's client is that of each server.
    """

    def __init__(self, servers: Sequence[SimulatedServer], warm_up_seconds: int = 0) -> None:
        """Count only mail that begins ``warm_up_seconds`` or more after the log's first attempt."""
        super().__init__(len(servers), servers[0].whitelists, warm_up_seconds)
        self.servers = servers
        self.results = [SimulationResult() for _ in servers]
        self.origins: dict[bytes, OriginDifference] = {}

    # The servers --------------------------------------------------------------------------------

    def _learn_outbound(self, request: Request, now: int) -> None:
        for server in self.servers:
            server.learn_outbound(request, now)

    def _remembers(self, request: Request, reason: Reason, now: int, mail: SimulatedMail) -> bool:
        return self.servers[0].remembers(request, reason, now, mail.evidence[0])

    def _assume_known(
        self, request: Request, reason: Reason, now: int, mail: SimulatedMail
    ) -> None:
        for server, evidence in zip(self.servers, mail.evidence, strict=True):
            server.assume_known(request, reason, self.first, now, evidence)

    def _decide(
        self, servers: int, mail: SimulatedMail, request: Request, now: int
    ) -> Reason | None:
        reasons = {
            place: self._reason(place, mail, request, now) for place in self._places(servers)
        }
        return reasons.get(0)

    def _reason(self, place: int, mail: SimulatedMail, request: Request, now: int) -> Reason:
        reason = self.servers[place].decide(request, now, mail.evidence[place])
        if mail.counts:
            self.results[place].reasons[reason] += 1
        if reason.action == PASS:
            mail.pass_on(1 << place, now)
        return reason

    def _places(self, servers: int) -> list[int]:
        return [place for place in range(len(self.servers)) if servers >> place & 1]

    # How mails end ------------------------------------------------------------------------------

    def _settle(self, servers: int, mail: SimulatedMail) -> None:
        mail.settled |= servers
        if not mail.counts:
            return
        for place in self._places(servers):
            result, wait = self.results[place], mail.wait_on(place)
            if wait is None:
                result.lost += 1
            elif wait:
                result.waits.append(wait)
            else:
                result.at_once += 1
        if len(self.servers) == 2 and mail.settled == self._all_servers:
            today, other = mail.wait_on(0), mail.wait_on(1)
            if today != other:
                origin = self._difference(mail)
                origin.mails += 1
                for whose, each in enumerate((today, other)):
                    origin.waits[whose] += each or 0
                    origin.lost[whose] += each is None

    def _gave_up(self, mail: SimulatedMail) -> None:
        if not mail.counts:
            return
        waits = [mail.wait_on(place) for place in range(len(self.servers))]
        for result, wait in zip(self.results, waits, strict=True):
            result.kept_out += wait is None
            result.let_in += wait is not None
            result.let_in_at_once += wait == 0
            if wait is not None:
                result.let_in_verified += has_verified_name(*mail.path)
        if len(self.servers) == 2 and (waits[0] is None) != (waits[1] is None):
            origin = self._difference(mail)
            for place, wait in enumerate(waits):
                origin.let_in[place] += wait is not None

    def _difference(self, mail: SimulatedMail) -> OriginDifference:
        if (origin := self.origins.get(mail.name)) is None:
            if len(self.origins) >= MAX_DIFFERENCES:
                by_weight = sorted(self.origins.items(), key=lambda each: -each[1].weight)
                self.origins = dict(by_weight[: MAX_DIFFERENCES // 2])
            origin = self.origins[mail.name] = OriginDifference()
        return origin
