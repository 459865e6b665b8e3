"""Prints an explained request: the verdict, the steps, and what would change the decision."""

from __future__ import annotations

import io
import textwrap
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from greyd.cli.explain.answer.commands_to_paste import commands_to_paste
from greyd.cli.explain.answer.remedies import BY_MERIT, ON_THIS_SITE, describe_remedies
from greyd.cli.explain.answer.verdict import verdict_sentence
from greyd.cli.explain.assumption import describe_assumption
from greyd.cli.explain.rule_step import retry_window
from greyd.cli.explain.steps import describe_steps
from greyd.escaping import printable, printable_text
from greyd.plurals import counted
from greyd.rules.reasons import GREYLIST, PASS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.explain.answer.commands_to_paste import ProposedCommand
    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.cli.explain.rule_step import RetryWindow
    from greyd.cli.explain.step import ExplainedStep
    from greyd.config.settings import Settings
    from greyd.maillog.decisions import LoggedDecision
    from greyd.rules.reasons import Reason


_MIN_WIDTH_OF_COLUMNS = 70
_STEP_WIDTH = 23
_TRY_PRESET = "greyd replay --with preset=recommended"

_STYLES = {PASS: "bold green", GREYLIST: "bold yellow"}


def print_explanation(
    context: CommandContext, case: ExplainedRequest, *, verbose: bool = False
) -> None:
    """Print an explained request, as text or JSON.

    If the text is longer than the terminal, the verdict would scroll away: then only the step that
    decides is shown, unless ``verbose``.
    """
    steps = describe_steps(case)
    window = retry_window(case)
    sentence = verdict_sentence(case, steps, window)
    commands = commands_to_paste(case, steps, context.repeated_options)
    remedies = describe_remedies(case)
    if not context.as_json:
        print_text = partial(
            _print_text, case=case, steps=steps, sentence=sentence, remedies=remedies,
            commands=commands,
        )  # fmt: skip
        print_text(context, is_short=not verbose and not _fits(context, print_text))
    context.print_json(
        {
            "request": {
                name: value.decode(errors="backslashreplace")
                for name, value in case.request._asdict().items()
                if value is not None
            },
            "now": case.dry_run.now,
            "steps": [step.as_json() for step in steps],
            "verdict": {
                **_verdict_as_json(case, window),
                "would_pass_with": remedies,
                "sentence": sentence,
                "assumption": describe_assumption(case) or None,
                "commands": [each.command for each in commands],
                "proposals": [each.as_json() for each in commands],
            },
            "logged": case.logged and _logged_as_json(case.logged),
        }
    )


def _print_text(
    context: CommandContext,
    *,
    case: ExplainedRequest,
    steps: Sequence[ExplainedStep],
    sentence: str,
    remedies: Sequence[str],
    commands: Sequence[ProposedCommand],
    is_short: bool = False,
) -> None:
    """Print the verdict first, then the steps, then what would change it."""
    from rich.text import Text

    reason = case.reason if _is_decided(case) else None
    context.print(Text(sentence, style=_STYLES[reason.action] if reason else "bold"))
    for each in case.alternatives:
        context.print(f"  {each.assumption}: {_in_words(each.reason, each.detail)}")
    if assumption := describe_assumption(case):
        context.print(assumption)
    if case.logged is not None:
        context.print(f"At that time: {_logged_in_words(case.logged)}.")
    # A low terminal has no room for empty lines.
    gap = () if is_short else ("",)
    context.print(*gap)
    shown = [each for each in steps if each.decides] if is_short else steps
    _print_steps(context, shown)
    if left := len(steps) - len(shown):
        context.print(f"  {counted(left, 'other step')}: greyd explain -v shows all")
        remedies = ()
    elif reason is not None and case.dry_run.reply is not None:
        context.print("", f"Reply to Postfix: {printable(case.dry_run.reply)}")
    _print_remedies(context, remedies, case.settings)
    if commands:
        context.print(*gap)
        for proposed in commands:
            context.print(f"To {proposed.effect}:")
            # Unwrapped: a line that is folded cannot be pasted.
            context.console.print(f"  {proposed.command}", soft_wrap=True)


