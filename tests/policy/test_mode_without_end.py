"""A mode that lets all mail pass without an end is warned of once a day, by one server of all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.monitoring.log import Log
from greyd.monitoring.log_observer import LogObserver
from greyd.policy.control_poller import ControlPoller
from greyd.policy.observers import Observer, Observers
from greyd.policy.policy import Policy
from greyd.rules.control import Control, ModeOverride, change_control
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.runtime.clock import SteadyClock
from greyd.store.opening import open_store
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.monitoring.test_observers import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.store.contract import TransactionalStore

T = 1_795_000_000


@dataclass
class Server(Observer):
    """A server's poller, with a clock that the test sets."""

    store: TransactionalStore
    now: float = T
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = Settings()
        lists = Whitelists(ClientWhitelist([]), RecipientWhitelist([]))
        policy = Policy(settings, lists, self.store, Observers())
        policy.clock = SteadyClock(wall=lambda: self.now, elapsed=lambda: self.now)
        self.poller = ControlPoller(settings, self.store, policy, Observers(self))

    def mode_without_end(self, mode: str, reason: str) -> None:
        self.warnings.append(f"{mode}{reason}")

    async def poll_at(self, now: float) -> int:
        self.now = now
        await self.poller.poll()
        return len(self.warnings)


def run(mode: ModeOverride | None, check: Callable[[TransactionalStore], object]) -> None:
    async def do() -> None:
        store = open_store(Settings(store="memory://"), Path("/nonexistent"))
        control = Control(mode)
        await store.transact([CONTROL_KEY], change_control(lambda _: control, T))
        await check(store)  # type: ignore[misc]
        await store.close()

    asyncio.run(do())


@pytest.mark.parametrize("mode", ["off", "learn"])
def test_a_mode_without_end_is_warned_of_once_a_day(mode: str) -> None:
    async def check(store: TransactionalStore) -> None:
        server = Server(store)
        days = [0, DAY - 1, DAY, DAY + 1, 2 * DAY - 1, 2 * DAY, 9 * DAY]
        assert [await server.poll_at(T + each) for each in days] == [0, 0, 1, 1, 1, 2, 3]
        assert server.warnings[0].startswith(f"{mode}, by alice@mx1 at 20")

    run(ModeOverride(mode, 0, "alice@mx1", T), check)


@pytest.mark.parametrize(
    "mode",
    [
        None,
        ModeOverride("on", 0, "alice@mx1", T),
        ModeOverride("off", T + 9 * DAY, "alice@mx1", T),
        ModeOverride("learn", T + HOUR, "alice@mx1", T),
    ],
)
def test_no_mode_and_one_that_ends_and_on_are_not(mode: ModeOverride | None) -> None:
    async def check(store: TransactionalStore) -> None:
        server = Server(store)
        assert [await server.poll_at(T + each * DAY) for each in range(9)] == [0] * 9

    run(mode, check)


def test_servers_workers_and_restarts_warn_once_together() -> None:
    async def check(store: TransactionalStore) -> None:
        servers = [Server(store) for _ in range(4)]
        # Their clocks differ a little, in both directions.
        for at in (T + DAY, T + DAY + 3, T + DAY + HOUR, T + 2 * DAY - 10):
            for skew, server in enumerate(servers):
                await server.poll_at(at - 2 * skew)
        await asyncio.gather(*(server.poll_at(T + DAY + 7) for server in servers))
        assert sum(len(each.warnings) for each in servers) == 1
        assert await Server(store).poll_at(T + DAY + 60) == 0
        assert await Server(store).poll_at(T + 2 * DAY + 60) == 1

    run(ModeOverride("off", 0, "alice@mx1", T), check)


def test_a_time_from_a_wrong_clock_does_not_silence_the_warning() -> None:
    async def check(store: TransactionalStore) -> None:
        assert await Server(store).poll_at(T) == 1

    run(ModeOverride("off", 0, "alice@mx1", T - DAY, T + 900 * DAY), check)


@pytest.mark.parametrize(
    ("at", "warned_at"), [(T + 900 * DAY, 0), (T + 900 * DAY, T - DAY), (T, T + 900 * DAY)]
)
def test_after_a_clock_was_wrong_a_warning_comes_once_a_day(at: int, warned_at: int) -> None:
    async def check(store: TransactionalStore) -> None:
        server = Server(store)
        days = [DAY, DAY + 1, DAY + 2, 2 * DAY - 1, 2 * DAY, 2 * DAY + 1]
        assert [await server.poll_at(T + each) for each in days] == [1, 1, 1, 1, 2, 2]

    run(ModeOverride("off", 0, "alice@mx1", at, warned_at), check)


def test_the_warning_says_who_set_the_mode_since_when_and_what_to_type() -> None:
    kept = Kept()
    log = Log(kept)
    LogObserver(log).mode_without_end("off", ", by alice@mx1 at 2026-11-24T18:00:00+0000")
    log.close(10)
    (said,) = kept.lines
    for each in ("alice@mx1", "2026-11-24T18", "greyd mode reset", "greyd mode off --for 2h"):
        assert each in said
