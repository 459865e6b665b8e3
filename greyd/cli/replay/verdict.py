"""Says in a few sentences what the other settings would change, and whether to believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.replay.results import WaitStatistics
from greyd.config.durations import format_duration
from greyd.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.cli.replay.counting_lookup import DnsCounts
    from greyd.cli.replay.results import SimulationResult

_FEW_ANSWERS = 0.5
"""A simulation with a smaller share of answers from the DNS can't be trusted."""


def verdict_lines(results: Sequence[SimulationResult], changes: Sequence[str]) -> Iterator[str]:
    """Yield what the changes of ``--with`` would do; without changes, what today's settings do."""
    today = results[0]
    if len(results) == 1:
        yield f"Today's settings: {_waiting(today)}; {_let_in(today)}."
        return
    other = results[1]
    name = " ".join(changes)
    yield f"{name} {_change_of_waits(today, other)}, and {_change_of_spam(today, other)}."
    if today.lost != other.lost:
        yield f"{counted(other.lost, 'mail')} would be lost instead of {today.lost:,}."
    if other.let_in_verified:
        yield (
            f"Of the {other.let_in:,} let in, {other.let_in_verified:,} came from clients with a"
            " verified name and may be wanted: greyd report lists them."
        )


def dns_lines(all_counts: Iterable[DnsCounts]) -> Iterator[str]:
    """Yield a warning if the DNS did not answer for some of the clients."""
    counts = max(all_counts, key=lambda each: each.clients, default=None)
    if counts is None or not (counts.is_silent or counts.unanswered_clients):
        return
    if counts.is_silent:
        known, text = 0, f"The DNS knew 0 of {counts.clients:,} clients and senders"
    else:
        known = counts.clients - counts.unanswered_clients
        text = f"The DNS answered for {known:,} of {counts.clients:,} clients and senders"
    if known < _FEW_ANSWERS * counts.clients:
        yield (
            f"{text}: the result with --dns can't be trusted. Where it has no answer, only the"
            " log's own names count. Repair the resolver, or leave out --dns."
        )
    else:
        yield f"{text}; for the others, only the log's own names count."


def _change_of_waits(today: SimulationResult, other: SimulationResult) -> str:
    before, after = len(today.waits), len(other.waits)
    if after < before:
        spared = f"would spare {before - after:,} of {counted(before, 'waiting mail')} the wait"
        return f"{spared} ({_median(today)})"
    if after > before:
        return f"would make {counted(after, 'mail')} wait instead of {before:,} ({_median(other)})"
    if today.waits == other.waits:
        return f"would change no wait ({_waiting(today)})"
    total, other_total = sum(today.waits), sum(other.waits)
    median = _median(today).removeprefix("median ")
    return (
        f"would make {counted(after, 'mail')} wait {format_duration(other_total)} in all instead of"
        f" {format_duration(total)} ({_median(other)} instead of {median})"
    )


def _change_of_spam(today: SimulationResult, other: SimulationResult) -> str:
    never = f"of {today.kept_out + today.let_in:,} that never came back"
    change = other.let_in - today.let_in
    if change > 0:
        return f"let in {change:,} more {never}"
    if change < 0:
        return f"keep out {-change:,} more {never}"
    return f"let in no more {never} than today ({today.let_in:,})"


def _waiting(result: SimulationResult) -> str:
    passed = result.at_once + len(result.waits) + result.lost
    text = f"{len(result.waits):,} of {counted(passed, 'mail')} that passed waited"
    return f"{text}, {_median(result)}" if result.waits else text


def _let_in(result: SimulationResult) -> str:
    return f"{result.let_in:,} of {result.let_in + result.kept_out:,} that never came back let in"


def _median(result: SimulationResult) -> str:
    waits = WaitStatistics.of(result.waits)
    return f"median {format_duration(waits.p50)}" if waits else "none"
