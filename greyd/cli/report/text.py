"""Prints a report as text and tables on the terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from rich.text import Text

from greyd.cli.entries.table import MIN_ADDRESS_WIDTH
from greyd.cli.report.bars import print_bars
from greyd.cli.report.candidates.proposals import not_whitelisted
from greyd.cli.report.log_report import DelayStatistics, LostMail, SenderPool
from greyd.cli.report.summary import summary_lines
from greyd.cli.sketches import Total
from greyd.cli.tables.column import Kind, Meaning, Row, TableColumn
from greyd.cli.tables.limit import more_line
from greyd.config.durations import format_duration, format_percentage
from greyd.escaping import printable
from greyd.plurals import counted
from greyd.rules.reasons import GREYLIST
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.report.log_report import LogReport, WhitelistCandidate
    from greyd.cli.sketches import DistinctCount
    from greyd.cli.tables.sorting import SharedOrder

SORT_COLUMNS = (
    "action", "reason", "requests", "share", "last-seen", "tries", "client", "sender", "recipient",
    "domain-of-the-client", "never-came-back", "mails", "mean", "longest", "total", "retries",
    "passed", "longest-wait",
)  # fmt: skip
"""The columns for ``--sort``."""

_STEPS = {86400: "day", 7 * 86400: "week", 28 * 86400: "four weeks"}
_MAX_ROWS = 35

Outcome = tuple[tuple[str, str], int]
"""A pair of action and reason, with its count."""


@dataclass(frozen=True, slots=True)
class RankedTables:
    """Prints the tables whose rows are ranked, or in the order of ``--sort``."""

    context: CommandContext
    order: SharedOrder | None = None

    def print(self, columns: Sequence[TableColumn[Row]], rows: Iterable[Row]) -> None:
        """Print a table."""
        self.context.print_rows(columns, self.order.sorted(columns, rows) if self.order else rows)


def print_report(
    context: CommandContext, report: LogReport, order: SharedOrder | None = None
) -> None:
    """Print the complete report; ``order`` is that of the ranked tables, None for their ranks."""
    tables = RankedTables(context, order)
    candidates = not_whitelisted(report.candidates, context.settings)
    context.print(*summary_lines(report, candidates))
    _print_commands(context, candidates[:1])
    context.print("")
    _print_volume(tables, report)
    if report.slots:
        _print_over_time(context, report)
    _print_first_contacts(context, report)
    if report.delays:
        _print_delays(context, report.delays)
    if report.lost:
        _print_lost(tables, report)
    whitelisted = {each.client for each in report.candidates} - {each.client for each in candidates}
    _print_clients(tables, report, whitelisted)
    if report.pools:
        _print_pools(tables, report, whitelisted)
    if candidates:
        context.print("", _title("If you know these providers, let them pass at once"))
        _print_commands(context, candidates)
    if report.shadow:
        context.print("", _title("Shadow: what its settings would have changed"))
        context.print(*report.shadow.sentences())
    if report.approximations:
        context.print("", _title("Approximations"))
        context.print(*(f"{each}." for each in report.approximations))
    if not_read := list(report.not_read.sentences()):
        context.print("", _title("Not read"), *not_read)


def _title(text: str) -> Text:
    return Text(text, style="bold underline")


def _print_volume(tables: RankedTables, report: LogReport) -> None:
    context = tables.context
    first, last = format_timestamp(report.first), format_timestamp(report.last)
    span = f"{first} to {last}" if first else "no line has a date"
    context.print(_title("Greylisting"), f"{span}; {counted(report.requests, 'request')}")
    counts = {
        "clients": report.clients, "senders": report.senders, "recipients": report.recipients
    }  # fmt: skip
    context.print(", ".join(f"{name}: {_count(each)}" for name, each in counts.items()), "")
    tables.print(_outcome_columns(report), report.outcomes[:_MAX_ROWS])
    if (missing := len(report.outcomes) - _MAX_ROWS) > 0:
        context.print(more_line(missing, remedy="--json has all"))


def _outcome_columns(report: LogReport) -> list[TableColumn[Outcome]]:
    return [
        TableColumn("action", Kind.VERDICT, lambda each: each[0][0], meaning=_action_meaning),
        TableColumn("reason", Kind.NAME, lambda each: each[0][1].encode(), label=""),
        TableColumn("requests", Kind.NUMBER, lambda each: each[1]),
        TableColumn(
            "share", Kind.NUMBER, lambda each: _share(each[1], report.requests), priority=2,
            order=lambda each: each[1],
        ),
    ]  # fmt: skip


def _action_meaning(outcome: Outcome) -> Meaning:
    return Meaning.WAITING if outcome[0][0] == GREYLIST else Meaning.GOOD


def _count(number: DistinctCount) -> str:
    return f"{number.count:,}" if number.is_exact else f"{round(number.count, -3):,} (about)"


def _share(count: int, whole: int) -> str:
    return format_percentage(count, whole)


def _print_over_time(context: CommandContext, report: LogReport) -> None:
    step, slots = report.over_time(_MAX_ROWS, _STEPS)
    rows = [(time.strftime("%a %Y-%m-%d", time.localtime(each.start)), each) for each in slots]
    context.print("", _title(f"By {_STEPS[step]}"))
    print_bars(context, _STEPS[step], rows)
    context.print("", _title("By hour of the day"))
    hours = [(f"{hour:02}", each) for hour, each in enumerate(report.by_hour())]
    print_bars(context, "hour", hours)


def _print_first_contacts(context: CommandContext, report: LogReport) -> None:
    contacts, due = report.first_contacts, format_duration(report.due_seconds)
    context.print("", _title("First contacts"))
    rows: list[tuple[str, int]] = [
        ("greylisted for the first time", contacts.count),
        ("passed after the delay", contacts.waited),
        ("passed otherwise: from another network, or exempt", contacts.passed_otherwise),
        (f"never came back within {due}", contacts.never_returned),
        (f"undecided: seen less than {due} before the log's end", contacts.too_young),
    ]
    context.print_rows(
        [
            TableColumn("network, sender, recipient", Kind.TEXT, itemgetter(0)),
            TableColumn("triplets", Kind.NUMBER, itemgetter(1)),
            TableColumn(
                "share", Kind.NUMBER, lambda row: _share(row[1], contacts.count), priority=2
            ),
        ],
        rows,
    )


def _print_delays(context: CommandContext, delays: DelayStatistics) -> None:
    context.print("", _title("How long mail waited"))
    durations = {
        **{_percentile(each): value for each, value in delays.percentiles.items()},
        "longest": delays.longest,
        "mean": delays.mean,
    }
    columns = [TableColumn[DelayStatistics]("mails", Kind.NUMBER, lambda each: each.count)]
    columns += [
        TableColumn(name, Kind.DURATION, lambda _, seconds=seconds: seconds)  # type: ignore[misc]
        for name, seconds in durations.items()
    ]
    context.print_rows(columns, [delays])


def _percentile(percent: int) -> str:
    return "median" if percent == 50 else f"{percent}th percentile"


def _print_lost(tables: RankedTables, report: LogReport) -> None:
    context = tables.context
    context.print("", _title("Never came back"))
    context.print(
        f"{counted(report.first_contacts.never_returned, 'triplet')},"
        f" {report.lost_verified:,} of them from"
        " clients with a verified name. Most of it is spam, kept out; some may be wanted mail. The"
        " most likely wanted is listed first."
    )
    tables.print(_LOST_COLUMNS, report.lost)
    used = dict.fromkeys(hint for mail in report.lost for hint in mail.all_hints())
    if signs := [f"{_SHORT_HINTS[each]}: {each}" for each in used if each in _SHORT_HINTS]:
        context.print(f"Signs that it may be wanted: {'; '.join(signs)}.")
    context.print("")
    _print_counts(tables, "domain of the client", Kind.NAME, report.lost_domains)
    context.print("")
    _print_counts(tables, "recipient", Kind.ADDRESS, report.lost_recipients)


_SHORT_HINTS = {
    "verified name": "name",
    "other mail of the domain passed": "domain",
    "came from several networks": "networks",
    "tried again": "retry",
    "the sender's own host": "own host",
}
"""One-word hints: a whole sentence would take three lines of a terminal of 80 columns."""


def _short(hint: str) -> str:
    return _SHORT_HINTS.get(hint, hint)


_LOST_COLUMNS: Sequence[TableColumn[LostMail]] = (
    TableColumn("last seen", Kind.TIME, lambda mail: mail.last, priority=3, label="seen"),
    TableColumn("tries", Kind.NUMBER, lambda mail: mail.tries, priority=4),
    TableColumn(
        "client", Kind.NAME, label="", min_width=MIN_ADDRESS_WIDTH,
        value=lambda mail: (
            f"{printable(mail.client_name) or 'unknown'}[{printable(mail.client_address)}]"
        ),
    ),
    TableColumn(
        "sender", Kind.ADDRESS, lambda mail: mail.sender or b"<>", label="from",
        min_width=MIN_ADDRESS_WIDTH,
    ),
    TableColumn(
        "recipient", Kind.ADDRESS, lambda mail: mail.recipient, label="to",
        min_width=MIN_ADDRESS_WIDTH,
    ),
    TableColumn(
        "signs", Kind.TEXT, lambda mail: ", ".join(map(_short, mail.all_hints())), label="",
        meaning=Meaning.GOOD,
    ),
)  # fmt: skip


def _print_counts(tables: RankedTables, name: str, kind: Kind, totals: Sequence[Total]) -> None:
    tables.print(
        [
            TableColumn(name, kind, lambda each: each.name or b"<>"),
            TableColumn("never came back", Kind.NUMBER, lambda each: each.count),
        ],
        totals,
    )


def _print_clients(tables: RankedTables, report: LogReport, whitelisted: Collection[bytes]) -> None:
    context = tables.context
    client = TableColumn[Total]("client", Kind.NAME, report.client_name)
    # The table names what the commands below add.
    entries = {each.client: each.entry for each in report.candidates}
    if report.waits:
        context.print("", _title("Waited longest"))
        context.print("Candidates for whitelist_clients, by their total wait.")
        columns: list[TableColumn[Total]] = [
            TableColumn(
                "client",
                Kind.NAME,
                lambda each: entries.get(each.name, report.client_name(each)),
            ),
            TableColumn("mails", Kind.NUMBER, lambda each: each.count),
            TableColumn(
                "mean", Kind.DURATION, priority=2, value=lambda each: each.seconds / each.count
            ),
            TableColumn(
                "longest", Kind.DURATION, priority=2, value=lambda each: each.longest_seconds
            ),
            TableColumn("total", Kind.DURATION, lambda each: each.seconds),
            *_whitelisted_column(lambda each: each.name, whitelisted),
        ]
        tables.print(columns, report.waits)
    if report.early:
        context.print("", _title("Retried too early"))
        retries = TableColumn[Total]("retries", Kind.NUMBER, lambda each: each.count)
        tables.print([client, retries], report.early)


_POOL_COLUMNS: Sequence[TableColumn[SenderPool]] = (
    TableColumn("client", Kind.NAME, lambda each: each.name),
    TableColumn("mails", Kind.NUMBER, lambda each: each.mails),
    TableColumn("networks, at most", Kind.NUMBER, lambda each: each.max_networks, priority=2),
    TableColumn("passed", Kind.NUMBER, lambda each: each.passed),
    TableColumn(
        "longest wait", Kind.DURATION, lambda each: each.longest_seconds or None, priority=3
    ),
)


def _print_pools(tables: RankedTables, report: LogReport, whitelisted: Collection[bytes]) -> None:
    context = tables.context
    context.print("", _title("Pools"))
    context.print(
        "These providers retry from other networks, and each network is greylisted separately."
        " --identity, which is part of --preset=recommended, recognises them by their domain."
    )
    marks: list[TableColumn[SenderPool]] = _whitelisted_column(lambda pool: pool.name, whitelisted)
    tables.print([*_POOL_COLUMNS, *marks], report.pools)


def _print_commands(context: CommandContext, candidates: Sequence[WhitelistCandidate]) -> None:
    """Print the commands that whitelist providers."""
    for each in candidates:
        # Unwrapped, so that it can be pasted.
        context.console.print(each.command, soft_wrap=True)


def _whitelisted_column(
    name: Callable[[Row], bytes], whitelisted: Collection[bytes]
) -> list[TableColumn[Row]]:
    """Return a column that marks whitelisted providers; none if there are none."""
    if not whitelisted:
        return []
    return [
        TableColumn(
            "now", Kind.VERDICT, lambda row: "whitelisted" if name(row) in whitelisted else "",
            label="", meaning=Meaning.GOOD,
        )
    ]  # fmt: skip
