"""``greyd report``: what a log says of greylisting, for people, programs and a browser."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.errors import CommandError
from greyd.config.durations import format_duration, format_percentage, parse_duration
from greyd.escaping import printable
from greyd.terminal import format_timestamp, print_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.text import Text

    from greyd.cli.report.counts import Lost, Report, Slot
    from greyd.maillog.decisions import LoggedDecision

USUAL_LOGS = (Path("/var/log/mail.log"), Path("/var/log/maillog"))
MAX_TOP = 1000

_STEPS = (86400, 7 * 86400, 28 * 86400)
_MAX_ROWS = 35
_BAR_WIDTH = 40


def report(
    context: CommandContext,
    logs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LOG]...",
            help="Log files, also compressed ones; - is standard input. By default the usual log"
            " of this machine, with --since its older files too.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Count from then on: today, yesterday, a date (2026-11-24, 2026-11-24 18:00)"
            " or how long ago (7d).",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Count up to then, likewise.", show_default=False),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, max=MAX_TOP, help="Rows of each table.")
    ] = 10,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page with charts there, instead of tables here.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Report what a log says: decisions, delays, mail that never came back.

    It reads the lines that greyd and postgrey write about their decisions, in files of syslog, the
    journal (journalctl -o export) or Docker, whatever else stands there.

    Mail that was greylisted and never came back is nearly always spam. The little that was wanted
    is what the report looks for: it shows first what came from a client with a verified name, from
    the sender's own host, or from a domain of which other mail has passed.

    The exit status is 1 where the logs hold no decision.

    Examples:

      greyd report

      greyd report --since=yesterday --until=today

      greyd report --top=30 /var/log/mail.log.1 /var/log/mail.log.2.gz

      journalctl -u greyd --since=-7d -o export | greyd report -

      greyd report --since=7d --html=/var/www/html/greylisting.html
    """
    from greyd.cli.report.counts import Counts
    from greyd.maillog.lines import ReadStatistics
    from greyd.maillog.reader import read_decisions, total_bytes

    span = Span.of(since, until, time.time())
    paths = _paths(logs, span)
    counts, outside = Counts(context.settings, top), _Outside()
    with context.progress_bar("reading", total_bytes(paths)) as advance:
        tally = ReadStatistics(on_bytes=advance)
        counts.add_all(_within(read_decisions(paths, tally=tally), span, outside))
    if tally.too_long:
        print_error(f"{tally.too_long:,} lines were too long, and are left out")
    if outside.undated:
        print_error(f"{outside.undated:,} decisions have no date, and are left out")
    if not counts.requests:
        print_error(_nothing(paths, outside))
        return EXIT_NO
    found = counts.report()
    if html is not None:
        _write_page(html, found)
    context.print_json(as_json(found))
    if html is None:
        _tell(context, found)
    else:
        context.print(f"{html} shows {found.requests:,} requests")
    return 0


# What is read -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """The time that a report is about; 0 for no border."""

    since: float = 0.0
    until: float = 0.0

    @classmethod
    def of(cls, since: str | None, until: str | None, now: float) -> Span:
        """Read the two options.

        Raises:
            AdminError: one is no time, or the second is not after the first.
        """
        span = cls(_moment("--since", since, now), _moment("--until", until, now))
        if span.since and span.until and span.since >= span.until:
            raise CommandError(f"--since={since} is not before --until={until}")
        return span

    def __contains__(self, when: float) -> bool:
        """Whether something that happened then counts."""
        return self.since <= when and (not self.until or when < self.until)

    def __bool__(self) -> bool:
        """Whether it has a border."""
        return bool(self.since or self.until)


def _moment(option: str, text: str | None, now: float) -> float:
    """Return the time that a text names."""
    if not text:
        return 0.0
    # A day begins at this machine's midnight, also where its zone was another hour then: so it
    # is reckoned without a zone.
    today = datetime.fromtimestamp(now)  # noqa: DTZ006
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
    days = {"today": 0, "yesterday": 1}.get(text.strip().lower())
    if days is not None:
        return (midnight - timedelta(days=days)).timestamp()
    with contextlib.suppress(ValueError):
        return now - parse_duration(text)
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option}={text}: write today, yesterday, a date (2026-11-24, '2026-11-24 18:00')"
            " or how long ago (7d, 12h)"
        ) from None


