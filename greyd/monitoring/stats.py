"""Writes and reads the statistics at ``/stats.json`` of the metrics port.

The document covers all workers together, and contains no mail or IP addresses::

    {"host": …, "version": …, "mode": …, "workers": …, "delay_seconds": …, "store": …,
     "ready": true, "up_seconds": …, "connections": …, "time": …,
     "whitelist_entries": {"clients": …, "recipients": …},
     "configured_mode": …, "mode_set": {"by": "alice@mx1", "at": …, "until": …},
     "usual_hour": {"day_count": …, "requests": …, "greylisted": …, "first_contacts": …,
                    "waiting": …},
     "problems": [{"level": "error", "text": …, "remedy": "greyd doctor"}, …],
     "dns_sources": {"resolver": true, ZONE: false, …},
     "triplets": {"waiting": …, "waiting_in_delay": …, "waiting_due": …, "passed": …,
                  "never_returned": …, "complete": …, "age_seconds": …},
     "answered_within_seconds": {"median": …, "p99": …},
     "minutes": {"passed": [60 numbers], "greylisted": [60 numbers]},
     "periods": {"minute": {…}, "hour": {…}, "day": {…}, "start": {…}}}

``triplets`` are those of the store by state, as ``greyd stats`` counts them; null before the first
scan. Of those that wait, ``waiting_in_delay`` have to wait longer, and a retry of those that are
``waiting_due`` passes now. ``minutes`` are the answers in each of the last 60 minutes, the oldest
first.

``mode`` is in force; ``mode_set`` has who set it with ``greyd mode``, when, and until when (0:
until it is reset), in seconds since 1970. It is null if ``configured_mode``, that of ``--mode``, is
in force. ``problems`` lists what looks wrong, the errors first; each has the command to run next,
or "".
``usual_hour`` has the medians of the same hour on ``day_count`` of the last days, 0 if there are
none yet; ``waiting`` is null if it is unknown.

A period has its length in ``seconds``, each field of ``Counts``, and ``requests``, ``passed`` and
``greylisted``, which are sums over ``outcomes``. ``answered_within_seconds`` has the median and the
99th percentile of the response times since the start. Each is the upper border of a bucket of the
histogram; it is null without requests, and above the last border.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from greyd import __version__
from greyd.monitoring.activity.counter_history import (
    AUTO_WHITELISTED,
    DAY_SECONDS,
    ENTRIES,
    HOUR_SECONDS,
    MINUTE_SECONDS,
    PASSES,
    PROTOCOL_ERRORS,
    REQUESTS,
    STORE_ASKED,
    STORE_ERRORS,
    STORE_SECONDS,
    WAITED,
    dns_sources_of,
)
from greyd.monitoring.activity.minute_counts import MINUTES, MinuteCounts
from greyd.monitoring.activity.usual import UsualHour
from greyd.monitoring.errors import MonitoringError
from greyd.monitoring.health.problems import HealthProblem, load_problems
from greyd.monitoring.mode_in_force import ModeInForce, ModeSetting
from greyd.monitoring.percentiles import percentiles
from greyd.monitoring.shadow.counts import ShadowCounts, shadow_counts
from greyd.rules.reasons import GREYLIST, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.activity.counter_history import CounterHistory, Totals
    from greyd.monitoring.store.summary import StoreSummary

PERIODS = {"minute": MINUTE_SECONDS, "hour": HOUR_SECONDS, "day": DAY_SECONDS}
"""The periods' lengths in seconds."""

START = "start"
"""The name of the period since the server's start."""

MAX_OUTCOMES = 200
"""Maximum number of outcomes to read for a period, including those of a newer version."""

_OF_SHADOW = frozenset(each.name for each in fields(ShadowCounts))
MAX_DNS_SOURCES = 100
"""Maximum number of DNS lists to read."""

_MAX_NAME = 100
_MAX = 10**15


class InvalidStats(MonitoringError):
    """A document does not have the form of a server's statistics."""


