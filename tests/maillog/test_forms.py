"""Every form of a line is read the same way by report, replay and explain."""

from __future__ import annotations

import codecs
import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.maillog.attempts import AttemptStatistics, attempts_in
from greyd.maillog.decisions import LoggedDecision
from greyd.maillog.errors import MailLogError
from greyd.maillog.heads import cleaned, parse_line
from greyd.maillog.reader import read_entries, read_lines
from greyd.maillog.shadow_lines import LoggedShadowDecision
from greyd.maillog.single_line import read_log_line
from greyd.maillog.statistics import ReadStatistics
from greyd.maillog.times import TimeParser
from tests.maillog.forms import (
    DECISION,
    FORGED,
    JSON_FORMS,
    MESSAGES,
    QUOTED_FORMS,
    REJECTION,
    TEXT_FORMS,
    UNDATED_FORMS,
)
from tests.maillog.logs import NOON, written

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.maillog.attempts import Attempt
    from tests.maillog.forms import Form

MAIL = (b"192.0.2.7", b"alice@example.com", b"bob@example.org")

DATED = {**TEXT_FORMS, **JSON_FORMS, **QUOTED_FORMS}


def decisions_of(path: Path) -> tuple[list[LoggedDecision], ReadStatistics]:
    """Return the decisions that a report reads, and what it did not read."""
    statistics = ReadStatistics()
    found = [e for e in read_entries([path], statistics=statistics) if type(e) is LoggedDecision]
    return found, statistics


def attempts_of(path: Path) -> list[Attempt]:
    """Return the attempts that a replay reads."""
    return list(attempts_in(read_lines([path]), AttemptStatistics()))


def mails(found: list[LoggedDecision] | list[Attempt]) -> list[tuple[bytes, bytes, bytes]]:
    return [(each.client_address, each.sender, each.recipient) for each in found]


def whole(path: Path, text: str) -> Path:
    return written(path, text.encode())


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("form", DATED)
def test_a_decision_is_read_in_every_form_of_a_line(
    tmp_path: Path, form: str, message: str
) -> None:
    if form in QUOTED_FORMS and message == "JSON":
        pytest.skip("no program writes JSON inside quotation marks")
    line = DATED[form](MESSAGES[message], "postgrey")
    path = whole(tmp_path, line)
    decisions, statistics = decisions_of(path)
    attempts = attempts_of(path)
    assert mails(decisions) == mails(attempts) == [MAIL]
    assert [each.when for each in decisions] == [NOON]
    assert [each.when for each in attempts] == [NOON]
    assert statistics.is_complete
    explained = read_log_line(line)
    assert explained.decision is not None
    assert mails([explained.decision]) == [MAIL]
    for field in ("reason", "detail", "delay_seconds", "identity", "signals", "action"):
        assert getattr(explained.decision, field) == getattr(decisions[0], field)
    if message == "greyd":
        assert (decisions[0].identity, decisions[0].signals) == (
            b"example.com",
            b"no_ptr+helo_is_ours",
        )


@pytest.mark.parametrize(
    "program", ["postfix/smtpd", "postfix/submission/smtpd", "postfix-in/smtpd"]
)
@pytest.mark.parametrize("form", DATED)
def test_a_rejection_is_read_in_every_form_of_a_line(
    tmp_path: Path, form: str, program: str
) -> None:
    line = DATED[form](REJECTION, program)
    attempts = attempts_of(whole(tmp_path, line))
    assert mails(attempts) == [MAIL]
    assert [(each.when, each.passed, each.helo) for each in attempts] == [
        (NOON, False, b"mx.example.com")
    ]
    attributes = read_log_line(line).attributes
    assert (attributes["client_address"], attributes["sender"], attributes["recipient"]) == MAIL
    assert attributes["helo_name"] == b"mx.example.com"


@pytest.mark.parametrize("form", DATED)
def test_a_decision_of_the_shadow_is_read_in_every_form_of_a_line(
    tmp_path: Path, form: str
) -> None:
    shadow = DECISION.replace("action=greylist, reason=new", "shadow=pass, shadow_reason=new")
    shadow = shadow.replace(", client_name", ", answer=greylist, client_name")
    found = list(read_entries([whole(tmp_path, DATED[form](shadow, "greyd"))]))
    assert [type(each) for each in found] == [LoggedShadowDecision]
    assert found[0].when == NOON


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("form", UNDATED_FORMS)
def test_a_decision_without_a_date_is_counted(tmp_path: Path, form: str, message: str) -> None:
    line = UNDATED_FORMS[form](MESSAGES[message], "postgrey")
    if form == "truncated JSON" and message == "JSON":
        pytest.skip("JSON in truncated JSON is not readable")
    decisions, _ = decisions_of(whole(tmp_path, line))
    assert mails(decisions) == [MAIL]
    assert decisions[0].when == (NOON if message == "JSON" else 0)
    statistics = AttemptStatistics()
    list(attempts_in(read_lines([tmp_path / "mail.log"]), statistics))
    assert statistics.decision_count + statistics.undated_count == 1


