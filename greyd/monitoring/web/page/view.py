"""The data that the status page shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.activity.counter_history import CountedPeriod
    from greyd.monitoring.activity.dns_activity import DnsSourceStatus
    from greyd.monitoring.activity.usual import HourCounts, UsualHour
    from greyd.monitoring.activity.week import ActivitySlot
    from greyd.monitoring.health.problems import HealthProblem
    from greyd.monitoring.mode_in_force import ModeInForce
    from greyd.monitoring.store.summary import StoreSummary
    from greyd.policy.events import DecisionEvent


@dataclass(frozen=True, kw_only=True)
class StatusView:
    """The data that the page shows."""

    settings: Settings
    mode: ModeInForce
    store_name: str
    """The URL of the store, without secrets."""
    up_seconds: float
    hour: CountedPeriod
    day: CountedPeriod
    hour_before: HourCounts | None
    """The last hour with the time before a restart; None if it is hardly known."""
    usual: UsualHour
    """What is usual at this hour of the day."""
    day_steps: Sequence[ActivitySlot]
    """The requests of the last day, a step for each bar of the chart."""
    week_steps: Sequence[ActivitySlot]
    problems: Sequence[HealthProblem]
    """What looks wrong, the errors first."""
    whitelist_entries: Mapping[str, float]
    store_bytes: tuple[float, float]
    """The used size of the SQLite file and its limit; 0 for another store."""
    dns_sources: Sequence[DnsSourceStatus]
    """The resolver and the DNS lists; empty if no option needs DNS."""
    summary: StoreSummary | None
    """The summary of the store; None before the first scan."""
    summary_age_seconds: float
    clock: float
    """The current time, in seconds since 1970."""
    decisions: Sequence[tuple[float, DecisionEvent]] = field(default=())
    """The last decisions of this process and their times, the newest first; empty without
    ``--status-details``."""
