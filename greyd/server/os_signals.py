"""Signals that a server handles.

During the start they are blocked, and delivered once the handlers are installed.
"""

from __future__ import annotations

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Signals that stop the server, after it has answered pending requests."""

RELOAD_SIGNAL = signal.SIGHUP


def block() -> None:
    """Block the signals in this process and its future children."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP_SIGNALS, RELOAD_SIGNAL))


def unblock() -> None:
    """Unblock the signals; pending ones are delivered at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOP_SIGNALS, RELOAD_SIGNAL))
