"""Finds what looks wrong with a running server, from its metrics and its history.

The status page, ``/stats.json`` and ``greyd`` show the same problems in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from greyd.config.vocabulary import RESOLVER
from greyd.monitoring.activity.counter_history import (
    INTERNAL_ERRORS,
    PASSES,
    PROTOCOL_ERRORS,
    REQUESTS,
    STORE_ERRORS,
    dns_sources_of,
)
from greyd.monitoring.store_size import NEARLY_FULL
from greyd.plurals import counted
from greyd.rules.reasons import Reason
from greyd.terminal import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greyd.config.settings import Settings
    from greyd.monitoring.activity.counter_history import CountedPeriod, Totals
    from greyd.monitoring.activity.usual import UsualHour
    from greyd.monitoring.mode_in_force import ModeInForce

MAX_PROBLEMS = 100
"""Maximum number of problems to read from a document."""

MIN_PROTOCOL_ERRORS = 10
"""Minimum number of protocol errors an hour to report: a port scan causes a few."""

NEARLY_EXHAUSTED = 0.9
"""Share of the file descriptors or of Redis's memory above which their use is a problem."""

MIN_UNUSUAL = 50
"""Minimum number of requests an hour for a comparison with the usual number."""

UNUSUAL_FACTOR = 3
"""First contacts are a problem at this multiple of the usual number."""

MIN_HOUR_SECONDS = 3000
"""Minimum uptime for a comparison with the usual hour."""

MIN_RETURN_SECONDS = 6 * 3600
"""Minimum uptime after which first contacts should have come back."""

STORE_UP = ("greyd_store_up",)

_MAX_TEXT = 500
_NEW = (REQUESTS, *Reason.NEW.outcome)
_ALL = [(REQUESTS, *each.outcome) for each in Reason]


class ProblemLevel(StrEnum):
    """The severity of a problem."""

    ERROR = "error"
    """Mail passes without greylisting, or is deferred, contrary to the configuration."""
    WARNING = "warning"
    """Something deserves a look, or somebody has switched greylisting off."""


@dataclass(frozen=True, slots=True)
class HealthProblem:
    """Something that looks wrong."""

    level: ProblemLevel
    text: str
    """What is wrong, without a full stop."""
    remedy: str = ""
    """The command to run next; empty if there is none."""

    @classmethod
    def load(cls, given: Any) -> HealthProblem:
        """Return the problem in a JSON value.

        Raises:
            KeyError, TypeError, ValueError: the value does not have the form of a problem.
        """
        text, remedy = given["text"], given["remedy"]
        if not (isinstance(text, str) and isinstance(remedy, str)):
            raise TypeError
        return cls(ProblemLevel(given["level"]), text[:_MAX_TEXT], remedy[:_MAX_TEXT])


def load_problems(given: Any) -> tuple[HealthProblem, ...]:
    """Return the problems in a JSON value.

    Raises:
        KeyError, TypeError, ValueError: the value does not have the form of problems.
    """
    if not isinstance(given, list):
        raise TypeError
    return tuple(HealthProblem.load(each) for each in given[:MAX_PROBLEMS])


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """The state of a server from which its problems are found."""

    settings: Settings
    mode: ModeInForce
    totals: Totals
    """The current values of the metrics."""
    hour: CountedPeriod
    day: CountedPeriod | None = None
    usual: UsualHour | None = None
    """What is usual at this hour of the day, if it is known."""
    dns_faults: Mapping[str, str] = field(default_factory=dict)
    """The fault and its remedy in words, by the name of a DNS list or the resolver, if known."""


def find_problems(state: ServerState) -> list[HealthProblem]:
    """Return all problems, the errors first."""
    found = [
        *_store(state),
        *_mode(state),
        *_dns(state),
        *_faults(state),
        *_unusual(state),
        *_resources(state),
    ]
    return sorted(found, key=lambda each: each.level is not ProblemLevel.ERROR)


def _store(state: ServerState) -> Iterator[HealthProblem]:
    totals, errors = state.totals, round(state.hour.counts[STORE_ERRORS, "transact"])
    if totals.get(STORE_UP, 1) != 1:
        passes = state.settings.passes_without_store
        outcome = "mail passes without greylisting" if passes else "mail is deferred"
        text = f"the store does not answer: {outcome} until it does"
        yield HealthProblem(ProblemLevel.ERROR, text, "greyd doctor")
    elif errors:
        text = f"the store failed {counted(errors, 'request')} in the last hour; it answers again"
        yield HealthProblem(ProblemLevel.WARNING, text, "greyd doctor")
    used = totals.get(("greyd_store_size_bytes",), 0)
    limit = totals.get(("greyd_store_max_size_bytes",), 0)
    if limit and used >= limit:
        text = "the store is full: new triplets pass without greylisting (--max-store-size)"
        yield HealthProblem(ProblemLevel.ERROR, text, "greyd stats")
    elif limit and used >= NEARLY_FULL * limit:
        text = f"the store is {100 * used / limit:.0f} % full (--max-store-size)"
        yield HealthProblem(ProblemLevel.WARNING, text, "greyd stats")


