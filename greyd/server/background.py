"""Runs the server in the background (--daemonize)."""

from __future__ import annotations

import os
from typing import NoReturn

from greyd.server.os_signals import unblock


def fork_to_background() -> int:
    """Continue in a child process with its own session; the parent exits once the child is ready.

    Returns:
        A file descriptor. The parent exits with status 0 when the child writes a byte to it, and
        with the child's status when the child ends first.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        _exit_when_ready(child, read_end)
    os.close(read_end)
    os.setsid()
    return write_end


def _exit_when_ready(child: int, read_end: int) -> NoReturn:
    # A signal may end this process now: the child owns the sockets and files, and removes them.
    unblock()
    if os.read(read_end, 1):
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) or 1)


def detach_from_terminal() -> None:
    """Connect standard input, output and error to /dev/null."""
    silent = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(silent, standard)
    os.close(silent)
