"""Prints the result of a simulation as tables on the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from rich.text import Text

from greyd.cli.replay.agreement import print_agreement
from greyd.cli.replay.how_to_set import lines_to_set
from greyd.cli.replay.results import WaitStatistics
from greyd.cli.replay.summary import ReplaySummary
from greyd.cli.replay.verdict import dns_lines, verdict_lines
from greyd.cli.tables.column import Kind, TableColumn
from greyd.cli.tables.layout import GAP
from greyd.config.durations import format_duration
from greyd.escaping import printable_text
from greyd.plurals import counted
from greyd.terminal import format_timestamp, print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.replay.counting_lookup import DnsCounts
    from greyd.cli.replay.results import LargestDifferences, OriginDifference
    from greyd.cli.replay.simulation import Simulation
    from greyd.maillog.attempts import AttemptStatistics

TODAY, OTHER = "today", "other"


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A row of a table: one figure for each server."""

    name: str
    values: Sequence[int | None]
    format: Callable[[int], str]

    def cells(self) -> list[str]:
        """Return the cells of the row; for two servers, add their difference."""
        cells = [self.name, *("–" if each is None else self.format(each) for each in self.values)]
        return [*cells, self._difference()] if len(self.values) > 1 else cells

    def _difference(self) -> str:
        today, other = self.values
        if today == other:
            return "="
        if today is None or other is None:
            return "gone" if other is None else "new"
        sign = "+" if other > today else "−"
        return f"{sign}{self.format(abs(other - today))}"


def print_simulation(
    context: CommandContext,
    simulation: Simulation,
    statistics: AttemptStatistics,
    changes: Sequence[str],
    differences: LargestDifferences,
    dns_counts: Sequence[DnsCounts] = (),
    note: Callable[[str], None] = print_error,
) -> None:
    """Print the complete result of a simulation: first what the changes would do."""
    shown = [printable_text(each) for each in changes]
    for line in dns_lines(dns_counts):
        context.print(Text(line, style="bold red"))
    context.print(*verdict_lines(simulation.results, shown), "")
    _print_log(context, simulation, statistics, changes, note)
    _print_rows(context, _figures(simulation))
    context.print("", "Attempts by decision:")
    _print_rows(context, _reasons(simulation))
    if differences.gain:
        context.print("", "Senders whose mail would pass sooner (mails that differ, mean wait):")
        _print_waits(context, differences.gain)
    if differences.lose:
        context.print("", "Senders whose mail would pass later:")
        _print_waits(context, differences.lose)
    if differences.let_in:
        context.print("", "Senders whose mail would be let in, and never came back:")
        mails = TableColumn[_Origin]("mails", Kind.NUMBER, lambda each: each[1].let_in[1])
        context.print_rows([_FROM, mails], differences.let_in)
    if changes:
        context.print("", "To set it:", *lines_to_set(_pair(each) for each in shown))


def _pair(change: str) -> tuple[str, str]:
    name, _, value = change.partition("=")
    return name.lstrip("-"), value


def _print_log(
    context: CommandContext,
    simulation: Simulation,
    statistics: AttemptStatistics,
    changes: Sequence[str],
    note: Callable[[str], None],
) -> None:
    source = "decisions of greyd or postgrey" if statistics.decision_count else "lines of Postfix"
    context.print(
        f"{format_timestamp(simulation.first)} to {format_timestamp(simulation.last)}:"
        f" attempts {simulation.attempts:,}, mails {simulation.mails:,}, from {source}"
    )
    if changes:
        context.print(f"Other settings: {', '.join(changes)}")
    print_agreement(context, ReplaySummary.of(simulation), note)
    if simulation.open:
        context.print(
            f"Left out: {counted(simulation.open, 'mail')} still waiting when the log ends"
        )
    context.print("")


