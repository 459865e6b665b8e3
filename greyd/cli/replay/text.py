"""Prints the result of a simulation as tables on the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from greyd.cli.replay.results import WaitStatistics
from greyd.cli.tables.column import Kind, TableColumn
from greyd.config.durations import format_duration
from greyd.plurals import counted
from greyd.terminal import format_timestamp, print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.replay.results import LargestDifferences, OriginDifference
    from greyd.cli.replay.simulation import Simulation
    from greyd.maillog.attempts import AttemptStatistics

TODAY, OTHER = "today", "other"

_FAITHFUL = 0.9
"""The share of the log's decisions that the simulation of today's settings should repeat."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table: one figure for each server."""

    name: str
    values: Sequence[int | None]
    format: Callable[[int], str]

    def cells(self) -> list[str]:
        """Return the cells of the row; for two servers, add their difference."""
        cells = [self.name, *("–" if each is None else self.format(each) for each in self.values)]
        if len(self.values) > 1:
            today, other = self.values
            change = 0 if today is None or other is None else other - today
            sign = "+" if change > 0 else "−"
            cells.append(f"{sign}{self.format(abs(change))}" if change else "=")
        return cells


def print_simulation(
    context: CommandContext,
    simulation: Simulation,
    statistics: AttemptStatistics,
    changes: Sequence[str],
    differences: LargestDifferences,
) -> None:
    """Print the complete result of a simulation."""
    _print_log(context, simulation, statistics, changes)
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


def _print_log(
    context: CommandContext,
    simulation: Simulation,
    statistics: AttemptStatistics,
    changes: Sequence[str],
) -> None:
    source = "decisions of greyd or postgrey" if statistics.decision_count else "lines of Postfix"
    context.print(
        f"{format_timestamp(simulation.first)} to {format_timestamp(simulation.last)}:"
        f" attempts {simulation.attempts:,}, mails {simulation.mails:,}, from {source}"
    )
    if changes:
        context.print(f"Other settings: {', '.join(changes)}")
    if simulation.compared:
        share = 100 * simulation.agreed / simulation.compared
        context.print(
            f"Today's settings decide as the log does in {share:.1f} % of"
            f" {counted(simulation.compared, 'attempt')};"
            f" {simulation.known_before:,} of them depend on mail before the log"
        )
    if simulation.agreed < _FAITHFUL * simulation.compared:
        print_error(
            "the log was written with other settings, or depends on mail before it: skip its"
            " beginning (--warm-up=1d), or name its settings (--config)"
        )
    if simulation.open:
        context.print(
            f"Left out: {counted(simulation.open, 'mail')} still waiting when the log ends"
        )
    context.print("")


def _print_rows(context: CommandContext, rows: Iterable[_Row]) -> None:
    cells = [row.cells() for row in rows]
    head = ["", TODAY, OTHER, "difference"][: len(cells[0])] if cells else [""]
    columns = [
        TableColumn(name, Kind.NUMBER if at else Kind.TEXT, itemgetter(at))
        for at, name in enumerate(head)
    ]
    context.print_rows(columns, cells)


def _figures(simulation: Simulation) -> Iterator[_Row]:
    results = simulation.results
    waits = [WaitStatistics.of(each.waits) for each in results]
    passed = [each.at_once + len(each.waits) + each.lost for each in results]
    never = [each.kept_out + each.let_in for each in results]
    yield _Row("Attempts", [each.attempts for each in results], _number)
    yield _Row("Mail that passed", passed, _number)
    yield _Row("  at once", [each.at_once for each in results], _number)
    yield _Row("  after a wait", [len(each.waits) for each in results], _number)
    yield _Row("    median", [each.p50 if each else None for each in waits], format_duration)
    yield _Row(
        "    90th percentile", [each.p90 if each else None for each in waits], format_duration
    )
    yield _Row(
        "    99th percentile", [each.p99 if each else None for each in waits], format_duration
    )
    yield _Row("    longest", [each.longest if each else None for each in waits], format_duration)
    yield _Row("  lost: the sender gives up", [each.lost for each in results], _number)
    yield _Row("Mail that never came back", never, _number)
    yield _Row("  kept out", [each.kept_out for each in results], _number)
    yield _Row("  let in (probably spam)", [each.let_in for each in results], _number)
    yield _Row("    at once", [each.let_in_at_once for each in results], _number)


def _reasons(simulation: Simulation) -> Iterator[_Row]:
    results = simulation.results
    reasons = {reason for each in results for reason in each.reasons}
    for reason in sorted(reasons, key=lambda each: each.outcome):
        counts = [each.reasons[reason] for each in results]
        yield _Row(f"  {reason.action}: {reason.text}", counts, _number)


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
