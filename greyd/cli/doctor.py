"""``greyd doctor``: checks everything that greylisting needs; prints the faults and remedies."""

from __future__ import annotations

import textwrap
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_NO
from greyd.config.store_folder import default_folder
from greyd.doctor.findings import FAILED_STATES, Finding, FindingState
from greyd.store.opening import check_store_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from greyd.cli.context import CommandContext

_STYLES = {
    FindingState.OK: "green",
    FindingState.HINT: "cyan",
    FindingState.NOT_CHECKED: "dim",
    FindingState.WARNING: "yellow",
    FindingState.ERROR: "bold red",
}

_INDENT = 15
"""The width of the column that shows the states."""


async def doctor(
    context: CommandContext,
    *,
    main_cf: Annotated[
        str | None,
        typer.Option(
            "--main-cf",
            "--config-dir",
            metavar="FOLDER",
            help="The folder of Postfix's main.cf, or the path of main.cf, if it is not"
            " Postfix's default.",
        ),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="Also check another mail exchanger by its metrics port, http://HOST:PORT;"
            " may be repeated.",
        ),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Let SQLite check the whole content of its file.")
    ] = False,
) -> int:
    """Check all that greylisting needs; show how to fix it.

    Checks the server (with requests that change nothing), Postfix's main.cf and master.cf, the
    whitelists, the store, the clocks, the metrics and the process. It changes nothing. Run it as
    root, so that it can see everything.

    The result of a check is ok, a hint (something could be better), not checked (with the reason),
    a warning or an error. Exit status 1 means warnings or errors.

    Examples:

      greyd doctor

      greyd doctor --server=http://mx2.example.org:9923

      greyd doctor --json
    """
    from greyd.doctor.checks import check_all

    # The store belongs to another program: run no check on it.
    check_store_file(context.settings, context.settings.dbdir or default_folder())
    folder = _folder_of(main_cf) if main_cf else None
    findings = await check_all(context, main_cf=folder, exchangers=server or [], thorough=thorough)
    _show(context, findings)
    return EXIT_NO if any(each.state in FAILED_STATES for each in findings) else 0


def _folder_of(main_cf: str) -> str:
    path = Path(main_cf).absolute()
    return str(path.parent if path.name in ("main.cf", "master.cf") else path)


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
    context.print(Text(_summary(findings), style="bold"))


def _indented(context: CommandContext, text: str, first_indent: str) -> Text:
    from rich.text import Text

    lines = textwrap.wrap(
        text,
        context.console.width,
        initial_indent=first_indent,
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return Text("\n".join(lines))


def _summary(findings: Sequence[Finding]) -> str:
    counts = [
        (sum(each.state is state for each in findings), one, several)
        for state, one, several in (
            (FindingState.ERROR, "error", "errors"),
            (FindingState.WARNING, "warning", "warnings"),
            (FindingState.HINT, "hint", "hints"),
            (FindingState.NOT_CHECKED, "not checked", "not checked"),
            (FindingState.OK, "ok", "ok"),
        )
    ]
    return ", ".join(
        f"{count} {one if count == 1 else several}" for count, one, several in counts if count
    )
