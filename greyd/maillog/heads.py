"""Parses the head of a log line: date, host and program, in any form of syslog and containers.

One pattern parses the usual heads of syslog. In all other lines the module searches for the
program's own text, i.e. ``action=`` or the tag of a Postfix program; the head before it contains
the date.

A sender can write ``action=…`` into a subject or an address that another program logs. So a line
counts only if nothing in its head shows that the text belongs to another program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from greyd.maillog.dates import MAX_HEAD_BYTES, find_date, starts_with_date
from greyd.maillog.json_lines import parse_json_object, wrapped_lines
from greyd.maillog.times import HEAD, parse_iso_time

if TYPE_CHECKING:
    from greyd.maillog.times import TimeParser

MAX_REPETITIONS = 100_000
"""The maximum number of repetitions that a line can represent."""

_MAX_WRAPPERS = 4
"""How many layers may wrap a line: JSON, another head, a repetition."""


@dataclass(slots=True)
class LogLine:
    """One line of a log.

    Not frozen: creating a million frozen records takes up to a fifth longer than a million tuples;
    creating a million of these takes 4 % less.
    """

    when: float
    """Unix time; 0 if the line has no date."""
    program: bytes
    """The program, e.g. ``greyd`` or ``postfix/smtpd``; empty if the line does not name one."""
    text: bytes
    count: int = 1
    """How many identical lines it represents (``message repeated 4 times: [ … ]``)."""


# A queue ID has a digit, in contrast to a program's name.
_QUEUE_ID = rb"(?:(?=[A-Za-z]{0,30}[0-9])[0-9A-Za-z]{5,30}: )?"
_DECISION = _QUEUE_ID + rb"(?:action|shadow)=(?:pass|greylist)\b"
_starts_with_decision = re.compile(_DECISION).match
_starts_with_own_json = re.compile(
    rb'\{"time": "([0-9T:.Z-]{20,30})", "level": "[a-z]{1,9}", "(?:queue_id|action|shadow)": "'
).match
_find_decision = re.compile(rb"(?<![\w.=<-])" + _DECISION).search

_mentions_decision = re.compile(
    rb"(?<!\w)action\\?\"?\s{0,3}[=:]\s{0,3}\\?\"?(?:pass|greylist)\b"
).search

_SERVICE = rb"postfix[^\s/\[:]{0,50}(?:/[^\s\[:/]{1,50})?/[a-z][a-z-]{1,30}"
_UNIT = rb"postfix[^\s/\[:]{0,50}\.service"
_find_postfix = re.compile(
    # metalog writes [postfix/smtpd] in place of a tag.
    rb"(?<![\w./=<-])(%b|%b)(?:\[[0-9]{0,10}\])?(?::[ \t]|\] )" % (_SERVICE, _UNIT)
).search
_is_postfix = re.compile(rb"(?:%b|%b)\Z" % (_SERVICE, _UNIT)).match

_STRUCTURED = (
    rb'(?:-|(?:\[(?:[^\]"\\]|"(?:[^"\\]|\\.){0,500}"){0,100}\]){1,20})(?: (?:\xef\xbb\xbf)?|\Z)'
)
_find_rfc5424 = re.compile(
    rb"(?:(?<![^\s>])1 (?:-|(?=[0-9]{4}-))|(?=[0-9]{4}-[01][0-9]-))(?:[0-9T:.Z+-]{19,35})? ?"
    rb"[^\s\[\]]{1,255} (?P<program>[^\s\[\]:]{1,48}) [^\s\[\]:]{1,128} [^\s\[\]:]{1,32} "
    + _STRUCTURED
).search

_REPEATED = re.compile(rb"message repeated ([0-9]{1,9}) times?: ?\[ ?")

_SOLARIS_ID = re.compile(rb"\[ID [0-9]{1,10} [a-z0-9.]{3,20}\] ")

_find_closing_quote = re.compile(rb"\"(?=[,;\s]|\Z)").search

_TAG = re.compile(rb"(?<![^\s\]>|\"',;(])[^\s:\[\]\"'{}=<>|,;()]{1,100}(?:\[[0-9]{0,10}\])?: {1,2}")
_STARTS_LIKE_HEAD = re.compile(
    # A priority, a level, or a mark that opens the text.
    rb"<(?:[0-9]{1,3}|[0-9]{1,2}\.[0-9]|[a-z0-9]{3,10}\.[a-z]{3,8})>"
    rb"|\[?(?:INFO|NOTICE|DEBUG|[Ii]nfo|[Nn]otice|[Dd]ebug)\]?:? |[\"'\[{|]\s*\Z"
)
_OTHERS_TEXT = re.compile(
    # An address, a queue file's arrow, Exim's fields, and what Postfix and others log about mail.
    rb"=<|<[^<>\s]{0,200}@|\s(?:<=|=>|->|==|\*\*|>>)\s|(?:^|\s)[A-Z]=|\b(?:from|to|helo|client)="
    rb"|\b(?:[Ss]ubject|[Hh]eader|[Rr]eject(?:ed|_warning)?|[Ww]arning):? ?[^\s\]]"
)

_ESCAPE = rb"(?:\x1b|[#\\]033|\\x1b|\\u001b|\\e)"
_COLOURS = re.compile(_ESCAPE + rb"\[[0-9;?]{0,30}[A-Za-z]|\x1b\][^\x07\n]{0,200}\x07")
_COLOURED_LINE = re.compile(rb"^[^\n]*?%b[^\n]*$" % _ESCAPE, re.MULTILINE)
_RESETS_COLOUR = re.compile(_ESCAPE + rb"\[(?:[0;]{0,10}|[0-9;]{0,20}[34]9)m").search


def cleaned(block: bytes) -> bytes:
    """Return lines without colours, zero bytes and byte order marks."""
    # The search for one byte is many times faster than that for several.
    if b"\x1b" in block or b"\\" in block or (b"#" in block and b"#033[" in block):
        block = _COLOURED_LINE.sub(_without_colours, block)
    if b"\0" in block:
        block = block.replace(b"\0", b"")
    return block.replace(b"\xef\xbb\xbf", b"") if b"\xef" in block else block


def _without_colours(line: re.Match[bytes]) -> bytes:
    # A program that colours a line also resets the colour; other codes belong to an address.
    return _COLOURS.sub(b"", line[0]) if _RESETS_COLOUR(line[0]) else line[0]


def parse_line(text: bytes, times: TimeParser) -> LogLine | None:
    """Return a line's time, program and own text.

    The result is None unless the line is one of Postfix's, or a decision of greyd or postgrey.
    """
    if head := HEAD(text):
        minute, second, fraction, zone, program = head.groups()
        end = head.end()
        if (
            text.startswith(b"action=", end)
            or _starts_with_decision(text, end)
            or (program and program.startswith(b"postfix") and b"/" in program)
            or _starts_with_own_json(text, end)
        ):
            line = LogLine(
                times.time_of(minute, second, fraction, zone), program or b"", text[end:]
            )
            return line if line.text[:1] not in (b"m", b" ", b"[") else _repeated(line)
    elif _starts_with_decision(text):
        return LogLine(0.0, b"", text)
    elif own := _starts_with_own_json(text):
        return LogLine(find_date(own[1], times), b"", text)
    # journalctl -o verbose; a message that begins so itself is the text of its sender.
    return _parse_unusual(text.lstrip().removeprefix(b"MESSAGE="), times, _MAX_WRAPPERS)


def mentions_decision(text: bytes) -> bool:
    """Whether a line may contain a decision in any form."""
    return _mentions_decision(text) is not None


def message_of(text: bytes, times: TimeParser) -> LogLine | None:
    """Return the text of a journal message, without the head that a container may have added."""
    return _parse_inside(cleaned(text).strip(), times, _MAX_WRAPPERS)


@lru_cache(1000)
def is_postfix(program: bytes) -> bool:
    """Whether a program is one of Postfix's services, or a systemd unit that runs them."""
    return _is_postfix(program) is not None


