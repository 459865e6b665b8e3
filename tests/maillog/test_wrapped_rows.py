"""A decision that a terminal or a mail program wrapped in a file is read as one line."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from greyd.maillog.attempts import AttemptStatistics, attempts_in
from greyd.maillog.lines import text_lines
from greyd.maillog.reader import entries_in, finder, read_entries, read_lines
from greyd.maillog.statistics import ReadStatistics
from greyd.maillog.times import TimeParser
from tests.maillog.forms import DECISION, MESSAGES
from tests.maillog.logs import NOON, written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

HEADS = {
    "RFC 3164": "Nov 24 12:00:0{} mx1 postgrey[7]: ",
    "RFC 3339": "2026-11-24T12:00:0{}.000000+00:00 mail.example.org postgrey[12345]: ",
    "priority": "<22>1 2026-11-24T12:00:0{}.000000+00:00 mx1 postgrey 7 - - ",
    "container": "greyd-1  | 2026-11-24T12:00:0{}.123456789Z ",
    "undated": "",
}

LONG = (
    f"{DECISION}, helo=mail.example.com, reverse_client_name=192-0-2-7.pool.example.net,"
    " protocol=SMTP, identity=example.com, other_identities=example.net+example.org,"
    " signals=no_ptr+helo_is_ours, dns=late, dns_off=zen.example+dbl.example"
)
DECISIONS = {
    **{name: text for name, text in MESSAGES.items() if name != "JSON"},
    "all fields": LONG,
    "whitelisted": DECISION.replace("greylist, reason=new", "pass, reason=recipient whitelist"),
    "bounce": DECISION.replace("alice@example.com", ""),
    "no domain": DECISION.replace("bob@example.org", "postmaster"),
    "IPv6": DECISION.replace("192.0.2.7", "2001:db8:0:1:2:3:4:5"),
}


def lines_of(head: str, message: str) -> list[str]:
    """Return six lines of different lengths."""
    return [
        head.format(number) + message.replace("mx.example", f"mx{'x' * number}.example")
        for number in range(6)
    ]


def _broken(line: str, width: int) -> list[str]:
    return [line[at : at + width] for at in range(0, len(line), width)]


def _copied(line: str, width: int) -> list[str]:
    return [each.rstrip() for each in _broken(line, width)]


def _indented(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_on_hyphens=False, subsequent_indent="    ")


def _by_words(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _quoted(line: str, width: int) -> list[str]:
    return [f"> {each}" for each in _by_words(line, width)]


WRAPPERS: dict[str, Callable[[str, int], list[str]]] = {
    "terminal": _broken,
    "copied": _copied,
    "mail program": _by_words,
    "indented": _indented,
    "quoted": _quoted,
}


def read(rows: Sequence[str], size: int = 1 << 20) -> tuple[list[object], ReadStatistics]:
    """Return the entries of a log that arrives in blocks of a size, and what was not read."""
    data = "".join(f"{row}\n" for row in rows).encode()
    statistics = ReadStatistics()
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    lines = text_lines(pieces, finder(), TimeParser(NOON + 3600), statistics)
    return list(entries_in(lines, statistics)), statistics


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("head", HEADS)
def test_wrapped_decisions_are_read_as_whole_ones(head: str, wrapper: str) -> None:
    for message in DECISIONS.values():
        lines = lines_of(HEADS[head], message)
        whole, _ = read(lines)
        assert len(whole) == 6
        for width in (76, 80, 89, 120, 131):
            wrapped = [WRAPPERS[wrapper](line, width) for line in lines]
            if not all(any("action" in row for row in rows) for rows in wrapped):
                # Nothing shows that these rows begin a decision.
                continue
            rows = [row for each in wrapped for row in each]
            found, statistics = read(rows)
            assert found == whole, (width, rows)
            assert statistics.is_complete


def test_rows_are_joined_across_blocks_of_any_size() -> None:
    lines = [*lines_of(HEADS["RFC 3164"], LONG), *lines_of(HEADS["RFC 3164"], DECISION)]
    whole, _ = read(lines)
    for width in (60, 80):
        rows = [row for line in lines for row in _broken(line, width)]
        for size in (500, 1000, 1500):
            assert read(rows, size)[0] == whole, size


def test_reports_and_replays_read_wrapped_decisions(tmp_path: Path) -> None:
    lines = lines_of(HEADS["RFC 3164"], DECISION)
    path = written(tmp_path, *(row.encode() for line in lines for row in _broken(line, 80)))
    assert len(list(read_entries([path]))) == 6
    statistics = AttemptStatistics()
    attempts = list(attempts_in(read_lines([path]), statistics))
    assert [(each.when, each.recipient) for each in attempts] == [
        (NOON + number, b"bob@example.org") for number in range(6)
    ]


HEAD = "Nov 24 12:00:00 mx1 postgrey[7]: "
FIRST = f"{HEAD}action=greylist, reason=new, client_name=mx.example.com,"
REST = "client_address=192.0.2.7, sender=alice@example.com, recipient=bob@example.org"
OTHER = "Nov 24 12:00:01 mx1 postgrey[7]: cleaning main database"

NEIGHBOURS: dict[str, tuple[list[str], int, int]] = {
    # The rows, and how many decisions are read and not read.
    "the rest is missing": ([FIRST, OTHER], 0, 1),
    "the rest is missing at the end": ([FIRST], 0, 1),
    "the rest of two is missing": ([FIRST, FIRST], 0, 2),
    "another decision follows": ([FIRST, HEAD + DECISION], 1, 1),
    "another undated decision follows": ([FIRST, DECISION], 1, 1),
    "a line with a date comes between": ([FIRST, OTHER, REST], 0, 1),
    "an empty line comes between": ([FIRST, "", REST], 0, 1),
    "another program's text comes between": ([FIRST, "Traceback of something", REST], 0, 1),
    "JSON comes between": ([FIRST, '{"message": "hello"}', REST], 0, 1),
    "a field comes twice": ([f"{FIRST} client_address=192.0.2.8, sender=a@b.example,", REST], 0, 1),
    "the address is none": ([FIRST, REST.replace("192.0.2.7", "192.0.2.7x")], 0, 1),
    "the reason is unknown": ([FIRST.replace("new", "mood"), REST], 0, 1),
    "words follow a whole decision": ([HEAD + DECISION, "Process Backgrounded"], 1, 0),
    "a word follows a whole decision": ([HEAD + DECISION, "started"], 1, 0),
    "a setting follows a whole decision": ([HEAD + DECISION, "delay=300"], 1, 0),
    "a domain follows a whole decision": ([HEAD + DECISION, "example.net"], 1, 0),
    "the head is another program's": (["Nov 24 12:00:00 mx1 cron[7]:", DECISION], 1, 0),
    "a whole decision precedes an undated one": ([HEAD + DECISION, DECISION], 2, 0),
    "the decision is one of a fault": (
        [f"{HEAD}action=pass, reason=missing attribute", OTHER],
        1,
        0,
    ),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_rows_that_are_not_certainly_one_decision_stay_apart(name: str) -> None:
    rows, read_count, unread_count = NEIGHBOURS[name]
    found, statistics = read(rows)
    assert (len(found), statistics.unread_count) == (read_count, unread_count)
    for each in found:
        assert getattr(each, "recipient") in (b"bob@example.org", b"")  # noqa: B009 - of any entry
        assert getattr(each, "client_address") in (b"192.0.2.7", b"")  # noqa: B009


def test_a_decision_under_another_programs_head_has_no_date() -> None:
    (found,), _ = read(["Nov 24 12:00:00 mx1 cron[7]:", DECISION])
    assert getattr(found, "when") == 0  # noqa: B009 - of any entry
