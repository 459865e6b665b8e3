"""``greyd tail``: shows each decision as it is made, one line each."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, cast

import typer

from greyd.cli.context import EXIT_NO, CommandContext
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader

    from greyd.maillog.decisions import LoggedDecision

_READ_BYTES = 1 << 16
_MAX_LINES = 100_000


class LoggedAction(Enum):
    """The actions of decisions."""

    PASS = "pass"  # noqa: S105 - an action
    GREYLIST = "greylist"


def tail(
    context: CommandContext,
    log: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="A mail log; - for standard input. Default: this machine's mail log or journal.",
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            "--client", metavar="ADDRESS|NETWORK|NAME", help="Decisions on this client's mail."
        ),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("--sender", metavar="ADDRESS|DOMAIN", help="Mail from this sender."),
    ] = None,
    recipient: Annotated[
        str | None,
        typer.Option("--recipient", metavar="ADDRESS|DOMAIN", help="Mail to this recipient."),
    ] = None,
    action: Annotated[
        LoggedAction | None,
        typer.Option("--action", help="Mail that passed, or that was greylisted."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Reasons that contain this text.")
    ] = "",
    text: Annotated[
        str, typer.Option("--text", metavar="TEXT", help="Lines that contain this text.")
    ] = "",
    lines: Annotated[
        int,
        typer.Option(
            "--lines", "-n", metavar="N", min=0, max=_MAX_LINES,
            help="Number of matching past decisions to show first.",
        ),
    ] = 10,
) -> int:  # fmt: skip
    """Follow decisions live, one line each.

    A line has the time, the verdict (pass, or wait for greylisted mail), the client, the sender
    and the recipient, the reason, and how long the mail has waited. On a terminal it is coloured
    and as wide as the terminal: below 70 columns it lacks the client and the reason's details. In a
    pipe it is complete. A decision must match all options.

    The command reads the log that greyd or postgrey writes: a file, which it follows through
    rotation, the journal, or standard input. Ctrl-C ends it, with status 0. The exit status is 1 if
    standard input has no matching decision.

    Examples:

      greyd tail

      greyd tail --recipient bob@example.org --lines 100

      greyd tail --action greylist --client 192.0.2.0/24 /var/log/mail.log

      ssh mx1 tail -F /var/log/mail.log | greyd tail -
    """
    from greyd.cli.not_read import NotRead
    from greyd.cli.tail.decision_filter import DecisionFilter
    from greyd.maillog.following.decisions import decisions_in
    from greyd.maillog.statistics import ReadStatistics

    wanted = DecisionFilter.from_options(
        client, sender, recipient, action.value if action else "", reason, text
    )
    statistics, printer = ReadStatistics(), _Printer(context)
    with contextlib.suppress(KeyboardInterrupt), _open(log) as source:
        past = decisions_in([source.past()], statistics)
        printer.print_all(deque(filter(wanted.matches, past), maxlen=lines))
        if source.is_past_cut and printer.count < lines:
            print_error("only the end of the log was searched for past decisions")
        for each in decisions_in(source.pieces(), statistics):
            if wanted.matches(each):
                printer.print(each)
    NotRead.of(statistics).print_errors()
    if log == "-" and not printer.count:
        print_error("no matching decision")
        return EXIT_NO
    return 0


class FollowedLog(Protocol):
    """A log to follow."""

    @property
    def is_past_cut(self) -> bool:
        """Whether ``past`` has left out the beginning of the log."""

    def past(self) -> bytes:
        """Return the end of the log as it is now."""

    def pieces(self) -> Iterator[bytes]:
        """Yield new content as it is written."""


class StandardInput:
    """Standard input, which has no past content."""

    is_past_cut = False

    def past(self) -> bytes:
        """Return nothing."""
        return b""

    def pieces(self) -> Iterator[bytes]:
        """Yield the input as it arrives, to its end."""
        while piece := cast("BufferedReader", sys.stdin.buffer).read1(_READ_BYTES):
            yield piece


@contextlib.contextmanager
def _open(log: str | None) -> Iterator[FollowedLog]:
    """Open the log to follow.

    Raises:
        MailLogError: the log can't be read.
        CommandError: no log is named, and this machine has none.
    """
    from greyd.cli.usual_logs import USUAL_LOGS, choose_logs
    from greyd.maillog.following.growing_file import GrowingFile
    from greyd.maillog.following.journal import FollowedJournal
    from greyd.maillog.sources.journal import JOURNAL

    source = choose_logs(USUAL_LOGS, 0, "tail")[0] if log is None else log
    if source == "-":
        yield StandardInput()
    elif log is None and source.startswith(JOURNAL):
        yield FollowedJournal()
    else:
        with GrowingFile(Path(source)) as file:
            yield file


class _Printer:
    """Prints decisions: coloured lines on a terminal, whole lines in a pipe, or JSON."""

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self.count = 0
        """The number of decisions printed."""
        self._write = self._choose()

    def _choose(self) -> Callable[[LoggedDecision], None]:
        from greyd.cli.tail import decision_text

        context = self._context
        if context.as_json:
            return lambda each: context.print_json(decision_text.json_line(each))
        if not context.console.is_terminal:
            return lambda each: print(decision_text.plain_line(each), flush=True)  # noqa: T201
        return lambda each: context.print(decision_text.terminal_line(each, context.console.width))

    def print(self, decision: LoggedDecision) -> None:
        """Print a decision at once."""
        self._write(decision)
        self.count += 1

    def print_all(self, decisions: Iterable[LoggedDecision]) -> None:
        """Print decisions."""
        for each in decisions:
            self.print(each)
