"""Describes an unknown command: an option, a common word for something else, or a typing error."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from greyd.cli.help.table import read_table
from greyd.config.vocabulary import DECIDING_SETTINGS
from greyd.escaping import shell_word
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WORD = 60
"""Maximum length of the word in the message, in characters."""

_COMMANDS_OF_TOPICS: Mapping[str, str] = {
    "allow": "greyd whitelist add", "add": "greyd whitelist add",
    "block": "greyd forget", "blacklist": "greyd forget",
    "delete": "greyd forget", "remove": "greyd forget", "reset": "greyd mode reset",
    "unblock": "greyd release", "pass": "greyd release", "accept": "greyd release",
    "find": "greyd show", "search": "greyd show", "grep": "greyd show", "query": "greyd show",
    "why": "greyd explain", "check": "greyd doctor", "fix": "greyd doctor --fix",
    "waiting": "greyd list --waiting", "queue": "greyd list --waiting",
    "mailq": "greyd list --waiting", "greylist": "greyd list --waiting",
    "log": "greyd tail", "logs": "greyd tail", "watch": "greyd top", "live": "greyd top",
    "pause": "greyd mode off", "disable": "greyd mode off", "off": "greyd mode off",
    "enable": "greyd mode on", "on": "greyd mode on", "learn": "greyd mode learn",
    "test": "greyd ask", "simulate": "greyd replay", "migrate": "greyd switch-from postgrey",
    "postgrey": "greyd switch-from postgrey", "postfix": "greyd postfix-config",
    "settings": "greyd config", "options": "greyd config --all",
    "start": "systemctl start greyd, or greyd serve", "run": "greyd serve",
    "stop": "systemctl stop greyd", "restart": "systemctl restart greyd",
    "reload": "systemctl reload greyd",
    "help": "greyd -h", "version": "greyd --version",
}  # fmt: skip
"""What to type instead of a word that is a command of other programs."""


def describe_unknown_command(word: str) -> str:
    """Return the message about a word that is not a command, with what to type instead."""
    shown = excerpt(word, MAX_WORD)
    name = word.lower().replace("_", "-")
    message = f'no such command: "{shown}"'
    commands = read_table()["commands"]
    if topic := _COMMANDS_OF_TOPICS.get(name):
        return f"{message}; you may want {topic}"
    if option := _option(name):
        return f"{message}; {option}"
    if "@" in word or name.count(".") >= 1 or name.count(":") > 1:
        return f"{message}; greyd show {shell_word(shown)} shows what is stored about it"
    if similar := get_close_matches(name, commands, 2, 0.7):
        return f"{message}; did you mean {' or '.join(similar)}?"
    if similar := get_close_matches(name, _COMMANDS_OF_TOPICS, 1, 0.8):
        return f"{message}; did you mean {_COMMANDS_OF_TOPICS[similar[0]]}?"
    if similar := get_close_matches(name, _option_names(), 1, 0.8):
        return f"{message}; {_option(similar[0])}"
    return message


def _option_names() -> list[str]:
    """Return the long names of the server's options, without dashes."""
    options = read_table()["commands"]["serve"]["options"]
    names = [name for each in options for name in each["names"] if name.startswith("--")]
    return [name.removeprefix("--") for name in names if name != "--help"]


def _option(name: str) -> str:
    """Return what to do with the name of an option of the server; empty if it is none."""
    if name not in _option_names():
        return ""
    text = f"{name} is an option of greyd serve: greyd config {name} shows it"
    if name not in DECIDING_SETTINGS:
        return text
    value = "recommended" if name == "preset" else "…"
    return f"{text}, greyd replay --with {name}={value} tries it out"
