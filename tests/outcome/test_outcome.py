"""Short simulations: the world is plausible, and greyd has roughly its effect there."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise

import pytest

from greyd.dns.lookup import DnsError, RecordType
from tests.outcome.clock import DAY, HOUR, START, SimulatedClock, simulated_time
from tests.outcome.configurations import CONFIGURATIONS
from tests.outcome.figures import Figures, compare, figures_of
from tests.outcome.mail import SCHEDULES, Host, Mail, Route, attempts
from tests.outcome.parameters import BOTS, Parameters
from tests.outcome.resolver import SimulatedResolver
from tests.outcome.runs import Results, run_one
from tests.outcome.simulation import Outcome, build_world, outages
from tests.outcome.variations import VARIATIONS
from tests.outcome.zone import DBL, DNSWL, PBL, ZEN, Fault, Outage, SimulatedDns
from tests.processes import program

WORLD = Parameters(days=8, good_per_day=80, bad_per_day=100)


@pytest.fixture(scope="module")
def results() -> Results:
    """Run all configurations on one small world."""
    return Results({each.name: [run_one(WORLD, each)] for each in CONFIGURATIONS})


# The effect ---------------------------------------------------------------------------------------


def figures(results: Results, name: str) -> Figures:
    return results.comparison(name).figures


def test_each_further_option_delays_less_good_mail(results: Results) -> None:
    names = ("off", "identity", "identity-awl", "preset")
    delayed = [figures(results, name).good_delayed for name in names]
    assert all(after < before for before, after in pairwise(delayed))
    assert results.comparison("preset").ratios.good_delayed < 0.2
    assert results.comparison("preset").ratios.mean_delay_seconds < 0.2
    assert results.comparison("preset").ratios.codes_lost < 0.3


def test_less_delay_costs_little(results: Results) -> None:
    for name in ("identity", "identity-awl", "preset", "preset-faults"):
        assert results.comparison(name).ratios.spam_let_in < 1.15
        assert figures(results, name).bots_let_in < figures(results, "off").bots_let_in + 0.03


def test_faults_of_the_dns_leave_most_of_the_effect(results: Results) -> None:
    """Four of the eight days have a fault here, unlike in a world of sixty days."""
    assert results.comparison("preset-faults").ratios.good_delayed < 0.6


def test_no_good_sender_loses_mail_that_postgrey_delivers(results: Results) -> None:
    for name in ("identity", "identity-awl", "preset", "preset-faults"):
        for kind, base in results.outcomes["off"][0].kinds.items():
            if base.is_good:
                run = results.outcomes[name][0].kinds[kind]
                assert run.delivered_count >= base.delivered_count, (name, kind)


def test_the_same_seed_gives_the_same_figures() -> None:
    world = replace(WORLD, days=2)
    preset = CONFIGURATIONS[-1]
    runs = [run_one(world, preset) for _ in range(2)]
    assert runs[0] == runs[1]
    assert run_one(replace(world, seed=2), preset) != runs[0]


@pytest.mark.integration
def test_greyd_with_everything_off_gives_postgreys_replies() -> None:
    program("postgrey")
    world = replace(WORLD, days=4)
    off = CONFIGURATIONS[0]
    results = Results({"postgrey": [run_one(world, None)], off.name: [run_one(world, off)]})
    assert results.equals_postgrey


# The world ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mails() -> list[Mail]:
    """Return the mails of a small world."""
    return build_world(WORLD, SimulatedDns(SimulatedClock()))


def test_each_kind_of_sender_has_about_its_share_of_the_mail(mails: list[Mail]) -> None:
    counts = Counter(mail.kind for mail in mails if not mail.is_outbound)
    for shares, per_day in ((WORLD.good, WORLD.good_per_day), (WORLD.bad, WORLD.bad_per_day)):
        for kind, share in shares.items():
            expected = share * per_day * WORLD.days
            # A whole campaign may come on top.
            assert 0.5 * expected <= counts[kind] <= 1.5 * expected + 160, kind


def test_all_shares_add_up_to_one() -> None:
    for shares in (WORLD.good, WORLD.bad):
        assert sum(shares.values()) == pytest.approx(1, abs=0.03)
    assert set(WORLD.bad) > BOTS


@pytest.mark.parametrize("name", list(VARIATIONS)[1:])
def test_each_variation_is_another_world_of_the_same_seed_and_length(name: str) -> None:
    varied = VARIATIONS[name](WORLD)
    assert varied != WORLD
    assert (varied.seed, varied.days) == (WORLD.seed, WORLD.days)
    assert (set(varied.good), set(varied.bad)) == (set(WORLD.good), set(WORLD.bad))


def test_mails_are_ordered_and_within_the_time(mails: list[Mail]) -> None:
    times = [mail.at for mail in mails]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < WORLD.days * DAY


def host(number: int) -> Host:
    name = f"mx{number}.example.com"
    return Host(f"192.0.2.{number}", name, name, name)


def mail(route: Route, schedule: str) -> Mail:
    hosts = [host(number) for number in range(1, 5)]
    sender, recipient = "a@example.com", "b@site.example"
    return Mail("single server", True, 100.0, sender, recipient, hosts, schedule, route, number=7)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_attempts_follow_the_schedule_and_end(schedule: str) -> None:
    times = [at for at, _ in attempts(mail(Route.SAME, schedule), 1)]
    waits = [after - before for before, after in pairwise(times)]
    assert times[0] == 100.0
    assert len(times) < 600
    for wait, planned in zip(waits, SCHEDULES[schedule], strict=False):
        assert 0.9 * planned < wait < 1.3 * planned


def test_a_sender_without_a_schedule_tries_once() -> None:
    assert len(list(attempts(mail(Route.SAME, ""), 1))) == 1


@pytest.mark.parametrize(("route", "count"), [(Route.SAME, 1), (Route.IN_TURN, 4)])
def test_the_route_decides_on_the_hosts(route: Route, count: int) -> None:
    hosts = [each.address for _, each in islice(attempts(mail(route, "postfix"), 1), 4)]
    assert len(set(hosts)) == count


def test_attempts_are_the_same_in_each_run() -> None:
    runs = [list(attempts(mail(Route.RANDOM, "pool"), 3)) for _ in range(2)]
    assert runs[0] == runs[1]


# The DNS ------------------------------------------------------------------------------------------

LISTED = b"7.2.0.192.zen.spamhaus.org"


def answers(dns: SimulatedDns, clock: SimulatedClock, at: float, name: bytes) -> tuple[bytes, ...]:
    async def ask() -> tuple[bytes, ...]:
        await clock.sleep_until(at)
        return (await SimulatedResolver(dns, clock).query(name, RecordType.A)).values

    with simulated_time(clock) as runner:
        return runner.run(ask())


def test_a_list_learns_of_an_address_with_a_delay() -> None:
    clock = SimulatedClock()
    dns = SimulatedDns(clock)
    dns.list_address(ZEN, "192.0.2.7", PBL, since=HOUR)
    assert answers(dns, clock, HOUR - 1, LISTED) == ()
    assert answers(dns, clock, HOUR, LISTED) == (bytes([127, 0, 0, 11]),)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault.SILENT, None),
        (Fault.SERVFAIL, None),
        (Fault.ERROR_CODE, bytes([127, 255, 255, 254])),
        (Fault.LISTS_WORLD, bytes([127, 0, 0, 2])),
    ],
)
def test_a_list_out_of_order_is_so_for_its_time_only(fault: Fault, answer: bytes | None) -> None:
    clock = SimulatedClock()
    dns = SimulatedDns(clock, (Outage(ZEN, fault, HOUR, 2 * HOUR),))
    assert answers(dns, clock, 0, LISTED) == ()
    if answer is None:
        with pytest.raises(DnsError):
            answers(dns, clock, HOUR, LISTED)
    else:
        assert answers(dns, clock, HOUR, LISTED) == (answer,)
    assert answers(dns, clock, HOUR, b"example.com") == ()
    assert answers(dns, clock, 2 * HOUR, LISTED) == ()


def test_each_list_is_out_of_order_for_a_day_and_the_resolver_for_six_hours() -> None:
    kinds = set()
    for seed in (1, 2, 3):
        found = outages(Parameters(seed=seed))
        assert [each.zone for each in found] == [ZEN, DBL, DNSWL, ""]
        assert [(each.ends - each.begins) / HOUR for each in found] == [24, 24, 24, 6]
        kinds |= {each.fault for each in found}
    assert kinds == set(Fault)


def test_a_simulated_wait_takes_no_time() -> None:
    clock = SimulatedClock()
    order = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(clock.time() - START)

    async def wait_all() -> None:
        await asyncio.gather(wait(60 * DAY), wait(1.5))

    with simulated_time(clock) as runner:
        runner.run(wait_all())
    assert order == pytest.approx([1.5, 60 * DAY])


# Figures ------------------------------------------------------------------------------------------


def test_ratios_are_means_of_the_ratios_of_each_seed() -> None:
    runs = [Figures(0.1, 10, 0.1, 0.1, 0.1), Figures(0.3, 30, 0.3, 0.3, 0.3)]
    bases = [Figures(0.2, 100, 0.1, 0.1, 0.1), Figures(0.3, 60, 0.3, 0.3, 0.3)]
    ratios = compare(runs, bases).ratios
    assert ratios.good_delayed == pytest.approx(0.75)
    assert ratios.mean_delay_seconds == pytest.approx(0.3)


def test_an_empty_run_has_figures() -> None:
    assert figures_of(Outcome()).good_delayed == 0
