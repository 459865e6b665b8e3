"""The signals that a server handles.

They are blocked during the start, and delivered as soon as handlers are installed.
"""

from __future__ import annotations

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Answer pending requests, then exit."""

RELOAD_SIGNAL = signal.SIGHUP


def block() -> None:
    """Block the signals, in this process and its children."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP_SIGNALS, RELOAD_SIGNAL))


def unblock() -> None:
    """Unblock the signals; pending ones are delivered at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOP_SIGNALS, RELOAD_SIGNAL))
