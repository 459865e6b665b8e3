"""The signals that a server obeys, and holding them back until it can.

During a start nothing could act on them rightly: they wait, blocked, and are delivered when
whoever serves or watches has its handlers in place.
"""

from __future__ import annotations

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Answer what has been asked, and end."""

RELOAD_SIGNAL = signal.SIGHUP


def block() -> None:
    """Let signals wait, in this process and those that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP_SIGNALS, RELOAD_SIGNAL))


def unblock() -> None:
    """Have signals delivered, those that wait at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOP_SIGNALS, RELOAD_SIGNAL))
