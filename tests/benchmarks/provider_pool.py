"""How long a big provider's mail waits, by how greyd knows the provider: a simulation.

``python -m tests.benchmarks.provider_pool`` prints a table. A provider sends from 200 addresses all
over its networks, each attempt from another; it tries again after 1, 5, 15, 30 minutes and then
every hour. 60 mails a day go to 400 users from a few senders, for two weeks; the second one counts.
The clock is simulated, the rules are greyd's own, and chance is the same in each run.
"""

from __future__ import annotations

import heapq
import random
import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.rules.address import parse_address
from greyd.rules.evidence import NO_EVIDENCE, Evidence
from greyd.rules.greylist import Decision, decide
from greyd.rules.keys import keys_to_read, request_keys
from greyd.rules.records import RememberedRecords
from tests.evidence import evidence_for

Tell = Callable[[float, bytes, int, Decision], None]

START = 1_700_000_000
DAYS = 14
MAILS_A_DAY = 60
RETRIES = (60, 300, 900, 1800, HOUR)
MAX_TRIES = 40

PROVIDER = evidence_for(b"provider.example")


class Waits(NamedTuple):
    """How long the mails of the second week waited, in seconds, in order."""

    seconds: list[float]

    def share_within(self, seconds: float) -> float:
        """Return which part of the mails had come after so many seconds."""
        return sum(wait <= seconds for wait in self.seconds) / len(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def simulate(settings: Settings, evidence: Evidence, tell: Tell | None = None) -> Waits:
    """Send the provider's mail to a greyd with these settings; ``tell`` gets each attempt."""
    chance = random.Random(1)
    pool = [
        b"40.%d.%d.%d" % (chance.randrange(90, 110), chance.randrange(256), chance.randrange(256))
        for _ in range(200)
    ]
    attempts = [(chance.random() * DAYS * DAY, mail, 0) for mail in range(DAYS * MAILS_A_DAY)]
    begun = {mail: at for at, mail, _ in attempts}
    heapq.heapify(attempts)
    records: dict[bytes, bytes] = {}
    waits = []
    while attempts:
        at, mail, tries = heapq.heappop(attempts)
        client = chance.choice(pool)
        decision = decide_on(records, client, mail, at, settings, evidence)
        if tell is not None:
            tell(at, client, mail, decision)
        if decision.passes:
            waits.append((begun[mail], at - begun[mail]))
        elif tries < MAX_TRIES:
            pause = RETRIES[min(tries, len(RETRIES) - 1)] * chance.uniform(0.8, 1.2)
            heapq.heappush(attempts, (at + pause, mail, tries + 1))
        else:
            waits.append((begun[mail], float("inf")))
    return Waits(sorted(wait for begin, wait in waits if begin > DAYS / 2 * DAY))


def envelope_of(mail: int) -> tuple[bytes, bytes]:
    """Return a mail's sender and recipient."""
    return b"code%s@provider.example" % (b"x" * (mail % 7)), b"user%d@example.org" % (mail % 400)


def decide_on(
    records: dict[bytes, bytes], client: bytes, mail: int, at: float, settings: Settings,
    evidence: Evidence,
) -> Decision:  # fmt: skip
    """Let a mail be tried once."""
    address = parse_address(client)
    assert address is not None
    names = request_keys(address, *envelope_of(mail), settings, evidence)
    wanted = keys_to_read(names, settings)
    remembered = RememberedRecords.under(wanted, [records.get(key) for key in wanted])
    decision, changes = decide(names, remembered, START + int(at), settings, evidence)
    records |= {change.key: change.value for change in changes}
    return decision


WAYS = {
    "network, as postgrey": (Settings(), NO_EVIDENCE),
    "identity": (Settings(identity=("spf",)), PROVIDER),
    "identity, no client auto-whitelisted": (
        Settings(identity=("spf",), auto_whitelist_clients=0), PROVIDER,
    ),
    "identity, auto-whitelisted after 3": (
        Settings(identity=("spf",), auto_whitelist_identities=3), PROVIDER,
    ),
}  # fmt: skip

if __name__ == "__main__":
    for way, (settings, evidence) in WAYS.items():
        waits = simulate(settings, evidence)
        sys.stdout.write(
            f"{way:40} median {waits.median / 60:6.1f} min,"
            f" {waits.share_within(0):6.1%} at once, {waits.share_within(600):6.1%} within 10 min,"
            f" 95 % within {waits.seconds[int(0.95 * len(waits.seconds))] / 60:7.1f} min\n"
        )