@pytest.mark.parametrize("line", FORGED)
def test_text_from_a_stranger_is_not_a_decision(tmp_path: Path, line: str) -> None:
    forged = DECISION.replace("192.0.2.7", "198.51.100.66")
    path = written(tmp_path, line.format(forged).encode(), DECISION.encode())
    decisions, statistics = decisions_of(path)
    assert mails(decisions) == [MAIL]
    assert not attempts_of(path)
    # A line of Postfix is understood; one of another program is shown.
    assert statistics.unread_count == ("postfix" not in line)


def test_a_mixed_file_loses_no_form(tmp_path: Path) -> None:
    forms: list[Form] = [*DATED.values(), *UNDATED_FORMS.values()]
    path = written(tmp_path, *(form(DECISION, "postgrey").encode() for form in forms))
    decisions, statistics = decisions_of(path)
    assert len(decisions) == len(forms)
    assert statistics.is_complete
    assert len(attempts_of(path)) == len(DATED)


@pytest.mark.parametrize(
    "line",
    [
        "Nov 24 12:00:00 mx1 x[7]: decided: action=greylist because of reason=new",
        "action=greylist; client=192.0.2.7",
        '{"time": "2026-11-24T12:00:00Z", "action": "greylist", "reas',
    ],
)
def test_a_line_that_is_not_understood_is_counted_and_shown(tmp_path: Path, line: str) -> None:
    _, statistics = decisions_of(written(tmp_path, DECISION.encode(), line.encode()))
    assert statistics.unread_count == 1
    assert statistics.examples[0] in line
    assert "greylist" in statistics.examples[0]


def test_examples_of_unread_lines_are_escaped_and_cut(tmp_path: Path) -> None:
    line = b"x: \x1b[31m action=greylist " + b"y" * 1000
    _, statistics = decisions_of(written(tmp_path, *[line] * 9))
    assert statistics.unread_count == 9
    assert len(statistics.examples) == 3
    assert statistics.examples[0].startswith("x: %1B[31m action=greylist yyy")
    assert len(statistics.examples[0]) < 400


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("codec", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
    ],
)
def test_a_log_is_read_in_every_encoding(tmp_path: Path, codec: str, mark: bytes, end: str) -> None:
    line = TEXT_FORMS["rsyslog, old"](DECISION, "postgrey")
    path = tmp_path / "mail.log"
    path.write_bytes(mark + (line + end).encode(codec) * 20_000)
    decisions, _ = decisions_of(path)
    assert len(decisions) == 20_000
    assert set(mails(decisions)) == {MAIL}


@pytest.mark.parametrize(
    ("form", "is_dated"),
    [
        ("Tue 2026-11-24 12:00:00.000000 UTC [s=1;i=2]\n    PRIORITY=6\n"
         "    SYSLOG_IDENTIFIER=postgrey\n    MESSAGE={}\n    _PID=7\n", True),
        ('{{\n\t"__CURSOR" : "s=1",\n\t"__REALTIME_TIMESTAMP" : "1795521600000000",\n'
         '\t"SYSLOG_IDENTIFIER" : "postgrey",\n\t"MESSAGE" : "{}",\n\t"_PID" : "7"\n}}\n', True),
        ("    MESSAGE={}\n", False),
    ],
)  # fmt: skip
def test_entries_of_several_lines_are_read(tmp_path: Path, form: str, is_dated: bool) -> None:
    path = written(tmp_path, form.format(DECISION).encode() * 2)
    decisions, statistics = decisions_of(path)
    assert mails(decisions) == [MAIL] * 2
    assert [each.when for each in decisions] == [NOON if is_dated else 0.0] * 2
    assert statistics.is_complete


def test_json_in_json_is_read(tmp_path: Path) -> None:
    inner = json.dumps({"log": json.dumps({"message": DECISION}), "time": "2026-11-24T12:00:00Z"})
    assert mails(decisions_of(whole(tmp_path, inner))[0]) == [MAIL]


@pytest.mark.parametrize("depth", [10, 100_000])
def test_deep_json_causes_no_error(tmp_path: Path, depth: int) -> None:
    line = '{"a":' * min(depth, 3000) + '"action=pass"' + "}" * min(depth, 3000)
    decisions, _ = decisions_of(written(tmp_path, line.encode(), DECISION.encode()))
    assert mails(decisions) == [MAIL]


@pytest.mark.parametrize(
    "head",
    [
        "<22>1 2026-11-24T12:00:00Z mx1 x 7 - - ",
        "2026-11-24T12:00:00Z a b - - ",
        "message repeated 2 times: [ ",
        "Nov 24 12:00:00 mx1 x[7]: ",
        '{"log": "',
        "a: ",
        "postfix/",
        "]",
    ],
)
@pytest.mark.parametrize("count", [60, 2000])
def test_a_line_with_very_many_heads_causes_no_error(tmp_path: Path, head: str, count: int) -> None:
    line = (head * count)[:15_000]
    path = written(tmp_path, f"{line} {DECISION}".encode(), DECISION.encode())
    assert mails(decisions_of(path)[0])[-1] == MAIL
    list(attempts_of(path))
    with contextlib.suppress(MailLogError):
        read_log_line(f"{line}{DECISION}"[:16_000])


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_no_line_causes_an_error(head: bytes, tail: bytes) -> None:
    times = TimeParser(NOON)
    for own in (DECISION.encode(), REJECTION.encode(), b"last message repeated 3 times", b""):
        line = parse_line(cleaned(head + own + tail).replace(b"\n", b" "), times)
        assert line is None or line.count >= 1
