"""``greyd doctor``: looks at all that greylisting needs, and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import textwrap
import time
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_NO
from greyd.config.store_folder import default_folder
from greyd.doctor.findings import WRONG, Finding, State, error, hint, not_checked, ok
from greyd.store.opening import check_store_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.text import Text

    from greyd.cli.context import CommandContext
    from greyd.doctor.listeners import Listener, Tcp
    from greyd.doctor.server import Report

_STYLES = {
    State.OK: "green",
    State.HINT: "cyan",
    State.NOT_CHECKED: "dim",
    State.WARNING: "yellow",
    State.ERROR: "bold red",
}

_INDENT = 15
"""Columns that the states take."""


async def doctor(
    context: CommandContext,
    *,
    main_cf: Annotated[
        str | None,
        typer.Option("--main-cf", metavar="FOLDER", help="Where Postfix's main.cf is."),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            "--server", metavar="URL", help="The metrics port of another exchanger; repeatable."
        ),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also check the content of the SQLite file.")
    ] = False,
) -> int:
    """Say whether all is well, what is wrong, and what to do about it.

    Looks at the server (it is asked something that changes nothing), at Postfix's main.cf and
    master.cf, at the whitelists, the store, the clocks, the metrics and the process. Nothing is
    changed. As root it sees all of it.

    Each check is ok, a hint (it could be otherwise), not checked (and why), a warning or an error.
    With warnings or errors the exit status is 1.

    Examples:

      greyd doctor

      greyd doctor --server=http://mx2.example.org:9923

      greyd doctor --json
    """
    findings = await _look(context, main_cf, server or [], thorough=thorough)
    _show(context, findings)
    return EXIT_NO if any(each.state in WRONG for each in findings) else 0


async def _look(
    context: CommandContext, main_cf: str | None, others: Sequence[str], *, thorough: bool
) -> list[Finding]:
    from greyd.doctor import lists, machine, store
    from greyd.doctor.listeners import of_settings, of_systemd

    listeners = await of_systemd() or of_settings(context.settings)
    # What is not greyd's is not looked at any closer.
    check_store_file(context.settings, context.settings.dbdir or default_folder())
    asked, report = await _ask_server(context, listeners, main_cf)
    process = await asyncio.to_thread(machine.process_of, listeners)
    met: list[list[Finding]]
    (postfix, stored), (unit, ntp), postgrey, met = await asyncio.gather(
        asyncio.gather(
            _look_at_postfix(context, main_cf, listeners),
            store.findings(context, thorough=thorough),
        ),
        asyncio.gather(machine.finding_of_unit(process), machine.finding_of_ntp()),
        machine.postgrey_runs(),
        asyncio.gather(*(_meet(url) for url in others)),
    )
    up = report.value("greyd_store_up") if report else None
    return _in_groups(
        [
            *asked,
            *postfix,
            *lists.findings(context.settings, report, process),
            *lists.findings_of_suffixes(context.settings, datetime.now(UTC).date()),
            store.finding_of_server(up),
            *stored,
            ntp,
            *(finding for findings in met for finding in findings),
            *_findings_of_metrics(report),
            *machine.findings_of_process(process, _open_files(report)),
            unit,
            *postgrey,
            *_findings_of_settings(context),
        ]
    )


def _in_groups(findings: Sequence[Finding]) -> list[Finding]:
    """Put the findings of a group together, in the order of the groups' first ones."""
    groups = list(dict.fromkeys(each.group for each in findings))
    return sorted(findings, key=lambda each: groups.index(each.group))


# The server ---------------------------------------------------------------------------------------


async def _ask_server(
    context: CommandContext, listeners: Sequence[Listener], main_cf: str | None
) -> tuple[list[Finding], Report | None]:
    """Ask the server on all that it listens on, and for what it says of itself."""
    from greyd.doctor import server as asking
    from greyd.doctor.mail_owner import mail_owner

    owner = await mail_owner(main_cf)
    before, why = await _report(context)
    findings = []
    answers = []
    for place in _places(listeners):
        answered = await asking.question(place, owner=owner)
        answers.append(answered)
        findings.append(asking.finding_of_answer(place, answered, owner))
    answered_count = sum(each.action == "DUNNO" for each in answers)
    if before is None:
        return [*findings, asking.finding_without_counters(answers, why)], None
    if answered_count:
        after = await _counted(context, before, answered_count)
        findings.append(asking.finding_of_counters(before, after, answered_count))
    url = asking.url_of(context.settings.metrics) if context.settings.metrics else ""
    findings += [*asking.findings_of_report(url, before), asking.finding_of_mode(before)]
    return findings, before


