"""Replays a log's mail on all servers of a grid, and counts the outcome of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.replay.mail_replay import MailReplay
from greyd.cli.replay.sender_model import Pass
from greyd.rules.reasons import PASS

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self._passes: Counter[Pass] = Counter()
        """The number of mails that passed in reality, by the servers where they pass together."""
        self._lost: Counter[int] = Counter()
        """The number of mails that passed in reality, by the servers where they are lost."""
        self._let_in: Counter[int] = Counter()
        """The number of mails that did not pass in reality, by the servers where they pass."""

    @property
    def results(self) -> Iterator[GridResult]:
        """The results of all servers, ordered by place; each is computed when it is wanted."""
        return map(self._result, range(self._all_servers.bit_length()))

    def _result(self, place: int) -> GridResult:
        result = GridResult()
        for (servers, wait), count in self._passes.items():
            if not servers >> place & 1:
                continue
            if wait:
                result.waits[wait] += count
            else:
                result.at_once += count
        result.lost = sum(count for each, count in self._lost.items() if each >> place & 1)
        result.let_in = sum(count for each, count in self._let_in.items() if each >> place & 1)
        result.kept_out = self._let_in.total() - result.let_in
        return result

    # The servers --------------------------------------------------------------------------------

    def _learn_outbound(self, request: Request, now: int) -> None:
        self._servers.learn_outbound(request, now)

    def _remembers(self, request: Request, reason: Reason, now: int, mail: SimulatedMail) -> bool:
        return self._servers.remembers(request, reason, now, mail.evidence[0])

    def _assume_known(
        self, request: Request, reason: Reason, now: int, mail: SimulatedMail
    ) -> None:
        self._servers.assume_known(request, reason, self.first, now, mail.evidence[0])

    def _decide(
        self, servers: int, mail: SimulatedMail, request: Request, now: int
    ) -> Reason | None:
        today = None
        passing = 0
        for decided in self._servers.decide(servers, request, now, mail.evidence[0]):
            if decided.servers & 1:
                today = decided.reason
            if decided.reason.action == PASS:
                passing |= decided.servers
        if passing:
            mail.pass_on(passing, now)
        return today

    # How mails end ------------------------------------------------------------------------------

    def _settle(self, servers: int, mail: SimulatedMail) -> None:
        if not mail.counts:
            return
        for each in mail.passes:
            if settled := each.servers & servers:
                self._passes[Pass(settled, each.wait_seconds)] += 1
        if lost := servers & mail.waiting:
            self._lost[lost] += 1

    def _gave_up(self, mail: SimulatedMail) -> None:
        if mail.counts:
            self._let_in[self._all_servers & ~mail.waiting] += 1
