"""``greyd report``: reports the effects of greylisting from the mail log."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, EXIT_NO, CommandContext
from greyd.cli.errors import CommandError
from greyd.cli.report.times.time_span import TimeSpan
from greyd.cli.tables.sorting import Sort, parse_shared_sort
from greyd.cli.usual_logs import USUAL_LOGS, choose_logs, source_name
from greyd.plurals import counted
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.cli.report.letter.letter import Letter
    from greyd.cli.report.log_report import LogReport
    from greyd.cli.report.postfix_lines import PostfixReport
    from greyd.cli.tables.sorting import SharedOrder
    from greyd.maillog.decisions import LoggedDecision
    from greyd.maillog.shadow_lines import LoggedShadowDecision
    from greyd.maillog.statistics import ReadStatistics

    Logged = LoggedDecision | LoggedShadowDecision

MAX_TOP = 1000


def report(
    context: CommandContext,
    logs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LOG]...",
            help="Log files, compressed or not; - is standard input. Default: this machine's mail"
            " log or the journal, and with --since the rotated files too.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Count from this time on: today, yesterday, a date (2026-11-24, 2026-11-24 18:00)"
            " or how long ago (7d).",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Count up to this time, in the same forms.", show_default=False
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, max=MAX_TOP, help="Rows in each table.")
    ] = 10,
    sort: Sort = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page with charts to this file instead of printing tables.",
            show_default=False,
        ),
    ] = None,
    mail_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Mail the report to this address or local user instead of printing it; may be"
            " repeated.",
            show_default=False,
        ),
    ] = None,
    sendmail: Annotated[
        Path | None,
        typer.Option(
            metavar="PROGRAM",
            help="The program that sends the mail. Default: the system's sendmail.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Report decisions, delays and lost mail from a mail log.

    The command reads the lines that greyd and postgrey log for each decision, and skips all others.
    In a log without such lines, it reads Postfix's lines about greylisted and accepted mail. The
    log may be a file of any syslog, the journal (journalctl -o export), the log of a container, or
    lines of JSON objects; what cannot be read is counted and shown.

    Greylisted mail that never came back is almost always spam. The report helps to find the few
    exceptions: it first lists the mail of clients with a verified name, of the sender's own hosts,
    and of domains whose other mail has passed.

    --sort sorts the printed tables that have the column; their rows are those with the highest
    ranks, as without --sort.

    The exit status is 1 if the logs contain no decision, and 2 if a file could not be read.

    Examples:

      greyd report

      greyd report --since=yesterday --until=today

      greyd report --top=30 /var/log/mail.log.1 /var/log/mail.log.2.gz

      journalctl -u greyd --since=-7d -o export | greyd report -

      greyd report --since=7d --html=/var/www/html/greylisting.html

      greyd report --since=7d --mail-to=postmaster
    """
    from greyd.cli.not_read import NotRead
    from greyd.cli.report.builder import ReportBuilder
    from greyd.cli.report.json_document import empty_document
    from greyd.cli.report.letter.letter import Letter
    from greyd.cli.report.postfix_lines import PostfixReport
    from greyd.cli.report.text import SORT_COLUMNS
    from greyd.maillog.reader import read_entries, total_bytes
    from greyd.maillog.statistics import ReadStatistics

    letter = Letter.from_options(mail_to or [], sendmail)
    order = parse_shared_sort(sort, SORT_COLUMNS) if sort else None
    if order and (context.as_json or html is not None or letter is not None):
        raise CommandError(
            "--sort: sorts the printed tables; it has no effect with --html, --mail-to or --json"
        )
    span = TimeSpan.from_options(since, until, time.time())
    paths = list(logs) if logs else choose_logs(USUAL_LOGS, span.since, "report")
    builder, skipped = ReportBuilder(context.settings, top), _SkippedDecisions()
    postfix = PostfixReport(context.settings, top, span)
    with context.progress_bar("reading", total_bytes(paths)) as advance:
        statistics = ReadStatistics(on_bytes=advance)
        entries = read_entries(paths, statistics=statistics, postfix=postfix.switch)
        builder.add_all(_within(postfix.take_lines(entries), span, skipped))
    if skipped.undated:
        print_error(f"skipped {counted(skipped.undated, 'decision')} without a date")
    if postfix.has_mail() and not builder.requests and not skipped.outside:
        builder = postfix.finish()
    not_read = NotRead.of(statistics)
    if not builder.requests:
        context.print_json(empty_document(not_read))
        print_error(_no_decision(paths, skipped, statistics, postfix))
        not_read.print_errors()
        return EXIT_ERROR if not_read.has_unread_files else EXIT_NO
    result = replace(builder.report(), not_read=not_read)
    _write(context, result, html, letter, order)
    return EXIT_ERROR if not_read.has_unread_files else 0


def _write(
    context: CommandContext,
    result: LogReport,
    html: Path | None,
    letter: Letter | None,
    order: SharedOrder | None,
) -> None:
    """Write the report as a letter, a page, a JSON document or tables."""
    from greyd.cli.report.json_document import as_json

    if html is not None:
        from greyd.cli.report.candidates.proposals import not_whitelisted
        from greyd.cli.report.page import render
        from greyd.cli.report.page_file import write_page

        candidates = not_whitelisted(result.candidates, context.settings)
        write_page(html, render(result, time.time(), candidates))
    if letter is not None:
        letter.send(context, result)
    context.print_json(as_json(result))
    if html is not None:
        context.print(f"wrote {html}: {counted(result.requests, 'request')}")
        result.not_read.print_errors()
    elif not context.as_json and letter is None:
        from greyd.cli.report.text import print_report

        print_report(context, result, order)


@dataclass
class _SkippedDecisions:
    """Numbers of decisions that the report leaves out."""

    outside: int = 0
    """Decisions before ``--since`` or after ``--until``."""
    undated: int = 0
    """Decisions without a date, if ``--since`` or ``--until`` is given."""


def _within(
    decisions: Iterable[Logged], span: TimeSpan, skipped: _SkippedDecisions
) -> Iterator[Logged]:
    if not span:
        yield from decisions
        return
    for decision in decisions:
        if not decision.when:
            skipped.undated += 1
        elif decision.when in span:
            yield decision
        else:
            skipped.outside += 1


def _no_decision(
    paths: Sequence[str],
    skipped: _SkippedDecisions,
    statistics: ReadStatistics,
    postfix: PostfixReport,
) -> str:
    """Return why the report is empty: what it looked for, and what the logs contain instead."""
    from greyd.maillog.sources.contents import describe

    if skipped.outside:
        all_of_them = (
            "the log's only decision is"
            if skipped.outside == 1
            else f"all {skipped.outside:,} decisions of the log are"
        )
        return f"{all_of_them} outside --since and --until"
    if skipped.undated:
        return "no decision in the log has a date, which --since and --until need"
    if postfix.outside:
        return f"all {postfix.outside:,} attempts in the log are outside --since and --until"
    where = ", ".join(map(source_name, paths))
    undated = postfix.undated_count
    found = [
        f"{source_name(path)}: {describe(sample)}" for path, sample in statistics.samples.items()
    ]
    if undated:
        found.append(f"{undated:,} of Postfix's lines have no date")
    return (
        f"no decision of greyd or postgrey in {where}: looked for lines with"
        " action=greylist, reason=… or action=pass, reason=…, and for rejected and accepted mail in"
        f" lines of Postfix. {'; '.join(found)}"
    )
