"""Which senders a login may use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.sender_logins import SenderLogins, may_use_sender

NO_FILE = SenderLogins()


@pytest.mark.parametrize(
    ("login", "sender", "own", "domain"),
    [
        # A bare user name is that of the local part, at any domain.
        ("alice", "alice@a.example", True, True),
        ("alice", "Alice@b.example", True, True),
        ("ALICE", "alice@a.example", True, True),
        ("alice", "alice+news@a.example", True, True),
        ("alice", "alice", True, True),
        ("alice", "prvs=1234567890=alice@a.example", True, True),
        ("alice", "bob@a.example", False, False),
        ("alice", "alice.smith@a.example", False, False),
        ("alice", "alicia@a.example", False, False),
        ("alice", "bob+alice@a.example", False, False),
        # A login with a domain is an address.
        ("alice@a.example", "alice@a.example", True, True),
        ("Alice@A.example", "alice@a.EXAMPLE", True, True),
        ("alice@a.example", "alice+x+y@a.example", True, True),
        ("alice+x@a.example", "alice+x@a.example", True, True),
        ("alice+x@a.example", "alice@a.example", False, True),
        ("alice@a.example", "info@a.example", False, True),
        ("alice@a.example", "alice@b.example", False, False),
        ("alice@a.example", "info@b.example", False, False),
        ("alice@a.example", "alice", False, False),
        # A SASL library has added the server's name, of the same organisation.
        ("alice@mail.example.com", "alice@example.com", True, True),
        ("alice@mail.example.com", "bob@example.com", False, False),
        ("alice@one.co.uk", "alice@other.co.uk", False, False),
        # Customers of a hoster, by the suffix list's private section, are not one organisation.
        ("alice@one.github.io", "alice@other.github.io", False, False),
        # Both forms of an internationalised domain.
        ("alice@xn--bcher-kva.example", "alice@bücher.example", True, True),
        ("ÄNNE@bücher.example", "änne@BÜCHER.example", True, True),
        ("", "alice@a.example", False, False),
        ("@a.example", "alice@a.example", False, True),
    ],
)
def test_a_login_may_use_its_own_name(login: str, sender: str, own: bool, domain: bool) -> None:
    both = login.encode(), sender.encode()
    assert may_use_sender(*both, "own", NO_FILE) is own
    assert may_use_sender(*both, "domain", NO_FILE) is domain
    assert may_use_sender(*both, "any", NO_FILE)


TABLE = b"""\
# senders and logins, as in Postfix
alice@example.org       alice, alice.smith@example.org
info@example.org\talice
    bob,carol
info+news@example.org   dave

  # a comment between
@example.net            Bob
boss@example.net        carol
Info@B\xc3\xbccher.example  erin
"""


@pytest.mark.parametrize(
    ("login", "sender", "may"),
    [
        (b"alice", b"alice@example.org", True),
        (b"Alice.Smith@EXAMPLE.org", b"ALICE@example.org", True),
        (b"bob", b"alice@example.org", False),
        (b"carol", b"info@example.org", True),
        (b"carol", b"info+shop@example.org", True),
        (b"dave", b"info+news@example.org", True),
        (b"carol", b"info+news@example.org", False),
        # The table counts even against a login of the same name.
        (b"info", b"info@example.org", False),
        (b"bob", b"whoever@example.net", True),
        (b"whoever", b"whoever@example.net", False),
        (b"bob", b"boss@example.net", False),
        (b"erin", b"info@xn--bcher-kva.example", True),
        # What is not in the table is judged by the rule.
        (b"dave", b"dave@example.org", True),
        (b"dave", b"alfred@example.org", False),
        (b"dave", b"dave@elsewhere.example", True),
    ],
)
def test_a_table_names_the_logins_of_a_sender(login: bytes, sender: bytes, may: bool) -> None:
    logins = SenderLogins([WhitelistFile("logins", TABLE)])
    assert logins.diagnostics == []
    assert len(logins) == 6
    assert may_use_sender(login, sender, "own", logins) is may


def test_lines_for_no_sender_are_reported_and_skipped() -> None:
    table = (
        b"alice alice\n/^(.*)@a\\.example$/ $1\nbob@example.org\n\ncarol@ carol\nd@e.example d\n"
        b", ,\n"
    )
    logins = SenderLogins([WhitelistFile("logins", table)])
    assert len(logins) == 1
    assert [str(each).partition(";")[0] for each in logins.diagnostics] == [
        'logins:1: "alice alice" – skipped: the sender has no domain',
        'logins:2: "/^(.*)@a\\.example$/ $1" – skipped: a pattern',
        'logins:3: "bob@example.org" – skipped: no login',
        'logins:5: "carol@ carol" – skipped: the sender has no domain',
        'logins:7: ", ," – skipped: the sender has no domain',
    ]


def test_the_first_line_and_the_first_file_count() -> None:
    one = WhitelistFile("one", b"info@example.org alice\ninfo@example.org bob\n")
    two = WhitelistFile("two", b"info@example.org carol\nsales@example.org carol\n")
    logins = SenderLogins([one, two])
    assert logins.logins_of(b"info@example.org") == {b"alice"}
    assert logins.logins_of(b"sales@example.org") == {b"carol"}


@given(st.binary(max_size=200), st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_can_be_read_and_asked_about(table: bytes, login: bytes, sender: bytes) -> None:
    logins = SenderLogins([WhitelistFile("logins", table)])
    for rule in ("own", "domain", "any"):
        assert may_use_sender(login, sender, rule, logins) in (True, False)
