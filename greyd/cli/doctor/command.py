"""``greyd doctor``: checks everything that greylisting needs; prints the faults and remedies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_NO
from greyd.cli.doctor.output import print_findings
from greyd.cli.doctor.pasting import lines_to_paste
from greyd.cli.errors import CommandError
from greyd.config.store_folder import default_folder
from greyd.doctor.findings import FAILED_STATES
from greyd.store.opening import check_store_file

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext


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
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also show the checks that found nothing wrong."),
    ] = False,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Show the changes to Postfix's main.cf and master.cf as a diff, and apply them"
            " once you confirm.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --fix: apply the changes without asking.")
    ] = False,
) -> int:
    """Check all that greylisting needs; show how to fix it.

    Checks the server (with requests that change nothing), Postfix's main.cf and master.cf, the
    whitelists, the store, the clocks, the metrics and the process. Run it as root, so that it can
    see everything.

    The first line is the verdict. Then come the problems, errors before warnings, each with a line
    to paste that fixes it. The other checks are only counted: ok, a hint (something could be
    better) or not checked; --verbose shows them with the reasons. Exit status 1 means warnings or
    errors.

    Without --fix the command changes nothing. With --fix it shows the changes to main.cf and
    master.cf as a diff, and applies them once you confirm. It keeps comments and order, and a
    backup of each file next to it. "postfix check" must accept the changes, or the old files stay.

    Examples:

      greyd doctor

      greyd doctor --server=http://mx2.example.org:9923

      greyd doctor --fix

      greyd doctor --json
    """
    if fix and context.as_json:
        raise CommandError("--json: not with --fix")
    if yes and not fix:
        raise CommandError("--yes: only with --fix")
    from greyd.doctor.checks import check_all

    # The store belongs to another program: run no check on it.
    check_store_file(context.settings, context.settings.dbdir or default_folder())
    folder = _folder_of(main_cf) if main_cf else None
    result = await check_all(context, main_cf=folder, exchangers=server or [], thorough=thorough)
    if fix:
        from greyd.cli.doctor.fix import fix as fix_postfix

        return await fix_postfix(context, result, yes=yes)
    findings = result.findings
    context.print_json(
        [
            {
                "check": each.check,
                "state": each.state.value,
                "seen": each.seen,
                "remedy": each.remedy,
                "commands": lines_to_paste(each),
            }
            for each in findings
        ]
    )
    if not context.as_json:
        print_findings(context, findings, result.plan, verbose=verbose)
    return EXIT_NO if any(each.state in FAILED_STATES for each in findings) else 0


def _folder_of(main_cf: str) -> str:
    path = Path(main_cf).absolute()
    return str(path.parent if path.name in ("main.cf", "master.cf") else path)
