"""Keeps the last decisions with their names, for the status page with ``--status-details``."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from greyd.policy.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.policy.events import DecisionEvent

MAX_DECISIONS = 20


class RecentDecisions(Observer):
    """The last ``MAX_DECISIONS`` decisions of this process."""

    def __init__(self) -> None:
        self._batches: deque[tuple[float, Sequence[DecisionEvent]]] = deque(maxlen=MAX_DECISIONS)

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Keep the last of the decisions, with one time for the batch."""
        self._batches.append((time.time(), events[-MAX_DECISIONS:]))

    def newest_first(self) -> Iterator[tuple[float, DecisionEvent]]:
        """Yield the last decisions and their times in seconds since 1970, the newest first."""
        count = 0
        for when, events in reversed(self._batches):
            for event in reversed(events):
                if count >= MAX_DECISIONS:
                    return
                count += 1
                yield when, event
