"""Runs the mail of a simulated world against a policy server."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.outcome.bad_senders import add_bad_mail
from tests.outcome.clock import DAY, HOUR, SimulatedClock, simulated_time
from tests.outcome.good_senders import add_good_mail
from tests.outcome.mail import CODE_SECONDS, Mail, attempts
from tests.outcome.world import World
from tests.outcome.zone import DBL, DNSWL, ZEN, Fault, Outage, SimulatedDns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.outcome.parameters import Parameters
    from tests.outcome.servers import PolicyServer


@dataclass
class KindOutcome:
    """What happened to the mail of one kind of sender."""

    mail_count: int = 0
    delayed_count: int = 0
    """Mails whose first attempt was deferred."""
    delivered_count: int = 0
    delay_seconds: float = 0.0
    """The sum of the delays of the delivered mail."""
    code_count: int = 0
    lost_code_count: int = 0
    """One-time codes that came too late or never."""
    is_good: bool = True
    first_replies: Counter[str] = field(default_factory=Counter)
    """How often the server gave which reason and signals at the first attempt."""


@dataclass
class Outcome:
    """What happened in one run, by kind of sender."""

    kinds: dict[str, KindOutcome] = field(default_factory=dict)
    request_count: int = 0
    question_count: int = 0
    """DNS questions asked."""
    replies_digest: str = ""
    """A digest of all replies in their order."""


def build_world(parameters: Parameters, dns: SimulatedDns) -> list[Mail]:
    """Return the mail of a world in the order of its first attempts, and fill its DNS."""
    world = World(parameters, dns)
    add_good_mail(world)
    add_bad_mail(world)
    mails = sorted(
        (each for each in world.mails if each.at < world.seconds), key=lambda each: each.at
    )
    for number, mail in enumerate(mails):
        mail.number = number
    return mails


def outages(parameters: Parameters) -> tuple[Outage, ...]:
    """Return the faults of a world's DNS: each list for a day, the resolver for six hours.

    The kinds of fault change places with the seed.
    """
    days, seed = parameters.days, parameters.seed
    faults = (Fault.SILENT, Fault.SERVFAIL, Fault.ERROR_CODE, Fault.LISTS_WORLD)
    starts = (0.3, 0.5, 0.7)
    of_lists = [
        Outage(
            zone, faults[(seed + place) % len(faults)], start * days * DAY, (start * days + 1) * DAY
        )
        for place, (zone, start) in enumerate(zip((ZEN, DBL, DNSWL), starts, strict=True))
    ]
    begins = 0.85 * days * DAY + 8 * HOUR
    return (*of_lists, Outage("", Fault.SILENT, begins, begins + 6 * HOUR))


def simulate(
    parameters: Parameters,
    create_server: Callable[[SimulatedDns, SimulatedClock], PolicyServer],
    *,
    with_faults: bool = False,
) -> Outcome:
    """Run a world's mail against a new server, in simulated time."""
    clock = SimulatedClock()
    dns = SimulatedDns(clock, outages(parameters) if with_faults else ())
    mails = build_world(parameters, dns)
    outcome = Outcome()
    with simulated_time(clock) as runner:
        server = create_server(dns, clock)
        runner.run(_deliver(mails, parameters, server, clock, outcome))
    outcome.question_count = dns.question_count
    return outcome


async def _deliver(
    mails: list[Mail],
    parameters: Parameters,
    server: PolicyServer,
    clock: SimulatedClock,
    outcome: Outcome,
) -> None:
    """Let each mail be tried until it passes or its sender gives up."""
    tries = {mail.number: attempts(mail, parameters.seed) for mail in mails}
    waiting = [(mail.at, mail.number) for mail in mails]
    hosts = {number: next(each)[1] for number, each in tries.items()}
    heapq.heapify(waiting)
    digest = hashlib.sha256()
    while waiting:
        at, number = heapq.heappop(waiting)
        mail = mails[number]
        await clock.sleep_until(at)
        if mail.is_outbound:
            await server.learn(mail)
            continue
        passes = await server.passes(mail, hosts[number])
        outcome.request_count += 1
        digest.update(b"%d %d\n" % (number, passes))
        kind = outcome.kinds.setdefault(mail.kind, KindOutcome(is_good=mail.is_good))
        if at == mail.at:
            kind.mail_count += 1
            kind.code_count += mail.is_code
            kind.delayed_count += not passes
            kind.first_replies[server.why] += 1
        if passes:
            kind.delivered_count += 1
            kind.delay_seconds += at - mail.at
            kind.lost_code_count += mail.is_code and at - mail.at > CODE_SECONDS
            continue
        following = next(tries[number], None)
        if following is None:
            kind.lost_code_count += mail.is_code
            continue
        next_at, hosts[number] = following
        heapq.heappush(waiting, (next_at, number))
    outcome.replies_digest = digest.hexdigest()
