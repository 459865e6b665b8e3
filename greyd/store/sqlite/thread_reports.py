"""Passes warnings and errors of the store's threads to the event loop, where the log is written."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class ThreadReports:
    """Calls the server's handlers on the event loop."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.on_warning: Callable[[str], object] = _ignore
        self.on_internal_error: Callable[[Exception], object] = _ignore
        self._has_reported = False

    def warn(self, text: str) -> None:
        """Log a warning."""
        self.call(self.on_warning, text)

    def internal_error(self, error: Exception) -> None:
        """Report an internal error; ignore further ones until ``reset``."""
        if not self._has_reported:
            self._has_reported = True
            self.call(self.on_internal_error, error)

    def reset(self) -> None:
        """Report the next internal error again, since a batch has succeeded."""
        self._has_reported = False

    def call(self, call: Callable[..., object], *arguments: object) -> None:
        """Call ``call`` on the event loop's thread."""
        # The loop may be closed already when the server ends.
        with contextlib.suppress(RuntimeError):
            if self.loop is not None:
                self.loop.call_soon_threadsafe(call, *arguments)


def _ignore(_: object) -> None:
    """Do nothing: a command has no log, and its caller gets the error anyway."""
