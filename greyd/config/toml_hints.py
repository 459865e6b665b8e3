"""Explains common mistakes in the TOML file, in addition to the message of Python's parser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.config.option import Arity
from greyd.config.options import BY_KEY, BY_NAME
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from greyd.config.option import Option

_PLACE = re.compile(r"\(at (?:line (?P<line>\d+), column \d+|end of document)\)")
_ASSIGNMENT = re.compile(
    r"\s*(?P<dashes>-*)(?P<key>[A-Za-z0-9_-]+)\s*(?P<sign>[=:\s])(?P<value>.*)"
)
_QUOTES = "\"'\u201c\u201d\u201e\u2018\u2019"
_YES, _NO = ("true", "yes", "on"), ("false", "no", "off")


def find_option(key: str) -> Option | None:
    """Return the option of a key, which may have dashes as on the command line."""
    key = key.lstrip("-")
    return BY_KEY.get(key) or BY_NAME.get(key)


def syntax_hint(message: str, content: str) -> str:
    """Return what to write instead, after ``; ``; an empty text if the mistake is unclear.

    Args:
        message: what the parser reports, which names the line.
        content: the content of the file.
    """
    place = _PLACE.search(message)
    lines = content.rstrip().split("\n")
    number = int(place["line"]) if place and place["line"] else len(lines)
    if place is None or number > len(lines):
        return ""
    found = _ASSIGNMENT.fullmatch(lines[number - 1].partition(" #")[0].rstrip())
    if found is None:
        return ""
    option = find_option(found["key"])
    if option is None and found["sign"] != "=":
        return ""
    is_flag = option.kind is Arity.FLAG if option else found["key"] == "subdomains"
    key = option.key if option else excerpt(found["key"])
    return _hint(key, found["value"].strip().rstrip(";").rstrip(), is_flag=is_flag)


def _hint(key: str, value: str, *, is_flag: bool) -> str:
    if not value:
        return f"; to leave {key} at its default, delete the line"
    word = value.strip(_QUOTES).lower()
    if is_flag and word in (*_YES, *_NO):
        return f"; write {key} = {'true' if word in _YES else 'false'}"
    if value.startswith("["):
        texts = (each.strip(f"{_QUOTES} ") for each in value.strip("[]").split(","))
        listed = excerpt(", ".join(f'"{text}"' for text in texts if text))
        return f"; enclose each text in quotation marks: {key} = [{listed}]"
    return f'; enclose texts in quotation marks: {key} = "{excerpt(value.strip(_QUOTES))}"'


def key_hint(key: str, value: object) -> str:
    """Return what to write instead of an unknown key."""
    if isinstance(value, dict) and any(map(find_option, value)):
        return f"write the settings without [{excerpt(key)}] above them"
    if option := find_option(key):
        return f"write {option.key}"
    return "greyd serve --help lists all"
