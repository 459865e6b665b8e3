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
from greyd.doctor.findings import FAILED_STATES, Finding, FindingState, error, hint, not_checked, ok
from greyd.store.opening import check_store_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.text import Text

    from greyd.cli.context import CommandContext
    from greyd.doctor.listeners import Listener, Tcp
    from greyd.doctor.server_metrics import ServerMetrics

_STYLES = {
    FindingState.OK: "green",
    FindingState.HINT: "cyan",
    FindingState.NOT_CHECKED: "dim",
    FindingState.WARNING: "yellow",
    FindingState.ERROR: "bold red",
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
    return EXIT_NO if any(each.state in FAILED_STATES for each in findings) else 0


async def _look(
    context: CommandContext, main_cf: str | None, others: Sequence[str], *, thorough: bool
) -> list[Finding]:
    from greyd.doctor.clocks import finding_of_ntp
    from greyd.doctor.listeners import configured_listeners, systemd_listeners
    from greyd.doctor.process import find_process, findings_of_process
    from greyd.doctor.public_suffixes import check_public_suffixes
    from greyd.doctor.store import check_store_access, finding_of_server
    from greyd.doctor.systemd import finding_of_unit, findings_of_postgrey
    from greyd.doctor.whitelists import check_whitelists

    listeners = await systemd_listeners() or configured_listeners(context.settings)
    # What is not greyd's is not looked at any closer.
    check_store_file(context.settings, context.settings.dbdir or default_folder())
    asked, report = await _ask_server(context, listeners, main_cf)
    process = await asyncio.to_thread(find_process, listeners)
    met: list[list[Finding]]
    (postfix, stored), (unit, ntp), postgrey, met = await asyncio.gather(
        asyncio.gather(
            _look_at_postfix(context, main_cf, listeners),
            check_store_access(context, thorough=thorough),
        ),
        asyncio.gather(finding_of_unit(process), finding_of_ntp()),
        findings_of_postgrey(),
        asyncio.gather(*(_meet(url) for url in others)),
    )
    up = report.value("greyd_store_up") if report else None
    return _in_groups(
        [
            *asked,
            *postfix,
            *check_whitelists(context.settings, report, process),
            *check_public_suffixes(context.settings, datetime.now(UTC).date()),
            finding_of_server(up),
            *stored,
            ntp,
            *(finding for findings in met for finding in findings),
            *_findings_of_metrics(report),
            *findings_of_process(process, _open_files(report)),
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
) -> tuple[list[Finding], ServerMetrics | None]:
    """Ask the server on all that it listens on, and for what it says of itself."""
    from greyd.doctor.mail_owner import mail_owner
    from greyd.doctor.policy_request import finding_of_answer, send_request
    from greyd.doctor.server_metrics import (
        finding_of_counters,
        finding_of_mode,
        finding_without_counters,
        findings_of_metrics,
        url_of,
    )

    owner = await mail_owner(main_cf)
    before, why = await _report(context)
    findings = []
    answers = []
    for place in _places(listeners):
        answered = await send_request(place, owner=owner)
        answers.append(answered)
        findings.append(finding_of_answer(place, answered, owner))
    answered_count = sum(each.action == "DUNNO" for each in answers)
    if before is None:
        return [*findings, finding_without_counters(answers, why)], None
    if answered_count:
        after = await _counted(context, before, answered_count)
        findings.append(finding_of_counters(before, after, answered_count))
    url = url_of(context.settings.metrics) if context.settings.metrics else ""
    findings += [*findings_of_metrics(url, before), finding_of_mode(before)]
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


async def _report(context: CommandContext) -> tuple[ServerMetrics | None, str]:
    from greyd.doctor.server_metrics import (
        MetricsError,
        fetch_metrics,
        url_of,
    )

    if context.settings.metrics is None:
        return None, "--metrics=0: the server can't be asked what it is"
    try:
        return await fetch_metrics(url_of(context.settings.metrics)), ""
    except MetricsError as fault:
        return None, str(fault)


async def _counted(context: CommandContext, before: ServerMetrics, answers: int) -> ServerMetrics:
    """Return the counters when they have counted so many answers, or do not in a second."""
    from greyd.doctor.server_metrics import COUNTER

    last = before
    for _ in range(5):
        found, _why = await _report(context)
        last = found or last
        if (last.value(*COUNTER) or 0) - (before.value(*COUNTER) or 0) >= answers:
            break
        await asyncio.sleep(0.2)
    return last


async def _meet(url: str) -> list[Finding]:
    """Look at another exchanger, through its metrics port."""
    from greyd.doctor.clocks import finding_of_offset
    from greyd.doctor.server_metrics import (
        MetricsError,
        fetch_metrics,
        findings_of_metrics,
    )

    name = url.partition("://")[2].rstrip("/") or url
    try:
        found = await fetch_metrics(url)
    except MetricsError as fault:
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
    return [*findings_of_metrics(url, found, f"exchangers: {name}"), clock]


def _findings_of_metrics(report: ServerMetrics | None) -> list[Finding]:
    from greyd.doctor.server_metrics import finding_of_scrapes

    if report is None:
        return [not_checked("metrics: scraped", "the server's metrics can't be read")]
    return [finding_of_scrapes(report, time.time())]


def _open_files(report: ServerMetrics | None) -> float | None:
    return report.value("process_open_fds") if report else None


# The rest -----------------------------------------------------------------------------------------


async def _look_at_postfix(
    context: CommandContext, folder: str | None, listeners: Sequence[Listener]
) -> list[Finding]:
    from greyd.doctor.postfix.main_cf import check_main_cf
    from greyd.doctor.postfix.postconf import try_to_read_config

    found = await try_to_read_config(folder)
    if isinstance(found, str):
        if folder:
            return [error("postfix: files", found, "name the folder of main.cf and master.cf")]
        return [not_checked("postfix: files", found)]
    return check_main_cf(found, listeners, context.settings)


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
            (FindingState.ERROR, "errors"),
            (FindingState.WARNING, "warnings"),
            (FindingState.HINT, "hints"),
            (FindingState.NOT_CHECKED, "not checked"),
            (FindingState.OK, "ok"),
        )
    ]
    return ", ".join(f"{count} {name}" for count, name in counts if count)
