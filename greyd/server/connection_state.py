"""The states of a policy client's connection, and the events that change them.

A connection receives while it answers, so it has two state machines: ``Progress`` for answering the
received requests, and ``Intake`` for reading more. Each table has a row per state; an event that a
row does not list cannot occur in that state.
"""

from __future__ import annotations

from enum import Enum, auto


class _Member(Enum):
    # Members are singletons. Enum's own hash is a Python function, too slow for each request.
    __hash__ = object.__hash__


class Progress(_Member):
    """The state of answering the received requests."""

    IDLE = auto()
    """All received requests are answered."""
    RUNNING = auto()
    """The connection takes the next request, now or in the next turn of the event loop."""
    ASKING = auto()
    """The policy is being called; it may reply before the call returns."""
    WAITING = auto()
    """The call has returned without a reply; the policy will reply later."""
    BLOCKED = auto()
    """The client does not read its replies; requests wait until it does."""
    CLOSED = auto()
    """The connection is lost or aborted; replies are discarded."""


class ProgressEvent(_Member):
    """An event that changes ``Progress``."""

    RECEIVED = auto()
    """Bytes have arrived."""
    TAKEN = auto()
    """The next request is passed to the policy."""
    RETURNED = auto()
    """The call of the policy has returned."""
    REPLIED = auto()
    """The policy has replied."""
    STALLED = auto()
    """The transport's buffer of replies is full."""
    RESUMED = auto()
    """The transport's buffer of replies has room again."""
    EXHAUSTED = auto()
    """No complete request is left."""
    LOST = auto()
    """The connection is lost or aborted."""


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
    """The state of reading further requests."""

    OPEN = auto()
    """The connection reads requests."""
    PAUSED = auto()
    """Reading is paused until all received requests are answered."""
    ENDING = auto()
    """The connection closes once all received requests are answered."""


class IntakeEvent(_Member):
    """An event that changes ``Intake``."""

    OVERRUN = auto()
    """Bytes have arrived while earlier requests are pending."""
    CAUGHT_UP = auto()
    """All received requests are answered."""
    ENDED = auto()
    """The client has closed its side, or the server wants to close the connection."""


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
