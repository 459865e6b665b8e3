"""Chooses the logs to read when the command line names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.maillog.sources.journal import JOURNAL
from greyd.maillog.sources.usual_logs import USUAL_LOGS, find_usual_logs, first_unreadable
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["USUAL_LOGS", "choose_logs", "source_name"]


_MAX_SHOWN_FILES = 3


def choose_logs(
    files: Sequence[Path], since: float, command: str, note: Callable[[str], None] = print_error
) -> list[str]:
    """Return the sources to read, and name them on standard error.

    Args:
        files: the usual files, in the order of preference.
        since: Unix time of the earliest wanted line; 0 for all of the newest file.
        command: the name of the command, for the message.
        note: called with each line about the sources.

    Raises:
        CommandError: there is neither a usual file nor a journal.
    """
    sources = find_usual_logs(files, since)
    if not sources:
        shown = ", ".join(map(str, files[:_MAX_SHOWN_FILES]))
        more = len(files) - _MAX_SHOWN_FILES
        others = f" and {more} other usual files" if more > 0 else ""
        raise CommandError(
            f"no mail log: none of {shown}{others} exists, and the journal has no"
            " lines of greyd, postgrey or Postfix; name the log file, or run journalctl -u greyd -o"
            f" export | greyd {command} -"
        )
    if unread := first_unreadable(files, sources):
        note(
            f"{unread}: permission denied, so it is not read; run this as root, or as a member of"
            " the file's group"
        )
    note(f"reading {', '.join(map(source_name, sources))}")
    return sources


def source_name(source: str) -> str:
    """Return the name of a log source, for messages."""
    if source == "-":
        return "standard input"
    return "the journal" if source.startswith(JOURNAL) else source
