"""The tables of a connection's states: each state with each event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from greyd.server.connection_state import (
    INTAKE,
    PROGRESS,
    Intake,
    IntakeEvent,
    Progress,
    ProgressEvent,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

IMPOSSIBLE = {
    # While the policy is called, the event loop can't call the connection.
    (Progress.ASKING, ProgressEvent.RECEIVED),
    (Progress.ASKING, ProgressEvent.RESUMED),
    # One request at a time is with the policy, and only then there is a reply.
    (Progress.IDLE, ProgressEvent.TAKEN),
    (Progress.ASKING, ProgressEvent.TAKEN),
    (Progress.WAITING, ProgressEvent.TAKEN),
    (Progress.BLOCKED, ProgressEvent.TAKEN),
    (Progress.IDLE, ProgressEvent.REPLIED),
    (Progress.RUNNING, ProgressEvent.REPLIED),
    (Progress.BLOCKED, ProgressEvent.REPLIED),
    (Progress.IDLE, ProgressEvent.RETURNED),
    (Progress.WAITING, ProgressEvent.RETURNED),
    (Progress.BLOCKED, ProgressEvent.RETURNED),
    # Only who takes requests finds that none is left, or that no reply can be written.
    (Progress.IDLE, ProgressEvent.STALLED),
    (Progress.ASKING, ProgressEvent.STALLED),
    (Progress.WAITING, ProgressEvent.STALLED),
    (Progress.BLOCKED, ProgressEvent.STALLED),
    (Progress.IDLE, ProgressEvent.EXHAUSTED),
    (Progress.ASKING, ProgressEvent.EXHAUSTED),
    (Progress.WAITING, ProgressEvent.EXHAUSTED),
    (Progress.BLOCKED, ProgressEvent.EXHAUSTED),
}


@pytest.mark.parametrize("event", ProgressEvent)
@pytest.mark.parametrize("state", Progress)
def test_each_event_either_has_a_next_state_or_is_impossible(
    state: Progress, event: ProgressEvent
) -> None:
    assert (event in PROGRESS[state]) is ((state, event) not in IMPOSSIBLE)


@pytest.mark.parametrize("event", IntakeEvent)
@pytest.mark.parametrize("state", Intake)
def test_each_event_of_the_intake_has_a_next_state(state: Intake, event: IntakeEvent) -> None:
    assert INTAKE[state][event] in Intake


@pytest.mark.parametrize(
    ("table", "last"),
    [(PROGRESS, Progress.CLOSED), (INTAKE, Intake.ENDING)],
    ids=["progress", "intake"],
)
def test_each_state_is_reached_and_the_last_one_is_never_left(
    table: Mapping[Any, Mapping[Any, Any]], last: Any
) -> None:
    assert {state for row in table.values() for state in row.values()} == set(table)
    assert set(table[last].values()) == {last}
    assert all(last in row.values() for row in table.values())


def test_a_lost_connection_is_closed_in_each_state() -> None:
    assert {row[ProgressEvent.LOST] for row in PROGRESS.values()} == {Progress.CLOSED}


def test_bytes_that_arrive_start_the_answering_only_of_an_idle_connection() -> None:
    received = {
        state: row[ProgressEvent.RECEIVED]
        for state, row in PROGRESS.items()
        if ProgressEvent.RECEIVED in row
    }
    assert received.pop(Progress.IDLE) is Progress.RUNNING
    assert all(before is after for before, after in received.items())


def test_a_reply_before_the_policy_returns_and_one_after_it_lead_to_the_same_state() -> None:
    asking = PROGRESS[Progress.ASKING]
    at_once = PROGRESS[asking[ProgressEvent.REPLIED]][ProgressEvent.RETURNED]
    later = PROGRESS[asking[ProgressEvent.RETURNED]][ProgressEvent.REPLIED]
    assert at_once is later is Progress.RUNNING
