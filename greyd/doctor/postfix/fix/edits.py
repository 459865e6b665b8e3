"""The changes to main.cf and master.cf that fix a finding, as data.

A check attaches edits to its finding; ``plan`` applies them to the text of the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.doctor.findings import ConfigChange
from greyd.doctor.postfix.config.restrictions import FINAL, split_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class WordList(Protocol):
        """The words of a restriction list, in a text or standalone."""

        @property
        def words(self) -> Sequence[str]:
            """The words; braces with their content are one word."""

        def replace(self, start: int, end: int, new: Sequence[str]) -> None:
            """Replace the words from ``start`` to before ``end`` with restrictions."""

        def insert(self, index: int, new: Sequence[str]) -> None:
            """Insert restrictions before the word at ``index``."""


class NotFoundError(Exception):
    """A list does not contain the restriction that an edit replaces or follows."""


class Place(Enum):
    """Where a restriction is inserted if it is not before another one."""

    FIRST = "first"
    """At the beginning, but after permits of the site's own users and machines."""
    LAST = "last"
    """At the end, but before a final permit or reject."""


_OWN = ("permit_mynetworks", "permit_sasl_authenticated")


@dataclass(frozen=True, slots=True)
class ListEdit(ConfigChange):
    """Replaces, removes or inserts restrictions of a list."""

    parameter: str
    """The parameter of main.cf, or the restriction class, that contains the list."""
    old: str = ""
    """The restriction, with its argument, that ``new`` replaces; empty to insert."""
    new: tuple[str, ...] = ()
    """The new restrictions, each with its argument."""
    before: str = ""
    """The restriction before which ``new`` is inserted; empty for ``place``."""
    place: Place = Place.LAST
    service: str = ""
    """The service of master.cf whose ``-o`` sets the list, ``NAME/TYPE``; empty for main.cf."""

    def apply_to(self, words: WordList) -> None:
        """Change a list.

        Raises:
            NotFoundError: the list lacks the restriction that ``old`` or ``before`` names.
        """
        if self.old:
            start, end = _span(words.words, self.old)
            words.replace(start, end, self.new)
            return
        index = self._index(words.words)
        present = words.words[:index]
        missing = [each for each in self.new if _find(present, each) is None]
        if missing:
            words.insert(index, missing)

    def _index(self, words: Sequence[str]) -> int:
        if self.before:
            start, _ = _span(words, self.before)
            is_warning = start and words[start - 1].lower() == "warn_if_reject"
            return start - 1 if is_warning else start
        if self.place is Place.LAST:
            return len(words) - 1 if words and words[-1].lower() in FINAL else len(words)
        return next((i for i, each in enumerate(words) if each.lower() not in _OWN), len(words))


@dataclass(frozen=True, slots=True)
class ValueEdit(ConfigChange):
    """Sets a parameter to a value."""

    parameter: str
    value: str
    service: str = ""
    """The service of master.cf whose ``-o`` sets the parameter; empty for main.cf."""


@dataclass(frozen=True, slots=True)
class ColumnEdit(ConfigChange):
    """Sets a column of a service in master.cf, e.g. ``chroot``."""

    service: str
    column: str
    value: str


@dataclass(frozen=True, slots=True)
class IndentEdit(ConfigChange):
    """Indents a line of main.cf, so that it continues the one above; or removes its blanks."""

    line: int
    is_continuation: bool


@dataclass(frozen=True, slots=True)
class NameEdit(ConfigChange):
    """Corrects the name of a parameter in main.cf."""

    line: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class DuplicateEdit(ConfigChange):
    """Removes the earlier definitions of a parameter, which Postfix ignores."""

    parameter: str


@dataclass(frozen=True, slots=True)
class CommentEdit(ConfigChange):
    """Moves comments at the end of a list's lines to lines of their own."""

    parameter: str


Edits = tuple[ConfigChange, ...]


def replaced(parameter: str, old: object, *new: str) -> Edits:
    """Return the edit that replaces a restriction; without ``new`` it is removed."""
    return (ListEdit(parameter, old=str(old), new=new),)


def moved(parameter: str, old: object, to: ListEdit) -> Edits:
    """Return the edits that remove a restriction, and insert it as ``to`` says."""
    return (*replaced(parameter, old), to)


def is_same(words: Sequence[str], restriction: Sequence[str]) -> bool:
    """Whether words of a list are a restriction: names compare without case, blanks as one."""
    if len(words) != len(restriction):
        return False
    return words[0].lower() == restriction[0].lower() and all(
        " ".join(mine.split()) == " ".join(other.split())
        for mine, other in zip(words[1:], restriction[1:], strict=True)
    )


def _find(words: Sequence[str], restriction: str) -> tuple[int, int] | None:
    wanted = split_words(restriction)
    for start in range(len(words) - len(wanted) + 1):
        end = start + len(wanted)
        if is_same(words[start:end], wanted):
            return start, end
    return None


def _span(words: Sequence[str], restriction: str) -> tuple[int, int]:
    if (found := _find(words, restriction)) is None:
        raise NotFoundError(restriction)
    return found