def _print_rows(context: CommandContext, rows: Iterable[FigureRow]) -> None:
    cells = [row.cells() for row in rows]
    if context.console.is_terminal and _width(cells) > context.console.width:
        context.print(*blocks(cells))
        return
    head = ["", TODAY, OTHER, "difference"][: len(cells[0])] if cells else [""]
    columns = [
        TableColumn(name, Kind.NUMBER if at else Kind.TEXT, itemgetter(at))
        for at, name in enumerate(head)
    ]
    context.print_rows(columns, cells)


def _width(cells: Sequence[Sequence[str]]) -> int:
    """Return the width of a table with these cells and its head."""
    columns = zip(*cells, ("", TODAY, OTHER, "difference")[: len(cells[0])], strict=True)
    return sum(max(map(len, column)) + GAP for column in columns) - GAP if cells else 0


def blocks(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a block for each row that differs, one line for each that does not."""
    for name, *values in cells:
        indent = name[: len(name) - len(name.lstrip())]
        if len(values) == 1:
            yield f"{name}  {values[0]}"
        elif values[-1] == "=":
            yield f"{name}  {values[0]}  ="
        else:
            width = max(map(len, values))
            yield name
            labels = (TODAY, OTHER, "difference")
            for label, value in zip(labels, values, strict=True):
                yield f"{indent}  {label:<10}  {value:>{width}}"


def _figures(simulation: Simulation) -> Iterator[FigureRow]:
    results = simulation.results
    waits = [WaitStatistics.of(each.waits) for each in results]
    passed = [each.at_once + len(each.waits) + each.lost for each in results]
    never = [each.kept_out + each.let_in for each in results]
    yield FigureRow("Attempts", [each.attempts for each in results], _number)
    yield FigureRow("Mail that passed", passed, _number)
    yield FigureRow("  at once", [each.at_once for each in results], _number)
    yield FigureRow("  after a wait", [len(each.waits) for each in results], _number)
    yield FigureRow("    median", [each.p50 if each else None for each in waits], format_duration)
    yield FigureRow(
        "    90th percentile", [each.p90 if each else None for each in waits], format_duration
    )
    yield FigureRow(
        "    99th percentile", [each.p99 if each else None for each in waits], format_duration
    )
    yield FigureRow(
        "    longest", [each.longest if each else None for each in waits], format_duration
    )
    yield FigureRow("  lost: the sender gives up", [each.lost for each in results], _number)
    yield FigureRow("Mail that never came back", never, _number)
    yield FigureRow("  kept out", [each.kept_out for each in results], _number)
    yield FigureRow("  let in", [each.let_in for each in results], _number)
    yield FigureRow("    from a verified name", [each.let_in_verified for each in results], _number)
    yield FigureRow("    at once", [each.let_in_at_once for each in results], _number)


def _reasons(simulation: Simulation) -> Iterator[FigureRow]:
    results = simulation.results
    reasons = {reason for each in results for reason in each.reasons}
    for reason in sorted(reasons, key=lambda each: each.outcome):
        counts = [each.reasons[reason] for each in results]
        yield FigureRow(f"  {reason.action}: {reason.text}", counts, _number)


_Origin = tuple[bytes, "OriginDifference"]

_FROM = TableColumn[_Origin]("from", Kind.NAME, itemgetter(0))


def _print_waits(context: CommandContext, origins: Iterable[_Origin]) -> None:
    columns = [
        _FROM,
        TableColumn[_Origin]("mails", Kind.NUMBER, lambda each: each[1].mails),
        TableColumn[_Origin](TODAY, Kind.NUMBER, lambda each: _mean_wait(each[1], 0)),
        TableColumn[_Origin](OTHER, Kind.NUMBER, lambda each: _mean_wait(each[1], 1)),
    ]
    context.print_rows(columns, origins)


def _mean_wait(origin: OriginDifference, server: int) -> str:
    """Format an origin's mean wait on one server, and its number of lost mails."""
    passed = origin.mails - origin.lost[server]
    wait = format_duration(origin.waits[server] / passed) if passed else ""
    lost = f"{origin.lost[server]:,} lost" if origin.lost[server] else ""
    return ", ".join(filter(None, (wait, lost)))


def _number(number: int) -> str:
    return f"{number:,}"
