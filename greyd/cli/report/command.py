"""``greyd report``: reports the effects of greylisting from the mail log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.errors import CommandError
from greyd.cli.report.time_span import TimeSpan
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.maillog.decisions import LoggedDecision
    from greyd.maillog.shadow_lines import LoggedShadowDecision

    Logged = LoggedDecision | LoggedShadowDecision

USUAL_LOGS = (Path("/var/log/mail.log"), Path("/var/log/maillog"))
MAX_TOP = 1000


def report(
    context: CommandContext,
    logs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LOG]...",
            help="Log files, compressed or not; - is standard input. Default: /var/log/mail.log or"
            " /var/log/maillog, and with --since the rotated files too.",
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
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page with charts to this file instead of printing tables.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Report decisions, delays and mail that never came back, from a mail log.

    The command reads the lines that greyd and postgrey log for each decision, and skips all others.
    The log may be a syslog file, the journal (journalctl -o export) or a Docker log.

    Greylisted mail that never came back is nearly always spam. The report helps to find the few
    exceptions: it first lists the mail of clients with a verified name, of the sender's own hosts,
    and of domains whose other mail has passed.

    The exit status is 1 if the logs contain no decision.

    Examples:

      greyd report

      greyd report --since=yesterday --until=today

      greyd report --top=30 /var/log/mail.log.1 /var/log/mail.log.2.gz

      journalctl -u greyd --since=-7d -o export | greyd report -

      greyd report --since=7d --html=/var/www/html/greylisting.html
    """
    from greyd.cli.report.builder import ReportBuilder
    from greyd.cli.report.json_document import as_json
    from greyd.maillog.lines import ReadStatistics
    from greyd.maillog.reader import read_decisions_with_shadow, total_bytes

    span = TimeSpan.from_options(since, until, time.time())
    paths = _paths(logs, span)
    builder, skipped = ReportBuilder(context.settings, top), _SkippedDecisions()
    with context.progress_bar("reading", total_bytes(paths)) as advance:
        statistics = ReadStatistics(on_bytes=advance)
        builder.add_all(
            _within(read_decisions_with_shadow(paths, statistics=statistics), span, skipped)
        )
    if statistics.too_long_count:
        print_error(f"skipped {statistics.too_long_count:,} lines that are too long")
    if skipped.undated:
        print_error(f"skipped {skipped.undated:,} decisions without a date")
    if not builder.requests:
        print_error(_no_decision(paths, skipped))
        return EXIT_NO
    result = builder.report()
    if html is not None:
        from greyd.cli.report.page import render
        from greyd.cli.report.page_file import write_page

        write_page(html, render(result, time.time()))
    context.print_json(as_json(result))
    if html is not None:
        context.print(f"wrote {html}: {result.requests:,} requests")
    elif not context.as_json:
        from greyd.cli.report.text import print_report

        print_report(context, result)
    return 0


def _paths(named: Sequence[str] | None, span: TimeSpan) -> list[str]:
    """Return the files to read: the named ones, else the usual log file.

    With ``--since``, its rotated files that may contain lines of the period are added.

    Raises:
        CommandError: no file is named, and the usual ones do not exist.
    """
    if named:
        return list(named)
    for usual in USUAL_LOGS:
        if usual.exists():
            older = usual.parent.glob(f"{usual.name}[.-]*") if span.since else ()
            return [str(usual), *(str(each) for each in older if _is_since(each, span))]
    raise CommandError(
        f"{' and '.join(map(str, USUAL_LOGS))} do not exist: name the log file, or run"
        " journalctl -u greyd -o export | greyd report -"
    )


def _is_since(path: Path, span: TimeSpan) -> bool:
    try:
        return path.is_file() and path.stat().st_mtime >= span.since
    except OSError:
        return False


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


def _no_decision(paths: Sequence[str], skipped: _SkippedDecisions) -> str:
    if skipped.outside:
        return f"all {skipped.outside:,} decisions of the log are outside --since and --until"
    where = ", ".join("standard input" if path == "-" else path for path in paths)
    return (
        f"no decision of greyd or postgrey in {where}: looked for lines with"
        " action=greylist, reason=… or action=pass, reason=…"
    )