def mode_in_words(mode: ModeInForce) -> str:
    """Return the mode, who set it and until when; e.g. "off until 04:00, by alice@mx1"."""
    if mode.set_by is None:
        return f"{mode.mode}, as configured"
    until = mode.set_by.until
    ends = f"until {format_time('%Y-%m-%d %H:%M', until)}" if until else "until it is reset"
    set_at = format_time("%Y-%m-%d %H:%M", mode.set_by.at)
    return f"{mode.mode} {ends}, by {mode.set_by.by} at {set_at}"


def _mode(state: ServerState) -> Iterator[HealthProblem]:
    mode = state.mode
    if mode.mode == "on":
        return
    stored = "nothing is stored" if mode.mode == "off" else "triplets are stored"
    remedy = "greyd mode on" if mode.set_by is None else "greyd mode reset"
    text = f"mode {mode_in_words(mode)}: all mail passes, {stored}"
    yield HealthProblem(ProblemLevel.WARNING, text, remedy)


def _dns(state: ServerState) -> Iterator[HealthProblem]:
    for name, is_up in dns_sources_of(state.totals).items():
        if not is_up:
            shown = "the DNS resolver" if name == RESOLVER else name
            text = state.dns_faults.get(name) or f"{shown} is out of order"
            yield HealthProblem(ProblemLevel.WARNING, text, "greyd doctor")


def _faults(state: ServerState) -> Iterator[HealthProblem]:
    counts = state.hour.counts
    if errors := round(counts[INTERNAL_ERRORS,]):
        text = f"{counted(errors, 'internal error')} in the last hour: see the log"
        yield HealthProblem(ProblemLevel.ERROR, text, "journalctl -u greyd -p err")
    for reason, fault in (
        (Reason.MISSING_ATTRIBUTE, "lacked an attribute"),
        (Reason.CLIENT_ADDRESS, "had an invalid client address"),
    ):
        if number := round(counts[REQUESTS, *reason.outcome]):
            text = f"{counted(number, 'request')} in the last hour {fault}, and passed"
            yield HealthProblem(ProblemLevel.WARNING, text, "greyd doctor")
    errors = round(counts[PROTOCOL_ERRORS,])
    if errors >= max(MIN_PROTOCOL_ERRORS, state.hour.sum(_ALL) / 100):
        text = (
            f"{counted(errors, 'protocol error')} in the last hour: something other than Postfix"
            " connects to the policy port"
        )
        yield HealthProblem(ProblemLevel.WARNING, text, "journalctl -u greyd")
    if state.totals.get(("greyd_whitelist_last_read_successful",), 1) != 1:
        text = "a whitelist file could not be read, at the last start or reload"
        yield HealthProblem(ProblemLevel.WARNING, text, "greyd check-whitelist")


def _unusual(state: ServerState) -> Iterator[HealthProblem]:
    """Yield differences from the same hour of the last days, which may have a good reason."""
    hour, day, usual = state.hour, state.day, state.usual
    if state.mode.mode != "on":
        return
    if usual is not None and hour.seconds >= MIN_HOUR_SECONDS:
        requests, new = hour.sum(_ALL), hour.counts[_NEW]
        if not requests and usual.requests >= MIN_UNUSUAL:
            text = f"no requests in the last hour; {usual.requests:,.0f} are usual at this time"
            yield HealthProblem(ProblemLevel.WARNING, text, "greyd doctor")
        if new >= max(MIN_UNUSUAL, UNUSUAL_FACTOR * usual.first_contacts) and usual.day_count:
            text = (
                f"{new:,.0f} first contacts in the last hour;"
                f" {usual.first_contacts:,.0f} are usual at this time"
            )
            yield HealthProblem(ProblemLevel.WARNING, text, "greyd top")
    if day is None or day.seconds < MIN_RETURN_SECONDS:
        return
    if day.counts[_NEW] >= MIN_UNUSUAL and not day.counts[PASSES,]:
        text = f"none of {day.counts[_NEW]:,.0f} first contacts has come back and passed"
        yield HealthProblem(ProblemLevel.ERROR, text, "greyd doctor")


def _resources(state: ServerState) -> Iterator[HealthProblem]:
    for used, limit, text in (
        ("greyd_open_fds", "greyd_max_fds", "of the file descriptors are in use (LimitNOFILE)"),
        (
            "greyd_redis_memory_bytes",
            "greyd_redis_max_memory_bytes",
            "of Redis's memory is in use (maxmemory)",
        ),
    ):
        most = state.totals.get((limit,), 0)
        share = state.totals.get((used,), 0) / most if most else 0
        if share >= NEARLY_EXHAUSTED:
            yield HealthProblem(ProblemLevel.WARNING, f"{100 * share:.0f} % {text}", "greyd doctor")
