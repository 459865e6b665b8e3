"""``greyd check-whitelist``: checks whitelist files, and shows how often their lines match."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greyd.cli.check_whitelist.files import read_files
from greyd.cli.check_whitelist.hits import print_hits
from greyd.cli.check_whitelist.policy_tables import (
    TableFinding,
    table_findings,
    tables_as_json,
)
from greyd.cli.context import EXIT_ERROR, EXIT_NO, CommandContext
from greyd.cli.errors import CommandError
from greyd.cli.site_rules import domain_text, group_text
from greyd.config.settings import Settings
from greyd.plurals import counted
from greyd.whitelist.lint.findings import ERROR, NOTE, LintFinding
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import (
    CLIENTS,
    NEVER_AUTO,
    OVERRIDE,
    RECIPIENTS,
    SENDER_LOGINS,
    SENDERS,
)

if TYPE_CHECKING:
    from greyd.cli.check_whitelist.files import CheckedFiles


SORTS = ("file", "hits")


async def check_whitelist(
    context: CommandContext,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE…", show_default=False)] = None,
    clients: Annotated[
        bool, typer.Option("--clients", help="The files list clients, whatever their names.")
    ] = False,
    recipients: Annotated[
        bool, typer.Option("--recipients", help="The files list recipients, whatever their names.")
    ] = False,
    senders: Annotated[
        bool, typer.Option("--senders", help="The files list senders, whatever their names.")
    ] = False,
    never_auto_whitelist: Annotated[
        bool,
        typer.Option(
            "--never-auto-whitelist", help="The files list clients never to auto-whitelist."
        ),
    ] = False,
    sender_logins: Annotated[
        bool, typer.Option("--sender-logins", help="The files list the logins of senders.")
    ] = False,
    list_override: Annotated[
        bool, typer.Option("--list-override", help="The files list clients exempt from DNS lists.")
    ] = False,
    hits: Annotated[
        bool,
        typer.Option(
            "--hits", help="Show how often each line let mail pass, and when it did last."
        ),
    ] = False,
    sort: Annotated[
        str, typer.Option("--sort", metavar="ORDER", help="Order of --hits: file or hits.")
    ] = "file",
) -> int:
    """Find whitelist lines that match strangers, or nothing.

    Without a FILE, the command checks the running server's own files, and shows its sender groups
    and recipient domains. A word in a file's name (clients, recipients, senders, never_auto, logins
    or override) decides what it lists.
    Lines that never match or match more than their author meant are errors; other findings are
    notes. The exit status is 1 for any finding, and 2 if a file can't be read.

    The server counts how often each line lets mail pass, and keeps a count for a year after the
    last hit. --hits shows "never" for lines without a hit.

    Examples:

      greyd check-whitelist

      greyd check-whitelist /etc/greyd/whitelist_clients.local

      greyd check-whitelist --recipients /tmp/vips

      greyd check-whitelist --hits --sort hits
    """
    sort = sort.lower()
    if sort not in SORTS:
        raise CommandError(f"--sort={sort}: expected one of {', '.join(SORTS)}")
    flags = {
        CLIENTS: clients,
        RECIPIENTS: recipients,
        SENDERS: senders,
        NEVER_AUTO: never_auto_whitelist,
        SENDER_LOGINS: sender_logins,
        OVERRIDE: list_override,
    }
    only = [which for which, is_given in flags.items() if is_given]
    if len(only) > 1:
        names = " and ".join("--" + which.replace("_", "-") for which in only)
        raise CommandError(f"{names}: a file lists either one or the other")
    read = read_files(context.settings, files or [], only[0] if only else None)
    if hits:
        found = await print_hits(context, read, sort)
    else:
        # The tables belong to the settings, not to a file.
        settings = context.settings if not (files or only) else Settings()
        found = _print_findings(context, read, settings)
    return EXIT_ERROR if read.unreadable else found


# Findings -----------------------------------------------------------------------------------------


def _print_findings(context: CommandContext, read: CheckedFiles, settings: Settings) -> int:
    findings = [
        (which, finding)
        for which, sources in read.sources.items()
        for finding in lint(sources, which)
    ]
    of_tables = table_findings(settings)
    if not context.as_json:
        # Print directly: the console folds lines, but grep and editors need whole ones.
        for each in (*(finding for _, finding in findings), *of_tables):
            sys.stdout.write(f"{each}\n")
    number = read.entry_count()
    errors = sum(1 for _, finding in findings if finding.severity == ERROR)
    names = ", ".join(source.file for sources in read.sources.values() for source in sources)
    notes = len(findings) + len(of_tables) - errors
    verdict = (
        f"{counted(errors, 'error')}, {counted(notes, 'note')}"
        if errors or notes
        else "no findings"
    )
    context.print(*(group_text(each) for each in settings.sender_groups))
    context.print(*(domain_text(each) for each in settings.recipient_domains))
    context.print(f"{counted(number, 'entry', 'entries')} in {names or 'no file'}: {verdict}")
    context.print_json(
        {
            "files": [
                {"file": source.file, "list": which}
                for which, sources in read.sources.items()
                for source in sources
            ],
            "entries": number,
            "errors": errors,
            "notes": notes,
            "findings": [
                *(_as_json(which, finding) for which, finding in findings),
                *(_table_as_json(finding) for finding in of_tables),
            ],
            **tables_as_json(settings),
        }
    )
    return EXIT_NO if errors or notes else 0


def _table_as_json(finding: TableFinding) -> dict[str, Any]:
    return {
        "list": None,
        "file": None,
        "line": None,
        "text": finding.where,
        "severity": NOTE,
        "what": finding.problem,
        "remedy": finding.remedy,
    }


def _as_json(which: str, finding: LintFinding) -> dict[str, Any]:
    return {
        "list": which,
        "file": finding.file,
        "line": finding.line,
        "text": finding.text,
        "severity": finding.severity,
        "what": finding.problem,
        "remedy": finding.remedy,
    }
