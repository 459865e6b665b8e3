"""The text of main.cf, changed word by word: comments, order and layout stay as they are.

A logical line begins with ``NAME =``; lines that begin with white space continue it. Comments and
empty lines may be anywhere, and do not end it (postconf(5)).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.restrictions import parse_restrictions, split_words

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANKS = " \t\r\v\f"
_SEPARATORS = " ,\t\r\n"
_INDENT = "    "
_MIN_FOR_STYLE = 2
"""A list with fewer restrictions does not show whether commas separate them."""
_NAME = re.compile(r"\s*(?P<name>[^=\s]+)\s*=[ \t]*")
_END_COMMENT = re.compile(r"(?P<blanks>[ \t]*)(?P<comment>(?<!\S)#.*?)(?P<eol>\r?)$")


@dataclass
class Entry:
    """A logical line: where its name and its value are."""

    name: str
    lines: list[int]
    """The indexes of its lines, without comments."""
    begin: int
    """The column of the first line at which the value begins."""


@dataclass
class _Word:
    text: str
    spans: list[tuple[int, int, int]]
    """Line, first column, and the column after the last: more than one if it contains a break."""


class MainCfText:
    """The lines of main.cf."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n".join(self.lines)

    def entries(self) -> list[Entry]:
        """Return the logical lines that set a parameter, in order."""
        found: list[Entry] = []
        is_open = False
        for index, line in enumerate(self.lines):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if line[0] in _BLANKS and is_open:
                found[-1].lines.append(index)
                continue
            name = _NAME.match(line)
            if is_open := name is not None:
                assert name is not None  # noqa: S101 - for mypy
                found.append(Entry(name["name"], [index], name.end()))
        return found

    def entry(self, name: str) -> Entry | None:
        """Return the last definition of a parameter, which Postfix uses; None without one."""
        return next((each for each in reversed(self.entries()) if each.name == name), None)

    def value(self, name: str) -> str | None:
        """Return the value of a parameter on one line, without comments; None if it is not set."""
        if (entry := self.entry(name)) is None:
            return None
        pieces = [
            self.lines[line][entry.begin if line == entry.lines[0] else 0 :].strip()
            for line in entry.lines
        ]
        return " ".join(filter(None, pieces))

    def set_value(self, name: str, value: str) -> None:
        """Set a parameter, on its own line if it is set already, or else at the end of the file."""
        if (entry := self.entry(name)) is None:
            self.append([f"{name} = {value}"])
            return
        first, *others = entry.lines
        line = self.lines[first]
        eol = "\r" if line.endswith("\r") else ""
        head = line[: entry.begin].rstrip(" \t")
        self.lines[first] = f"{head} {value}{eol}"
        for index in reversed(others):
            del self.lines[index]

    def append(self, lines: Sequence[str]) -> None:
        """Append lines to the file."""
        eol = "\r" if self.lines[0].endswith("\r") else ""
        while self.lines and not self.lines[-1].strip():
            self.lines.pop()
        self.lines += [*(f"{each}{eol}" for each in lines), ""]

    def append_list(self, name: str, restrictions: Sequence[str]) -> None:
        """Append the definition of a list, a line for each restriction."""
        commas = [f"{_INDENT}{each}," for each in restrictions[:-1]]
        last = [f"{_INDENT}{restrictions[-1]}"] if restrictions else []
        self.append([f"{name} =", *commas, *last])

    def remove(self, entry: Entry) -> None:
        """Remove a logical line; the comments among its lines stay."""
        for index in reversed(entry.lines):
            del self.lines[index]

    def move_end_comments(self, entry: Entry) -> None:
        """Move comments at the ends of an entry's lines to lines above them."""
        for index in reversed(entry.lines):
            line = self.lines[index]
            begin = entry.begin if index == entry.lines[0] else 0
            found = _END_COMMENT.search(line, begin)
            if found is None:
                continue
            rest = line[: found.start()].rstrip()
            moved = f"{found['comment'].rstrip()}{found['eol']}"
            if index == entry.lines[0]:
                self.lines[index : index + 1] = [moved, f"{rest}{found['eol']}"]
            elif rest:
                indent = line[: len(line) - len(line.lstrip())]
                self.lines[index : index + 1] = [f"{indent}{moved}", f"{rest}{found['eol']}"]


