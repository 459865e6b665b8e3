"""The error of edits to whitelists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.errors import WhitelistError

if TYPE_CHECKING:
    from collections.abc import Sequence


class LocalListError(WhitelistError):
    """A whitelist can't be edited, or an entry can't be added; the text says what to do."""


class UselessEntryError(LocalListError):
    """An entry would match nothing."""

    def __init__(self, text: str, alternatives: Sequence[tuple[str, str]] = ()) -> None:
        """Create an error.

        Args:
            text: what is wrong with the entry, and what to write instead.
            alternatives: the entries to add instead, each as its text and its list.
        """
        super().__init__(text)
        self.alternatives = alternatives
