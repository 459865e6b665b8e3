"""Prints the findings of the doctor: the verdict, the problems, and what is fine as a count."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

from greyd.cli.doctor.pasting import lines_to_paste
from greyd.doctor.findings import FAILED_STATES, Finding, FindingState
from greyd.escaping import printable_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from greyd.cli.context import CommandContext
    from greyd.doctor.postfix.fix.plan import FixPlan

_STYLES = {
    FindingState.OK: "green",
    FindingState.HINT: "cyan",
    FindingState.NOT_CHECKED: "dim",
    FindingState.WARNING: "yellow",
    FindingState.ERROR: "bold red",
}

_INDENT = 15
"""The width of the column that shows the states in the list of all checks."""


def print_findings(
    context: CommandContext, findings: Sequence[Finding], plan: FixPlan | None, *, verbose: bool
) -> None:
    """Print the verdict, then the problems, worst first; with ``verbose`` also all other checks."""
    from rich.text import Text

    problems = worst_first(findings)
    context.print(Text(verdict(findings), style="bold" if problems else "bold green"))
    printed: set[str] = set()
    for each in problems:
        _print_problem(context, each, plan, printed)
    rest = [each for each in findings if each.state not in FAILED_STATES]
    context.print("")
    if verbose:
        _print_groups(context, rest)
    _print_counts(context, rest, verbose=verbose)
    if plan is not None and plan.changes:
        count = len(plan.commands)
        _print_wrapped(
            context,
            f"greyd doctor{_folder_option(plan)} --fix shows the changes to"
            f" {' and '.join(each.path.name for each in plan.changes)} that fix"
            f" {'this problem' if count == len(problems) == 1 else f'{count} of these problems'}"
            ", and applies them once you confirm.",
            "",
        )


def _folder_option(plan: FixPlan) -> str:
    return "" if plan.is_default_folder else f" --main-cf={plan.folder}"


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Return the errors, then the warnings."""
    return [
        each
        for state in (FindingState.ERROR, FindingState.WARNING)
        for each in findings
        if each.state is state
    ]


def verdict(findings: Sequence[Finding]) -> str:
    """Return the verdict in one line."""
    errors, warnings, unchecked = (
        sum(each.state is state for each in findings)
        for state in (FindingState.ERROR, FindingState.WARNING, FindingState.NOT_CHECKED)
    )
    counts = " and ".join(
        _counted(count, name) for count, name in ((errors, "error"), (warnings, "warning")) if count
    )
    if errors:
        return f"Problems found: {counts}."
    if warnings:
        return f"Working, with {counts}."
    if unchecked:
        checks = "1 check" if unchecked == 1 else f"{unchecked} checks"
        return f"No problems found, but {checks} could not be run."
    return "All is well."


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _print_problem(
    context: CommandContext, finding: Finding, plan: FixPlan | None, printed: set[str]
) -> None:
    from rich.text import Text

    head = Text(f"{finding.state.value}: {finding.check}")
    head.stylize(_STYLES[finding.state], 0, len(finding.state.value))
    context.print("", head)
    _print_wrapped(context, finding.seen, "  ")
    lines = lines_to_paste(finding)
    if lines and set(lines) <= printed:
        _print_wrapped(context, "The lines above fix this, too.", "  ")
        return
    for line in lines:
        # Unwrapped: a line that is folded cannot be pasted.
        context.console.print(Text(f"    {printable_text(line)}", style="bold"), soft_wrap=True)
    printed.update(lines)
    if lines:
        return
    if plan is not None and finding in plan.commands:
        _print_wrapped(context, "A consequence of another problem; fixing that fixes this.", "  ")
    elif finding.remedy:
        _print_wrapped(context, f"→ {finding.remedy}", "  ")
    if plan is not None and (refusal := plan.refusals.get(finding)):
        _print_wrapped(context, f"Change this by hand: {refusal}.", "  ")


def _print_counts(context: CommandContext, rest: Sequence[Finding], *, verbose: bool) -> None:
    of = {
        state: [each for each in rest if each.state is state]
        for state in (FindingState.OK, FindingState.HINT, FindingState.NOT_CHECKED)
    }
    fine, hints = len(of[FindingState.OK]), len(of[FindingState.HINT])
    more = "" if verbose or not (fine or hints) else " (-v shows them)"
    _print_wrapped(context, f"{fine} ok, {_counted(hints, 'hint')}{more}.", "")
    if unknown := of[FindingState.NOT_CHECKED]:
        names = ", ".join(dict.fromkeys(each.check for each in unknown))
        _print_wrapped(context, f"{len(unknown)} not checked: {names}.", "")


def _print_groups(context: CommandContext, findings: Sequence[Finding]) -> None:
    from rich.text import Text

    for group, members in groupby(findings, key=lambda each: each.group):
        context.print(Text(group.capitalize(), style="bold"))
        for each in members:
            name = _check_name(each)
            head = f"  {each.state.value:11}  "
            text = _wrapped(context, f"{name}: {each.seen}", head, " " * _INDENT)
            text.stylize(_STYLES[each.state], 0, _INDENT)
            context.print(text)
            if each.remedy:
                context.print(_wrapped(context, f"→ {each.remedy}", " " * _INDENT, " " * _INDENT))
        context.print("")


def _check_name(finding: Finding) -> str:
    """Return the name of a check within its group; ``3 clients …`` would read as a count."""
    name = finding.check.partition(": ")[2]
    return f"tip {name[0]}, {name[2:]}" if finding.group == "tips" and name[2:] else name


def _print_wrapped(context: CommandContext, text: str, indent: str) -> None:
    context.print(_wrapped(context, text, indent, indent))


def _wrapped(context: CommandContext, text: str, first_indent: str, indent: str) -> Text:
    from rich.text import Text

    lines = textwrap.wrap(
        text,
        context.console.width,
        initial_indent=first_indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return Text("\n".join(lines))
