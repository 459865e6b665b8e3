"""Parses the variables of environment files, such as ``/etc/default/postgrey``."""

from __future__ import annotations

import re
import shlex
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINES_OF_VALUE = 100

_NAMES = r"(?:GREYD|POSTGREY)_[A-Z0-9_]+|postgrey_[a-z]+|OPTIONS"


def parse_environment_file(
    text: str, name: str, *, has_comments: bool, names: Iterable[str] = ()
) -> dict[str, str]:
    """Return the variables that concern greyd or postgrey, and their values.

    Args:
        text: the content of the file.
        name: the name of the file, for messages.
        has_comments: whether a comment may follow a value, as in a shell.
        names: other variables to return.

    Raises:
        SettingsError: a quotation mark is not closed.
    """
    either = "|".join((_NAMES, *map(re.escape, names)))
    variable = re.compile(rf"\s*(?:export\s+)?({either})\s*=(.*)", re.DOTALL)
    return {
        assigned[1]: _unquoted(assigned[2], f"{name}: {assigned[1]}", has_comments=has_comments)
        for line in _logical_lines(text, variable)
        if (assigned := variable.match(line))
    }


def _logical_lines(text: str, variable: re.Pattern[str]) -> Iterator[str]:
    """Yield the assignments of an environment file, each joined from its lines.

    A line that ends with a backslash, or within quotation marks, continues on the next one; a
    comment does not.
    """
    lines = deque(text.replace("\r\n", "\n").split("\n"))
    while lines:
        line = lines.popleft()
        if line.lstrip().startswith(("#", ";")):
            continue
        while lines and line.endswith("\\"):
            line = line[:-1] + lines.popleft()
        if _is_open(line, variable):
            line = _with_rest_of_value(line, lines, variable)
        yield line


def _is_open(line: str, variable: re.Pattern[str]) -> bool:
    """Whether a variable's value begins with a quotation mark that is not closed."""
    assigned = variable.match(line)
    if assigned is None or assigned[2].lstrip()[:1] not in ("'", '"'):
        return False
    try:
        shlex.split(assigned[2])
    except ValueError:
        return True
    return False


def _with_rest_of_value(line: str, lines: deque[str], variable: re.Pattern[str]) -> str:
    """Return a line with those up to its value's end, which are removed from ``lines``.

    If the value has no end, all lines stay where they are.
    """
    whole = line
    for count, following in enumerate(islice(lines, MAX_LINES_OF_VALUE), 1):
        whole = f"{whole}\n{following}".replace("\\\n", "")
        if not _is_open(whole, variable):
            for _ in range(count):
                lines.popleft()
            return whole
    return line


def _unquoted(text: str, where: str, *, has_comments: bool) -> str:
    """Unquote a value as systemd does for ``EnvironmentFile=`` (systemd.exec(5)), or as a shell."""
    if not has_comments and text.strip()[:1] not in ("'", '"'):
        return text.strip()
    try:
        return " ".join(shlex.split(text, comments=has_comments))
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
