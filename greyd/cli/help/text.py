"""Shows the help of ``greyd`` and of each command, from the table that completes words.

The table (``greyd.cli.help.table``) is generated from the commands' declarations, so that the
help imports neither typer nor a command.
"""

from __future__ import annotations

import os
import sys

from greyd.cli.help import HELP_WORDS
from greyd.cli.help.short_summaries import SHORT_SUMMARIES
from greyd.cli.help.table import read_table

TYPE_CHECKING = False  # without typing, whose import takes as long as all others
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Row = tuple[str, str]
    """The text of the left column, and its description."""


class _Heading(str):
    """A line that is shown in bold."""

    __slots__ = ()


_MIN_WIDTH, _USUAL_WIDTH, _MAX_WIDTH = 30, 80, 100
_STACKED_BELOW = 64
"""The width, in columns, below which the description of an option is printed under its name."""

_OPTIONS_COLUMN = 28

_SHARED_GROUP = "Which server"
"""The group of the options that nearly all commands have; ``greyd.cli.app`` declares it."""

_COMMAND_WITH_SHARED = "status"
"""The command whose help describes these options; that of the others only names some."""

_SHARED_NOTE = f"--config, --store, --dbdir, --run-dir, …: see greyd {_COMMAND_WITH_SHARED} -h"

_EXAMPLES = "Examples:"

_HEAD = """\
Greylisting for Postfix and Exim. Without a command, greyd shows the status: servers, waiting mail,
problems, and the next command to type."""

_NARROW_HEAD = "Greylisting for Postfix and Exim. Without a command: its status."

_TRY_PRESET = "greyd replay --with preset=recommended"
_PRESET_QUESTION = "Would the preset delay less mail?"

_FOOT = """\
Each command has its own help, e.g. greyd list -h, and a manual page, e.g. man greyd-list."""

_NARROW_FOOT = "More: greyd COMMAND -h, man greyd-list, …; greyd --version"


def asked_for_help(words: Sequence[str]) -> bool:
    """Whether a command line asks for help: ``-h`` is neither an option's value nor after ``--``.

    Without a known command the first word decides.
    """
    name, *others = words or [""]
    if name in HELP_WORDS:
        return True
    command = read_table()["commands"].get(name)
    if command is None:
        return False
    takes_value = {
        each
        for option in command["options"]
        if option["value"].startswith("=")
        for each in option["names"]
    }
    previous = ""
    for word in others:
        if word == "--":
            return False
        if word in HELP_WORDS and previous not in takes_value:
            return True
        previous = word
    return False


def print_help(words: Sequence[str]) -> int:
    """Print the help of the command that the first word names, or of greyd; return status 0."""
    command = read_table()["commands"].get(words[0]) if words else None
    width = _width()
    lines = _of_command(words, command, width) if command else _of_greyd(width)
    bold = (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )
    for line in lines:
        is_heading = bold and isinstance(line, _Heading)
        sys.stdout.write(f"\x1b[1m{line}\x1b[0m\n" if is_heading else f"{line}\n")
    return 0


def _width() -> int:
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            columns = _USUAL_WIDTH
    return min(max(columns or _USUAL_WIDTH, _MIN_WIDTH), _MAX_WIDTH)


def _of_greyd(width: int) -> Iterator[str]:
    table = read_table()
    is_narrow = width < _STACKED_BELOW
    yield "Usage: greyd [COMMAND] [OPTIONS]"
    yield ""
    yield from _filled(_NARROW_HEAD if is_narrow else _HEAD, width)
    groups: dict[str, list[Row]] = {}
    for name, command in table["commands"].items():
        summary = SHORT_SUMMARIES.get(name) if is_narrow else None
        groups.setdefault(command["group"], []).append((name, summary or command["help"]))
    column = max(map(len, table["commands"]))
    for group, rows in groups.items():
        if not is_narrow:
            yield ""
        yield _Heading(f"{group}:")
        yield from _two_columns(rows, column, width)
    if is_narrow:
        # In a line of its own, the command is not folded.
        yield from (_PRESET_QUESTION, f"  {_TRY_PRESET}")
        yield from _filled(_NARROW_FOOT, width)
        return
    yield from ("", _Heading("Options:"))
    options = [(_names(each), _description(each)) for each in table["options"]]
    yield from _option_rows(options, width)
    yield ""
    yield f"{_PRESET_QUESTION} {_TRY_PRESET}"
    yield ""
    yield from _filled(_FOOT, width)


