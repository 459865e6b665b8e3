"""Renders a report as one HTML page with charts, to open as a file or put on a web server.

The page is plain HTML and SVG; it loads no other files and runs no scripts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.cli.report.builder import DELAY_BORDERS
from greyd.cli.report.kinds import DecisionKind
from greyd.cli.report.page_charts import cell_bar, chart, legend, some_labels
from greyd.cli.report.page_style import page
from greyd.cli.report.summary import summary_lines
from greyd.config.durations import format_duration, format_percentage
from greyd.escaping import printable, printable_text
from greyd.monitoring.web.html import Column, format_number, join, paragraph, section, table
from greyd.plurals import noun
from greyd.rules.reasons import GREYLIST
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.cli.report.log_report import LogReport, LostMail, WhitelistCandidate
    from greyd.cli.sketches import DistinctCount

_MAX_BARS = 100
_STEPS = (900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400, 28 * 86400)
_MAX_OUTCOMES = 50

_WITH_BAR = (Column.NAME, Column.NUMBER, Column.NUMBER, Column.BAR)


def render(
    report: LogReport, now: float, candidates: Sequence[WhitelistCandidate] | None = None
) -> bytes:
    """Return the page in UTF-8.

    Args:
        report: the report.
        now: the time of the page's creation, which it shows, as a Unix time.
        candidates: the providers that are not whitelisted yet; None for all of the report.
    """
    sections = [
        _summary(report, report.candidates if candidates is None else candidates),
        _tiles(_overview(report)),
        _over_time(report),
        _by_hour(report),
        _decisions(report),
        _delays(report),
        _first_contacts(report),
        _lost(report),
        _waits(report),
        _early(report),
        _pools(report),
        _candidates(report),
        _shadow(report),
        _approximations(report),
        _not_read(report),
    ]
    content = join(part for each in sections for part in each)
    return page(_span(report), content, format_timestamp(now))


def _span(report: LogReport) -> str:
    if not report.first:
        return "from a log without dates"
    return f"{format_timestamp(report.first)} to {format_timestamp(report.last)}"


def _summary(report: LogReport, candidates: Sequence[WhitelistCandidate]) -> Iterator[Markup]:
    commands = (
        [Markup("<p><code>{}</code></p>\n").format(each.command)] for each in candidates[:1]
    )
    yield from section("Summary", *map(paragraph, summary_lines(report, candidates)), *commands)


def _tiles(tiles: Iterable[tuple[str, str]]) -> Iterator[Markup]:
    """Yield the figures, each with its description."""
    yield Markup('<div class="tiles">\n{}</div>\n').format(
        join(
            Markup('<div class="tile"><b>{}</b><span>{}</span></div>\n').format(*tile)
            for tile in tiles
        )
    )


def _overview(report: LogReport) -> list[tuple[str, str]]:
    delays, contacts = report.delays, report.first_contacts
    return [
        (format_number(report.requests), "requests"),
        (format_percentage(report.greylisted(), report.requests), "of them greylisted"),
        (_about(report.clients), "clients"),
        (format_number(contacts.count), "first contacts"),
        (format_percentage(contacts.never_returned, contacts.count), "of them never came back"),
        (format_duration(delays.percentiles[50]) if delays else "–", "median wait"),
    ]


# Over time ----------------------------------------------------------------------------------------


def _over_time(report: LogReport) -> Iterator[Markup]:
    if not report.slots:
        return
    step, bars = report.over_time(_MAX_BARS, _STEPS)
    form = "%a %Y-%m-%d" if step >= 86400 else "%a %m-%d %H:%M"
    names = [time.strftime(form, time.localtime(bar.start)) for bar in bars]
    short = "%Y-%m-%d" if step >= 86400 else "%m-%d" if step > 3600 else "%m-%d %H:%M"
    labels = [time.strftime(short, time.localtime(bar.start)) for bar in bars]
    title = f"Decisions over time, in steps of {format_duration(step)}"
    yield from section(title, chart(title, bars, names, some_labels(labels)), legend(report.slots))


def _by_hour(report: LogReport) -> Iterator[Markup]:
    if not report.slots:
        return
    names = [f"{hour:02}:00 to {hour + 1:02}:00" for hour in range(24)]
    labels = ["0", "6", "12", "18", "24 h"]
    title = "By hour of the day"
    yield from section(title, chart(title, report.by_hour(), names, labels), legend(report.slots))


# Decisions and delays -----------------------------------------------------------------------------


def _decisions(report: LogReport) -> Iterator[Markup]:
    highest = report.outcomes[0][1]
    rows = (
        [
            Markup("{} <small>{}</small>").format(printable_text(reason), action),
            format_number(count),
            format_percentage(count, report.requests),
            _kind_bar(
                count, highest, DecisionKind.NEW if action == GREYLIST else DecisionKind.KNOWN
            ),
        ]
        for (action, reason), count in report.outcomes[:_MAX_OUTCOMES]
    )
    yield from section("Decisions", table(["reason", "requests", "share", ""], rows, _WITH_BAR))


def _kind_bar(part: float, whole: float, kind: DecisionKind) -> Markup:
    """Return a bar in the colour of a kind of decision."""
    return cell_bar(part, whole, kind.key)


def _delays(report: LogReport) -> Iterator[Markup]:
    delays = report.delays
    if delays is None:
        return
    tiles = [
        *(
            (format_duration(value), _percentile(each))
            for each, value in delays.percentiles.items()
        ),
        (format_duration(delays.longest), "longest"),
    ]
    yield from section(
        "How long mail waited",
        paragraph(
            f"{format_number(delays.count)} {noun(delays.count, 'mail')} passed for the first time,"
            f" after {format_duration(delays.mean)} on average."
        ),
        _tiles(tiles),
        table(
            ["waited", "mails", "cumulative", ""],
            _delay_rows(delays.classes, delays.count),
            _WITH_BAR,
        ),
    )


def _percentile(percent: int) -> str:
    return "median" if percent == 50 else f"{percent}th percentile"


def _delay_rows(classes: Sequence[int], total: int) -> Iterator[list[str]]:
    names = [f"up to {format_duration(border)}" for border in DELAY_BORDERS]
    names.append(f"more than {format_duration(DELAY_BORDERS[-1])}")
    highest, so_far = max(classes), 0
    for name, count in zip(names, classes, strict=True):
        so_far += count
        if not so_far or (so_far == total and not count):
            continue
        yield [
            name,
            format_number(count),
            format_percentage(so_far, total),
            _kind_bar(count, highest, DecisionKind.WAITED),
        ]


def _first_contacts(report: LogReport) -> Iterator[Markup]:
    contacts, due = report.first_contacts, format_duration(report.due_seconds)
    rows = (
        [
            name,
            format_number(count),
            format_percentage(count, contacts.count),
            _kind_bar(count, contacts.count, kind),
        ]
        for name, count, kind in (
            ("passed after the delay", contacts.waited, DecisionKind.WAITED),
            (
                "passed from another network, or exempt",
                contacts.passed_otherwise,
                DecisionKind.AUTO_WHITELISTED,
            ),
            (f"never came back within {due}", contacts.never_returned, DecisionKind.NEW),
            (
                f"undecided: seen less than {due} before the log's end",
                contacts.too_young,
                DecisionKind.OTHER,
            ),
        )
    )
    yield from section(
        "How first contacts ended",
        paragraph(
            f"{format_number(contacts.count)} {noun(contacts.count, 'triplet')} of client network,"
            f" sender and recipient {noun(contacts.count, 'was', 'were')}"
            " greylisted for the first time."
        ),
        table(["", "triplets", "share", ""], rows, _WITH_BAR),
    )


# Lost mail ----------------------------------------------------------------------------------------


def _lost(report: LogReport) -> Iterator[Markup]:
    if not report.lost:
        return
    rows = (
        [
            Markup("{} → {}<br><small>{}[{}]</small>").format(
                printable(each.sender) or "<>",
                printable(each.recipient),
                printable(each.client_name) or "unknown",
                printable(each.client_address),
            ),
            Markup("{}<br><small>{}</small>").format(", ".join(_hints(each)), _tries(each)),
        ]
        for each in report.lost
    )
    lost = report.first_contacts.never_returned
    yield from section(
        "Never came back",
        paragraph(
            f"{format_number(lost)} {noun(lost, 'triplet')},"
            f" {format_number(report.lost_verified)} of them from clients with a verified name."
            " Most of it is spam, kept out; some may be wanted mail. The most likely wanted is"
            " listed first."
        ),
        [Markup('<div class="mails">')],
        table(["mail", "why it may be wanted"], rows, (Column.NAME, Column.NAME)),
        [Markup('</div>\n<div class="columns">')],
        _counts("domain of the client", [(each.name, each.count) for each in report.lost_domains]),
        _counts("recipient", [(each.name, each.count) for each in report.lost_recipients]),
        [Markup("</div>\n")],
    )


def _hints(mail: LostMail) -> list[str]:
    return [printable_text(hint) for hint in mail.all_hints()] or ["–"]


def _tries(mail: LostMail) -> str:
    tries = f"{mail.tries:,} tries, " if mail.tries > 1 else ""
    return f"{tries}last {format_timestamp(mail.last)}" if mail.last else f"{tries}no date"


def _counts(name: str, counts: Iterable[tuple[bytes, int]]) -> Iterator[Markup]:
    rows = ([printable(each) or "<>", format_number(count)] for each, count in counts)
    return table([name, "triplets"], rows, (Column.NAME, Column.NUMBER))


# Clients ------------------------------------------------------------------------------------------


def _waits(report: LogReport) -> Iterator[Markup]:
    if not report.waits:
        return
    rows = (
        [
            printable(report.client_name(each)),
            format_number(each.count),
            format_duration(each.seconds / each.count),
            format_duration(each.longest_seconds),
        ]
        for each in report.waits
    )
    yield from section(
        "Waited longest",
        paragraph("Candidates for whitelist_clients, by their total wait."),
        table(["client", "mails", "mean", "longest"], rows, (Column.NAME, *[Column.NUMBER] * 3)),
    )


def _early(report: LogReport) -> Iterator[Markup]:
    if not report.early:
        return
    rows = (
        [printable(report.client_name(each)), format_number(each.count)] for each in report.early
    )
    columns = (Column.NAME, Column.NUMBER)
    yield from section("Retried too early", table(["client", "retries"], rows, columns))


def _candidates(report: LogReport) -> Iterator[Markup]:
    if report.candidates:
        rows = ([printable(each.client), each.command] for each in report.candidates)
        yield from section(
            "If you know these providers, let them pass at once",
            paragraph("All names of these providers' clients are those of mail servers."),
            table(["client", "command"], rows, (Column.NAME, Column.NAME)),
        )


def _pools(report: LogReport) -> Iterator[Markup]:
    if not report.pools:
        return
    rows = (
        [
            printable(each.name),
            format_number(each.mails),
            format_number(each.max_networks),
            format_number(each.passed),
            format_duration(each.longest_seconds) if each.longest_seconds else "–",
        ]
        for each in report.pools
    )
    head = ["client", "mails", "networks, at most", "passed", "longest wait"]
    yield from section(
        "Pools",
        paragraph(
            "These providers retry from other networks, and each network is"
            " greylisted separately. --identity"
            " recognises them by their domain."
        ),
        table(head, rows, (Column.NAME, *[Column.NUMBER] * 4)),
    )


def _shadow(report: LogReport) -> Iterator[Markup]:
    if report.shadow:
        texts = map(paragraph, report.shadow.sentences())
        yield from section("Shadow: what its settings would have changed", *texts)


def _approximations(report: LogReport) -> Iterator[Markup]:
    if report.approximations:
        texts = (paragraph(f"{each}.") for each in report.approximations)
        yield from section("Approximations", *texts)


def _not_read(report: LogReport) -> Iterator[Markup]:
    if texts := list(report.not_read.sentences()):
        yield from section("Not read", *map(paragraph, texts))


def _about(number: DistinctCount) -> str:
    if number.is_exact:
        return format_number(number.count)
    return f"≈ {format_number(round(number.count, -3))}"
