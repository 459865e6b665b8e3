"""The signals that a server obeys, and holding them back until it can.

During a start nothing could act on them rightly: they wait, blocked, and are delivered when
whoever serves or watches has its handlers in place.
"""

from __future__ import annotations

import signal

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Answer what has been asked, and end."""

RELOAD = signal.SIGHUP


def hold() -> None:
    """Let signals wait, in this process and those that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*STOPS, RELOAD))


def release() -> None:
    """Have signals delivered, those that wait at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOPS, RELOAD))