def _of_command(words: Sequence[str], command: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield the help of a command; the examples come last, where a short screen shows them."""
    name = words[0]
    yield from _filled(_usage(words, command["arguments"]), width, "    ")
    yield ""
    yield from _filled(command["help"], width)
    paragraphs = command["text"]
    first_example = paragraphs.index(_EXAMPLES) if _EXAMPLES in paragraphs else len(paragraphs)
    yield from _paragraphs(paragraphs[:first_example], width)
    groups: dict[str, list[Row]] = {}
    for each in command["arguments"]:
        if each["help"]:
            groups.setdefault("Arguments", []).append((each["name"], each["help"]))
    for each in command["options"]:
        groups.setdefault(each["group"], []).append((_names(each), _description(each)))
    for group, rows in groups.items():
        yield from ("", _Heading(f"{group}:"))
        if group == _SHARED_GROUP and name != _COMMAND_WITH_SHARED:
            yield from _filled(_SHARED_NOTE, width, "  ", "  ")
        else:
            yield from _option_rows(rows, width)
    yield from _paragraphs(paragraphs[first_example:], width)


def _usage(words: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> str:
    """Return the usage of a command, with the action if the second word names one."""
    name, action = words[0], words[1] if len(words) > 1 else ""
    if not (arguments and _is_action(action, arguments[0])):
        return " ".join(["Usage: greyd", name, "[OPTIONS]", *(each["name"] for each in arguments)])
    others = (each["name"] for each in arguments[1:])
    return " ".join(["Usage: greyd", name, action, "[OPTIONS]", *others])


def _is_action(word: str, argument: Mapping[str, Any]) -> bool:
    """Whether a word is one of an argument's values, and not one of several (OPTION…)."""
    return word in argument["choices"] and not argument["name"].rstrip("]").endswith(("…", "..."))


def _paragraphs(paragraphs: Sequence[str], width: int) -> Iterator[str]:
    previous = ""
    for paragraph in paragraphs:
        # An example stays on one line, however narrow the terminal, so that it can be copied.
        is_example = paragraph.startswith("  ")
        if not (is_example and (previous == _EXAMPLES or previous.startswith("  "))):
            yield ""
        if paragraph == _EXAMPLES:
            yield _Heading(paragraph)
        else:
            yield from [paragraph] if is_example else _filled(paragraph, width)
        previous = paragraph


def _names(option: Mapping[str, Any]) -> str:
    """Return the names as one would type them: ``-i, --inet=[HOST:]PORT``."""
    short = [each for each in option["names"] if not each.startswith("--")]
    long = [each for each in option["names"] if each.startswith("--")]
    return f"{', '.join([*short, *long])}{option['value']}"


def _description(option: Mapping[str, Any]) -> str:
    default = f" Default: {option['default']}" if option["default"] else ""
    return f"{option['help']}{default}"


# Columns ------------------------------------------------------------------------------------------


def _option_rows(rows: Sequence[Row], width: int) -> Iterator[str]:
    if width < _STACKED_BELOW:
        for name, text in rows:
            yield f"  {name}"
            yield from _filled(text, width, "      ", "      ")
    else:
        yield from _two_columns(rows, _OPTIONS_COLUMN, width)


def _two_columns(rows: Sequence[Row], column: int, width: int) -> Iterator[str]:
    indent = " " * (column + 4)
    for name, text in rows:
        if len(name) > column:
            yield f"  {name}"
            yield from _filled(text, width, indent, indent)
        else:
            yield from _filled(text, width, indent, f"  {name.ljust(column)}  ")


def _filled(text: str, width: int, indent: str = "", first: str = "") -> Iterator[str]:
    """Yield the lines of a text; a word longer than the width gets its own line."""
    line = first
    is_empty = True
    for word in text.split():
        if not is_empty and len(line) + 1 + len(word) > width:
            yield line
            line, is_empty = indent, True
        line += word if is_empty else f" {word}"
        is_empty = False
    yield line.rstrip()
