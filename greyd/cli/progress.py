"""A progress bar for work that takes longer than a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_PATIENCE_SECONDS = 1.0


class LateProgressBar:
    """Appears after a second, so that short work shows nothing and does not import the library."""

    def __init__(self, title: str, total: float | None, console: Console) -> None:
        """Create a bar; ``total`` is the amount of work, None if unknown."""
        self._title = title
        self._total = total
        self._console = console
        self._started = time.monotonic()
        self._done = 0.0
        self._bar: tuple[Progress, TaskID] | None = None

    def advance(self, done: float) -> None:
        """Add an amount of work that is done."""
        self._done += done
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, completed=self._done)
        elif time.monotonic() - self._started > _PATIENCE_SECONDS:
            from rich.progress import Progress

            progress = Progress(console=self._console, transient=True)
            task = progress.add_task(self._title, total=self._total, completed=int(self._done))
            progress.start()
            self._bar = progress, task

    def stop(self) -> None:
        """Remove the bar from the terminal."""
        if self._bar is not None:
            self._bar[0].stop()
