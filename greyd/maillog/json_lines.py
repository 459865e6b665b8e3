"""Finds the log line in a JSON object from the journal, Docker, Graylog or other collectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.maillog.dates import time_of_value

if TYPE_CHECKING:
    from collections.abc import Iterator

_MESSAGE_KEYS = (
    "MESSAGE", "log", "message", "msg", "short_message", "full_message", "_msg", "text", "line",
    "body",
)  # fmt: skip
"""The journal, Docker, GELF and others; the first that contains a line of a log counts."""

_PROGRAM_KEYS = (
    "SYSLOG_IDENTIFIER", "program", "programname", "app-name", "app_name", "appname",
    "application_name", "_application_name", "_program", "process", "process_name", "ident", "tag",
    "syslogtag", "name",
)  # fmt: skip
_TIME_KEYS = (
    "__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "@timestamp", "timestamp", "time",
    "timereported", "timegenerated", "ts", "date", "datetime", "_time", "eventtime",
)  # fmt: skip

_MAX_DEPTH = 5
_MAX_VALUES = 500
"""Further values of an object are not examined."""


@dataclass(frozen=True, slots=True)
class WrappedLine:
    """A line inside a JSON object."""

    text: bytes
    when: float
    """Unix time; 0 if the object has none."""
    program: bytes
    """Empty if the object does not name it."""


def parse_json_object(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a text; None for anything else."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def wrapped_lines(event: dict[str, Any]) -> Iterator[WrappedLine]:
    """Yield the texts in an object that may be the log line, the most probable first."""
    for number, (text, when, program) in enumerate(_texts(event, 0.0, b"", _MAX_DEPTH)):
        if number >= _MAX_VALUES:
            return
        yield WrappedLine(text, when, program)


def _texts(
    event: dict[str, Any], when: float, program: bytes, depth: int
) -> Iterator[tuple[bytes, float, bytes]]:
    when = next(filter(None, (time_of_value(event.get(key)) for key in _TIME_KEYS)), when)
    program = next(filter(None, map(_program, map(event.get, _PROGRAM_KEYS))), program)
    keys = [key for key in _MESSAGE_KEYS if key in event]
    keys += [key for key in event if key not in keys]
    for key in keys:
        value = event[key]
        if isinstance(value, dict):
            if depth:
                yield from _texts(value, when, program, depth - 1)
        elif text := encoded(value):
            yield text, when, program


def _program(value: object) -> bytes:
    if isinstance(value, dict):
        value = value.get("name")
    text = encoded(value).rstrip(b":")
    return text.partition(b"[")[0] if b" " not in text else b""


def encoded(value: object) -> bytes:
    """Return the bytes of a JSON value: a string, or the journal's list of non-UTF-8 bytes."""
    if isinstance(value, list):
        return bytes(each for each in value if type(each) is int and 0 <= each < 256)
    if not isinstance(value, str):
        return b""
    try:
        # sources.byte_arrays writes bytes that are not UTF-8 in this way.
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode(errors="backslashreplace")