def _paths(named: Sequence[str] | None, span: Span) -> list[str]:
    """Return the files to read: those that are named, or the usual one.

    Where the time goes back beyond it, also its older ones, in which that time may be.

    Raises:
        AdminError: none is named, and there is no usual one.
    """
    if named:
        return list(named)
    for usual in USUAL_LOGS:
        if usual.exists():
            older = usual.parent.glob(f"{usual.name}[.-]*") if span.since else ()
            return [str(usual), *(str(each) for each in older if _is_since(each, span))]
    raise CommandError(
        f"there is no {' and no '.join(map(str, USUAL_LOGS))}: name the log, or"
        " journalctl -u greyd -o export | greyd report -"
    )


def _is_since(path: Path, span: Span) -> bool:
    try:
        return path.is_file() and path.stat().st_mtime >= span.since
    except OSError:
        return False


@dataclass
class _Outside:
    """Decisions that do not count."""

    time: int = 0
    undated: int = 0


def _within(
    decisions: Iterable[LoggedDecision], span: Span, outside: _Outside
) -> Iterator[LoggedDecision]:
    if not span:
        yield from decisions
    for decision in decisions:
        if not decision.when:
            outside.undated += 1
        elif decision.when in span:
            yield decision
        else:
            outside.time += 1


def _nothing(paths: Sequence[str], outside: _Outside) -> str:
    if outside.time:
        return f"the decisions there ({outside.time:,}) are all outside of --since and --until"
    where = ", ".join("standard input" if path == "-" else path for path in paths)
    return (
        f"no decision in {where}: looked for greyd's and postgrey's lines"
        " (action=greylist, reason=… and action=pass, reason=…)"
    )


def _write_page(path: Path, found: Report) -> None:
    """Write the page whole or not at all; one that is there keeps its owner and permissions.

    Raises:
        AdminError: it can't be written.
    """
    from greyd.cli.report.page import render

    page = render(found, time.time())
    try:
        _replace(path.resolve(), page)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    import tempfile

    before = path.stat() if path.exists() else None
    if before is not None and not stat.S_ISREG(before.st_mode):
        raise CommandError(f"{path}: is no file")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if before is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


# For people ---------------------------------------------------------------------------------------


def _tell(context: CommandContext, found: Report) -> None:
    _tell_volume(context, found)
    _tell_time(context, found)
    _tell_first_contacts(context, found)
    _tell_lost(context, found)
    _tell_waits(context, found)
    _tell_pools(context, found)
    if found.approximations:
        context.print("", _title("Approximations"))
        context.print(*(f"{each}." for each in found.approximations))


def _title(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="bold underline")


def _tell_volume(context: CommandContext, found: Report) -> None:
    span = (
        f"{format_timestamp(found.first)} to {format_timestamp(found.last)}"
        if found.first
        else "no line has a date"
    )
    context.print(_title("Greylisting"), f"{span}; {found.requests:,} requests")
    different = (
        f"{what}: {number.count if number.exact else round(number.count, -3):,}"
        f"{'' if number.exact else ' (about)'}"
        for what, number in (
            ("clients", found.clients),
            ("senders", found.senders),
            ("recipients", found.recipients),
        )
    )
    context.print(", ".join(different), "")
    rows = [
        [action, printable(reason.encode()), f"{count:,}", format_percentage(count, found.requests)]
        for (action, reason), count in found.outcomes[:_MAX_ROWS]
    ]
    context.print_table(
        ["action", "reason", "requests", "share"], rows, numbers=["requests", "share"]
    )


def _tell_time(context: CommandContext, found: Report) -> None:
    if not found.slots:
        return
    step, stretches = found.over_time(_MAX_ROWS, _STEPS)
    unit = {86400: "day", 7 * 86400: "week"}.get(step, "four weeks")
    rows = [(time.strftime("%a %Y-%m-%d", time.localtime(each.start)), each) for each in stretches]
    context.print("", _title(f"By {unit}"))
    _tell_bars(context, unit, rows)
    from greyd.cli.report.counts import Slot

    context.print("", _title("By hour of the day"))
    _tell_bars(
        context,
        "hour",
        [(f"{hour:02}", Slot(0, each)) for hour, each in enumerate(found.by_hour())],
    )


