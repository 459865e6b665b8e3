"""The ``--watch`` option: runs a command's output repeatedly, until Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import math
import os
import re
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.errors import CommandError
from greyd.cli.tables.shorten import cell_width
from greyd.errors import GreydError
from greyd.escaping import printable_text
from greyd.plurals import counted
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import Console

Watch = Annotated[
    str | None,
    typer.Option(
        "--watch", metavar="[=SECONDS]", show_default=False,
        help="Repeat every 2 seconds, or every SECONDS, until Ctrl-C.",
    ),
]  # fmt: skip
"""The annotation of a ``--watch`` option."""

MIN_SECONDS = 0.1
MAX_SECONDS = 86400.0

_STYLE = re.compile(r"\x1b\[[0-9;]*m")

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HOME, _ERASE_LINE, _ERASE_BELOW, _CLEAR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[H\x1b[2J"


def watch_seconds(text: str) -> float:
    """Return the seconds between two refreshes.

    Raises:
        CommandError: the text is not a number of seconds.
    """
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise CommandError(
            f"--watch={printable_text(text)}: expected seconds, from {MIN_SECONDS} to"
            f" {MAX_SECONDS:.0f}"
        )
    return seconds


async def watch(text: str, show: Callable[[], Awaitable[int | None]], console: Console) -> int:
    """Call ``show``, which prints to ``sys.stdout``, until a signal arrives; return 0.

    On a terminal each output takes the place of the one before it; elsewhere, and on a terminal
    that can't move its cursor (``TERM=dumb``), the outputs follow each other after an empty line.

    Args:
        text: the value of the option: seconds.
        show: prints one output on ``console`` or ``sys.stdout``.
        console: the command's output.

    Raises:
        CommandError: the text of the option is not a number of seconds.
        GreydError: ``show`` raised it the first time; later the error is printed.
    """
    pause = watch_seconds(text)
    running = asyncio.ensure_future(
        _repeat(show, pause, in_place=console.is_terminal and _can_move())
    )
    loop = asyncio.get_running_loop()
    for number in _STOPS:
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return 0
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)
    return 0


def _can_move() -> bool:
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")


async def _repeat(
    show: Callable[[], Awaitable[int | None]], pause: float, *, in_place: bool
) -> None:
    is_first = True

    async def show_or_print_error() -> None:
        try:
            await show()
        except GreydError as error:
            # A store or a server that restarts comes back; one that was never there does not.
            if is_first:
                raise
            print_error(str(error))

    while True:
        started = time.monotonic()
        if in_place:
            await _draw(show_or_print_error, is_first=is_first)
        else:
            if not is_first:
                sys.stdout.write("\n")
            await show_or_print_error()
        sys.stdout.flush()
        is_first = False
        await asyncio.sleep(max(pause - (time.monotonic() - started), MIN_SECONDS))


async def _draw(show: Callable[[], Awaitable[object]], *, is_first: bool) -> None:
    """Print one output in the place of the previous one; cut it at the height of the screen."""
    screen = os.get_terminal_size(sys.stdout.fileno())
    caught = io.StringIO()
    # A message on standard error would scroll the screen.
    with redirect_stdout(caught), redirect_stderr(caught):
        await show()
    head = f"{time.strftime('%H:%M:%S')}  Ctrl-C ends"
    lines = _fitting_lines(caught.getvalue().splitlines(), screen.columns, screen.lines - 2)
    text = "".join(f"{line}{_ERASE_LINE}\n" for line in [head, *lines])
    sys.stdout.write(f"{_CLEAR if is_first else _HOME}{text}{_ERASE_BELOW}")


def _fitting_lines(lines: list[str], columns: int, rows: int) -> list[str]:
    """Return the lines that fit a screen of this size; the last one counts those that do not."""
    taken = 0
    for number, line in enumerate(lines):
        # A command to paste is not wrapped by greyd, but by the terminal.
        taken += max(1, math.ceil(cell_width(_STYLE.sub("", line)) / columns))
        if taken > rows:
            shown = lines[: max(number - 1, 0)]
            return [*shown, f"… and {counted(len(lines) - len(shown), 'more line')}"]
    return lines
