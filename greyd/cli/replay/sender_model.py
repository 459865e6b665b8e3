"""Models how the senders of a log's mail behave when a server defers their mail.

The model, which ``docs/what-if.md`` explains to postmasters:

- A **mail** is the attempts of one sender for one recipient from one origin, until one of them
  passes. The origin is the organisation of the client's name, else its network. After
  ``GIVEN_UP_SECONDS`` without an attempt the sender has given the mail up; a later attempt is a new
  mail.
- A simulated server receives each attempt of the log, unless it has already let that mail pass:
  then the sender would not have tried again.
- If a simulated server defers the attempt that passed in reality, the sender retries. If its last
  two intervals were about equal, the sender keeps that interval. Otherwise the intervals grow as
  Postfix's do, starting from the mail's last interval, its origin's first one or Postfix's minimum.
  After ``LIFE_SECONDS`` the sender gives up.
- A mail that its sender gave up in reality is not retried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.maillog.attempts import Attempt
    from greyd.rules.evidence import Evidence

GIVEN_UP_SECONDS = 6 * 3600
"""After this time without a retry, the sender has given the mail up."""

LIFE_SECONDS = 5 * 86400
"""The time for which a sender retries (RFC 5321, section 4.5.4.1: four to five days)."""

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 300, 4000
"""Limits of Postfix's interval, which otherwise equals the mail's age (qmgr(8))."""

MIN_PAUSE_AGE_SHARE = 8
"""A sender's interval is at least the mail's age divided by this."""

MAX_PATHS = 256
"""The maximum number of client addresses stored for one origin."""


class ClientPath(NamedTuple):
    """The client of an attempt; a tuple for speed: a set hashes one for each attempt."""

    name: bytes
    address: bytes


class MailOrigin:
    """The behaviour of one origin: the addresses that it sends from, and its retry intervals."""

    __slots__ = ("_known", "first_pause", "moved", "passed_count", "paths", "stayed")

    def __init__(self) -> None:
        self.paths: list[ClientPath] = []
        self._known: set[ClientPath] = set()
        self.first_pause = 0
        self.moved = self.stayed = 0
        """The numbers of retries from another address, and from the same address."""
        self.passed_count = 0
        """The number of mails that have passed in reality."""

    def add_path(self, path: ClientPath) -> None:
        """Store a client that the origin sends from; drop the oldest one at ``MAX_PATHS``."""
        if path not in self._known:
            if len(self.paths) == MAX_PATHS:
                self._known.remove(self.paths.pop(0))
            self.paths.append(path)
            self._known.add(path)

    def path_of_retry(self, mail: SimulatedMail, number: int) -> ClientPath:
        """Return the client that would make the retry with this number of a mail."""
        moves = mail.moved if mail.came_back else self.moved > self.stayed
        if not moves or len(self.paths) < 2:
            return mail.path
        # As if at random, but the same on all servers and in each run.
        return self.paths[crc32(b"%d %d" % (mail.turn, number)) % len(self.paths)]


class Pass(NamedTuple):
    """The servers on which a mail passed at the same time; a tuple for speed."""

    servers: int
    """A bit mask: bit N is the server at place N."""
    wait_seconds: int


class SimulatedMail:
    """A mail of the log, and its state on each simulated server.

    Sets of servers are bit masks, because a log has millions of mails.
    """

    __slots__ = (
        "began", "came_back", "counts", "evidence", "helo", "last", "moved", "name", "origin",
        "passes", "path", "pause", "recipient", "reverse_name", "sender", "settled", "steady",
        "turn", "waiting",
    )  # fmt: skip

    def __init__(self, name: bytes, origin: MailOrigin, first: Attempt, servers: int) -> None:
        self.name = name
        """The origin's name."""
        self.origin = origin
        self.sender = first.sender
        self.recipient = first.recipient
        self.helo = first.helo
        self.reverse_name = first.reverse_name
        self.path = ClientPath(first.client_name, first.client_address)
        self.began = self.last = first.when
        self.pause = 0
        """Seconds between the mail's last two attempts; 0 after a single attempt."""
        self.steady = False
        """Whether the last two intervals were about equal."""
        self.came_back = self.moved = False
        self.counts = True
        self.waiting = servers
        """The servers on which the mail has not passed."""
        self.passes: tuple[Pass, ...] = ()
        """The servers on which it has passed."""
        self.turn = 0
        """Selects the addresses of the retries after the attempt that passed in reality."""
        self.settled = 0
        """The servers to which no further attempt will follow."""
        self.evidence: Sequence[Evidence] = ()
        """The evidence that each server had about the client at the last attempt."""

    def add_attempt(self, attempt: Attempt) -> None:
        """Add an attempt of the log, a retry of this mail."""
        path = ClientPath(attempt.client_name, attempt.client_address)
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

    def pass_on(self, servers: int, now: int) -> None:
        """Note that the mail passes on servers at Unix time ``now``."""
        self.waiting &= ~servers
        self.passes += (Pass(servers, now - self.began),)

    def wait_on(self, place: int) -> int | None:
        """Return the seconds that the mail waited on one server; None if it has not passed."""
        for each in self.passes:
            if each.servers >> place & 1:
                return each.wait_seconds
        return None

    def next_pause(self, now: int) -> int:
        """Return the number of seconds until the sender retries."""
        age = now - self.began
        own = self.pause or self.origin.first_pause or MIN_PAUSE_SECONDS
        return max(
            own, 0 if self.steady else min(age, MAX_PAUSE_SECONDS), age // MIN_PAUSE_AGE_SHARE
        )