def _print_remedies(context: CommandContext, remedies: Sequence[str], settings: Settings) -> None:
    """Print what would change the decision elsewhere, in time, or with other settings."""
    elsewhere = [each for each in remedies if not each.startswith((ON_THIS_SITE, BY_MERIT))]
    if elsewhere:
        context.print("", "It would pass at once with any of these:")
        context.print(*(f"  {each}" for each in elsewhere))
    if merit := [each for each in remedies if each.startswith(BY_MERIT)]:
        context.print("", "What would auto-whitelist the client in time:")
        context.print(*(f"  {each}" for each in merit))
    if remedies and not settings.preset:
        context.print("", "Would the preset spare such mail the wait? Try it on your log:")
        context.console.print(f"  {_TRY_PRESET}", soft_wrap=True)


def _fits(context: CommandContext, print_text: Callable[[CommandContext], None]) -> bool:
    """Whether a text leaves room for the prompt on the terminal; True for a pipe."""
    if not context.console.is_terminal:
        return True
    from rich.cells import cell_len
    from rich.console import Console

    width, height = context.console.size
    output = io.StringIO()
    draft = Console(file=output, width=width, force_terminal=True, color_system=None)
    print_text(replace(context, _consoles=[draft]))
    lines = output.getvalue().splitlines()
    return sum(max(-(-cell_len(line) // width), 1) for line in lines) < height


def _print_steps(context: CommandContext, steps: Sequence[ExplainedStep]) -> None:
    """Print the steps, each with its lines below it; on a narrow terminal without columns."""
    from rich.text import Text

    width = context.console.width
    is_narrow = width < _MIN_WIDTH_OF_COLUMNS
    indent = "  " if is_narrow else " " * _STEP_WIDTH
    for step in steps:
        mark = "→" if step.decides else " "
        head = f"{mark} {step.name}"
        lines = [step.text, *step.lines()]
        if is_narrow:
            context.print(Text(head, style="bold"))
        for index, line in enumerate(lines):
            first = f"{head:{_STEP_WIDTH}}" if index == 0 and not is_narrow else indent
            text = Text("\n".join(_wrapped(line, width, first, indent)))
            if not is_narrow and index == 0:
                text.stylize("bold", 0, len(head))
            if step.decides:
                text.stylize("bold", len(first))
            context.print(text)


def _wrapped(line: str, width: int, first_indent: str, indent: str) -> list[str]:
    return textwrap.wrap(
        line,
        width,
        initial_indent=first_indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first_indent.rstrip()]


def _is_decided(case: ExplainedRequest) -> bool:
    return not (case.is_undecided or case.alternatives)


def _verdict_as_json(case: ExplainedRequest, window: RetryWindow | None) -> dict[str, object]:
    is_decided = _is_decided(case)
    reply = case.dry_run.reply if is_decided else None
    return {
        "action": case.reason.action if case.reason and is_decided else None,
        "reason": case.reason.text if case.reason and is_decided else None,
        "detail": case.dry_run.detail.strip(" ()"),
        "reply": None if reply is None else reply.decode(errors="backslashreplace"),
        "passes_at": window and window.passes_at,
        "passes_until": window and window.ends_at,
        "depends_on": list(case.missing) if case.alternatives else [],
        "alternatives": [each.as_json() for each in case.alternatives],
    }


def _in_words(reason: Reason, detail: str) -> str:
    verb = "pass at once" if reason.action == PASS else "be deferred"
    return f"it would {verb}: {reason.text}{detail}"


def _logged_in_words(logged: LoggedDecision) -> str:
    """Return the answer that the server gave then, with the evidence that it logged."""
    verb = "passed" if logged.action == PASS else "deferred"
    detail = f" ({logged.detail})" if logged.detail else ""
    more = [
        f"{name}={value.decode(errors='replace')}"
        for name, value in _logged_evidence(logged).items()
        if value
    ]
    return printable_text(
        f"the server {verb} it: {logged.reason}{detail}{'; ' if more else ''}{', '.join(more)}"
    )


def _logged_evidence(logged: LoggedDecision) -> dict[str, bytes]:
    return {
        "identity": logged.identity, "other_identities": logged.other_identities,
        "signals": logged.signals, "dns": logged.dns, "dns_off": logged.dns_off,
    }  # fmt: skip


def _logged_as_json(logged: LoggedDecision) -> dict[str, object]:
    evidence = _logged_evidence(logged).items()
    return {
        "action": logged.action,
        "reason": logged.reason,
        "detail": logged.detail,
        **{name: value.decode(errors="replace") or None for name, value in evidence},
    }