@dataclass(frozen=True, kw_only=True)
class Counts(ShadowCounts):
    """The counts of a period. Those of the shadow are 0 without ``--shadow``."""

    seconds: float
    outcomes: Mapping[tuple[str, str], int]
    """The number of answered requests, by action and reason."""
    first_passes: int
    """The number of triplets that passed for the first time."""
    waited_seconds: float
    """The sum of the times that these triplets waited."""
    auto_whitelisted_clients: int
    store_requests: int
    """The number of requests with a transaction on the store."""
    store_seconds: float
    """The sum of the times that these requests waited for the store."""
    store_errors: int
    protocol_errors: int

    @property
    def requests(self) -> int:
        """The number of answered requests."""
        return sum(self.outcomes.values())

    @property
    def greylisted(self) -> int:
        """The number of requests that were greylisted."""
        return sum(number for (action, _), number in self.outcomes.items() if action == GREYLIST)

    @property
    def passed(self) -> int:
        """The number of requests that passed."""
        return self.requests - self.greylisted

    @classmethod
    def of(cls, seconds: float, totals: Totals) -> Counts:
        """Return the counts of a period.

        Args:
            seconds: the length of the period.
            totals: the increase of each counter in the period.
        """

        def number(*series: str) -> int:
            return round(totals.get(series, 0))

        return cls(
            seconds=round(seconds, 1),
            outcomes={each.outcome: number(REQUESTS, *each.outcome) for each in Reason},
            first_passes=number(PASSES),
            waited_seconds=round(totals.get((WAITED,), 0), 3),
            auto_whitelisted_clients=number(AUTO_WHITELISTED),
            store_requests=number(STORE_ASKED, "transact"),
            store_seconds=round(totals.get((STORE_SECONDS, "transact"), 0), 6),
            store_errors=number(STORE_ERRORS, "transact"),
            protocol_errors=number(PROTOCOL_ERRORS),
            **asdict(shadow_counts(totals)),
        )

    def dump(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        outcomes = [
            {"action": action, "reason": reason, "count": number}
            for (action, reason), number in self.outcomes.items()
        ]
        sums = {
            "requests": self.requests, "passed": self.passed, "greylisted": self.greylisted
        }  # fmt: skip
        return {"seconds": self.seconds, **sums, **asdict(self), "outcomes": outcomes}

    @classmethod
    def load(cls, given: Any) -> Counts:
        """Return the counts in a JSON value.

        Raises:
            KeyError, TypeError, ValueError: the value does not have the form of counts.
        """
        outcomes = {
            (_name(each["action"]), _name(each["reason"])): _whole(each["count"])
            for each in given["outcomes"][:MAX_OUTCOMES]
        }
        numbers: dict[str, Any] = {
            each.name: (_number if "seconds" in each.name else _whole)(given[each.name])
            for each in fields(cls)
            # A server of version 0.1 has no shadow.
            if each.name != "outcomes" and (each.name in given or each.name not in _OF_SHADOW)
        }
        return cls(outcomes=outcomes, **numbers)


@dataclass(frozen=True, kw_only=True)
class TripletCounts:
    """The store's triplets by state, from the server's last scan of the store."""

    waiting: int
    passed: int
    never_returned: int
    complete: bool
    """Whether the scan has counted all entries; it counts only part of a large store."""
    age_seconds: float
    """The time since the scan."""
    waiting_in_delay: int = 0
    """Waiting triplets whose delay has not ended."""
    waiting_due: int = 0
    """Waiting triplets whose retry passes now."""

    @classmethod
    def of(cls, counts: StoreSummary, age_seconds: float) -> TripletCounts:
        """Return the triplets of a scan that ended ``age_seconds`` ago."""
        return cls(
            waiting=counts.waiting,
            passed=counts.passed,
            never_returned=counts.never_returned,
            complete=counts.complete,
            age_seconds=round(age_seconds, 1),
            waiting_in_delay=sum(counts.early),
            waiting_due=sum(counts.due),
        )

    @classmethod
    def load(cls, given: Any) -> TripletCounts | None:
        """Return the counts in a JSON value; None for null, and for a server without them.

        Raises:
            KeyError, TypeError, ValueError: the value does not have the form of counts.
        """
        if given is None:
            return None
        return cls(
            waiting=_whole(given["waiting"]),
            passed=_whole(given["passed"]),
            never_returned=_whole(given["never_returned"]),
            complete=given["complete"] is True,
            age_seconds=_number(given["age_seconds"]),
            waiting_in_delay=_whole(given.get("waiting_in_delay", 0)),
            waiting_due=_whole(given.get("waiting_due", 0)),
        )


@dataclass(frozen=True)
class ServerStats:
    """A server's statistics."""

    host: str
    version: str
    mode: str
    workers: int
    delay_seconds: int
    store: str
    """The URL of the store, without secrets."""
    ready: bool
    """Whether the store answers."""
    up_seconds: float
    connections: int
    time: float
    whitelist_entries: Mapping[str, int]
    answered_within_seconds: Mapping[str, float | None]
    periods: Mapping[str, Counts]
    dns_sources: Mapping[str, bool] = field(default_factory=dict)
    """Whether each DNS list and the resolver is in order; empty if no option needs DNS."""
    triplets: TripletCounts | None = None
    """None before the first scan of the store, and from a server of version 0.1."""
    minutes: MinuteCounts | None = None
    """None from a server of version 0.1."""
    configured_mode: str = ""
    """The mode of ``--mode``; empty from a server of version 0.1."""
    mode_set: ModeSetting | None = None
    """None if the configured mode is in force."""
    problems: Sequence[HealthProblem] = ()
    """What looks wrong, the errors first."""
    usual_hour: UsualHour | None = None
    """What is usual at this hour of the day; None from a server of version 0.1."""

    def dump(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        periods = {name: counts.dump() for name, counts in self.periods.items()}
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "periods": periods,
            "minutes": _dumped(self.minutes),
            "triplets": _dumped(self.triplets),
            "mode_set": _dumped(self.mode_set),
            "usual_hour": _dumped(self.usual_hour),
            "problems": [asdict(each) for each in self.problems],
        }

    @classmethod
    def load(cls, data: bytes) -> ServerStats:
        """Parse a server's document.

        Raises:
            InvalidStats: the document does not have the form of statistics.
        """
        try:
            given = json.loads(data)
            within, entries = given["answered_within_seconds"], given["whitelist_entries"]
            return cls(
                host=_name(given["host"]),
                version=_name(given["version"]),
                mode=_name(given["mode"]),
                workers=_whole(given["workers"]),
                delay_seconds=int(_finite(given["delay_seconds"])),
                store=_name(given["store"]),
                ready=given["ready"] is True,
                up_seconds=_number(given["up_seconds"]),
                connections=_whole(given["connections"]),
                time=_number(given["time"]),
                whitelist_entries={
                    name: _whole(entries[name]) for name in ("clients", "recipients")
                },
                answered_within_seconds={
                    name: None if within[name] is None else _number(within[name])
                    for name in ("median", "p99")
                },
                periods={name: Counts.load(given["periods"][name]) for name in (*PERIODS, START)},
                dns_sources=_sources(given.get("dns_sources", {})),
                triplets=TripletCounts.load(given.get("triplets")),
                minutes=MinuteCounts.load(given.get("minutes")),
                configured_mode=_name(given.get("configured_mode", "")),
                mode_set=ModeSetting.load(given.get("mode_set")),
                problems=load_problems(given.get("problems", [])),
                usual_hour=UsualHour.load(given.get("usual_hour")),
            )
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidStats(f"not the statistics of a greyd: {type(error).__name__}") from None


def _dumped(record: Any) -> dict[str, Any] | None:
    return None if record is None else asdict(record)


def _sources(given: Any) -> dict[str, bool]:
    if not isinstance(given, dict):
        raise TypeError
    return {_name(name): state is True for name, state in [*given.items()][:MAX_DNS_SOURCES]}


def _name(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError
    return given[:_MAX_NAME]


def _finite(given: Any) -> float:
    number = float(given)
    if not abs(number) <= _MAX:
        raise ValueError
    return number


def _number(given: Any) -> float:
    """Return a number of at least 0: a clock that was set back makes a time negative."""
    return max(_finite(given), 0.0)


def _whole(given: Any) -> int:
    return int(_number(given))


def server_stats(
    settings: Settings,
    store_name: str,
    history: CounterHistory,
    now: float,
    up_seconds: float,
    totals: Totals,
    triplets: TripletCounts | None = None,
    mode: ModeInForce | None = None,
    problems: Sequence[HealthProblem] = (),
    usual: UsualHour | None = None,
) -> ServerStats:
    """Return this server's statistics.

    Args:
        settings: the server's settings.
        store_name: the URL of the store, without secrets.
        history: the samples of the counters.
        now: the time, by the clock of ``history``.
        up_seconds: the time since the start.
        totals: the values of the counters at ``now``.
        triplets: the store's triplets by state; None before the first scan.
        mode: the mode in force; None for that of the settings.
        problems: what looks wrong.
        usual: what is usual at this hour of the day.
    """
    mode = mode or ModeInForce.of(settings.mode, None)
    periods = {name: history.last(seconds, now, totals) for name, seconds in PERIODS.items()}
    return ServerStats(
        host=settings.hostname or "",
        version=__version__,
        mode=mode.mode,
        workers=settings.workers,
        delay_seconds=settings.delay_seconds,
        store=store_name,
        ready=totals.get(("greyd_store_up",)) == 1,
        up_seconds=round(up_seconds, 1),
        connections=round(totals.get(("greyd_connections",), 0)),
        time=round(time.time(), 3),
        whitelist_entries={
            name: round(totals.get((ENTRIES, name), 0)) for name in ("clients", "recipients")
        },
        answered_within_seconds=_response_times(totals),
        periods={
            **{name: Counts.of(period.seconds, period.counts) for name, period in periods.items()},
            START: Counts.of(up_seconds, totals),
        },
        dns_sources=dns_sources_of(totals),
        triplets=triplets,
        minutes=MinuteCounts.of(history.steps(MINUTE_SECONDS, MINUTES, now, totals)),
        configured_mode=mode.configured,
        mode_set=mode.set_by,
        problems=tuple(problems),
        usual_hour=usual,
    )


_DURATION = "greyd_request_duration_seconds"


def _response_times(totals: Totals) -> dict[str, float | None]:
    """Return the median and the 99th percentile of the response times in seconds.

    None without requests, or above the last bucket.
    """
    buckets = sorted(
        (float(series[1]), number)
        for series, number in totals.items()
        if series[0] == f"{_DURATION}_bucket"
    )
    counts = {
        border: number - before
        for (border, number), (_, before) in zip(buckets, [(0.0, 0.0), *buckets], strict=False)
    }
    if not sum(counts.values()):
        return {"median": None, "p99": None}
    found = percentiles(counts, (50, 99))
    return {
        name: None if found[percent] == math.inf else found[percent]
        for name, percent in (("median", 50), ("p99", 99))
    }
