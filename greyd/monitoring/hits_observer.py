"""Counts the hits of whitelist entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.policy.events import WHITELIST_OF_REASON
from greyd.policy.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.policy.events import DecisionEvent
    from greyd.whitelist.hits import HitCounter


class HitsObserver(Observer):
    """Counts a hit for the entry that exempts a request."""

    def __init__(self, hits: HitCounter) -> None:
        """Create an observer that adds hits to ``hits``."""
        self._hits = hits

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Count a hit for each request that an entry exempts."""
        for event in events:
            if (entry := event.whitelist_entry) is not None:
                self._hits.of_list[WHITELIST_OF_REASON[event.reason]].add(entry.text)
