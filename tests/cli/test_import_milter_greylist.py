"""milter-greylist's dump file, in the forms of its versions."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.cli.importing.items import ImportedEntry, SkippedEntry, UnreadableItem
from greyd.cli.importing.milter_greylist import MilterGreylistDump, is_milter_greylist_dump
from greyd.config.settings import Settings
from tests.commands import content, run_here

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())
HOUR, DAY = 3600, 86400
DUMPED = NOW - 60


def date(when: int) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S")


def dump(*lines: str, count: int | None = None, version: str = "4.6.4") -> str:
    """Return a file as milter-greylist writes it."""
    count = len(lines) if count is None else count
    return "\n".join(
        [
            "#",
            f"# milter-greylist databases, dumped by milter-greylist-{version} on {date(DUMPED)}.",
            "# DO NOT EDIT while milter-greylist is running, changes will be overwritten.",
            "#", "", "", "#", "# stored tuples", "#",
            "# Sender IP\tSender e-mail\tRecipient e-mail\tTime accepted",
            *lines,
            "#",
            f"# Summary: {count} records, 1 greylisted, 1 whitelisted, 0 tarpitted",
            "#",
            "",
        ]
    )  # fmt: skip


def imported(folder: Path, text: str, *arguments: str) -> Any:
    done = run_here("import", "-", f"--dbdir={folder}", "--json", *arguments, given=text, TZ="UTC")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout) | {"status": done.returncode}


def stored(folder: Path) -> dict[bytes, bytes]:
    records = content(f"sqlite:{folder / 'greyd.db'}")
    records.pop(b"control", None)
    return records


ALICE = b"{192.0.2.0}/alice@example.com/bob@example.org"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("192.0.2.7\t<alice@example.com>\t<bob@example.org>\t{0}", ALICE),
        ("192.0.2.7\t<alice@example.com>\t<bob@example.org>\t{0} # {1}", ALICE),
        ("192.0.2.7\t<alice@example.com>\t<bob@example.org>\t{0} ", ALICE),
        ("192.0.2.7\talice@example.com\tbob@example.org\t{0} # {1}", ALICE),
        ("192.0.2.7\t             <alice@example.com>\t               <bob@example.org>\t{0} # {1}",
         ALICE),
        ("192.0.2.7\t<Alice@Example.com>\t<bob@example.org>\t{0}", ALICE),
        ("192.0.2.7\t<>\t<bob@example.org>\t{0}", b"{192.0.2.0}//bob@example.org"),
        ("2001:db8::7\t<a#b@example.com>\t<bob@example.org>\t{0}",
         b"{2001:db8::}/a#b@example.com/bob@example.org"),
        ("2001:db8::7%eth0\t<a@example.com>\t<bob@example.org>\t{0}",
         b"{2001:db8::}/a@example.com/bob@example.org"),
        ("::ffff:192.0.2.7\t<alice@example.com>\t<bob@example.org>\t{0}", ALICE),
        ('192.0.2.7\t<"a b"@example.com>\t<bob@example.org>\t{0}',
         b'{192.0.2.0}/"a b"@example.com/bob@example.org'),
    ],
)  # fmt: skip
def test_waiting_mail_of_every_form_may_pass_when_it_would_have_passed_there(
    tmp_path: Path, line: str, key: bytes
) -> None:
    accepted = NOW + 200
    told = imported(tmp_path, dump(line.format(accepted, date(accepted))))
    assert (told["status"], told["remarks"]) == (0, [])
    assert told["source"] == "milter-greylist's file"
    (found,) = stored(tmp_path)
    assert found.lower() == key
    assert stored(tmp_path)[found] == b"%d" % (accepted - 300)


@pytest.mark.parametrize(
    ("accepted", "options", "first_seen"),
    [
        (NOW + 200, [], NOW - 100),
        (NOW - 1000, [], NOW - 1300),
        (NOW + 1200, ["--from-delay=30m"], NOW - 600),
        # The delay there is longer; the mail waits here for this server's, from the dump on.
        (NOW + 1200, [], DUMPED),
    ],
    ids=["waits", "delay is over", "a delay of its own", "a longer delay"],
)
def test_the_first_attempt_is_computed_from_the_delay_there(
    tmp_path: Path, accepted: int, options: list[str], first_seen: int
) -> None:
    imported(tmp_path, dump(f"192.0.2.7\t<a@b.example>\t<c@d.example>\t{accepted}"), *options)
    assert list(stored(tmp_path).values()) == [b"%d" % first_seen]


@pytest.mark.parametrize("word", ["AUTO", "auto"])
@pytest.mark.parametrize(
    ("expires", "passed"),
    [
        (NOW + HOUR, NOW - 23 * HOUR),
        (NOW + DAY, DUMPED),
        (NOW + 30 * DAY, DUMPED),
        (NOW - DAY, NOW - 2 * DAY),
    ],
    ids=["in an hour", "in a day", "in a month", "expired"],
)
def test_what_has_passed_there_has_passed_here(
    tmp_path: Path, word: str, expires: int, passed: int
) -> None:
    line = f"192.0.2.7\t<alice@example.com>\t<bob@example.org>\t{expires} {word} # {date(expires)}"
    assert imported(tmp_path, dump(line))["entries"]["triplets"]["imported"] == 1
    first, last, passed_at = map(int, stored(tmp_path)[ALICE].split(b","))
    assert (last, passed_at) == (passed, passed)
    assert last - first >= 300
    assert imported(tmp_path, dump(line))["entries"]["triplets"]["unchanged"] == 1


def test_other_lines_are_counted(tmp_path: Path) -> None:
    told = imported(
        tmp_path,
        dump(
            f"192.0.2.7\t<a@b.example>\t<c@d.example>\t{NOW}\t60 TARPIT # {date(NOW)}",
            f"192.0.2.300\t<a@b.example>\t<c@d.example>\t{NOW}",
            f"192.0.2.7\t<a@b.example>\t{NOW}",
            "hello",
            "192.0.2.7\t<a@b.example>\t<c@d.example>\tnever",
            "x" * 100_000,
            count=6,
        ),
    )
    assert told["status"] == 1
    assert told["entries"]["triplets"]["not_taken_over"] == 1
    assert told["unreadable"]["count"] >= 5
    assert "192.0.2.300" in told["unreadable"]["first"][0]


def test_a_truncated_file_causes_a_warning(tmp_path: Path) -> None:
    line = f"192.0.2.7\t<a@b.example>\t<c@d.example>\t{NOW}"
    told = imported(tmp_path, dump(line).partition("# Summary")[0])
    assert told["status"] == 1
    assert "was truncated" in told["remarks"][0]
    told = imported(tmp_path, dump(line, count=1000))
    assert told["status"] == 1
    assert "counts 1,000 entries, and the file has only 1" in told["remarks"][0]


@given(st.lists(st.sampled_from([b"192.0.2.7", b"<a@b.example>", b'"', b"1777629600", b"AUTO", b"#",
                                 b"\t", b"\n", b"<>", b"# Summary: 3 records"])
                | st.binary(max_size=9), max_size=20))  # fmt: skip
def test_any_text_is_parsed_without_an_error(pieces: list[bytes]) -> None:
    reader = MilterGreylistDump(Settings(), 300, UTC, NOW)
    for item in reader.read(io.BytesIO(b" ".join(pieces))):
        assert isinstance(item, ImportedEntry | SkippedEntry | UnreadableItem)
    assert is_milter_greylist_dump(b" ".join(pieces)) in (True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (dump(), True),
        (dump(version="1.0"), True),
        ("# comment\n\n192.0.2.7\t<a@b.example>\t<c@d.example>\t1795790984 AUTO\n", True),
        ("192.0.2.7 <a@b.example> <c@d.example> 1795790984\n", True),
        ("# comment\n", False),
        ("Nov 27 10:00:00 mx postgrey[1]: action=greylist\n", False),
        ("192.0.2.7 OK\n", False),
        ("", False),
    ],
)
def test_the_file_is_recognised(text: str, *, expected: bool) -> None:
    assert is_milter_greylist_dump(text.encode()) is expected
