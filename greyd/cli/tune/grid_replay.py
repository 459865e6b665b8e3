"""Replays a log's mail on all servers of a grid, and counts the outcome of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.replay.mail_replay import MailReplay
from greyd.rules.reasons import PASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.replay.sender_model import SimulatedMail
    from greyd.cli.tune.grid_servers import GridServers
    from greyd.rules.reasons import Reason
    from greyd.rules.request import Request


@dataclass(slots=True)
class GridResult:
    """How one server of the grid treated the mail."""

    at_once: int = 0
    """Mails that passed in reality, and pass here at their first attempt."""
    waits: Counter[int] = field(default_factory=Counter)
    """By wait in seconds, the number of mails that passed in reality, and pass here after it."""
    lost: int = 0
    """Mails that passed in reality, but that the sender would give up here."""
    kept_out: int = 0
    """Mails that passed neither in reality nor here."""
    let_in: int = 0
    """Mails that did not pass in reality, but pass here."""


class GridReplay(MailReplay):
    """Replays a log's mail on the servers of a grid; the first server has today's settings.

    The evidence about an attempt's client is a sequence of one: it is the same for all servers.
    """

    def __init__(self, servers: GridServers, server_count: int, warm_up_seconds: int = 0) -> None:
        """Count only mail that begins ``warm_up_seconds`` or more after the log's first attempt."""
        super().__init__(server_count, servers.whitelists, warm_up_seconds)
        self._servers = servers
        self.results = [GridResult() for _ in self._places]
        self._kept_out_by_all = self._at_once_by_all = 0

    def finish(self) -> None:
        """End the log, and complete the results."""
        super().finish()
        for result in self.results:
            result.kept_out += self._kept_out_by_all
            result.at_once += self._at_once_by_all
        self._kept_out_by_all = self._at_once_by_all = 0

    # The servers --------------------------------------------------------------------------------

    def _learn_outbound(self, request: Request, now: int) -> None:
        self._servers.learn_outbound(request, now)

    def _remembers(self, request: Request, reason: Reason, mail: SimulatedMail) -> bool:
        return self._servers.remembers(request, reason, mail.evidence[0])

    def _assume_known(self, request: Request, reason: Reason, mail: SimulatedMail) -> None:
        self._servers.assume_known(request, reason, self.first, mail.evidence[0])

    def _decide(
        self, places: Sequence[int], mail: SimulatedMail, request: Request, now: int
    ) -> Reason | None:
        waits, wait = mail.waits, now - mail.began
        today = None
        for decided in self._servers.decide(places, request, now, mail.evidence[0]):
            # Today's server has the first place of its family, and so of its decision.
            if decided.places and decided.places[0] == 0:
                today = decided.reason
            if decided.reason.action == PASS:
                for place in decided.places:
                    waits[place] = wait
        return today

    # How mails end ------------------------------------------------------------------------------

    def _passed(self, mail: SimulatedMail, now: int) -> None:
        if mail.waits.count(0) == len(mail.waits):
            self._at_once_by_all += mail.counts
        else:
            super()._passed(mail, now)

    def _settle(self, place: int, mail: SimulatedMail) -> None:
        if not mail.counts:
            return
        result, wait = self.results[place], mail.waits[place]
        if wait is None:
            result.lost += 1
        elif wait:
            result.waits[wait] += 1
        else:
            result.at_once += 1

    def _gave_up(self, mail: SimulatedMail) -> None:
        if not mail.counts:
            return
        if mail.waits.count(None) == len(mail.waits):
            self._kept_out_by_all += 1
            return
        for result, wait in zip(self.results, mail.waits, strict=True):
            result.kept_out += wait is None
            result.let_in += wait is not None