class LaidOutList:
    """A restriction list in the text of main.cf."""

    def __init__(self, document: MainCfText, entry: Entry) -> None:
        self._document = document
        self._entry = entry
        self._words = self._split()

    @property
    def words(self) -> list[str]:
        """The words of the list; braces with their content are one word."""
        return [each.text for each in self._words]

    def _split(self) -> list[_Word]:
        found: list[_Word] = []
        depth, is_open = 0, False
        for line in self._entry.lines:
            begin = self._entry.begin if line == self._entry.lines[0] else 0
            text = self._document.lines[line]
            if is_open and not depth:
                is_open = False
            for column in range(begin, len(text)):
                each = text[column]
                if not depth and each in _SEPARATORS:
                    is_open = False
                    continue
                depth += (each == "{") - (each == "}" and depth > 0)
                if not is_open:
                    found.append(_Word("", []))
                    is_open = True
                word = found[-1]
                word.text += each
                if word.spans and word.spans[-1][0] == line:
                    word.spans[-1] = (line, word.spans[-1][1], column + 1)
                else:
                    word.spans.append((line, column, column + 1))
        return found

    def replace(self, start: int, end: int, new: Sequence[str]) -> None:
        """Replace the words from ``start`` to before ``end`` with restrictions."""
        spans = [span for word in self._words[start:end] for span in word.spans]
        first_line, first_column, _ = spans[0]
        if len(new) == 1 and all(line == first_line for line, *_ in spans):
            text = self._document.lines[first_line]
            self._document.lines[first_line] = text[:first_column] + new[0] + text[spans[-1][2] :]
            return
        count = end - start
        if new:
            self.insert(start, new)
            self._reload()
            start += sum(len(split_words(each)) for each in new)
        self._remove(start, start + count)

    def _reload(self) -> None:
        """Read the list again after its lines have moved."""
        entry = self._document.entry(self._entry.name)
        assert entry is not None  # noqa: S101 - an edit never removes the entry
        self._entry = entry
        self._words = self._split()

    def _remove(self, start: int, end: int) -> None:
        is_last = end >= len(self._words)
        spans = [span for word in self._words[start:end] for span in word.spans]
        by_line: dict[int, tuple[int, int]] = {}
        for line, begin, stop in spans:
            low, high = by_line.get(line, (begin, stop))
            by_line[line] = (min(low, begin), max(high, stop))
        for line in sorted(by_line, reverse=True):
            begin, stop = by_line[line]
            self._cut(line, begin, stop, is_last=is_last)

    def _cut(self, line: int, begin: int, stop: int, *, is_last: bool) -> None:
        """Cut a piece out of a line, with the separators next to it; remove an empty line."""
        text = self._document.lines[line]
        head, tail = text[:begin], text[stop:]
        kept = tail.lstrip(" ,\t")
        is_first_line = line == self._entry.lines[0]
        value_begin = self._entry.begin if is_first_line else 0
        is_alone = not head[value_begin:].strip(" ,\t") and not kept.strip()
        if is_alone and not is_first_line:
            del self._document.lines[line]
            return
        if not kept.strip():
            # The last word of its line: the comma before it stays if other lines follow.
            shown = head.rstrip(" \t") if not is_last else head.rstrip(" ,\t")
            self._document.lines[line] = shown + kept
            return
        self._document.lines[line] = head + kept

    def insert(self, index: int, new: Sequence[str]) -> None:
        """Insert restrictions before the word at ``index``."""
        has_commas = any("," in self._outside_words(line) for line in self._entry.lines)
        is_short = len(parse_restrictions(" ".join(self.words), {})) < _MIN_FOR_STYLE
        comma = "," if has_commas or is_short else ""
        if index >= len(self._words):
            self._append(new, comma)
            return
        line, column, _ = self._words[index].spans[0]
        text = self._document.lines[line]
        begin = self._entry.begin if line == self._entry.lines[0] else 0
        if line != self._entry.lines[0] and not text[begin:column].strip(" ,\t"):
            eol = "\r" if text.endswith("\r") else ""
            indent = text[:column].replace(",", " ")
            place = self._above_comments(line)
            self._document.lines[place:place] = [f"{indent}{each}{comma}{eol}" for each in new]
            return
        inline = "".join(f"{each}{comma} " for each in new)
        self._document.lines[line] = text[:column] + inline + text[column:]

    def _append(self, new: Sequence[str], comma: str) -> None:
        lines = self._document.lines
        if not self._words:
            first = self._entry.lines[0]
            eol = "\r" if lines[first].endswith("\r") else ""
            lines[first] = lines[first].rstrip() + eol
            last = len(new) - 1
            lines[first + 1 : first + 1] = [
                f"{_INDENT}{each}{',' if i < last else ''}{eol}" for i, each in enumerate(new)
            ]
            return
        line, _, stop = self._words[-1].spans[-1]
        text = lines[line]
        eol = "\r" if text.endswith("\r") else ""
        ends_with_comma = "," in text[stop:]
        is_on_first_line = line == self._entry.lines[0]
        if is_on_first_line:
            joined = f"{comma} ".join(new)
            lines[line] = f"{text[:stop]}{comma} {joined}{text[stop:].lstrip(' ,')}"
            return
        if comma and not ends_with_comma:
            lines[line] = f"{text[:stop]},{text[stop:]}"
        indent = text[: len(text) - len(text.lstrip())]
        last = len(new) - 1
        lines[line + 1 : line + 1] = [
            f"{indent}{each}{comma if i < last else ''}{eol}" for i, each in enumerate(new)
        ]

    def _outside_words(self, line: int) -> str:
        """Return what is between the words of a line."""
        text = list(self._document.lines[line])
        for word in self._words:
            for at, begin, stop in word.spans:
                if at == line:
                    text[begin:stop] = " " * (stop - begin)
        return "".join(text[self._entry.begin if line == self._entry.lines[0] else 0 :])

    def _above_comments(self, line: int) -> int:
        """Return the index above the comments that are directly above a line."""
        while (
            line - 1 > self._entry.lines[0] and self._document.lines[line - 1].lstrip()[:1] == "#"
        ):
            line -= 1
        return line
