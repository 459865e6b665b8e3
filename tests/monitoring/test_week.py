"""The requests of the last week: what is counted when, what is kept, and what is usual."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.config.settings import Settings
from greyd.config.vocabulary import Endpoint
from greyd.monitoring.activity.counter_history import PASSES, REQUESTS, WAITED, Series
from greyd.monitoring.activity.history_key import history_key, old_history_key
from greyd.monitoring.activity.stored_week import MAX_RECORD_BYTES, StoredWeek
from greyd.monitoring.activity.usual import UsualHour, is_usual, usual_hour
from greyd.monitoring.activity.week import (
    MAX_SLOTS,
    SLOT_SECONDS,
    UNKNOWN,
    ActivitySlot,
    WeekHistory,
    dump_slots,
    load_slots,
    longer_slot,
)
from greyd.rules.entries import is_internal_key
from greyd.rules.reasons import Category, Reason
from greyd.rules.transaction import Change
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.opening import open_store

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400
NOW = 1_700_000_100 // 900 * 900 + 120
"""Two minutes after a quarter of an hour."""

NEW = (REQUESTS, "greylist", "new")
FOUND = (REQUESTS, "pass", "triplet found")


class Clock:
    """A history, and the counters and the time that it is given."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.totals: dict[Series, float] = {}
        self.week = WeekHistory(self.now, self.totals)

    def run(self, seconds: float, counts: dict[Series, float] | None = None) -> None:
        """Let time pass in steps of ten seconds; the counts are there at the end."""
        for _ in range(round(seconds / 10)):
            self.now += 10
            self.week.note(self.now, self.totals)
        for series, count in (counts or {}).items():
            self.totals[series] = self.totals.get(series, 0) + count
        self.week.note(self.now, self.totals)

    def slot(self, ago: int = 0) -> ActivitySlot:
        return self.week.slots()[int(self.now) // 900 * 900 - ago * 900]


def test_requests_count_in_the_quarter_of_an_hour_in_which_they_came() -> None:
    clock = Clock()
    clock.run(60, {NEW: 3, FOUND: 5})
    clock.run(900, {NEW: 2})
    assert (clock.slot(1).new, clock.slot(1).passed) == (3, 5)
    assert (clock.slot().new, clock.slot().passed) == (2, 0)
    assert clock.slot(1).start % SLOT_SECONDS == 0


@pytest.mark.parametrize("reason", list(Reason))
def test_each_request_counts_once(reason: Reason) -> None:
    clock = Clock()
    clock.run(10, {(REQUESTS, *reason.outcome): 7})
    assert clock.slot().requests == 7
    assert clock.slot().faults == (7 if reason.category is Category.FAULT else 0)


def test_mail_that_passes_for_the_first_time_counts_as_having_waited() -> None:
    clock = Clock()
    clock.run(10, {FOUND: 7, (PASSES,): 2, (WAITED,): 840})
    assert (clock.slot().passed, clock.slot().waited) == (5, 2)
    assert clock.slot().waited_seconds == 840


def test_a_slot_has_the_time_in_which_the_server_ran() -> None:
    clock = Clock()
    clock.run(900)
    assert clock.slot(1).seconds == pytest.approx(780, abs=10)
    assert clock.slot().seconds == pytest.approx(120, abs=10)


@pytest.mark.parametrize("jump", [-7200, -10, 5000, 8 * DAY])
def test_the_clock_may_be_set(jump: int) -> None:
    clock = Clock()
    clock.run(60, {NEW: 3})
    clock.now += jump
    clock.run(60, {NEW: 3})
    assert clock.slot().new >= 3
    assert all(0 <= each.seconds <= 900 for each in clock.week.slots().values())


def test_a_counter_that_begins_again_takes_nothing_away() -> None:
    clock = Clock()
    clock.run(60, {NEW: 30})
    clock.totals = {}
    clock.run(60, {NEW: 2})
    assert clock.slot().new == 32


def test_a_week_is_the_most_that_is_kept() -> None:
    clock = Clock()
    for _ in range(MAX_SLOTS + 50):
        clock.now += 900
        clock.week.note(clock.now, clock.totals)
    assert len(clock.week.slots()) <= MAX_SLOTS + 1
    assert min(clock.week.slots()) >= clock.now - MAX_SLOTS * 900


def test_steps_add_slots_up_and_mark_the_time_without_any() -> None:
    clock = Clock()
    clock.week.merge([ActivitySlot(NOW // 7200 * 7200 - 7200 + 900 * each, 900, new=each)
                      for each in range(4)])  # fmt: skip
    before, last, now = clock.week.steps(NOW, 7200, 3)
    assert (before.seconds, before.requests) == (0, 0)
    assert (last.seconds, last.new) == (3600, 0 + 1 + 2 + 3)
    assert now.start <= NOW < now.start + 7200


def test_the_number_of_the_waiting_is_the_last_one_known() -> None:
    clock = Clock()
    clock.run(10)
    assert clock.slot().waiting == UNKNOWN
    clock.week.note(clock.now, clock.totals, waiting=12)
    clock.run(10)
    assert clock.slot().waiting == 12


# What is usual ------------------------------------------------------------------------------------


def hours_of(days: dict[int, int], *, waiting: int = UNKNOWN) -> dict[int, ActivitySlot]:
    """Return slots with a number of first contacts in the hour, by how many days ago."""
    slots = {}
    for day, number in days.items():
        for quarter in range(5):
            start = (NOW - day * DAY) // 900 * 900 - quarter * 900
            slots[start] = ActivitySlot(start, 900, 0, 0, number // 4, waiting=waiting)
    return slots


def test_the_usual_hour_is_the_median_of_the_days() -> None:
    usual = usual_hour(hours_of({1: 40, 2: 400, 3: 60}, waiting=7), NOW)
    assert usual == UsualHour(3, 60, 60, 60, 7)


def test_days_in_which_the_server_did_not_run_do_not_count() -> None:
    slots = hours_of({1: 40, 2: 80})
    for start in list(slots):
        if start > NOW - DAY - 2000:
            del slots[start]
    assert usual_hour(slots, NOW).day_count == 1
    assert usual_hour({}, NOW) == UsualHour(0)


def test_an_hour_that_is_nearly_known_is_scaled_up() -> None:
    slots = hours_of({1: 40})
    first = max(slots)
    slots[first] = ActivitySlot(first, 0)
    assert usual_hour(slots, NOW).requests == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize(
    ("number", "usual", "expected"),
    [(100, 100, True), (50, 100, True), (200, 100, True), (49, 100, False), (201, 100, False),
     (0, 19, True), (19, 0, True), (0, 20, False), (20, 0, False)],
)  # fmt: skip
def test_a_number_is_usual_up_to_twice_and_half_of_it(
    number: int, usual: int, expected: bool
) -> None:
    assert is_usual(number, usual) is expected


# The record ---------------------------------------------------------------------------------------

SLOTS = [
    ActivitySlot(NOW // 900 * 900 - 900 * each, 900, each, 1, 2, 3, 0, 9, 4) for each in range(9)
]


def test_a_record_is_read_as_it_was_written() -> None:
    assert load_slots(dump_slots(SLOTS)) == sorted(SLOTS, key=lambda each: each.start)


def test_a_busy_week_is_a_record_of_bounded_size() -> None:
    week = [ActivitySlot(900 * each, 900, *[10**5] * 7) for each in range(MAX_SLOTS)]
    assert len(dump_slots(week)) < 64_000


ROW = [1800, 900, 5, 0, 0, 0, 0, 0, -1]


@pytest.mark.parametrize(
    "row",
    [
        [], ROW[:-1], [*ROW, 0], {"a": 1}, None, 3.5, [*ROW[:-1], "1"], [*ROW[:-1], True],
        [1801, *ROW[1:]], [-900, *ROW[1:]], [1800, 901, *ROW[2:]], [1800, -1, *ROW[2:]],
        [1800, 900, -1, *ROW[3:]], [1800, 900, 10**13, *ROW[3:]], [*ROW[:-1], -2],
    ],
)  # fmt: skip
def test_an_invalid_row_is_left_out(row: Any) -> None:
    text = json.dumps([row, ROW]).encode()
    assert list(load_slots(text)) == [ActivitySlot(1800, 900, 5)]


@given(st.binary(max_size=60))
def test_any_record_is_read(text: bytes) -> None:
    assert all(isinstance(each, ActivitySlot) for each in load_slots(text))


@pytest.mark.parametrize("text", [None, b"", b"{}", b"[" * 100_000, b"null", b"\xff"])
def test_no_record_is_an_empty_one(text: bytes | None) -> None:
    assert list(load_slots(text)) == []


MX1 = Settings(hostname="mx1", metrics=Endpoint("127.0.0.1", 9923))
MACHINE, OTHER_MACHINE = "0123456789abcdef" * 2, "fedcba9876543210" * 2


def key_of(
    settings: Settings, listens_on: str, folder: Path, machine_id: str | None = MACHINE
) -> bytes:
    file = folder / "machine-id"
    file.unlink(missing_ok=True)
    if machine_id is not None:
        file.write_text(machine_id + "\n")
    return history_key(settings, listens_on, [folder / "missing", file])


@pytest.mark.parametrize(
    ("settings", "listens_on", "machine_id"),
    [
        (replace(MX1, hostname="mx2"), "127.0.0.1:10023", MACHINE),
        (replace(MX1, metrics=Endpoint("127.0.0.1", 9999)), "127.0.0.1:10023", MACHINE),
        (replace(MX1, metrics=Endpoint("127.0.0.2", 9923)), "127.0.0.1:10023", MACHINE),
        (replace(MX1, metrics=None), "127.0.0.1:10023", MACHINE),
        (MX1, "127.0.0.1:10024", MACHINE),
        (MX1, "/run/greyd/socket", MACHINE),
        (MX1, "127.0.0.1:10023", OTHER_MACHINE),
        (MX1, "127.0.0.1:10023", None),
    ],
)
def test_servers_that_differ_in_anything_have_histories_of_their_own(
    settings: Settings, listens_on: str, machine_id: str | None, tmp_path: Path
) -> None:
    usual = key_of(MX1, "127.0.0.1:10023", tmp_path)
    assert is_internal_key(usual)
    assert key_of(settings, listens_on, tmp_path, machine_id) != usual


@pytest.mark.parametrize("machine_id", [MACHINE, None, "", "uninitialized", "short", "-" * 32])
def test_a_server_keeps_its_history_when_it_is_restarted_with_other_settings(
    machine_id: str | None, tmp_path: Path
) -> None:
    changed = replace(MX1, delay_seconds=60, workers=4, status_details=True)
    keys = [key_of(each, "127.0.0.1:10023", tmp_path, machine_id) for each in (MX1, changed)]
    assert keys[0] == keys[1]
    assert MACHINE.encode() not in keys[0]


def test_a_history_of_an_earlier_version_is_read_and_the_own_one_comes_first(
    tmp_path: Path,
) -> None:
    old, new, start = old_history_key(MX1), b"{history}!mx1!9923!0123", NOW // 900 * 900 - DAY

    async def found(stored: dict[bytes, int]) -> int:
        store = open_store(Settings(), tmp_path)
        breaker = CircuitBreaker(store, 5.0, lambda _: None)
        await breaker.check()
        changes = [
            Change(key, dump_slots([ActivitySlot(start, 900, new=count)]), DAY)
            for key, count in stored.items()
        ]
        await breaker.transact(list(stored), lambda _: (None, changes))
        clock = Clock()
        await StoredWeek(clock.week, breaker, new, clock.now, old).update(clock.now)
        await breaker.close()
        slot = clock.week.slots().get(start)
        return slot.new if slot else 0

    assert asyncio.run(found({old: 7})) == 7
    assert asyncio.run(found({old: 7, new: 5})) == 5


async def restarted(tmp_path: Path, seconds: float) -> list[list[ActivitySlot]]:
    """Run a server for some time, stop it, start another; return what each has in the end."""
    store = open_store(Settings(), tmp_path)
    breaker = CircuitBreaker(store, 5.0, lambda _: None)
    await breaker.check()
    found = []
    for _ in range(2):
        clock = Clock()
        stored = StoredWeek(clock.week, breaker, b"{history}!mx1!9923", clock.now)
        await stored.update(clock.now)
        clock.run(seconds, {NEW: 5})
        await stored.update(clock.now)
        found.append(list(clock.week.slots().values()))
    found.append([])
    record = await store.get(b"{history}!mx1!9923")
    found[-1] = list(load_slots(record.value if record else None))
    await breaker.close()
    return found


def test_the_history_survives_a_restart(tmp_path: Path) -> None:
    first, second, stored = asyncio.run(restarted(tmp_path, 1800))
    assert {each.start for each in first} <= {each.start for each in second}
    assert stored


def test_a_server_that_ran_for_less_than_a_quarter_of_an_hour_stores_nothing(
    tmp_path: Path,
) -> None:
    assert asyncio.run(restarted(tmp_path, 600))[-1] == []


def test_of_two_slots_for_the_same_time_the_longer_one_is_kept() -> None:
    clock = Clock()
    clock.run(60, {NEW: 5})
    mine = clock.slot()
    clock.week.merge([ActivitySlot(mine.start, 900, new=70)])
    assert clock.slot().new == 70
    clock.week.merge([ActivitySlot(mine.start, 30, new=1)])
    assert clock.slot().new == 70


@pytest.mark.parametrize(
    ("one", "other", "seconds", "waiting"),
    [
        # (seconds, waiting) of each worker's slot
        ((900, UNKNOWN), (600, 12), 900, 12),
        ((600, 12), (900, UNKNOWN), 900, 12),
        ((900, 30), (600, 12), 900, 30),
        ((600, 12), (900, 30), 900, 30),
        ((900, UNKNOWN), (600, UNKNOWN), 900, UNKNOWN),
        ((900, 0), (900, UNKNOWN), 900, 0),
    ],
)
def test_the_number_of_waiting_triplets_is_kept_whichever_worker_has_counted_them(
    one: tuple[int, int], other: tuple[int, int], seconds: int, waiting: int
) -> None:
    slots = [ActivitySlot(0, each[0], waiting=each[1]) for each in (one, other)]
    kept = longer_slot(*slots)
    assert (kept.seconds, kept.waiting) == (seconds, waiting)


def test_a_worker_learns_the_number_of_waiting_triplets_and_nothing_else() -> None:
    clock = Clock()
    clock.run(60, {NEW: 5})
    mine = clock.slot()
    clock.week.add_waiting([replace(mine, new=70, waiting=12), ActivitySlot(0, 900, waiting=3)])
    assert list(clock.week.slots().values()) == [replace(mine, waiting=12)]
    clock.week.add_waiting([replace(mine, waiting=99)])
    assert clock.slot().waiting == 12


def test_a_record_that_is_too_large_is_not_read() -> None:
    assert MAX_RECORD_BYTES >= 2 * 64_000
