"""Asks for confirmation before a command changes many entries; defines the related options."""

from __future__ import annotations

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
    if context.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(
            f"this would {action}, and there is no terminal to confirm it; check with --dry-run,"
            " then use --yes"
        )
    if not typer.confirm(f"greyd: {action}?", err=True):
        raise CommandError("nothing was changed")
