"""The lines of Postfix and the decisions are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from greyd.maillog.heads import LogLine
from greyd.maillog.reader import read_lines

if TYPE_CHECKING:
    from pathlib import Path
from tests.maillog.logs import NEW, NOON, entry, exported, written


def test_the_lines_of_postfix_and_decisions_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        b"Nov 24 12:00:00 mx1 postfix/smtpd[1]: connect from a",
        b"Nov 24 12:00:01 mx1 postfix/submission/smtpd[1]: connect from b",
        b"Nov 24 12:00:02 mx1 postfix-in/smtpd[1]: connect from c",
        b"Nov 24 12:00:03 mx1 postfix/smtp[1]: no postfix/smtpd[1]: at all",
        b"Nov 24 12:00:04 mx1 greyd[1]: " + NEW,
        b"Nov 24 12:00:05 mx1 mygreyd[1]: connect",
        b"Nov 24 12:00:05 mx1 postfix/cleanup[1]: 4F1A2B3C: postfix/smtpd[1]: connect",
        NEW,
    )
    assert list(read_lines([path])) == [
        LogLine(NOON, b"postfix/smtpd", b"connect from a"),
        LogLine(NOON + 1, b"postfix/submission/smtpd", b"connect from b"),
        LogLine(NOON + 2, b"postfix-in/smtpd", b"connect from c"),
        LogLine(NOON + 3, b"postfix/smtp", b"no postfix/smtpd[1]: at all"),
        LogLine(NOON + 4, b"greyd", NEW),
        LogLine(0, b"", NEW),
    ]


def test_the_lines_of_postfix_and_decisions_are_read_from_the_journal(tmp_path: Path) -> None:
    entries = [
        entry(b"connect from a", b"postfix/smtpd"),
        entry(b"closing", b"postfix/cleanup"),
        entry(NEW, b"postgrey"),
    ]
    export = tmp_path / "export"
    export.write_bytes(exported(*entries))
    as_json = written(
        tmp_path,
        *(
            json.dumps({k.decode(): v.decode() for k, v in each.items()}).encode()
            for each in entries
        ),
        name="json",
    )
    for path in (export, as_json):
        assert list(read_lines([path])) == [
            LogLine(NOON, b"postfix/smtpd", b"connect from a"),
            LogLine(NOON, b"postgrey", NEW),
        ]