def _tell_bars(context: CommandContext, unit: str, rows: Sequence[tuple[str, Slot]]) -> None:
    """Show what passed and what was greylisted as bars, side by side in one."""
    if context.as_json:
        return
    from rich.table import Table
    from rich.text import Text

    from greyd.cli.report.kinds import GREYLISTED

    most = max(1, *(sum(slot.counts) for _, slot in rows))
    plain_only = context.console.options.ascii_only
    passed_mark, grey_mark = ("#", "-") if plain_only else ("█", "░")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(unit)
    for name in ("passed", "greylisted"):
        table.add_column(name, justify="right")
    table.add_column(f"{passed_mark} passed {grey_mark} greylisted", no_wrap=True)
    for name, slot in rows:
        grey = sum(slot.counts[kind] for kind in GREYLISTED)
        passed = sum(slot.counts) - grey
        width = _cells(passed + grey, most)
        of_passed = min(_cells(passed, most), width)
        bar = Text(passed_mark * of_passed, style="green")
        bar.append(grey_mark * (width - of_passed), style="yellow")
        table.add_row(name, f"{passed:,}", f"{grey:,}", bar)
    context.print(table)


def _cells(count: int, most: int) -> int:
    return round(count * _BAR_WIDTH / most)


def _tell_first_contacts(context: CommandContext, found: Report) -> None:
    contacts = found.first_contacts
    context.print("", _title("First contacts"))
    late = format_duration(found.due_seconds)
    rows: list[tuple[str, int]] = [
        ("greylisted for the first time", contacts.count),
        ("passed after their wait", contacts.waited),
        ("passed otherwise: from another network, or by a list", contacts.otherwise),
        (f"never came back, within {late} or more", contacts.never),
        (f"too young to tell, at the log's end: less than {late}", contacts.too_young),
    ]
    context.print_table(
        ["client network, sender, recipient", "triplets", "share"],
        [[name, f"{count:,}", format_percentage(count, contacts.count)] for name, count in rows],
        numbers=["triplets", "share"],
    )
    if delays := found.delays:
        context.print("", _title("How long mail waited"))
        context.print_table(
            ["mails", *(f"{each} %" for each in delays.percentiles), "longest", "on average"],
            [[
                f"{delays.count:,}",
                *map(format_duration, delays.percentiles.values()),
                format_duration(delays.longest),
                format_duration(delays.mean),
            ]],
            numbers=["mails", *(f"{each} %" for each in delays.percentiles), "longest",
                     "on average"],
        )  # fmt: skip


def _tell_lost(context: CommandContext, found: Report) -> None:
    if not found.lost:
        return
    context.print("", _title("Never came back"))
    context.print(
        f"{found.first_contacts.never:,} triplets, {found.lost_verified:,} of them from clients"
        " with a verified name. That is the spam kept out, and sometimes a lost mail; first those"
        " that may have been wanted."
    )
    context.print_table(
        ["last seen", "tries", "client", "sender", "recipient", "why it may have been wanted"],
        [_lost_row(each) for each in found.lost],
        numbers=["tries"],
    )
    context.print("")
    _tell_counts(context, "domain of the client", found.lost_domains)
    _tell_counts(context, "recipient", found.lost_recipients)


def _lost_row(lost: Lost) -> list[str]:
    name = printable(lost.client_name) or "unknown"
    return [
        format_timestamp(lost.last),
        f"{lost.tries:,}",
        f"{name}[{printable(lost.client_address)}]",
        printable(lost.sender) or "<>",
        printable(lost.recipient),
        ", ".join(printable(hint.encode()) for hint in reasons(lost)),
    ]


def reasons(lost: Lost) -> list[str]:
    """Return why a mail may have been wanted, in words."""
    return [*(["verified name"] if lost.is_verified else []), *lost.hints]


def _tell_counts(context: CommandContext, what: str, counts: Sequence[tuple[bytes, int]]) -> None:
    context.print_table(
        [what, "never came back"],
        [[printable(name) or "<>", f"{count:,}"] for name, count in counts],
        numbers=["never came back"],
    )


