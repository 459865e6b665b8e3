"""A plot of outcomes in the terminal: waiting against spam let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from greyd.cli.tune.outcome import Outcome

_MAX_WIDTH, _HEIGHT = 72, 14
OTHER, BEST, TODAY, CHOSEN = "·", "o", "T", "*"


def plot(
    outcomes: Sequence[Outcome],
    best: Collection[Outcome],
    chosen: Outcome | None,
    width: int,
) -> list[str]:
    """Return the lines of a plot; ``T`` marks today's settings, ``*`` the chosen ones.

    Args:
        outcomes: all outcomes, today's first.
        best: those on the frontier.
        chosen: the one to prefer to today's, or None.
        width: the terminal's width in characters.
    """
    highest_wait = max(each.cost_seconds for each in outcomes) or 1
    highest_spam = max(each.let_in for each in outcomes) or 1
    scale = [format_duration(highest_wait), "0"]
    margin = max(map(len, scale)) + 1
    columns = max(min(width, _MAX_WIDTH) - margin - 2, 10)
    rows = [[" "] * columns for _ in range(_HEIGHT)]

    def draw(outcome: Outcome, mark: str) -> None:
        column = round(outcome.let_in / highest_spam * (columns - 1))
        row = round((1 - outcome.cost_seconds / highest_wait) * (_HEIGHT - 1))
        rows[row][column] = mark

    for each in outcomes:
        draw(each, OTHER)
    for each in best:
        draw(each, BEST)
    draw(outcomes[0], TODAY)
    if chosen is not None:
        draw(chosen, CHOSEN)
    labels = [scale[0], *[""] * (_HEIGHT - 2), scale[1]]
    lines = ["total wait"]
    lines += [
        f"{label:>{margin - 1}} |{''.join(row)}".rstrip()
        for label, row in zip(labels, rows, strict=True)
    ]
    lines.append(" " * margin + "+" + "-" * columns)
    end = f"spam let in: {highest_spam:,}"
    lines.append(" " * (margin + 1) + "0" + end.rjust(columns - 1))
    keys = [f"{TODAY} today"] + [f"{CHOSEN} best choice"] * (chosen is not None)
    return [*lines, ", ".join([*keys, f"{BEST} unbeaten", f"{OTHER} others"])]
