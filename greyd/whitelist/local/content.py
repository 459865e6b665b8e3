"""Adds lines to the content of a whitelist file, and removes lines from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.entries import WhitelistFile, is_utf16
from greyd.whitelist.local.errors import LocalListError
from greyd.whitelist.local.notes import note_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_HEAD = (
    "# Entries of this site, in addition to those that a package installs; one per line.",
    "# greyd whitelist add and greyd whitelist remove edit this file.",
)


def with_lines(content: bytes, lines: Sequence[str]) -> bytes:
    """Return the content with lines appended; they get the line ends of the other lines.

    Raises:
        LocalListError: the content is in UTF-16.
    """
    _require_bytes(content)
    end = _line_end(content)
    if not content:
        lines = (*_HEAD, "", *lines)
    elif not content.endswith(b"\n"):
        content += end
    added = (each.encode(errors="surrogateescape") + end for each in lines)
    return content + b"".join(added)


def without_lines(content: bytes, numbers: Collection[int]) -> tuple[bytes, list[bytes]]:
    """Remove entries, each with the comment that ``greyd whitelist add`` wrote above it.

    Args:
        content: the content of the file.
        numbers: the numbers of the entries' lines, starting at 1.

    Returns:
        The new content, and the removed lines.

    Raises:
        LocalListError: the content is in UTF-16.
    """
    _require_bytes(content)
    lines = content.split(b"\n")
    removed = set(numbers)
    for number in numbers:
        is_alone = b"#" not in lines[number - 1]
        if is_alone and number > 1 and note_of(lines, number).is_generated:
            removed.add(number - 1)
    kept = [line for number, line in enumerate(lines, 1) if number not in removed]
    gone = [lines[number - 1].rstrip(b"\r") for number in sorted(removed)]
    return b"\n".join(kept), gone


def _line_end(content: bytes) -> bytes:
    first, newline, _ = content.partition(b"\n")
    return b"\r\n" if newline and first.endswith(b"\r") else b"\n"


def _require_bytes(content: bytes) -> None:
    if is_utf16(WhitelistFile("", content)):
        raise LocalListError("the file is in UTF-16, so every line is misread; save it as UTF-8")
