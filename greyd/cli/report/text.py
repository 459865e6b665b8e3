"""Prints a report as text and tables on the terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from greyd.cli.report.candidates.proposals import not_whitelisted
from greyd.cli.report.kinds import GREYLISTED
from greyd.config.durations import format_duration, format_percentage
from greyd.escaping import printable
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.report.log_report import DelayStatistics, LogReport, LostMail
    from greyd.cli.report.time_slots import TimeSlot
    from greyd.cli.sketches import DistinctCount, Total

_STEPS = {86400: "day", 7 * 86400: "week", 28 * 86400: "four weeks"}
_MAX_ROWS = 35
_BAR_WIDTH = 40


def print_report(context: CommandContext, report: LogReport) -> None:
    """Print the complete report."""
    _print_volume(context, report)
    if report.slots:
        _print_over_time(context, report)
    _print_first_contacts(context, report)
    if report.delays:
        _print_delays(context, report.delays)
    if report.lost:
        _print_lost(context, report)
    _print_clients(context, report)
    if report.pools:
        _print_pools(context, report)
    _print_candidates(context, report)
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


def _print_volume(context: CommandContext, report: LogReport) -> None:
    first, last = format_timestamp(report.first), format_timestamp(report.last)
    span = f"{first} to {last}" if first else "no line has a date"
    context.print(_title("Greylisting"), f"{span}; {report.requests:,} requests")
    counts = {
        "clients": report.clients, "senders": report.senders, "recipients": report.recipients
    }  # fmt: skip
    context.print(", ".join(f"{name}: {_count(each)}" for name, each in counts.items()), "")
    rows = [
        [action, printable(reason.encode()), f"{count:,}", _share(count, report.requests)]
        for (action, reason), count in report.outcomes[:_MAX_ROWS]
    ]
    context.print_table(
        ["action", "reason", "requests", "share"], rows, numbers=["requests", "share"]
    )


def _count(number: DistinctCount) -> str:
    return f"{number.count:,}" if number.is_exact else f"{round(number.count, -3):,} (about)"


def _share(count: int, whole: int) -> str:
    return format_percentage(count, whole)


def _print_over_time(context: CommandContext, report: LogReport) -> None:
    step, slots = report.over_time(_MAX_ROWS, _STEPS)
    rows = [(time.strftime("%a %Y-%m-%d", time.localtime(each.start)), each) for each in slots]
    context.print("", _title(f"By {_STEPS[step]}"))
    _print_bars(context, _STEPS[step], rows)
    context.print("", _title("By hour of the day"))
    hours = [(f"{hour:02}", each) for hour, each in enumerate(report.by_hour())]
    _print_bars(context, "hour", hours)


def _print_bars(context: CommandContext, unit: str, rows: Sequence[tuple[str, TimeSlot]]) -> None:
    """Print a bar for each period, with the passed and the greylisted requests."""
    if context.as_json:
        return
    highest = max(1, *(sum(slot.counts) for _, slot in rows))
    passed_mark, grey_mark = ("#", "-") if context.console.options.ascii_only else ("█", "░")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(unit)
    for name in ("passed", "greylisted"):
        table.add_column(name, justify="right")
    table.add_column(f"{passed_mark} passed {grey_mark} greylisted", no_wrap=True)
    for name, slot in rows:
        grey = sum(slot.counts[kind] for kind in GREYLISTED)
        passed = sum(slot.counts) - grey
        width = _bar_width(passed + grey, highest)
        passed_width = min(_bar_width(passed, highest), width)
        bar = Text(passed_mark * passed_width, style="green")
        bar.append(grey_mark * (width - passed_width), style="yellow")
        table.add_row(name, f"{passed:,}", f"{grey:,}", bar)
    context.print(table)


def _bar_width(count: int, highest: int) -> int:
    return round(count * _BAR_WIDTH / highest)


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
    context.print_table(
        ["client network, sender, recipient", "triplets", "share"],
        [[name, f"{count:,}", _share(count, contacts.count)] for name, count in rows],
        numbers=["triplets", "share"],
    )


def _print_delays(context: CommandContext, delays: DelayStatistics) -> None:
    context.print("", _title("How long mail waited"))
    columns = {
        "mails": f"{delays.count:,}",
        **{_percentile(each): format_duration(v) for each, v in delays.percentiles.items()},
        "longest": format_duration(delays.longest),
        "mean": format_duration(delays.mean),
    }
    context.print_table(list(columns), [list(columns.values())], numbers=list(columns))


def _percentile(percent: int) -> str:
    return "median" if percent == 50 else f"{percent}th percentile"


def _print_lost(context: CommandContext, report: LogReport) -> None:
    context.print("", _title("Never came back"))
    context.print(
        f"{report.first_contacts.never_returned:,} triplets, {report.lost_verified:,} of them from"
        " clients with a verified name. Most of it is spam, kept out; some may be wanted mail. The"
        " most likely wanted is listed first."
    )
    context.print_table(
        ["last seen", "tries", "client", "sender", "recipient", "why it may be wanted"],
        [_lost_row(each) for each in report.lost],
        numbers=["tries"],
    )
    context.print("")
    _print_counts(context, "domain of the client", report.lost_domains)
    _print_counts(context, "recipient", report.lost_recipients)


def _lost_row(mail: LostMail) -> list[str]:
    name = printable(mail.client_name) or "unknown"
    return [
        format_timestamp(mail.last),
        f"{mail.tries:,}",
        f"{name}[{printable(mail.client_address)}]",
        printable(mail.sender) or "<>",
        printable(mail.recipient),
        ", ".join(printable(hint.encode()) for hint in mail.all_hints()),
    ]


def _print_counts(context: CommandContext, name: str, totals: Sequence[Total]) -> None:
    context.print_table(
        [name, "never came back"],
        [[printable(each.name) or "<>", f"{each.count:,}"] for each in totals],
        numbers=["never came back"],
    )


def _print_clients(context: CommandContext, report: LogReport) -> None:
    if report.waits:
        context.print("", _title("Waited longest"))
        context.print("Candidates for whitelist_clients, by their total wait.")
        context.print_table(
            ["client", "mails", "mean", "longest", "total"],
            [
                [
                    printable(report.client_name(each)),
                    f"{each.count:,}",
                    format_duration(each.seconds / each.count),
                    format_duration(each.longest_seconds),
                    format_duration(each.seconds),
                ]
                for each in report.waits
            ],
            numbers=["mails", "mean", "longest", "total"],
        )
    if report.early:
        context.print("", _title("Retried too early"))
        context.print_table(
            ["client", "retries"],
            [[printable(report.client_name(each)), f"{each.count:,}"] for each in report.early],
            numbers=["retries"],
        )


def _print_pools(context: CommandContext, report: LogReport) -> None:
    context.print("", _title("Pools"))
    context.print(
        "These providers retry from other networks, and each network waits anew. --identity"
        " recognises them by their domain."
    )
    context.print_table(
        ["client", "mails", "networks, at most", "passed", "longest wait"],
        [
            [
                printable(each.name),
                f"{each.mails:,}",
                f"{each.max_networks:,}",
                f"{each.passed:,}",
                format_duration(each.longest_seconds) if each.longest_seconds else "–",
            ]
            for each in report.pools
        ],
        numbers=["mails", "networks, at most", "passed", "longest wait"],
    )


def _print_candidates(context: CommandContext, report: LogReport) -> None:
    """Print the commands that whitelist the providers whose mail waited."""
    if candidates := not_whitelisted(report.candidates, context.settings):
        context.print("", _title("If you know these providers, let them pass at once"))
        for each in candidates:
            # Unwrapped, so that it can be pasted.
            context.console.print(each.command, soft_wrap=True)
