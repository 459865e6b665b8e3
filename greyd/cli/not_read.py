"""Describes what a report could not read, for its text, HTML page and JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.escaping import printable_text
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greyd.maillog.statistics import ReadStatistics


@dataclass(frozen=True, slots=True)
class NotRead:
    """Lines and files that are missing from a report."""

    lines: int = 0
    """Lines with a decision in an unknown form."""
    examples: Sequence[str] = ()
    """Some of these lines, escaped and cut."""
    too_long: int = 0
    """Lines that are too long."""
    files: Sequence[tuple[str, str]] = ()
    """Paths of files that were not read, or not completely, and the reasons."""
    has_unread_files: bool = False
    """Whether a whole file is missing."""

    @classmethod
    def of(cls, statistics: ReadStatistics) -> NotRead:
        """Return the unread lines and files in a reader's statistics."""
        return cls(
            lines=statistics.unread_count,
            examples=tuple(statistics.examples),
            too_long=statistics.too_long_count,
            files=tuple((each.path, each.reason) for each in statistics.unread_files),
            has_unread_files=not all(each.is_partial for each in statistics.unread_files),
        )

    def sentences(self) -> Iterator[str]:
        """Yield a line for each kind of what was not read."""
        if self.lines:
            lines = "line mentions" if self.lines == 1 else "lines mention"
            yield f"{self.lines:,} {lines} a decision, but in a form that greyd cannot read, e.g.:"
            for each in self.examples:
                yield f"  {each}"
        if self.too_long:
            yield f"{self.too_long:,} {'line is' if self.too_long == 1 else 'lines are'} too long."
        for path, reason in self.files:
            why = reason.removeprefix(f"{path}: ")
            yield printable_text(f"{path}: {why}")

    def print_errors(self, note: Callable[[str], None] = print_error) -> None:
        """Write the lines to standard error, or call ``note`` with each."""
        for each in self.sentences():
            note(f"not read: {each.strip()}")

    def dump(self) -> dict[str, Any]:
        """Return the contents for JSON."""
        return {
            "lines": self.lines,
            "examples": list(self.examples),
            "too_long": self.too_long,
            "files": [{"file": path, "reason": reason} for path, reason in self.files],
        }
