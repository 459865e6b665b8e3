"""Writes text to a terminal, without control characters and passwords."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from greyd.escaping import printable_text
from greyd.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console


_NO = ("", "0", "false", "no", "off")
_DUMB = ("", "dumb", "unknown")

_hidden: list[tuple[re.Pattern[str], str]] = []


def redact_logins(words: Sequence[str]) -> None:
    """Make ``print_error`` redact every login found in the words of a command line.

    Any word may contain a URL, and error messages quote invalid words.
    """
    pieces = {piece for word in words for piece in (word, word.partition("=")[2]) if piece}
    odd = sorted((each for each in pieces if redacted(each) != each), key=len, reverse=True)
    _hidden[:] = [
        (re.compile(re.escape(form), re.IGNORECASE), redacted(each))
        for each in odd
        for form in (each, printable_text(each))
    ]


def print_error(text: str) -> None:
    """Write an error or a progress message to standard error.

    It is one line in a pipe, for programs; a terminal shows it in lines that end between words.
    """
    for login, shown in _hidden:
        text = login.sub(lambda _, shown=shown: shown, text)  # type: ignore[misc]  # its default
    text = "".join(each if each.isprintable() else "?" for each in text)
    lines = _wrapped(f"greyd: {text}", error_width())
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def error_width() -> int | None:
    """Return the width of the terminal that standard error is, in columns; None for a pipe."""
    try:
        if not sys.stderr.isatty():
            return None
        return os.get_terminal_size(sys.stderr.fileno()).columns or None
    except (OSError, ValueError):
        return None


_CONTINUED = "  "
_COMMAND = re.compile(
    # The action of a command, then its options and arguments: words of a sentence look different.
    r"(?:sudo )?\b(?:greyd|systemctl|journalctl|docker|postconf|man) [a-z-]+"
    r"(?: (?:add|remove|list|greyd)\b|(?<=greyd config) [a-z-]+)?"
    r"(?: (?:'[^']*'|-(?=\s|$)|\||[A-Z]+\b|(?=[^ ]*[-./@=:|>])[^ ,;]*[^ ,;:.]))*"
)
"""A command in a message: it is to be pasted, so its words stay together."""


def _wrapped(message: str, width: int | None) -> list[str]:
    """Return the lines of a message; a command or a path stays on one line, however long it is."""
    if width is None or len(message) <= width or message.startswith("greyd:   greyd "):
        return [message]
    lines = [""]
    for word in _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), message).split(" "):
        if lines[-1].strip() and len(lines[-1]) + 1 + len(word) > width:
            lines.append(f"{_CONTINUED}{word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return [line.replace("\0", " ") for line in lines]


def format_timestamp(when: float) -> str:
    """Format a time (seconds since 1970) in this machine's time zone; return no text for 0."""
    return format_time("%Y-%m-%d %H:%M:%S", when) if when else ""


def format_time(form: str, when: float) -> str:
    """Format a time with a strftime format; a time out of its range becomes ``@SECONDS``."""
    try:
        return time.strftime(form, time.localtime(when))
    except (OverflowError, ValueError, OSError):
        return f"@{when:.0f}"


def new_console(stream: Any) -> Console:
    """Return a console that prints text unchanged; in a pipe it is wide, so that no line wraps."""
    from rich.console import Console, ConsoleDimensions

    is_terminal = stream.isatty()
    if isinstance(stream, io.TextIOWrapper) and not _is_unicode(stream):
        # A question mark instead of an ellipsis is better than an error.
        stream.reconfigure(errors="replace")
    console = Console(
        # Standard output may be redirected later.
        file=None if stream is sys.stdout else stream,
        # By default a forced colour makes a pipe a terminal, whose lines rich wraps.
        force_terminal=is_terminal,
        color_system=("auto" if is_terminal else "standard") if has_colours(stream) else None,
        no_color=False,
        markup=False, highlight=False, emoji=False, soft_wrap=False,
    )  # fmt: skip
    if not is_terminal:
        # Another program reads the output: do not wrap lines.
        console.width = 400
    elif console.is_dumb_terminal:
        # rich assumes 80 columns.
        console.size = ConsoleDimensions(*shutil.get_terminal_size())
    return console


def _is_unicode(stream: io.TextIOWrapper) -> bool:
    return stream.encoding.lower().replace("-", "").startswith("utf")


def has_colours(stream: Any, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour the output on a stream.

    Follows the conventions of no-color.org, force-color.org and bixense.com/clicolors: ``NO_COLOR``
    wins, then ``FORCE_COLOR`` and ``CLICOLOR_FORCE``, ``CLICOLOR=0``, and the kind of the output.
    """
    if environ.get("NO_COLOR"):
        return False
    if forced := environ.get("FORCE_COLOR"):
        return forced.lower() not in _NO
    if environ.get("CLICOLOR_FORCE", "0") not in _NO:
        return True
    if environ.get("CLICOLOR") == "0":
        return False
    return bool(stream.isatty()) and environ.get("TERM", "") not in _DUMB
