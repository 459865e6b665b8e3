"""Prints the outcomes of a grid on the terminal: what to set, the frontier, and a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.replay.agreement import print_agreement
from greyd.cli.replay.how_to_set import lines_to_set
from greyd.cli.tables.column import Kind, TableColumn
from greyd.cli.tune.outcome import RULE
from greyd.cli.tune.plot import plot
from greyd.config.durations import format_duration
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.tune.outcome import Outcome
    from greyd.cli.tune.tuning import Tuning

LIMITS = (
    "The log does not show how spammers would behave with other settings: expect about half of a"
    " gain, and run greyd report after a week."
)

MAX_ROWS = 12
"""The maximum number of rows of the frontier that are printed."""


def print_tuning(context: CommandContext, tuning: Tuning) -> None:
    """Print the result: first what to set, then the figures."""
    replay = tuning.replay
    for line in verdict_lines(tuning):
        context.print(line)
    context.print(
        "",
        f"{format_timestamp(replay.first)} to {format_timestamp(replay.last)}: attempts"
        f" {replay.attempts:,}, mails {replay.mails:,};"
        f" {len(tuning.outcomes):,} settings simulated",
    )
    if replay.compared:
        print_agreement(context, replay)
    if replay.open:
        context.print(f"Left out: {replay.open:,} mails that still wait when the log ends")
    rows = shown_outcomes(tuning)
    context.print("", "Settings that no other beats in both waiting and spam, today's and presets:")
    context.print_rows(_columns(tuning), rows[:MAX_ROWS])
    if len(rows) > MAX_ROWS:
        context.print(f"… and {len(rows) - MAX_ROWS:,} more; --json has all")
    # With the same spam everywhere, the dots are one above the other: the table says it all.
    if len({each.let_in for each in tuning.outcomes}) > 1:
        context.print("")
        for line in plot(tuning.outcomes, tuning.best, tuning.chosen, context.console.width):
            context.print(line)
    context.print("", LIMITS)


def verdict_lines(tuning: Tuning) -> Iterator[str]:
    """Yield what to set, and why, in words."""
    today, chosen = tuning.outcomes[0], tuning.chosen
    presets = [each for each in tuning.outcomes if each.point.is_preset and each is not chosen]
    if chosen is None:
        yield f"Keep what you have: none of {len(tuning.outcomes):,} settings is better ({RULE})."
    else:
        yield f"Set {chosen.point.options}: {RULE}."
        yield f"Mail would {_compared(chosen, today)}."
    for each in presets:
        yield f"With {each.point.options}, mail would {_compared(each, today)}."
    if chosen is None:
        return
    yield from lines_to_set((each.name, each.value) for each in chosen.point.changes)


def _compared(outcome: Outcome, today: Outcome) -> str:
    return (
        f"wait {format_duration(outcome.wait_seconds)} in total instead of"
        f" {format_duration(today.wait_seconds)}; delayed {_share(outcome)} instead of"
        f" {_share(today)}; {_let_in(outcome, today)}"
    )


def _let_in(chosen: Outcome, today: Outcome) -> str:
    if chosen.let_in == today.let_in:
        return f"as much spam let in as today ({today.let_in:,})"
    return f"spam let in {chosen.let_in:,} instead of {today.let_in:,}"


def shown_outcomes(tuning: Tuning) -> list[Outcome]:
    """Return the frontier, today's outcome and the presets', the least waiting first."""
    rows = [*tuning.best]
    rows += [
        each
        for each in tuning.outcomes
        if (each is tuning.outcomes[0] or each.point.is_preset) and each not in rows
    ]
    return sorted(rows, key=lambda each: each.order)


def _columns(tuning: Tuning) -> Sequence[TableColumn[Outcome]]:
    def mark(outcome: Outcome) -> str:
        if outcome is tuning.chosen:
            return "best choice"
        return "" if outcome.point.changes else "today"

    return (
        TableColumn("", Kind.TEXT, mark),
        TableColumn("delayed", Kind.TEXT, _share, right=True),
        TableColumn("median", Kind.TEXT, _median, right=True, priority=3),
        TableColumn(
            "total wait", Kind.TEXT, lambda each: format_duration(each.wait_seconds), right=True
        ),
        TableColumn("lost", Kind.NUMBER, lambda each: each.lost),
        TableColumn("spam let in", Kind.NUMBER, lambda each: each.let_in),
        TableColumn("kept out", Kind.NUMBER, lambda each: each.kept_out, priority=4),
        TableColumn("settings", Kind.TEXT, lambda each: each.point.text),
    )


def _share(outcome: Outcome) -> str:
    return f"{100 * outcome.delayed_share:.1f} %"


def _median(outcome: Outcome) -> str:
    return "" if outcome.median_seconds is None else format_duration(outcome.median_seconds)
