"""How the senders of a log's mail behave when they are deferred.

The model, which ``docs/what-if.md`` explains to postmasters:

- A **mail** is the attempts of one sender for one recipient from one origin, until one of them
  passes. The origin is the organisation of the client's name, else its network. A mail that has not
  come back for ``GIVEN_UP_SECONDS`` is given up; a later attempt is a new mail.
- A simulated server gets each attempt of the log, unless it has let that mail pass before: then the
  sender would not have come again.
- If a simulated server defers the attempt that passed in reality, the sender retries: it does come
  back. If its last two intervals were alike, it keeps that interval; else the intervals grow as
  Postfix's do, from the mail's last one, its origin's first one or Postfix's first one. After
  ``LIFE_SECONDS`` it gives up.
- A mail that was given up in reality stays given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.maillog.attempts import Attempt
    from greyd.rules.evidence import Evidence

GIVEN_UP_SECONDS = 6 * 3600
"""A mail that has not come back for so long is given up; senders' intervals are shorter."""

LIFE_SECONDS = 5 * 86400
"""How long a sender retries (RFC 5321, section 4.5.4.1: four to five days)."""

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 300, 4000
"""Postfix waits as long as the mail has waited so far, but within these (qmgr(8))."""

MIN_PAUSE_AGE_SHARE = 8
"""A sender's interval is at least the mail's age divided by this."""

MAX_PATHS = 256
"""Addresses that are remembered of an origin."""


class ClientPath(NamedTuple):
    """The client of an attempt; a tuple, since sets hash one for each attempt."""

    name: bytes
    address: bytes


class MailOrigin:
    """How mail of one origin behaves: the addresses it comes from, and when it comes back."""

    __slots__ = ("_known", "first_pause", "moved", "paths", "stayed", "turn")

    def __init__(self) -> None:
        self.paths: list[ClientPath] = []
        self._known: set[ClientPath] = set()
        self.first_pause = 0
        self.moved = self.stayed = 0
        """How often a mail came back from another address, and from the same one."""
        self.turn = 0

    def add_path(self, path: ClientPath) -> None:
        """Remember an address that mail came from."""
        if path not in self._known:
            if len(self.paths) == MAX_PATHS:
                self._known.remove(self.paths.pop(0))
            self.paths.append(path)
            self._known.add(path)

    def next_path(self, mail: SimulatedMail) -> ClientPath:
        """Return the client from which a mail would be retried next."""
        moves = mail.moved if mail.came_back else self.moved > self.stayed
        if not moves or len(self.paths) < 2:
            return mail.path
        self.turn = (self.turn + 1) % len(self.paths)
        return self.paths[self.turn]


class SimulatedMail:
    """A mail, as the log shows it, and when each simulated server let it pass."""

    __slots__ = (
        "began", "came_back", "counts", "evidence", "helo", "last", "moved", "name", "origin",
        "path", "pause", "recipient", "reverse_name", "sender", "settled", "steady",
        "waits",
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
        """Seconds between its last two attempts; 0 for a single one."""
        self.steady = False
        """Whether the last two pauses were about equal."""
        self.came_back = self.moved = False
        self.counts = True
        self.waits: list[int | None] = [None] * servers
        """How long each server made it wait, in seconds; None if it has not passed there."""
        self.settled: list[bool] = [False] * servers
        """Whether each server will get no further attempt."""
        self.evidence: Sequence[Evidence] = ()
        """What each server knew of the client at the last attempt."""

    def add_attempt(self, attempt: Attempt) -> None:
        """Add a further attempt of the log."""
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

    def next_pause(self, now: int) -> int:
        """Return the seconds after which its sender retries."""
        age = now - self.began
        own = self.pause or self.origin.first_pause or MIN_PAUSE_SECONDS
        return max(
            own, 0 if self.steady else min(age, MAX_PAUSE_SECONDS), age // MIN_PAUSE_AGE_SHARE
        )
