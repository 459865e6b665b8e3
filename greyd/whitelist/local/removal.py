"""Plans the removal of an entry from a whitelist: by its text, or by what it matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.whitelist.entries import WhitelistFile, is_pattern, parse_entries
from greyd.whitelist.local.content import without_lines
from greyd.whitelist.local.covering import matching_entries
from greyd.whitelist.local.errors import LocalListError
from greyd.whitelist.local.file_edit import edit_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.whitelist.entries import WhitelistEntry
    from greyd.whitelist.local.local_list import LocalList


@dataclass(frozen=True, slots=True)
class EntriesToRemove:
    """The entries of a list that a text selects."""

    target: LocalList
    exact: tuple[WhitelistEntry, ...]
    """The entries of the ``.local`` file with this text."""
    matching: tuple[WhitelistEntry, ...]
    """The other entries of the ``.local`` file that match it."""
    elsewhere: tuple[WhitelistEntry, ...]
    """The entries of other files that match it or have this text; no command edits them."""


def find_entries(target: LocalList, text: str) -> EntriesToRemove:
    """Find the entries of a list that have a text, or that match it as a client or a recipient.

    Raises:
        LocalListError: a file of the list can't be read.
    """
    wanted = text.strip().encode(errors="surrogateescape")
    entries = target.entries()
    exact = [each for each in entries if _normal(each.text) == _normal(wanted)]
    matching = matching_entries(wanted, entries, target.which)
    own = str(target.path)
    return EntriesToRemove(
        target,
        tuple(each for each in exact if each.file == own),
        tuple(each for each in matching if each.file == own and each not in exact),
        tuple(dict.fromkeys(each for each in (*exact, *matching) if each.file != own)),
    )


def remove_entries(target: LocalList, entries: Sequence[WhitelistEntry]) -> list[bytes]:
    """Remove entries from the ``.local`` file; return the removed lines, with their comments.

    Raises:
        LocalListError: the file can't be changed, or the entries no longer exist.
    """
    texts = {each.text for each in entries}
    gone: list[bytes] = []

    def change(content: bytes) -> bytes:
        # The lines may have moved since the entries were found.
        present = parse_entries(WhitelistFile("", content), [])
        numbers = [each.line for each in present if each.text in texts]
        if not numbers:
            raise LocalListError("another command has already removed the entry")
        new, gone[:] = without_lines(content, numbers)
        return new

    edit_file(target.path, change)
    return gone


def _normal(text: bytes) -> bytes:
    return text if is_pattern(text) else text.lower()