def _places(listeners: Sequence[Listener]) -> list[Tcp | Path]:
    from greyd.doctor.listeners import Tcp

    places: list[Tcp | Path] = []
    for listener in listeners:
        places += listener.to_ask() if isinstance(listener, Tcp) else [listener]
    return list(dict.fromkeys(place for place in places if not _is_any_port(place)))


def _is_any_port(place: Tcp | Path) -> bool:
    """Whether the server chose the port itself, so that nobody knows it."""
    return isinstance(place, tuple) and not place.port


async def _report(context: CommandContext) -> tuple[Report | None, str]:
    from greyd.doctor import server as asking

    if context.settings.metrics is None:
        return None, "--metrics=0: the server can't be asked what it is"
    try:
        return await asking.report(asking.url_of(context.settings.metrics)), ""
    except asking.ReportError as fault:
        return None, str(fault)


async def _counted(context: CommandContext, before: Report, answers: int) -> Report:
    """Return the counters when they have counted so many answers, or do not in a second."""
    from greyd.doctor.server import PASSED

    last = before
    for _ in range(5):
        found, _why = await _report(context)
        last = found or last
        if (last.value(*PASSED) or 0) - (before.value(*PASSED) or 0) >= answers:
            break
        await asyncio.sleep(0.2)
    return last


async def _meet(url: str) -> list[Finding]:
    """Look at another exchanger, through its metrics port."""
    from greyd.doctor import server as asking
    from greyd.doctor.redis import finding_of_offset

    name = url.partition("://")[2].rstrip("/") or url
    try:
        found = await asking.report(url)
    except asking.ReportError as fault:
        return [
            error(f"exchangers: {name}", str(fault), "see to that it runs, and --metrics there")
        ]
    check = f"clocks: {name}"
    offset = found.clock_offset_seconds
    clock = (
        not_checked(check, "its version does not say what time it has")
        if offset is None
        else finding_of_offset(check, offset, found.took_seconds)
    )
    return [*asking.findings_of_report(url, found, f"exchangers: {name}"), clock]


def _findings_of_metrics(report: Report | None) -> list[Finding]:
    from greyd.doctor.server import finding_of_scrapes

    if report is None:
        return [not_checked("metrics: scraped", "the server's metrics can't be read")]
    return [finding_of_scrapes(report, time.time())]


def _open_files(report: Report | None) -> float | None:
    return report.value("process_open_fds") if report else None


# The rest -----------------------------------------------------------------------------------------


async def _look_at_postfix(
    context: CommandContext, folder: str | None, listeners: Sequence[Listener]
) -> list[Finding]:
    from greyd.doctor.postfix import main_cf, postconf

    found = await postconf.try_to_read(folder)
    if isinstance(found, str):
        if folder:
            return [error("postfix: files", found, "name the folder of main.cf and master.cf")]
        return [not_checked("postfix: files", found)]
    return main_cf.findings(found, listeners, context.settings)


def _findings_of_settings(context: CommandContext) -> list[Finding]:
    check = "process: settings"
    warnings = context.settings.warnings
    return [hint(check, each) for each in warnings] or [ok(check, "nothing is odd in them")]


def _show(context: CommandContext, findings: Sequence[Finding]) -> None:
    context.print_json(
        [
            {
                "check": each.check,
                "state": each.state.value,
                "seen": each.seen,
                "remedy": each.remedy,
            }
            for each in findings
        ]
    )
    if not context.as_json:
        _show_groups(context, findings)


def _show_groups(context: CommandContext, findings: Sequence[Finding]) -> None:
    from rich.text import Text

    for group, members in groupby(findings, key=lambda each: each.group):
        context.print(Text(group.capitalize(), style="bold"))
        for each in members:
            name = each.check.partition(": ")[2]
            text = _indented(context, f"{each.state.value:11}  {name}: {each.seen}", "  ")
            text.stylize(_STYLES[each.state], 0, _INDENT)
            context.print(text)
            if each.remedy:
                context.print(_indented(context, f"→ {each.remedy}", " " * _INDENT))
        context.print("")
    context.print(Text(_sum(findings), style="bold"))


def _indented(context: CommandContext, text: str, before: str) -> Text:
    from rich.text import Text

    lines = textwrap.wrap(
        text,
        context.console.width,
        initial_indent=before,
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return Text("\n".join(lines))


def _sum(findings: Sequence[Finding]) -> str:
    counts = [
        (sum(each.state is state for each in findings), name)
        for state, name in (
            (State.ERROR, "errors"),
            (State.WARNING, "warnings"),
            (State.HINT, "hints"),
            (State.NOT_CHECKED, "not checked"),
            (State.OK, "ok"),
        )
    ]
    return ", ".join(f"{count} {name}" for count, name in counts if count)
