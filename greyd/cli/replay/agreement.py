"""Prints how well today's settings explain the log: how far a simulation can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.plurals import counted
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.cli.context import CommandContext
    from greyd.cli.replay.summary import ReplaySummary

_FAITHFUL = 0.9
"""The share of the log's decisions that the simulation of today's settings should repeat."""


def print_agreement(
    context: CommandContext, replay: ReplaySummary, note: Callable[[str], None] = print_error
) -> None:
    """Print how many attempts today's settings decide as the log does, and why others differ.

    Call ``note`` if they are too many.
    """
    if not replay.compared:
        return
    share = 100 * replay.agreed / replay.compared
    context.print(
        f"Today's settings agree with the log in {share:.1f} % of"
        f" {counted(replay.compared, 'attempt')};"
        f" {replay.known_before:,} of them depend on mail before the log"
    )
    if earlier := replay.attempts - replay.compared:
        context.print(f"{counted(earlier, 'more attempt')} not made: the mail has passed before")
    if different := replay.difference_count:
        verb = "differs" if different == 1 else "differ"
        context.print(f"{counted(different, 'attempt')} {verb}:")
        context.print(*(f"  {line}" for line in replay.difference_sentences))
    if replay.agreed < _FAITHFUL * replay.compared:
        note(
            "the log was written with other settings, or depends on mail before it: skip its"
            " beginning (--warm-up=1d), or name its settings (--config)"
        )
