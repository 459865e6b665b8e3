"""The text of master.cf, with changes to the columns and the ``-o`` options of a service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.restrictions import split_words

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANKS = " \t\r\v\f"
_COLUMNS = ("private", "unprivileged", "chroot", "wakeup", "process_limit", "command")
_FIRST_COLUMN = 2
"""The index of ``private``: the service's name and type precede it."""


class UneditableError(Exception):
    """A setting is not in the text in a form that can be changed safely."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int
    begin: int
    end: int


class MasterCfText:
    """The lines of master.cf."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n".join(self.lines)

    def _tokens(self, service: str) -> list[_Token]:
        """Return the words of a service's entry; braces with their content are one word.

        Raises:
            UneditableError: there is no such service, there are several, or braces span lines.
        """
        wanted = service.split("/")[:2]
        starts = [
            index
            for index, line in enumerate(self.lines)
            if line[:1] not in ("", "#", *_BLANKS) and line.split()[:2] == wanted
        ]
        if len(starts) != 1:
            raise UneditableError(f"master.cf has {len(starts)} services {service}")
        tokens = []
        for index in range(starts[0], len(self.lines)):
            line = self.lines[index]
            if index > starts[0] and line.strip() and line[0] not in _BLANKS and line[0] != "#":
                break
            if not line.lstrip().startswith("#"):
                tokens += self._tokens_of_line(index)
        return tokens

    def _tokens_of_line(self, index: int) -> list[_Token]:
        line = self.lines[index]
        found, begin, depth = [], None, 0
        for column, each in enumerate(f"{line} "):
            if each.isspace() and not depth:
                if begin is not None:
                    found.append(_Token(line[begin:column], index, begin, column))
                    begin = None
                continue
            depth += (each == "{") - (each == "}")
            begin = column if begin is None else begin
        if depth:
            raise UneditableError(f"master.cf:{index + 1}: braces that span lines")
        return found

    def set_column(self, service: str, column: str, value: str) -> None:
        """Set a column of a service, e.g. ``chroot``."""
        self._put(self._tokens(service)[_FIRST_COLUMN + _COLUMNS.index(column)], value)

    def column(self, service: str, column: str) -> str:
        """Return the value of a column of a service."""
        return self._tokens(service)[_FIRST_COLUMN + _COLUMNS.index(column)].text

    def set_option(self, service: str, parameter: str, value: str) -> None:
        """Change the value of a parameter that ``-o`` sets for a service.

        Raises:
            UneditableError: no single ``-o`` sets it.
        """
        setting = re.compile(rf"\{{?\s*{re.escape(parameter)}\s*=.*", re.DOTALL)
        tokens = self._tokens(service)
        found = [
            token
            for before, token in pairwise(tokens)
            if before.text == "-o" and setting.fullmatch(token.text)
        ]
        if len(found) != 1:
            raise UneditableError(f"master.cf has {len(found)} options -o {parameter} of {service}")
        has_blanks = any(each in value for each in " \t{")
        text = f"{{ {parameter} = {value} }}" if has_blanks else f"{parameter}={value}"
        self._put(found[0], text)

    def _put(self, token: _Token, text: str) -> None:
        line = self.lines[token.line]
        self.lines[token.line] = line[: token.begin] + text + line[token.end :]


class PlainList:
    """A restriction list that is not in a text."""

    def __init__(self, value: str) -> None:
        self.words = split_words(value)

    @property
    def value(self) -> str:
        """The list on one line, separated by commas where a restriction may end."""
        return " ".join(self.words)

    def replace(self, start: int, end: int, new: Sequence[str]) -> None:
        """Replace the words from ``start`` to before ``end`` with restrictions."""
        self.words[start:end] = [word for each in new for word in split_words(each)]

    def insert(self, index: int, new: Sequence[str]) -> None:
        """Insert restrictions before the word at ``index``."""
        self.replace(index, index, new)
