"""Counts what was read from logs, and what was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_EXAMPLES = 3
MAX_EXAMPLE_BYTES = 300
MAX_SAMPLES = 20
MAX_SAMPLE_BYTES = 64 * 1024
_MAX_NAMED_FILES = 100


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file, or the rest of one, that could not be read."""

    path: str
    reason: str
    is_partial: bool
    """Whether its beginning was read."""


@dataclass
class ReadStatistics:
    """Counts of the bytes read, and of the lines and files that were not read."""

    bytes_read: int = 0
    """Bytes read from the files, before decompression."""
    too_long_count: int = 0
    """Lines and journal entries that were skipped because they are too long."""
    on_bytes: Callable[[int], None] = lambda _: None
    """Called with the number of bytes of each read."""
    unread_count: int = 0
    """Lines that contain a decision's action, but in an unknown form."""
    examples: list[str] = field(default_factory=list)
    """The first of these lines, escaped and cut."""
    unread_files: list[UnreadFile] = field(default_factory=list)
    """Files that could not be read at all, or only in part."""
    samples: dict[str, bytes] = field(default_factory=dict)
    """The beginnings of the first files, to describe what they contain."""

    def add_unread(self, line: bytes) -> None:
        """Count a line that was not understood."""
        self.unread_count += 1
        if len(self.examples) < MAX_EXAMPLES:
            example = printable(line[:MAX_EXAMPLE_BYTES])
            self.examples.append(f"{example} …" if len(line) > MAX_EXAMPLE_BYTES else example)

    def add_unread_file(self, path: str, reason: str, *, is_partial: bool) -> None:
        """Record that a file was not read, or only in part."""
        if len(self.unread_files) < _MAX_NAMED_FILES:
            self.unread_files.append(UnreadFile(path, reason, is_partial))

    def add_sample(self, path: str, head: bytes) -> None:
        """Store the beginning of a file."""
        if len(self.samples) < MAX_SAMPLES:
            self.samples.setdefault(path, head[:MAX_SAMPLE_BYTES])

    @property
    def is_complete(self) -> bool:
        """Whether everything was read."""
        return not (self.unread_count or self.too_long_count or self.unread_files)
