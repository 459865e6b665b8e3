"""A clock that does not follow a jump at once, and the sweep of expired rows that goes by it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from greyd.rules.reserved_keys import SWEPT_KEY
from greyd.rules.transaction import Change
from greyd.runtime.clock import HOLD_SECONDS, MAX_STEP_SECONDS, SteadyClock
from greyd.store.sqlite import sweep_clock
from greyd.store.sqlite.rows import SCHEMA, put
from greyd.store.sqlite.sweep_clock import SweepClock

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000
MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass
class Machine:
    """A machine's two clocks."""

    wall_seconds: float = NOW
    elapsed_seconds: float = 1000.0

    def wall(self) -> float:
        return self.wall_seconds

    def elapsed(self) -> float:
        return self.elapsed_seconds

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_seconds += seconds
        self.elapsed_seconds += seconds

    def set_clock(self, by: float) -> None:
        """Set the wall clock forward, or back."""
        self.wall_seconds += by

    def steady(self) -> SteadyClock:
        return SteadyClock(wall=self.wall, elapsed=self.elapsed)


@pytest.mark.parametrize("by", [1, -1, 59, -59, MAX_STEP_SECONDS, -MAX_STEP_SECONDS])
def test_a_small_step_is_followed_at_once(by: float) -> None:
    machine = Machine()
    clock = machine.steady()
    machine.run(10)
    machine.set_clock(by)
    assert clock.now() == NOW + 10 + by


@pytest.mark.parametrize("by", [61, -61, HOUR, -HOUR, 40 * DAY, -30 * DAY, -NOW, 100 * 365 * DAY])
def test_a_jump_is_followed_only_once_it_has_lasted(by: float) -> None:
    machine = Machine()
    clock = machine.steady()
    machine.run(10)
    machine.set_clock(by)
    assert clock.now() == NOW + 10
    machine.run(HOLD_SECONDS - 1)
    assert clock.now() == NOW + 10 + HOLD_SECONDS - 1
    machine.run(1)
    assert clock.now() == NOW + 10 + HOLD_SECONDS + by


@pytest.mark.parametrize("by", [HOUR, -HOUR, 40 * DAY, -30 * DAY, -NOW])
def test_a_jump_that_is_taken_back_leaves_nothing_behind(by: float) -> None:
    machine = Machine()
    clock = machine.steady()
    for _ in range(3):
        machine.run(200)
        machine.set_clock(by)
        assert clock.now() == machine.wall() - by
        machine.run(4)
        assert clock.now() == machine.wall() - by
        machine.set_clock(-by)
        assert clock.now() == machine.wall()


def test_a_clock_that_jumps_on_and_on_is_followed_once_it_holds_still() -> None:
    machine = Machine()
    clock = machine.steady()
    for _ in range(5):
        machine.set_clock(HOUR)
        machine.run(HOLD_SECONDS - 10)
        assert clock.now() == machine.wall() - 5 * HOUR or clock.now() < machine.wall()
    machine.run(HOLD_SECONDS)
    assert clock.now() == machine.wall()


@pytest.mark.parametrize("hours", [1, 10, 1000])
def test_a_suspended_machine_s_time_counts(hours: int) -> None:
    machine = Machine()
    clock = machine.steady()
    machine.run(hours * HOUR)
    assert clock.now() == NOW + hours * HOUR


def test_a_clock_that_was_not_set_is_followed_as_soon_as_it_is_set() -> None:
    machine = Machine(wall_seconds=30)
    clock = machine.steady()
    machine.run(5)
    assert clock.now() == 35
    machine.wall_seconds = NOW
    assert clock.now() == NOW


# The sweep ----------------------------------------------------------------------------------------


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(SCHEMA)
        yield connection


def start(machine: Machine) -> SweepClock:
    """Return the clock of a server that starts."""
    return SweepClock(machine.wall, machine.elapsed)


def keep_running(
    machine: Machine, clock: SweepClock, connection: sqlite3.Connection, minutes: int
) -> int:
    """Let a server run, and look each minute; returns what its clock said last."""
    now = clock.now(connection)
    for _ in range(minutes):
        machine.run(MINUTE)
        now = clock.now(connection)
    return now


@pytest.mark.parametrize("by", [HOUR, 40 * DAY, 4000 * DAY])
def test_the_sweep_follows_a_clock_that_is_ahead_only_after_hours(
    connection: sqlite3.Connection, by: int
) -> None:
    machine = Machine()
    clock = start(machine)
    keep_running(machine, clock, connection, 10)
    machine.set_clock(by)
    held = sweep_clock.HOLD_SECONDS // MINUTE
    assert keep_running(machine, clock, connection, held - 1) <= machine.wall() - by
    assert keep_running(machine, clock, connection, 2) == machine.wall()


@pytest.mark.parametrize("by", [HOUR, 30 * DAY, NOW])
def test_the_sweep_is_never_ahead_of_the_wall_clock(
    connection: sqlite3.Connection, by: int
) -> None:
    machine = Machine()
    clock = start(machine)
    keep_running(machine, clock, connection, 10)
    machine.set_clock(-by)
    assert keep_running(machine, clock, connection, 1) <= machine.wall()


@pytest.mark.parametrize("wrong", [NOW + 40 * DAY, NOW + DAY, NOW - 30 * DAY, 0, 946_684_800])
@pytest.mark.parametrize("starts", [1, 2, 5])
def test_servers_that_start_under_a_wrong_clock_delete_nothing_early(
    connection: sqlite3.Connection, wrong: int, starts: int
) -> None:
    machine = Machine()
    keep_running(machine, start(machine), connection, 10)
    right_at = machine.wall()
    machine.wall_seconds = wrong
    for _ in range(starts):
        machine.elapsed_seconds = 0
        assert keep_running(machine, start(machine), connection, 30) <= right_at + starts * HOUR
    machine.wall_seconds = right_at + DAY
    machine.elapsed_seconds = 0
    clock = start(machine)
    assert keep_running(machine, clock, connection, 10) <= machine.wall()
    assert keep_running(machine, clock, connection, 7 * 60) == machine.wall()


@pytest.mark.parametrize("kept", [b"", b"x", b"-5", b"9" * 15, b"9" * 5000, b"1.5"])
def test_what_a_hand_has_written_in_its_place_does_not_matter(
    connection: sqlite3.Connection, kept: bytes
) -> None:
    put(connection, Change(SWEPT_KEY, kept, 60), NOW)
    machine = Machine()
    assert keep_running(machine, start(machine), connection, 7 * 60) == machine.wall()