def _repeated(line: LogLine) -> LogLine:
    """Return the line inside ``message repeated 4 times: [ … ]``."""
    line.text = _SOLARIS_ID.sub(b"", line.text.lstrip(), count=1)
    if found := _REPEATED.match(line.text):
        line.count = min(max(int(found[1]), 1), MAX_REPETITIONS)
        line.text = line.text[found.end() :].rstrip().removesuffix(b"]")
    return line


def _parse_unusual(text: bytes, times: TimeParser, wrappers: int) -> LogLine | None:
    text = _without_additions(text)
    decision = _find_decision(text)
    end_of_head = min(decision.start() if decision else len(text), MAX_HEAD_BYTES)
    if repeated := _REPEATED.search(text, 0, end_of_head):
        return _parse_repeated(text, repeated, times, wrappers)
    place = text.find(b"{", 0, end_of_head)
    if place >= 0 and wrappers:
        event = parse_json_object(text[place : text.rfind(b"}") + 1])
        if event is not None and not _is_others_text(text[:place]):
            return _parse_json(event, text, place, times, wrappers)
    if b" - " in text[:end_of_head] or b"] " in text[:end_of_head]:
        found = _find_rfc5424(text, 0, end_of_head)
        if found and (line := _parse_rfc5424(text, found, times, wrappers)):
            return line
    if postfix := _find_postfix(text, 0, end_of_head):
        start, end, program = postfix.start(), postfix.end(), postfix[1]
    elif decision:
        start = end = decision.start()
        program = b""
    else:
        return None
    head, own = text[:start], text[end:].lstrip()
    if _is_others_text(head):
        return None
    if b'"' in head and head.count(b'"') % 2 and (closing := _find_closing_quote(own)):
        own = own[: closing.start()]
    return LogLine(find_date(head, times), program, own)


