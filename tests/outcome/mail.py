"""Simulated mail: hosts that send it, and how senders retry."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from tests.outcome.clock import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MINUTE = 60

OWN_DOMAIN = "site.example"
"""The domain of the simulated site, which receives the mail."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that sends mail, as Postfix sees it."""

    address: str
    name: str
    """The confirmed name, or ``unknown``."""
    reverse_name: str
    """The unconfirmed name, or ``unknown``."""
    helo: str
    protocol: str = "ESMTP"


class Route(Enum):
    """How a sender chooses the host of an attempt from its hosts."""

    SAME = "same"
    """All attempts of a mail come from one host."""
    RANDOM = "random"
    """Each attempt comes from any host."""
    IN_TURN = "in turn"
    """Each attempt comes from the next host."""


# Seconds from one attempt to the next, as the programs' documentation and their mail logs show
# them. The last one repeats until the mail is too old.
SCHEDULES: dict[str, tuple[int, ...]] = {
    "postfix": (300, 600, 1200, 2400, 4000),
    "exim": (15 * MINUTE,) * 8
    + (HOUR, 90 * MINUTE, 135 * MINUTE, 200 * MINUTE, 5 * HOUR, 6 * HOUR),
    "exchange": (300,) * 6 + (15 * MINUTE,),
    "sendmail": (HOUR,),
    "quick_sendmail": (15 * MINUTE,),
    "qmail": (400, 1200, 2000, 2800, 3600, 4400, 5200, 6000, 6800, 7600, 8400, 9200),
    "pool": (MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
    "slow_pool": (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
    "code": (30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR),
    "hasty spamware": (3 * MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 10**9),
    "spamware": (5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, 80 * MINUTE),
}
MAX_AGE_SECONDS = 5 * 24 * HOUR
"""The age at which senders return a mail."""

SPAMWARE_AGE_SECONDS = 3 * HOUR


@dataclass(slots=True)
class Mail:
    """A mail to one recipient, and how its sender tries to deliver it."""

    kind: str
    """The kind of its sender, a key of ``Parameters.good`` or ``Parameters.bad``."""
    is_good: bool
    at: float
    """When it is first tried, in seconds since the start of the simulation."""
    sender: str
    recipient: str
    hosts: Sequence[Host]
    schedule: str = ""
    """A key of ``SCHEDULES``; empty if the sender does not retry."""
    route: Route = Route.SAME
    is_code: bool = False
    """Whether it is a one-time code, which is useless after ``CODE_SECONDS``."""
    is_outbound: bool = False
    """Whether a local user sends it: greyd may learn from it, and it never waits."""
    number: int = field(default=-1)
    """Its place in the stream, which seeds the choices of its sender."""


CODE_SECONDS = 10 * MINUTE
"""The age at which a one-time code is useless."""


def attempts(mail: Mail, seed: int) -> Iterator[tuple[float, Host]]:
    """Yield the time and host of each attempt until the sender gives up.

    They depend on nothing but the mail and the seed: in all configurations the same mail is tried
    at the same times from the same hosts, until it passes.
    """
    choose = random.Random(f"{seed}/{mail.number}")
    count = len(mail.hosts)
    first = choose.randrange(count)
    at, tried = mail.at, 0
    max_age = SPAMWARE_AGE_SECONDS if "spamware" in mail.schedule else MAX_AGE_SECONDS
    waits = SCHEDULES.get(mail.schedule, ())
    while at - mail.at <= max_age:
        if mail.route is Route.RANDOM:
            host = mail.hosts[choose.randrange(count)]
        else:
            host = mail.hosts[(first + (tried if mail.route is Route.IN_TURN else 0)) % count]
        yield at, host
        if not waits:
            return
        at += waits[min(tried, len(waits) - 1)] * choose.uniform(0.95, 1.25)
        tried += 1