def _tell_waits(context: CommandContext, found: Report) -> None:
    if found.waits:
        context.print("", _title("Waited longest"))
        context.print("Candidates for whitelist_clients, by what they waited in all.")
        context.print_table(
            ["client", "mails", "on average", "longest", "in all"],
            [
                [
                    printable(each.name),
                    f"{each.count:,}",
                    format_duration(each.seconds / each.count),
                    format_duration(each.longest),
                    format_duration(each.seconds),
                ]
                for each in found.waits
            ],
            numbers=["mails", "on average", "longest", "in all"],
        )
    if found.early:
        context.print("", _title("Came back too early"))
        context.print_table(
            ["client", "retries"],
            [[printable(each.name), f"{each.count:,}"] for each in found.early],
            numbers=["retries"],
        )


def _tell_pools(context: CommandContext, found: Report) -> None:
    if not found.pools:
        return
    context.print("", _title("Pools"))
    context.print(
        "They try again from other networks, and each of these waits anew; --identity knows them"
        " by their domain."
    )
    context.print_table(
        ["client", "mails", "networks, at most", "passed", "longest wait in all"],
        [
            [
                printable(each.name),
                f"{each.mails:,}",
                f"{each.most_networks:,}",
                f"{each.passed:,}",
                format_duration(each.longest) if each.longest else "–",
            ]
            for each in found.pools
        ],
        numbers=["mails", "networks, at most", "passed", "longest wait in all"],
    )


# For programs -------------------------------------------------------------------------------------


def as_json(found: Report) -> dict[str, Any]:
    """Return all of a report as JSON has it."""
    from greyd.cli.report.counts import DELAY_BORDERS
    from greyd.cli.report.kinds import DecisionKind

    delays, contacts = found.delays, found.first_contacts
    names = [kind.key for kind in DecisionKind]
    return {
        "first": found.first or None,
        "last": found.last or None,
        "requests": found.requests,
        "undated": found.undated,
        "greylisted": found.greylisted(),
        "passed": found.requests - found.greylisted(),
        "clients": found.clients.count,
        "senders": found.senders.count,
        "recipients": found.recipients.count,
        "decisions": [
            {"action": action, "reason": reason, "requests": count}
            for (action, reason), count in found.outcomes
        ],
        "first_contacts": {
            "triplets": contacts.count,
            "waited": contacts.waited,
            "passed_otherwise": contacts.otherwise,
            "never_returned": contacts.never,
            "never_returned_verified": found.lost_verified,
            "too_young": contacts.too_young,
            "due_seconds": found.due_seconds,
        },
        "delays": delays
        and {
            "mails": delays.count,
            "mean_seconds": round(delays.mean, 1),
            **{f"p{each}_seconds": value for each, value in delays.percentiles.items()},
            "longest_seconds": delays.longest,
            "classes": [
                {"up_to_seconds": border, "mails": count}
                for border, count in zip((*DELAY_BORDERS, None), delays.classes, strict=True)
            ],
        },
        "never_returned": [
            {
                "first": each.first or None,
                "last": each.last or None,
                "tries": each.tries,
                "networks": each.networks,
                "client_name": printable(each.client_name),
                "client_address": printable(each.client_address),
                "sender": printable(each.sender),
                "recipient": printable(each.recipient),
                "identity": printable(each.identity),
                "verified_name": each.is_verified,
                "hints": list(each.hints),
            }
            for each in found.lost
        ],
        "never_returned_by_client_domain": _json_counts("domain", found.lost_domains),
        "never_returned_by_recipient": _json_counts("recipient", found.lost_recipients),
        "waited_longest": [
            {
                "client": printable(each.name),
                "mails": each.count,
                "seconds": each.seconds,
                "longest_seconds": each.longest,
            }
            for each in found.waits
        ],
        "early_retries": [
            {"client": printable(each.name), "retries": each.count} for each in found.early
        ],
        "pools": [
            {
                "client": printable(each.name),
                "mails": each.mails,
                "most_networks": each.most_networks,
                "passed": each.passed,
                "longest_seconds": each.longest,
            }
            for each in found.pools
        ],
        "by_day": [
            {
                "day": time.strftime("%Y-%m-%d", time.localtime(each.start)),
                **dict(zip(names, each.counts, strict=True)),
            }
            for each in found.over_time(0, (86400,))[1]
        ],
        "by_hour": [
            {"hour": hour, **dict(zip(names, counts, strict=True))}
            for hour, counts in enumerate(found.by_hour())
        ],
        "approximations": list(found.approximations),
    }


def _json_counts(name: str, counts: Sequence[tuple[bytes, int]]) -> list[dict[str, Any]]:
    return [{name: printable(each), "triplets": count} for each, count in counts]