def _without_additions(text: bytes) -> bytes:
    """Return a line without what Solaris's syslog adds to it."""
    text = text.lstrip()
    return _SOLARIS_ID.sub(b"", text, count=1) if b"[ID " in text[:MAX_HEAD_BYTES] else text


def _parse_repeated(
    text: bytes, found: re.Match[bytes], times: TimeParser, wrappers: int
) -> LogLine | None:
    """Return the line inside ``message repeated 4 times: [ … ]``, with the head before it."""
    inside = text[found.end() :].rstrip().removesuffix(b"]")
    head = text[: found.start()]
    line = _parse_unusual(head + inside, times, wrappers - 1) if wrappers else None
    if line is not None:
        line.count = min(max(int(found[1]), 1), MAX_REPETITIONS)
    return line


def _parse_rfc5424(
    text: bytes, found: re.Match[bytes], times: TimeParser, wrappers: int
) -> LogLine | None:
    if _is_others_text(text[: found.start()]):
        return None
    program, own = found["program"], text[found.end() :]
    when = find_date(text[: found.end()], times)
    if is_postfix(program) or _starts_with_decision(own):
        return _repeated(LogLine(when, program, own))
    inner = _parse_unusual(own, times, wrappers - 1) if wrappers else None
    return inner and LogLine(when or inner.when, inner.program or program, inner.text, inner.count)


def _parse_json(
    event: dict[str, object], text: bytes, place: int, times: TimeParser, wrappers: int
) -> LogLine | None:
    """Return the line in an object, or the object itself if it is a decision of greyd."""
    date = find_date(text[:place], times)
    if ("action" in event or "shadow" in event) and "reason" in str(event.keys()):
        return LogLine(parse_iso_time(event.get("time")) or date, b"", text[place:].rstrip())
    for wrapped in wrapped_lines(event):
        inside = cleaned(wrapped.text).strip()
        if is_postfix(wrapped.program) and not starts_with_date(inside):
            return _repeated(LogLine(wrapped.when or date, wrapped.program, inside))
        if line := _parse_inside(inside, times, wrappers - 1):
            line.when = wrapped.when or line.when or date
            line.program = line.program or wrapped.program
            return line
    return None


def _parse_inside(text: bytes, times: TimeParser, wrappers: int) -> LogLine | None:
    if _starts_with_decision(text):
        return LogLine(0.0, b"", text)
    return _parse_unusual(text, times, wrappers)


def _is_others_text(head: bytes) -> bool:
    """Whether what precedes a text shows that the text is not a program's own."""
    if len(head) > MAX_HEAD_BYTES or _OTHERS_TEXT.search(head):
        return True
    for tag in _TAG.finditer(head):
        rest = head[tag.end() :]
        if rest and not (
            _STARTS_LIKE_HEAD.match(rest) or _TAG.match(rest) or starts_with_date(rest)
        ):
            return True
    return False
