"""Lets a signal interrupt the change of files only where it can be rolled back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from greyd.doctor.postfix.fix.plan import FixError

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the end of the session's processes, and a terminal or connection that is gone."""


@contextlib.contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Cancel the current task on the first of these signals, and ignore those that follow.

    The task is cancelled where it awaits, so a signal never ends it between two files, nor while it
    puts the old files back. A signal that is ignored (``nohup``) stays so.

    Raises:
        KeyboardInterrupt: the task was cancelled by SIGINT.
        FixError: it was cancelled by another signal.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        if not received and task is not None:
            received.append(number)
            task.cancel()

    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    caught = [number for number in INTERRUPTS if before[number] is not signal.SIG_IGN]
    for number in caught:
        loop.add_signal_handler(number, interrupt, number)
    try:
        yield
    except asyncio.CancelledError:
        if not received:
            raise
        if received[0] is signal.SIGINT:
            raise KeyboardInterrupt from None
        raise FixError(f"interrupted by {received[0].name}; nothing was changed") from None
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
