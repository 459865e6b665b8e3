"""Lowers the CPU priority of commands that only read."""

from __future__ import annotations

import contextlib
import os


def lower_cpu_priority() -> None:
    """Lower this process's CPU priority until it ends, so that servers run first.

    Do not call it in commands that write: while such a command waits for the CPU, it may hold a
    lock that a server needs.
    """
    with contextlib.suppress(OSError):
        os.nice(10)
