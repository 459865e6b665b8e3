"""Prints a bar for each period of a report: passed and greylisted requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.report.kinds import GREYLISTED
from greyd.cli.tables.column import Meaning
from greyd.cli.tables.rendering import HEAD_STYLE, Line, print_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.report.times.time_slots import TimeSlot

_MAX_BAR_WIDTH = 40
_GAP = "  "


def print_bars(context: CommandContext, unit: str, rows: Sequence[tuple[str, TimeSlot]]) -> None:
    """Print a bar for each period, which fits the terminal; nothing with ``--json``."""
    if context.as_json:
        return
    console = context.console
    counts = [_counts(slot) for _, slot in rows]
    highest = max(1, *map(sum, counts))
    passed_mark, grey_mark = ("#", "-") if console.options.ascii_only else ("█", "░")
    texts = [[unit, "passed", "greylisted"]]
    texts += [
        [name, *(f"{each:,}" for each in pair)]
        for (name, _), pair in zip(rows, counts, strict=True)
    ]
    widths = [max(len(row[at]) for row in texts) for at in range(3)]
    heads, *lines = [
        _GAP.join((name.ljust(widths[0]), passed.rjust(widths[1]), grey.rjust(widths[2])))
        for name, passed, grey in texts
    ]
    legend = f"{_GAP}{passed_mark} passed {grey_mark} greylisted"
    room = _MAX_BAR_WIDTH
    if console.is_terminal:
        room = min(room, console.width - len(heads) - len(_GAP))
        legend = legend if len(heads) + len(legend) <= console.width else ""
    print_line(console, [(heads + legend, HEAD_STYLE)])
    for text, (passed_count, grey_count) in zip(lines, counts, strict=True):
        line: Line = [(text, "")]
        width = round((passed_count + grey_count) * room / highest)
        passed_width = min(round(passed_count * room / highest), width)
        if width > 0:
            line += [
                (_GAP, ""),
                (passed_mark * passed_width, Meaning.GOOD.value),
                (grey_mark * (width - passed_width), Meaning.WAITING.value),
            ]
        print_line(console, line)


def _counts(slot: TimeSlot) -> tuple[int, int]:
    """Return the numbers of passed and greylisted requests."""
    grey = sum(slot.counts[kind] for kind in GREYLISTED)
    return sum(slot.counts) - grey, grey
