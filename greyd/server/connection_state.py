"""The states of a policy client's connection, and the events that change them.

Two machines, as a connection receives while it answers: ``Progress`` of the requests received, and
``Intake`` of further ones. Each table has a row for each state; an event that a row does not name
can't happen in that state.
"""

from __future__ import annotations

from enum import Enum, auto


class _Member(Enum):
    # Members are singletons. Enum's own hash is a Python function, too slow for each request.
    __hash__ = object.__hash__


class Progress(_Member):
    """How far the requests received so far are answered."""

    IDLE = auto()
    """All are answered."""
    RUNNING = auto()
    """The next one is being taken, now or in the next turn of the event loop."""
    ASKING = auto()
    """The policy is being called; its reply may come before it returns."""
    WAITING = auto()
    """The policy has returned, and will reply later."""
    BLOCKED = auto()
    """The client does not read its replies; the next request is taken when it does."""
    CLOSED = auto()
    """The connection is gone, or given up: replies are dropped."""


class ProgressEvent(_Member):
    """What changes ``Progress``."""

    RECEIVED = auto()
    """Bytes have arrived."""
    TAKEN = auto()
    """A complete request goes to the policy."""
    RETURNED = auto()
    """The policy's call has returned."""
    REPLIED = auto()
    """The policy has replied."""
    STALLED = auto()
    """The buffer of replies is full."""
    RESUMED = auto()
    """The buffer of replies has room again."""
    EXHAUSTED = auto()
    """No complete request is left."""
    LOST = auto()
    """The connection is gone, or given up."""


PROGRESS: dict[Progress, dict[ProgressEvent, Progress]] = {
    Progress.IDLE: {
        ProgressEvent.RECEIVED: Progress.RUNNING,
        ProgressEvent.RESUMED: Progress.IDLE,
        ProgressEvent.LOST: Progress.CLOSED,
    },
    Progress.RUNNING: {
        ProgressEvent.RECEIVED: Progress.RUNNING,
        ProgressEvent.TAKEN: Progress.ASKING,
        ProgressEvent.RETURNED: Progress.RUNNING,
        ProgressEvent.STALLED: Progress.BLOCKED,
        ProgressEvent.RESUMED: Progress.RUNNING,
        ProgressEvent.EXHAUSTED: Progress.IDLE,
        ProgressEvent.LOST: Progress.CLOSED,
    },
    Progress.ASKING: {
        ProgressEvent.RETURNED: Progress.WAITING,
        ProgressEvent.REPLIED: Progress.RUNNING,
        ProgressEvent.LOST: Progress.CLOSED,
    },
    Progress.WAITING: {
        ProgressEvent.RECEIVED: Progress.WAITING,
        ProgressEvent.REPLIED: Progress.RUNNING,
        ProgressEvent.RESUMED: Progress.WAITING,
        ProgressEvent.LOST: Progress.CLOSED,
    },
    Progress.BLOCKED: {
        ProgressEvent.RECEIVED: Progress.BLOCKED,
        ProgressEvent.RESUMED: Progress.RUNNING,
        ProgressEvent.LOST: Progress.CLOSED,
    },
    Progress.CLOSED: dict.fromkeys(ProgressEvent, Progress.CLOSED),
}


class Intake(_Member):
    """Whether further requests are received."""

    OPEN = auto()
    """They are read."""
    PAUSED = auto()
    """Enough is waiting to be answered: nothing more is read meanwhile."""
    ENDING = auto()
    """The connection closes as soon as what has been received is answered."""


class IntakeEvent(_Member):
    """What changes ``Intake``."""

    OVERRUN = auto()
    """Bytes have arrived while others were waiting."""
    CAUGHT_UP = auto()
    """All that was received is answered."""
    ENDED = auto()
    """The client has closed its side, or this side wants to close."""


INTAKE: dict[Intake, dict[IntakeEvent, Intake]] = {
    Intake.OPEN: {
        IntakeEvent.OVERRUN: Intake.PAUSED,
        IntakeEvent.CAUGHT_UP: Intake.OPEN,
        IntakeEvent.ENDED: Intake.ENDING,
    },
    Intake.PAUSED: {
        IntakeEvent.OVERRUN: Intake.PAUSED,
        IntakeEvent.CAUGHT_UP: Intake.OPEN,
        IntakeEvent.ENDED: Intake.ENDING,
    },
    Intake.ENDING: dict.fromkeys(IntakeEvent, Intake.ENDING),
}
