"""Lower the priority of commands that only read."""

from __future__ import annotations

import contextlib
import os


def lower_cpu_priority() -> None:
    """Let the servers use the processor first, until this process ends.

    Not for commands that write: while they wait for the processor they may hold a lock that a
    server waits for.
    """
    with contextlib.suppress(OSError):
        os.nice(10)
