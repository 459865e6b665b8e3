"""Asks for confirmation before a command changes many entries; defines the related options."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.errors import CommandError

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext

MAX_UNCONFIRMED_ENTRIES = 20
"""The number of entries that a command changes without asking."""

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would be changed; change nothing.")
]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Change many entries without asking for confirmation."),
]


def can_ask(context: CommandContext) -> bool:
    """Whether there is somebody to ask: a terminal, and no ``--json``."""
    return not context.as_json and sys.stdin.isatty() and sys.stderr.isatty()


def ask(action: str) -> None:
    """Ask whether to do what ``action`` says, e.g. ``release 25 triplets``.

    Raises:
        CommandError: the user declines.
        typer.Abort: the user presses Ctrl-C.
    """
    if not agrees(action):
        raise CommandError("nothing was changed")


def agrees(action: str) -> bool:
    """Ask whether to do what ``action`` says; return whether the user agrees.

    Raises:
        typer.Abort: the user presses Ctrl-C.
    """
    # asyncio's handler only cancels the task, which would wait for the answer all the same.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(f"greyd: {action}?", err=True)
    finally:
        signal.signal(signal.SIGINT, before)


def confirm(context: CommandContext, count: int, action: str, *, yes: bool) -> None:
    """Ask whether to change ``count`` entries, if there are many.

    Args:
        context: the command's context; with ``--json`` the command does not ask.
        count: the number of entries.
        action: what would be done, e.g. ``release 25 waiting triplets``.
        yes: whether ``--yes`` answers the question.

    Raises:
        CommandError: the user declines, or there is no terminal.
    """
    if yes or count <= MAX_UNCONFIRMED_ENTRIES:
        return
    if not can_ask(context):
        raise CommandError(
            f"this would {action}, and there is no terminal to confirm it; check with --dry-run,"
            " then use --yes"
        )
    ask(action)
