"""Fair shares of lookups: strangers whose name servers never answer, and a client whose do."""

from __future__ import annotations

import heapq
import itertools
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greyd.dns.fair_share import NO_CLIENT, FairShareScheduler, QueuedLookup, client_networks
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 500
SILENCE = 2.1
"""Seconds until a lookup without an answer is given up."""
ANSWER = 0.05
PATIENCE = 1.5
"""Seconds that mail waits for its answers."""


class Lookups:
    """Lookups on a clock of their own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.dropped: list[QueuedLookup[float]] = []
        self.shares: FairShareScheduler[float] = FairShareScheduler(MOST, self.dropped.append)
        self.ended: list[QueuedLookup[float]] = []
        self.in_flight = 0
        self._ends: list[tuple[float, int, QueuedLookup[float]]] = []
        self._numbers = itertools.count()

    def ask(self, address: str, name: str, seconds: float) -> QueuedLookup[float]:
        lookup = QueuedLookup(seconds, name.encode(), client_networks(address_of(address)))
        self.shares.enqueue(lookup)
        self._begin()
        return lookup

    def _begin(self) -> None:
        while lookup := self.shares.start_next():
            self.in_flight += 1
            assert self.in_flight <= MOST
            heapq.heappush(self._ends, (self.now + lookup.payload, next(self._numbers), lookup))

    def run(
        self, seconds: float, ended: Callable[[QueuedLookup[float]], None] | None = None
    ) -> None:
        until = self.now + seconds
        while self._ends and self._ends[0][0] <= until:
            self.now, _, lookup = heapq.heappop(self._ends)
            self.in_flight -= 1
            self.shares.finish(lookup, is_answered=lookup.payload < SILENCE)
            self.ended.append(lookup)
            if ended is not None:
                ended(lookup)
            self._begin()
        self.now = until


STRANGERS: dict[str, Callable[[int], tuple[str, str]]] = {
    "one address": lambda number: ("10.0.0.7", f"d{number}.example"),
    "one network": lambda number: (f"10.0.0.{number % 250}", f"d{number}.co.uk"),
    "one wide network": lambda number: (f"10.0.{number % 250}.7", f"d{number}.example"),
    "one /48": lambda number: (f"2001:db8:1:{number:x}::7", f"d{number}.example"),
    "one /32": lambda number: (f"2001:db8:{number:x}::7", f"d{number}.example"),
    "networks all over, a domain each": lambda number: (
        f"10.{number % 250}.0.7", f"d{number}.example"
    ),
    "networks all over, one domain": lambda number: (
        f"10.{number % 250}.{number % 7}.7", f"d{number}.silent.co.uk"
    ),
    "one domain, in odd names": lambda number: (
        f"10.{number % 250}.{number % 7}.7", f"a/{number}.*.silent.co.uk"
    ),
    "behind NAT64": lambda number: (f"64:ff9b::8.{number % 250}.0.7", f"d{number}.example"),
}  # fmt: skip


@pytest.mark.parametrize("seconds", [0.1, 3 * SILENCE], ids=["at first", "later"])
@pytest.mark.parametrize("kind", STRANGERS)
def test_beside_silent_domains_others_are_answered_in_time(kind: str, seconds: float) -> None:
    lookups = Lookups()
    numbers = itertools.count()

    def attack() -> None:
        lookups.ask(*STRANGERS[kind](next(numbers) % 200), SILENCE)

    # Each of two hundred has ten questions, and never tires.
    for _ in range(2000):
        attack()
    lookups.run(seconds, lambda _: attack())
    good = [
        lookups.ask("192.0.2.7", f"q{number}.{zone}.example.org", ANSWER)
        for number in range(4)
        for zone in ("mail", "zen", "dbl")
    ]
    lookups.run(PATIENCE, lambda _: attack())
    assert set(good) <= set(lookups.ended)
    assert not set(good) & set(lookups.dropped)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("one address", 23), ("one network", 23), ("one wide network", 167), ("one /48", 23),
        ("one /32", 167), ("networks all over, one domain", 100),
        ("one domain, in odd names", 100), ("networks all over, a domain each", 250),
    ],
)  # fmt: skip
def test_no_group_holds_more_than_its_share(kind: str, most: int) -> None:
    lookups = Lookups()
    for number in range(1000):
        lookups.ask(*STRANGERS[kind](number), SILENCE)
    assert most * 0.9 <= lookups.in_flight <= most


def test_a_burst_of_one_network_is_answered_gradually() -> None:
    lookups = Lookups()
    asked = [lookups.ask("192.0.2.7", f"q{n}.d{n}.example", ANSWER) for n in range(500)]
    assert lookups.in_flight < 30
    lookups.run(PATIENCE)
    assert lookups.ended == asked
    assert lookups.dropped == []


def test_a_silent_list_leaves_room_for_other_lookups() -> None:
    lookups = Lookups()
    for number in range(300):
        lookups.ask(f"10.{number % 200}.{number % 3}.7", f"{number}.dead.example", SILENCE)
    assert lookups.in_flight == 100
    ask = lookups.ask("10.0.0.7", "mx.example.com", ANSWER)
    lookups.run(ANSWER)
    assert ask in lookups.ended
    lookups.run(4 * SILENCE)
    assert len(lookups.ended) == 301


def test_a_list_that_answers_is_queried_while_strangers_wait_for_silent_servers() -> None:
    lookups = Lookups()
    for number in range(150):
        for question in range(10):
            lookups.ask(f"10.{number}.0.7", f"q{question}.d{number}.example", SILENCE)
            lookups.ask(f"10.{number}.0.7", f"q{question}.d{number}.list.example", ANSWER)
    good = [lookups.ask("192.0.2.7", f"q{each}.list.example", ANSWER) for each in range(9)]
    lookups.run(PATIENCE)
    assert set(good) <= set(lookups.ended)


def test_a_lookup_of_a_crowded_domain_is_next_when_the_domain_has_room() -> None:
    lookups = Lookups()
    for number in range(900):
        lookups.ask(f"10.{number % 9}.{number % 9}.7", f"q{number}.slow.example", 0.5)
    assert lookups.in_flight == 100
    good = [lookups.ask("192.0.2.7", f"x{number}.slow.example", 0.5) for number in range(3)]
    lookups.run(PATIENCE)
    assert set(good) <= set(lookups.ended)


def test_reverse_lookups_share_no_domain_limit() -> None:
    lookups = Lookups()
    for number in range(400):
        lookups.ask(f"10.{number % 200}.{number % 5}.7", f"{number}.192.in-addr.arpa", SILENCE)
    assert lookups.in_flight > 200, "no share of one domain"


addresses = st.sampled_from(["192.0.2.7", "192.0.3.7", "10.0.0.7", "2001:db8::7", "64:ff9b:1::7"])
names = st.sampled_from([b"a.example.com", b"b.example.com", b"c.example", b"..", b"x", b""])
actions = st.lists(st.tuples(st.sampled_from("ael"), addresses, names), max_size=60)


@settings(deadline=None)
@given(actions, st.integers(1, 5))
def test_no_lookup_is_lost_and_no_place_stays_unused(
    steps: list[tuple[str, str, bytes]], most: int
) -> None:
    dropped: list[QueuedLookup[int]] = []
    shares: FairShareScheduler[int] = FairShareScheduler(most, dropped.append)
    waiting: list[QueuedLookup[int]] = []
    flying: list[QueuedLookup[int]] = []
    for number, (action, address, name) in enumerate(steps):
        if action == "e" and waiting:
            shares.cancel(waiting.pop(number % len(waiting)))
        elif action == "l" and flying:
            shares.finish(flying.pop(number % len(flying)), is_answered=number % 2 > 0)
        else:
            lookup = QueuedLookup(
                number, name, client_networks(address_of(address)) if number % 3 else NO_CLIENT
            )
            shares.enqueue(lookup)
            waiting.append(lookup)
        while lookup_ := shares.start_next():
            waiting.remove(lookup_)
            flying.append(lookup_)
        assert len(flying) <= most
        assert bool(flying) >= bool(waiting), "somebody waits, and nobody is in flight"
    while flying:
        shares.finish(flying.pop(), is_answered=True)
        while lookup_ := shares.start_next():
            waiting.remove(lookup_)
            flying.append(lookup_)
    assert waiting == dropped == []


def test_idle_networks_and_domains_are_forgotten() -> None:
    lookups = Lookups()

    def visit(first: int) -> None:
        for number in range(first, first + 1000):
            network = f"2001:db8:{number:x}::7"
            lookups.shares.cancel(lookups.ask(network, f"x.d{number}.example", SILENCE))
            lookups.ask(network, f"y.d{number}.example", SILENCE)
        lookups.run(100 * SILENCE)
        lookups.ended.clear()
        lookups.dropped.clear()

    visit(0)
    tracemalloc.start()
    try:
        visit(1000)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The names of domains stay in the cache of the public suffix list's answers, 10,000 of them.
    assert kept_bytes < 2_500_000
