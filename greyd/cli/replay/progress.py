"""Measures the progress of a simulation by the bytes of the log whose mail is simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from greyd.maillog.heads import LogLine


class SimulationProgress:
    """Advances a progress bar by what is simulated: a log is read in blocks, much earlier."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        """Call ``advance`` with numbers of bytes; their sum is at most what has been read."""
        self._advance = advance
        self._read = self._before = self._lines = self._shown = 0

    def add_block(self, size: int) -> None:
        """Note that a block was read: all lines of the earlier ones are simulated."""
        self._before = self._read
        self._read += size
        self._lines = 0

    def count(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Yield lines, and count their bytes."""
        for line in lines:
            self._lines += len(line.text)
            yield line

    def show(self) -> None:
        """Advance the bar to the lines that were taken so far."""
        done = min(self._before + self._lines, self._read)
        if done > self._shown:
            self._advance(done - self._shown)
            self._shown = done
