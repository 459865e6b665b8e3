"""The whitelist linter: which lines it reports, and which it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.rules.address import parse_address
from greyd.whitelist.entries import WhitelistFile, read_whitelist_file
from greyd.whitelist.lint.findings import ERROR, NOTE, LintFinding
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import (
    ALL_LISTS,
    CLIENTS,
    NEVER_AUTO,
    OVERRIDE,
    RECIPIENTS,
    SENDER_LOGINS,
    SENDERS,
    TABLES,
)
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist
from tests.corpus import cases

SHIPPED = Path(__file__).parents[2] / "whitelists"


def found(which: str, *lines: str) -> list[LintFinding]:
    return lint([WhitelistFile("w", "\n".join(lines).encode())], which)


def only(which: str, line: str) -> LintFinding:
    (finding,) = found(which, line)
    return finding


# An entry, the severity of the finding, and a pattern for its text.
OF_CLIENTS = [
    (".example.com", ERROR, "never matches.*write example.com,"),
    ("*.example.com", ERROR, "never matches.*write example.com,"),
    ("@example.com", ERROR, "never matches.*write example.com,"),
    ("bob@example.com", ERROR, "a mail address.*recipients"),
    ("bob@", ERROR, "a mail address.*recipients"),
    ("example.com.", ERROR, "ends with a dot.*write example.com$"),
    ("smtp://mx.example.com:25/", ERROR, "a URL.*write mx.example.com$"),
    ("mx.example.com:25", ERROR, "has a port.*write mx.example.com$"),
    ("[192.0.2.7]", ERROR, "write 192.0.2.7$"),
    ("[mx.example.com]", ERROR, "write mx.example.com$"),
    ("unknown", ERROR, "without a confirmed name"),
    ("com", ERROR, "all names below .com"),
    ("co.uk", ERROR, "all names below .co.uk"),
    ("intranet", NOTE, "no dot"),
    ("300.1.2.3", ERROR, "300 is more than 255"),
    ("192.0.2.0/33", ERROR, "0 to 32"),
    ("10", ERROR, "write 10.0.0.0/8$"),
    ("10.20", ERROR, "read as 10.20.0.0/24.*write 10.20.0.0/16 or 10.20.0.0/24$"),
    ("1.2.3.4.5", ERROR, "not a valid address"),
    ("192.0.2.*", ERROR, "write 192.0.2.0/24$"),
    ("192.0.*.*", ERROR, "write 192.0.0.0/16$"),
    ("192.0.2.1-192.0.2.9", ERROR, "range"),
    ("192.0.2.0/255.255.255.0", ERROR, "write 192.0.2.0/24$"),
    ("010.0.0.1", ERROR, "write 10.0.0.1$"),
    ("192.0.2.5/24", NOTE, "read as 192.0.2.0/24.*192.0.2.5 for the single"),
    ("2001:db8::1/32", NOTE, "read as 2001:db8::/32"),
    ("2001:db8::/200", ERROR, "not a valid address"),
    ("0.0.0.0/0", ERROR, "lets every client pass"),
    ("::/0", ERROR, "lets every client pass"),
    ("12.0.0.0/6", ERROR, "enormous"),
    ("a.example b.example", ERROR, "contains spaces.*one entry per line"),
    ("a.example,b.example", ERROR, "cannot contain ,"),
    ('"a.example"', ERROR, '" around it.*write a.example$'),
    ("mail*.example.com", ERROR, r"write /\^mail\[\^\.\]\*\\\.example\\\.com\$/"),
    ("/^mail.example.com$/", NOTE, r"any character.*mail\\\.example\\\.com"),
    (r"/^mail\.example\.com/", ERROR, r"end it with \$: write /\^mail\\.example\\.com\$/"),
    (r"/^mail\.example\.com$/i", ERROR, "not a pattern.*write /.*/, which ignores case"),
    (r"/foo#bar\.example$/", ERROR, r"# starts a comment.*\\x23"),
    (r"/*.example.com$/", ERROR, r"write /\\\.example"),
    (r"/^mail*\.example\.com$/", NOTE, r"l\* repeats l"),
    ("/mail/", ERROR, '"mail" names a service, not its owner'),
    ("/x/", ERROR, "anyone's domain"),
    ("/[0-9]+/", ERROR, "anyone's domain"),
    ("/^[0-9]+-/", ERROR, "anyone's domain"),
    (r"/^192\.0\.2\./", ERROR, "not in its address"),
    ("/a|/", ERROR, "alternative is empty"),
    ("/.*/", ERROR, "every client"),
    ("/nown/", ERROR, "matches unknown, the name"),
    ("/(/", ERROR, "skipped"),
    ("//", ERROR, "skipped"),
    ("/", ERROR, "never matches"),
    ("/abc", ERROR, "never matches"),
    (r"/foo@bar\.com$/", ERROR, "contain no @"),
    ("/(?=x)y/", ERROR, "skipped"),
    (r"/example\.com\.$/", ERROR, "do not end with a dot"),
    (r"/\.ru$/", ERROR, "names below .ru, whoever owns them"),
    ("a" * 64 + ".example.com", ERROR, "not a valid host name"),
]

GOOD_CLIENTS = [
    "example.com", "Example.COM", "xn--bcher-kva.example", "exa_mple.com", "localhost",
    "192.0.2.7", "192.0.2.0/24", "192.0.2", "2001:db8::/32", "2001:db8::1", "[2001:db8::1]",
    "bücher.example", "::ffff:192.0.2.7", "-foo.example.com", "a.b.c.d.example.com  # why",
    r"/^mx[0-9]+\.example\.com$/", r"/\.example\.com$/", r"/^(mx|)1\.example\.com$/",
    r"/^mail-.*\.example\.com$/", "# a comment", "",
    r"/^x\.example$/ # a comment / with a slash",
]  # fmt: skip

OF_RECIPIENTS = [
    ("@example.org", ERROR, "write example.org,"),
    ("*@example.org", ERROR, "write example.org,"),
    (".example.org", ERROR, "write example.org,"),
    ("*.example.org", ERROR, "write example.org,"),
    ("192.0.2.1", ERROR, "move it to the clients"),
    ("192.0.2.0/24", ERROR, "move it to the clients"),
    ("2001:db8::1", ERROR, "move it to the clients"),
    ("192.0.2.*", ERROR, "move it to the clients"),
    ("<bob@example.org>", ERROR, "write bob@example.org$"),
    ("mailto:bob@example.org", ERROR, "write bob@example.org$"),
    ("postmaster", ERROR, "write postmaster@ for"),
    ("info", ERROR, "all addresses below .info.*write info@ for"),
    ("co.uk", ERROR, "all names below .co.uk"),
    ("bob@example.org.", ERROR, "write bob@example.org$"),
    ("bob@*", ERROR, "write bob@ for"),
    ("b*b@example.org", ERROR, "write a pattern"),
    ("bob@.example.org", ERROR, "write a pattern"),
    ("bob@intranet", NOTE, "no dot"),
    ("/alarm/i", ERROR, "write /alarm/"),
    ("/@/", ERROR, "every recipient"),
    ("/^bob@example.org$/", NOTE, r"bob@example\\\.org"),
    ("/ab/", NOTE, "every address that contains"),
    ("/abc", ERROR, "closing slash is missing"),
    ("/a#b@example/", ERROR, "# starts a comment"),
    ("a b", ERROR, "contains spaces.*one entry per line"),
]

GOOD_RECIPIENTS = [
    "bob@example.org", "postmaster@", "example.org", "bob+x@example.org", "jörg@example.org",
    "bücher.example", "jörg@bücher.example", "user@[192.0.2.1]", "bob@localhost",
    "/^alarm-[a-z]+@/", r"/@(mail\.)?example\.org$/",
]  # fmt: skip

OPEN_TO_ALL = {"postmaster@", "/^alarm-[a-z]+@/"}
"""Lines that are good for recipients, but match senders at any domain."""

OF_SENDERS = [
    ("/^alarm-[a-z]+@/", ERROR, r"alarm-\w+@\S*spammer\.example would match"),
    (r"/@example\.org/", ERROR, r"end it with \$: write /@example\\.org\$/"),
    ("newsletter@", ERROR, "at any domain, and anyone can register.*newsletter@spammer.example"),
    ("@example.org", ERROR, "write example.org,"),
    ("co.uk", ERROR, "all names below .co.uk"),
    ("gmail.com", NOTE, "mailbox provider.*write the addresses you mean"),
    ("192.0.2.1", ERROR, "move it to the clients"),
    ("/@/", ERROR, "lets every sender with an SPF record pass"),
    (r"/\.com$/", ERROR, "names below .com, whoever owns them"),
]

OF_OVERRIDE = [
    ("com OK", ERROR, "all names below .com"),
    ("unknown OK", ERROR, "exempts every client without a confirmed name"),
    ("::/0 OK", ERROR, "exempts every client from the lists"),
    ("*.example.com OK", ERROR, "write example.com,"),
    ("192.0.2.5/24 OK", NOTE, "read as 192.0.2.0/24"),
    ("example.com REJECT", ERROR, "the action is not OK"),
    ("example.com\u200b OK", ERROR, "U\\+200B"),
]

OF_SENDER_LOGINS = [
    ("alice", ERROR, "no domain"),
    ("alice@example.org", ERROR, "no login"),
    ("*@example.org alice", ERROR, "write @example.org for all other senders"),
    ("@*.example.org alice", ERROR, "write @example.org for all other senders"),
    ("@co.uk alice", ERROR, "no mail comes from co.uk itself"),
    ("<alice@example.org> alice", ERROR, "not a valid address"),
    ("/^alice@/ alice", ERROR, "a pattern"),
    ("alice@exam\u00adple.org alice", ERROR, "U\\+00AD SOFT HYPHEN"),
]

OF_NEVER_AUTO = [
    ("0.0.0.0/0", ERROR, "matches every client.*--auto-whitelist-clients=0"),
    ("/.*/", ERROR, "matches every client"),
    ("bob@example.com", ERROR, "a mail address"),
    ("*.example.com", ERROR, "never matches"),
]

CASES = [
    *((CLIENTS, *case) for case in OF_CLIENTS),
    *((RECIPIENTS, *case) for case in OF_RECIPIENTS),
    *((SENDERS, *case) for case in OF_SENDERS),
    *((NEVER_AUTO, *case) for case in OF_NEVER_AUTO),
    *((OVERRIDE, *case) for case in OF_OVERRIDE),
    *((SENDER_LOGINS, *case) for case in OF_SENDER_LOGINS),
]


@pytest.mark.parametrize(("which", "line", "severity", "words"), CASES)
def test_a_line_that_does_not_do_what_it_seems_to_is_reported_with_a_remedy(
    which: str, line: str, severity: str, words: str
) -> None:
    finding = only(which, line)
    assert finding.severity == severity
    assert re.search(words, f"{finding.problem}; {finding.remedy}"), str(finding)
    assert finding.remedy


@pytest.mark.parametrize(("which", "line"),
                         [(CLIENTS, line) for line in GOOD_CLIENTS]
                         + [(RECIPIENTS, line) for line in GOOD_RECIPIENTS]
                         + [(SENDERS, line) for line in GOOD_RECIPIENTS if line not in OPEN_TO_ALL]
                         + [(NEVER_AUTO, line) for line in [*GOOD_CLIENTS, "unknown"]])  # fmt: skip
def test_a_good_line_is_not_reported(which: str, line: str) -> None:
    assert [str(each) for each in found(which, line)] == []


@pytest.mark.parametrize(
    ("line", "name", "address"),
    [
        (line, name, address)
        for line, severity, what in OF_CLIENTS
        if severity == ERROR and "never" in only(CLIENTS, line).problem
        for name in ("mx.example.com", "example.com", "mail.example.com", "a.example", "intranet")
        for address in (b"192.0.2.7", b"300.1.2.3")
    ],
)
def test_an_entry_that_is_reported_to_never_match_does_not_match_the_names_its_author_means(
    line: str, name: str, address: bytes
) -> None:
    clients = ClientWhitelist([WhitelistFile("w", line.encode())])
    assert clients.match(name.encode(), parse_address(address)) is None


WRITE = re.compile(r"write (/.+/|[^ ,\\*]*\w[^ ,\\*]*)(?:, which| for th| for any|$)")


@pytest.mark.parametrize(
    ("which", "line"),
    [
        (which, line)
        for which, line, *_ in CASES
        if which not in TABLES and WRITE.search(only(which, line).remedy)
    ],
)
def test_the_line_to_write_instead_is_a_good_one(which: str, line: str) -> None:
    instead = WRITE.search(only(which, line).remedy)
    assert instead
    assert found(which, instead[1]) == []


def test_only_the_first_line_for_a_sender_counts_and_the_others_are_noted() -> None:
    (finding,) = found(
        SENDER_LOGINS, "alice@example.org alice", "Alice@example.org bob", "bob@example.org bob"
    )
    assert (finding.line, finding.severity) == (2, NOTE)
    assert "w:1 has the same sender" in finding.problem


def test_good_tables_are_not_reported() -> None:
    lines = ["alice@example.org alice, bob", "@example.net bob carol", "# x", "  dave"]
    assert found(SENDER_LOGINS, *lines) == []
    assert found(OVERRIDE, "example.com OK", "192.0.2 OK", "2001:db8::/32 OK", "# x") == []


COVERED = [
    (CLIENTS, ["example.com", "EXAMPLE.com"], "the same as"),
    (CLIENTS, ["example.com", "mail.example.com"], "covered by"),
    (CLIENTS, ["mail.example.com", "example.com"], "covered by"),
    (CLIENTS, ["192.0.2.0/24", "192.0.2.7"], "covered by"),
    (CLIENTS, ["192.0.2.128/25", "192.0.2"], "covered by"),
    (CLIENTS, ["2001:db8::/32", "2001:db8:1::/48"], "covered by"),
    (CLIENTS, [r"/^a\.example$/", r"/^a\.example$/"], "the same as"),
    (RECIPIENTS, ["bob@", "bob@example.org"], "covered by"),
    (RECIPIENTS, ["bob@", "bob+x@example.org"], "covered by"),
    (RECIPIENTS, ["bob@example.org", "bob+x@example.org"], "covered by"),
    (RECIPIENTS, ["example.org", "bob@example.org"], "covered by"),
    (RECIPIENTS, ["example.org", "bob@sub.example.org"], "covered by"),
    (RECIPIENTS, ["sub.example.org", "example.org"], "covered by"),
]


@pytest.mark.parametrize(("which", "lines", "words"), COVERED)
def test_a_redundant_line_is_reported_with_the_line_that_covers_it(
    which: str, lines: list[str], words: str
) -> None:
    (finding,) = found(which, *lines)
    other = lines[2 - finding.line]
    assert finding.severity == NOTE
    assert finding.problem == f'{words} w:{3 - finding.line}: "{other}"'


APART = [
    (CLIENTS, ["example.com", "myexample.com"]),
    (CLIENTS, ["192.0.2.0/24", "192.0.3.0/24", "2001:db8::/32", "8000::/1"]),
    (CLIENTS, ["a.example.com", "b.example.com"]),
    (CLIENTS, ["*.example.com", "mail.example.net"]),
    (RECIPIENTS, ["bob@", "alice@", "example.org", "bobs@example.net"]),
    (RECIPIENTS, ["bob+x@example.org", "bob@example.net"]),
]


@pytest.mark.parametrize(("which", "lines"), APART)
def test_unrelated_lines_are_not_reported_as_redundant(which: str, lines: list[str]) -> None:
    told = [str(each) for each in found(which, *lines)]
    assert not [each for each in told if "covered" in each or "same" in each]


def test_a_line_that_never_matches_covers_no_other() -> None:
    findings = found(CLIENTS, "10.20", "10.20.0.1", ".example.com", "a.example.com")
    assert [each.line for each in findings] == [1, 3]


def test_files_are_reported_in_their_order_and_cover_each_other() -> None:
    first = WhitelistFile("z", b"\n*.x.example\nexample.com\n")
    second = WhitelistFile("a", b"mail.example.com\n")
    assert [(each.file, each.line) for each in lint([first, second], CLIENTS)] == [
        ("z", 2), ("a", 1),
    ]  # fmt: skip


def test_every_diagnostic_of_the_matcher_is_reported() -> None:
    content = b"\n".join(line.encode() for line, *_ in OF_CLIENTS)
    source = WhitelistFile("w", content)
    told = {each.line for each in lint([source], CLIENTS)}
    assert {diagnostic.line for diagnostic in ClientWhitelist([source]).diagnostics} <= told


@pytest.mark.parametrize("which", [CLIENTS, RECIPIENTS])
def test_the_bundled_whitelists_are_clean(which: str) -> None:
    source = read_whitelist_file(str(SHIPPED / f"whitelist_{which}"))
    assert len(ClientWhitelist([source]) if which == CLIENTS else RecipientWhitelist([source])) > 0
    assert [str(each) for each in lint([source], which)] == []


@given(st.binary(max_size=200), st.sampled_from((*ALL_LISTS, *TABLES)))
def test_no_bytes_of_a_file_raise(content: bytes, which: str) -> None:
    for finding in lint([WhitelistFile("w", content)], which):
        assert str(finding).isprintable()
        assert 1 <= finding.line <= content.count(b"\n") + 1


@given(
    st.lists(st.sampled_from([*"@*./:#[]-+\\^$()|?", "192", "0", "example", "com", "ü", "mx", " "]),
             max_size=9).map("".join),
    st.sampled_from((*ALL_LISTS, *TABLES)),
)  # fmt: skip
def test_no_line_of_such_pieces_raises(line: str, which: str) -> None:
    found(which, line)


@pytest.mark.parametrize("content", cases("whitelist"))
def test_content_that_once_caused_a_fault_causes_none(content: bytes) -> None:
    for which in (*ALL_LISTS, *TABLES):
        lint([WhitelistFile("w", content)], which)
