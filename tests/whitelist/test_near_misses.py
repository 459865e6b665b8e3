"""Near misses: which entries are reported, and with which reason."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.rules.address import parse_address
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist
from greyd.whitelist.near_misses.reasons import ClientAttributes, NearMiss
from greyd.whitelist.near_misses.search import (
    MAX_NEAR_MISSES,
    near_misses_for_client,
    near_misses_for_recipient,
)


def source(*lines: str) -> list[WhitelistFile]:
    return [WhitelistFile("w", "\n".join(lines).encode())]


def near(*lines: str, others: tuple[str, ...] = (), **seen: object) -> list[NearMiss]:
    """Return what nearly matches mail.example.com, 192.0.2.7."""
    values = {"name": b"mail.example.com", "address": parse_address(b"192.0.2.7"), **seen}
    return near_misses_for_client(source(*lines), source(*others), ClientAttributes(**values))  # type: ignore[arg-type]


def near_to(*lines: str, others: tuple[str, ...] = ()) -> list[NearMiss]:
    """Return what nearly matches mail to bob@sub.example.org."""
    return near_misses_for_recipient(
        source(*lines), source(*others), b"bob@sub.example.org", b"alice@sender.example"
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("*.example.com", "written example.com"),
        (".example.com", "written example.com"),
        ("example.com.", "written example.com"),
        ("smtp://mail.example.com:25", "written mail.example.com"),
        ("[mail.example.com]", "written mail.example.com"),
        ("mail2.example.com", "another name in the same domain; example.com would match both"),
        ("mx.mail.example.com", "only names below mx.mail.example.com"),
        ("ample.com", "not after a dot"),
        ("mail.example", "the beginning of the name"),
        ("exemple.com", "one letter from example.com"),
        ("exmple.com", "one letter from example.com"),
        ("192.0.2.128/25", "neighbours of 192.0.2.7"),
        ("192.0.2.8", "neighbours of 192.0.2.7"),
        ("192.0", r"read as 192.0.0.0/24; 192.0.0.0/16 would match"),
        ("192.0.2.*", "not a valid network"),
        ("192.0.2.0-192.0.2.9", "not a valid network"),
        (r"/^mail\.example\.com$/i", "not a pattern: it must end with a slash"),
        (r"/^mail\.example#$/", "closing slash is missing"),
        (r"/^example\.com$/", r"without \^"),
        (r"/^example\.com/", r"without \^"),
        (r"/mail\.example$/", r"without \$"),
        (r"/^mail*\.com$/", r"with \.\* for \*"),
        (r"/^mail\\.example\\.com$/", r"with \\. for each \\\\."),
        (r"/^192\.0\.2\./", "only searched in the name"),
        ("mail.example.com 192.0.2.7", "is skipped"),
    ],
)
def test_an_entry_that_was_meant_for_the_client_is_reported_with_its_reason(
    line: str, why: str
) -> None:
    if not why:
        assert near(line) == []
        return
    (told,) = near(line)
    assert (told.file, told.line) == ("w", 1)
    assert re.search(why, told.why), told.why


@pytest.mark.parametrize(
    "line", ["other.example", "198.51.100.0/24", "2001:db8::/32", "/quux/", "com", "a b", "#"]
)
def test_an_entry_that_was_meant_for_others_is_not_reported(line: str) -> None:
    assert near(line) == []


def test_an_entry_in_the_recipients_list_is_reported_to_be_there() -> None:
    for line in ("example.com", "192.0.2.0/24", r"/^mail\./"):
        (told,) = near(others=(line,))
        assert told.why == "is in the recipients list"
    (told,) = near_to(others=("bob@",))
    assert told.why == "is in the clients list"


def test_an_unconfirmed_name_is_reported_as_such() -> None:
    for line in ("example.com", r"/example\.com$/"):
        (told,) = near(line, name=b"unknown", other_names=(b"mail.example.com",))
        assert "resolve back" in told.why


def test_a_match_of_the_helo_name_or_the_sender_is_reported_as_ignored() -> None:
    for line in ("example.net", r"/example\.net$/"):
        (told,) = near(line, helo=b"mx.example.net")
        assert "HELO" in told.why
        (told,) = near(line, sender=b"alice@example.net")
        assert "the sender" in told.why


def test_the_likeliest_come_first_and_their_number_is_bounded() -> None:
    lines = [f"{place}.example.com" for place in range(100)]
    told = near(*lines, "*.example.com")
    assert len(told) == MAX_NEAR_MISSES
    assert told[0].line == 101


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("@sub.example.org", "written sub.example.org"),
        ("*@example.org", "written example.org"),
        (".example.org", "written example.org"),
        ("<bob@sub.example.org>", "written bob@sub.example.org"),
        ("bob", "written bob@ it would match"),
        ("bob@*", "written bob@"),
        ("bob@example.org", "not the domains below it"),
        ("bob@mail.example.org", "another name in the same domain"),
        ("bob+x@sub.example.org", "that extension only"),
        ("other.example.org", "another name in the same domain"),
        ("sub.exemple.org", "one letter"),
        ("sender.example", "matches the sender"),
        (r"/^bob@example\.org$/", ""),
        (r"/^bob@sub\.example\.org$/i", "not a pattern"),
        (r"/^sub\.example\.org$/", r"without \^"),
        (r"/^alice@/", "matches the sender"),
        ("a bob@sub.example.org", "is skipped"),
    ],
)
def test_an_entry_that_was_meant_for_the_recipient_is_reported_with_its_reason(
    line: str, why: str
) -> None:
    told = near_to(line)
    if not why:
        assert told == []
        return
    assert len(told) == 1
    assert re.search(why, told[0].why), told[0].why


WOULD = re.compile(r"would match if it were written ([^ ]+)")


@pytest.mark.parametrize("line", ["*.example.com", ".example.com", "example.com.", "[example.com]"])
def test_the_suggested_entry_matches_the_client(line: str) -> None:
    told = WOULD.search(near(line)[0].why)
    assert told
    assert ClientWhitelist(source(told[1])).match(b"mail.example.com", None)


@pytest.mark.parametrize("line", ["@example.org", "*@example.org", "<bob@sub.example.org>"])
def test_the_suggested_entry_matches_the_recipient(line: str) -> None:
    told = WOULD.search(near_to(line)[0].why)
    assert told
    assert RecipientWhitelist(source(told[1])).match(b"bob@sub.example.org")


PIECES = st.lists(
    st.sampled_from([*b"@*./:#[]-+\\^$()|", b"192", b"0", b"example", b"com", b"\xfc", b"bob"]),
    max_size=9,
).map(lambda pieces: b"".join(bytes([p]) if isinstance(p, int) else p for p in pieces))


@given(PIECES, PIECES, PIECES)
def test_no_list_and_no_request_raises(line: bytes, name: bytes, sender: bytes) -> None:
    lists = [WhitelistFile("w", line)]
    near_misses_for_client(
        lists, lists, ClientAttributes(name, parse_address(b"192.0.2.7"), (name,), name, sender)
    )
    near_misses_for_recipient(lists, lists, name, sender)
