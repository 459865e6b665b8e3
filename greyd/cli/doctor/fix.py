"""``greyd doctor --fix``: shows the changes to Postfix's files, and applies them on request."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from greyd.cli.context import EXIT_NO
from greyd.cli.doctor.output import worst_first
from greyd.cli.entries.confirmation import agrees, ask
from greyd.cli.errors import CommandError
from greyd.doctor.findings import FindingState
from greyd.doctor.postfix.fix.writing import check_with_postfix, real_path, write_plan
from greyd.doctor.programs import ProgramError, run_program
from greyd.escaping import printable_text, shell_word
from greyd.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.doctor.checks import CheckResult
    from greyd.doctor.findings import Finding
    from greyd.doctor.postfix.fix.plan import FixPlan

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


async def fix(context: CommandContext, result: CheckResult, *, yes: bool) -> int:
    """Show the changes as a diff, and make them if the user agrees; return the exit status.

    Raises:
        CommandError: the user declines, or there is no terminal to ask.
        FixError: the changes can't be made safely; nothing was changed.
    """
    if result.refusal:
        raise CommandError(f"{result.refusal}; nothing was changed")
    plan = result.plan
    problems = worst_first(result.findings)
    if plan is None or not plan.changes:
        context.print("Nothing to change in Postfix's main.cf and master.cf.")
        _print_rest(context, len(problems), result.findings)
        return EXIT_NO if problems else 0
    _print_diff(context, plan)
    for change in plan.changes:
        if (path := real_path(change)) != change.path.absolute():
            context.print(f"{change.path} is a link: {path} is changed.")
    await check_with_postfix(plan)
    context.print("postfix check accepts these changes.")
    _ask(yes=yes)
    for each in await write_plan(plan):
        undo = f"cp -p {shell_word(str(each.backup))} {shell_word(str(each.path))}"
        context.print(f"Changed {each.path}. To undo:")
        context.console.print(f"    {undo}", soft_wrap=True)
    await _reload(context, plan, yes=yes)
    left = len(problems) - len(plan.commands)
    _print_rest(context, left, result.findings)
    return EXIT_NO if left else 0


def _print_diff(context: CommandContext, plan: FixPlan) -> None:
    from rich.text import Text

    for change in plan.changes:
        for line in change.diff():
            style = _STYLES.get(line[:1], "")
            context.console.print(Text(printable_text(line), style=style), soft_wrap=True)
    context.print("")


def _ask(*, yes: bool) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError("there is no terminal to confirm the changes; use --yes")
    ask("apply these changes")


async def _reload(context: CommandContext, plan: FixPlan, *, yes: bool) -> None:
    """Reload Postfix if the user agrees; otherwise print the command."""
    folder = [] if plan.is_default_folder else ["-c", str(plan.folder)]
    words = ["postfix", *folder, "reload"]
    line = " ".join(map(shell_word, words))
    is_asked = not yes and sys.stdin.isatty()
    if is_asked and agrees(f"run {line} now"):
        try:
            await run_program(*words)
        except ProgramError as fault:
            raise CommandError(f"the files are changed, but {fault}; then run: {line}") from None
        context.print("Postfix has reloaded.")
        return
    context.print("Postfix applies the changes to new connections after:")
    context.console.print(f"    {line}", soft_wrap=True)


def _print_rest(context: CommandContext, count: int, findings: Sequence[Finding]) -> None:
    """Print how many problems and hints are left."""
    if count:
        what = "1 problem needs" if count == 1 else f"{count} problems need"
        context.print(f"{what} another remedy: greyd doctor shows it.")
    if hints := sum(each.state is FindingState.HINT for each in findings):
        # A hint is a choice between good settings, which only this site can make.
        what = counted(hints, "hint")
        context.print(f"{what} not applied, as each is a choice: greyd doctor -v shows them.")
