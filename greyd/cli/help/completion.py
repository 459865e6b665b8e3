"""Answers a shell's completion request, in the protocol of the scripts that typer generates.

The words are in the table of ``greyd.cli.help.table``, so that a completion imports neither
typer nor a command.
"""

from __future__ import annotations

import os
import re
import sys

from greyd.cli.help.table import read_table

TYPE_CHECKING = False  # without typing, whose import takes as long as all others
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Item = tuple[str, str]
    """A word that completes the command line, and its help."""


def complete(environment: Mapping[str, str] = os.environ) -> int | None:
    """Print the matching words; return the exit status, or None for another kind of request.

    ``_GREYD_COMPLETE`` is ``complete_bash``, ``complete_zsh`` or ``complete_fish``.
    """
    answer = _SHELLS.get(environment.get("_GREYD_COMPLETE", ""))
    return None if answer is None else answer(environment)


def matching(words: Sequence[str], incomplete: str) -> list[Item]:
    """Return the words that complete ``incomplete``, the word after the complete ``words``."""
    root = read_table()
    commands = root["commands"]
    name = next((word for word in words if not word.startswith("-")), None)
    if name is None and not incomplete.startswith("-"):
        return _fitting([(each, commands[each]["help"]) for each in commands], incomplete)
    command = commands.get(name)
    if command is None:
        return list(_options(root, words, incomplete)) if incomplete.startswith("-") else []
    given = words[words.index(name) + 1 :]
    if incomplete.startswith("-"):
        spelling, equals, value = incomplete.partition("=")
        if not equals:
            return list(_options(command, given, incomplete))
        option = _named(command, spelling)
        return [(f"{spelling}={each}", "") for each in _values(option, value)] if option else []
    last = _named(command, given[-1]) if given else None
    if last is not None and last["value"].startswith("="):
        return [(each, "") for each in _values(last, incomplete)]
    return _fitting([(each, "") for each in _choices_of_argument(command, given)], incomplete)


def _values(option: Mapping[str, Any], incomplete: str) -> list[str]:
    """Return the values of an option that complete a word; of a list, its last element."""
    before, comma, last = incomplete.rpartition(",") if option["several"] else ("", "", incomplete)
    given = before.split(",")
    choices = [each for each in option["choices"] if each not in given]
    return [f"{before}{comma}{each}" for each in choices if each.startswith(last)]


def _options(command: Mapping[str, Any], given: Sequence[str], incomplete: str) -> Iterator[Item]:
    names = {word.partition("=")[0] for word in given}
    for option in command["options"]:
        if option["multiple"] or not names & set(option["names"]):
            yield from _fitting([(each, option["help"]) for each in option["names"]], incomplete)


def _named(command: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return next((each for each in command["options"] if name in each["names"]), None)


def _choices_of_argument(command: Mapping[str, Any], given: Sequence[str]) -> Sequence[str]:
    """Return the possible values of the command's next argument."""
    place, is_value = 0, False
    for word in given:
        option = _named(command, word) if word.startswith("-") and not is_value else None
        if not is_value and not word.startswith("-"):
            place += 1
        is_value = option is not None and option["value"].startswith("=")
    arguments: Sequence[Mapping[str, Any]] = command["arguments"]
    return arguments[place]["choices"] if place < len(arguments) else ()


def _fitting(items: Sequence[Item], incomplete: str) -> list[Item]:
    return [item for item in items if item[0].startswith(incomplete)]


# The shells ---------------------------------------------------------------------------------------


_BREAKS = re.compile(r"[=:]+")
"""The characters at which bash separates words, besides blanks (``COMP_WORDBREAKS``)."""


def _bash(environment: Mapping[str, str]) -> int:
    words = split(environment.get("COMP_WORDS", ""))
    place = int(environment.get("COMP_CWORD") or 0)
    *before, incomplete = _joined([*words[:place], words[place] if place < len(words) else ""])
    # bash replaces only what follows the last break.
    start = max((found.end() for found in _BREAKS.finditer(incomplete)), default=0)
    return _print("\n".join(word[start:] for word, _ in matching(before[1:], incomplete)))


def _joined(words: Sequence[str]) -> list[str]:
    """Return the words of a command line, of which bash has separated ``--mode=on`` into three."""
    joined: list[str] = []
    for number, word in enumerate(words):
        is_joined = _BREAKS.fullmatch(word) or _BREAKS.fullmatch(words[number - 1])
        if number > 1 and is_joined:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _zsh(environment: Mapping[str, str]) -> int:
    items = [
        f'"{_quoted(word)}":"{_quoted(help_)}"' if help_ else f'"{_quoted(word)}"'
        for word, help_ in _of_line(environment)
    ]
    return _print("_arguments '*: :(({}))'".format("\n".join(items)) if items else "_files")


def _fish(environment: Mapping[str, str]) -> int:
    items = _of_line(environment)
    if environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        # On status 1, fish completes file names.
        return 0 if items else 1
    return _print("\n".join(f"{word}\t{help_}" if help_ else word for word, help_ in items))


def _of_line(environment: Mapping[str, str]) -> list[Item]:
    line = environment.get("_TYPER_COMPLETE_ARGS", "")
    words = split(line)[1:]
    incomplete = words.pop() if words and not line.endswith(" ") else ""
    return matching(words, incomplete)


def split(line: str) -> list[str]:
    """Split a command line into words; the last word may lack its closing quote."""
    import shlex

    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:
        words.append(lexer.token)
    return words


def _quoted(text: str) -> str:
    """Escape a description for zsh's ``_arguments``, which reads it between double quotes."""
    text = text.replace('"', '""').replace("'", "''")
    return re.sub(r"([$`])", r"\\\1", text).replace(":", r"\\:")


def _print(text: str) -> int:
    sys.stdout.write(text + "\n")
    return 0


_SHELLS: Mapping[str, Callable[[Mapping[str, str]], int]] = {
    "complete_bash": _bash,
    "complete_zsh": _zsh,
    "complete_fish": _fish,
}
