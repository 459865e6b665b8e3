"""check-whitelist as a security tool: which patterns let strangers pass; no remedy does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.lint.findings import ERROR, NOTE, LintFinding
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import CLIENTS, NEVER_AUTO, RECIPIENTS, SENDERS
from greyd.whitelist.matcher import ClientWhitelist, SenderWhitelist

WOULD_MATCH = re.compile(r"(\S+) would match")


def findings(which: str, line: str) -> list[LintFinding]:
    return lint([WhitelistFile("w", line.encode())], which)


def matches(which: str, line: str, name: str) -> bool:
    source = [WhitelistFile("w", line.encode())]
    if which == SENDERS:
        return SenderWhitelist(source).match(name.encode()) is not None
    return ClientWhitelist(source).match(name.encode(), None) is not None


OPEN_CLIENTS = [
    # the right end is open
    (r"/^gmx\..*$/", r"gmx\.spammer\.example"),
    (r"/^amazon\..*$/", r"amazon\.spammer\.example"),
    (r"/^mail\.example\.com/", r"mail\.example\.com\.spammer\.example"),
    (r"/^mail\.example\.com.*$/", r"\.spammer\.example"),
    (r"/^mail\.example\.com.*/", r"\.spammer\.example"),
    (r"/^mail\.example\.com\b/", r"\.spammer\.example"),
    (r"/\.example\.com(\..*)?$/", r"\.spammer\.example"),
    (r"/^mx\.example\.(com|.*)$/", r"spammer\.example"),
    (r"/\.example\.com|\.example\.net$/", r"spammer\.example"),
    (r"/^(?:mx1\.example\.com$|mx2\.)/", r"mx2\.spammer\.example"),
    (r"/(?-i)^MAIL\./", r"MAIL\.spammer\.example"),
    (r"/^[^.]+\.[^.]+\.[^.]+$/", r"spammer\.example"),
    # the fixed part names a service
    (r"/^(mail|smtp|mx)\..*$/", r"mail\.spammer\.example"),
    (r"/^mail[0-9]*\./", r"mail\.spammer\.example"),
    ("/mail/", r"mail\.spammer\.example"),
    ("/(?i)smtp/", r"smtp\.spammer\.example"),
    ("/^out(bound)?/", r"spammer\.example"),
    ("/relay[0-9]+/", r"relay0"),
    # the fixed part is a public suffix
    (r"/^mail[0-9]*\..*\.com$/", r"mail\.spammer\.com"),
    (r"/\.ru$/", r"spammer\.ru"),
    (r"/\.co\.uk$/", r"spammer\.co\.uk"),
    (r"/\.(com|net)$/", r"spammer\.(com|net)"),
    (r"/\.ck$/", r"spammer\.ck"),
    (r"/\.compute\.amazonaws\.com$/", r"spammer\.compute\.amazonaws\.com"),
    (r"/\.herokuapp\.com$/", r"spammer\.herokuapp\.com"),
    (r"/^.*\.github\.io$/", r"spammer\.github\.io"),
    # a class, an optional part or an alternative in the suffix or the domain
    (r"/\.example\.com?$/", r"example\.co"),
    (r"/\.example\.[a-z]+$/", r"example\.\w+"),
    (r"/\.example\.[a-z]{2,3}$/", r"example\.\w{2,3}"),
    (r"/\.example\.(co\.[a-z]{2}|com)$/", r"example\.co\.\w\w"),
    (r"/\.example\.[x-z][k-z]$/", r"example\.[x-z][k-z]"),
    (r"/\.example\.[a-z]{11}$/", r"example\.\w{11}"),
    (r"/\.example\.c..$/", r"example\.c"),
    (r"/\.example\.(com|[a-z]*)$/", r"example\."),
    (r"/\.example[0-9]\.com$/", r"example\d\.com"),
    (r"/^mx\.[a-z]{4}\.com$/", r"mx\.\w{4}\.com"),
    (r"/^mail\.(example\.)?com$/", r"mail\.com"),
    (r"/^(mail|smtp)\.(example\.|)net$/", r"(mail|smtp)\.net"),
    ("/^bücher\\./", r"bücher\.spammer\.example"),
    ("/^ünal\\./", r"ünal\.spammer\.example"),
    # a domain that ends with the intended one
    (r"/example\.com$/", r"spammer-?example\.com"),
    (r"/^mail-.*example\.com$/", r"spammer-?example\.com"),
    (r"/\bexample\.com$/", r"spammer-example\.com"),
    (r"/[a-z]example\.com$/", r"spammerexample\.com|spammer-\wexample\.com"),
]  # fmt: skip

OPEN_SENDERS = [
    ("/^alarm-[a-z]+@/", r"alarm-\w+@"),
    (r"/@example\.org/", r"@example\.org\.\S*spammer"),
    (r"/^news@mail\..*$/", r"news@mail\.spammer\.example"),
    (r"/example\.org$/", r"@spammer-?example\.org"),
    (r"/\.com$/", r"spammer\.com"),
    ("/^bob/", r"^bob\S*@\S*spammer\.example"),
    ("/^bob!x@/", r"^bob!x@\S*spammer\.example"),
    ("newsletter@", r"newsletter@spammer\.example"),
]


@pytest.mark.parametrize(
    ("which", "line", "stranger"),
    [(CLIENTS, *case) for case in OPEN_CLIENTS] + [(SENDERS, *case) for case in OPEN_SENDERS],
)
def test_a_pattern_that_lets_strangers_pass_is_an_error_with_one_of_them(
    which: str, line: str, stranger: str
) -> None:
    (finding,) = findings(which, line)
    assert finding.severity == ERROR, str(finding)
    found = WOULD_MATCH.search(finding.problem)
    assert found, str(finding)
    assert re.search(stranger, found[1]), str(finding)
    assert matches(which, line, found[1])


CLOSED_CLIENTS = [
    r"/^mx[0-9]+\.example\.com$/", r"/\.example\.com$/", r"/\.example\.(com|net|org)$/",
    r"/\.example\.co(m|\.uk)$/", r"/\.example\.com(\.au)?$/", r"/^(.+\.)?example\.com$/",
    r"/^mail-[a-z0-9-]+\.google\.com$/", r"/(^|\.)example\.co\.uk\.?$/", r"/^[^.]+\.example\.com$/",
    r"/^(mx|)1\.example\.com$/", r"/^mx1[.]example[.]com\z/", r"/\.mx\.example\.com$/",
    r"/^smtp\.(gmail|hotmail)\.(com|net)$/", r"/^192-0-2-[0-9]+\.static\.example\.net$/",
    r"/\.spammer\.example$/",
    r"/(^|\.)(mail\.ru|gmx\.net)$/", r"/(^|\.)mail\.(ru|com)$/", r"/\.bücher\.de$/",
    r"/^mail\.example\.com$|^mx\.example\.net$/", r"/\.xn--bcher-kva\.de$/",
    r"/^out-[0-9]{1,3}\.mail\.yahoo\.co\.jp$/", r"/\.prod\.outlook\.com$/",
]  # fmt: skip


@pytest.mark.parametrize("line", CLOSED_CLIENTS)
def test_a_pattern_whose_domains_are_spelled_out_is_not_reported(line: str) -> None:
    assert [str(each) for each in findings(CLIENTS, line)] == []


@pytest.mark.parametrize("which", [RECIPIENTS, NEVER_AUTO])
def test_recipients_and_clients_that_are_never_auto_whitelisted_have_no_strangers(
    which: str,
) -> None:
    for line in ("/^alarm-[a-z]+@/", "/^dyn-.*dsl/"):
        assert not [str(each) for each in findings(which, line) if "would match" in str(each)]


@pytest.mark.parametrize(
    ("line", "stranger"),
    [
        (r"/^smtp\d+.example.com$/", r"smtp\d\wexample\.com"),
        ("/^mail.example.com$/", r"mail\wexample\.com"),
        (r"/^mx.mail.example.com$/", "mail"),
    ],
)
def test_an_unescaped_dot_that_lets_strangers_pass_is_a_note_with_the_pattern_without_it(
    line: str, stranger: str
) -> None:
    (finding,) = findings(CLIENTS, line)
    assert finding.severity == NOTE
    found = WOULD_MATCH.search(finding.problem)
    assert found is None or re.search(stranger, found[1])
    assert r"\.example\.com" in finding.remedy


@pytest.mark.parametrize("which", [CLIENTS, SENDERS])
@pytest.mark.parametrize("line", ["amazonaws.com", "windows.net", r"/\.amazonaws\.com$/"])
def test_a_domain_whose_owner_gives_names_to_customers_is_a_note(which: str, line: str) -> None:
    (finding,) = findings(which, line)
    assert finding.severity == NOTE
    found = WOULD_MATCH.search(finding.problem)
    assert found
    name = found[1] if which == CLIENTS else f"news@{found[1]}"
    assert matches(which, line, name)


@pytest.mark.parametrize(
    "line", ["google.com", "outlook.com", "gmx.net", r"/\.ses\.amazonaws\.com$/"]
)
def test_a_domain_without_customers_names_is_not_reported(line: str) -> None:
    assert [str(each) for each in findings(CLIENTS, line)] == []


def test_a_pattern_that_no_host_name_has_never_matches() -> None:
    for line in ("/$com/", "/^com^/", r"/example\.com$x/", r"/\.$/", "/^-example/", r"/\.\.mail/"):
        (finding,) = findings(CLIENTS, line)
        assert finding.problem.startswith("never matches"), str(finding)


def test_a_pattern_that_is_too_large_to_judge_is_reported() -> None:
    line = (
        "/(" + "|".join(f"[a-z]{{0,900}}x{number}" for number in range(12)) + r")\.example\.com$/"
    )
    (finding,) = findings(CLIENTS, line)
    assert "too large" in finding.problem


# No remedy widens ---------------------------------------------------------------------------------

ADDRESS_FORMS = [
    "bob@*", "bob", "info", "<bob@>", "mailto:bob@", "<bob@co.uk>", "*@co.uk", "@co.uk", ".co.uk",
    "bob@*.co.uk", "b*@com", "<co.uk>", "*.com", "bob OK", "bob@ OK", "@com OK", "http://co.uk/",
]  # fmt: skip

PROPOSED = re.compile(r"write (/\S+/|[\w.:/@+-]+(?:, [\w.:/@+-]+)*)(?=$|,| for| with| or )")

OF_OTHER_FORMS = [
    "*.example.com", ".example.com", "*example.com", "mail*.example.com", "mx?.example.com",
    "mx[1-4].example.com", "mx{1,2}.example.com", "mail.*", "gmx.*", "*.co.uk", "*mail*", "*",
    "*.*", "mail.example.com OK", ".example.com OK", ".co.uk OK", "com OK", r"/^mail\./ OK",
    r"/^mail\./i", r"/^mail\.example\.com$/i OK", "a.example.com,b.example.com", "com, net",
    "a.example.com co.uk", "smtp://com:25", "com:25", "[com]", "com.", '"com"', "192.0.2.*",
    "192.0.2.1*", "192.0.2.", "192.0.2.0-192.0.2.9", "192.0.2.0/255.255.255.0", "2001:db8::*",
    "0.0.0.0-255.255.255.255", "*.*.*.*", "mail.example.com\u200b", "co.uk\u200b",
    "mail.example.com[192.0.2.7]", "@co.uk", "*.compute.amazonaws.com", r"/\Qcom\E$/",
]  # fmt: skip

NAMES = [
    "example.com", "mail.example.com", "mx1.example.com", "spammer.example", "mail.spammer.example",
    "gmx.spammer.example", "spammer.com", "spammer.co.uk", "mail.com", "unknown", "localhost",
    "spammer-example.com", "mailxexample.com", "mail.example.com.spammer.example", "gmx.example",
    "spammer.compute.amazonaws.com", "a.net", "smtp.spammer.xyz", "mail1.example.net",
]  # fmt: skip


def proposals(finding: LintFinding) -> list[str]:
    found = PROPOSED.search(finding.remedy)
    if not found or " – " in found[1]:
        return []
    return [found[1]] if found[1].startswith("/") else found[1].split(", ")


@pytest.mark.parametrize(
    ("which", "line"),
    [(CLIENTS, line) for line, _ in OPEN_CLIENTS]
    + [(SENDERS, line) for line, _ in OPEN_SENDERS]
    + [(which, line) for which in (CLIENTS, SENDERS) for line in OF_OTHER_FORMS]
    + [(which, line) for which in (SENDERS, RECIPIENTS) for line in ADDRESS_FORMS],
)
def test_what_a_remedy_proposes_is_clean_itself(which: str, line: str) -> None:
    for finding in findings(which, line):
        for each in proposals(finding):
            if not set("./@") & set(each):
                continue
            again = [str(one) for one in findings(which, each) if one.severity == ERROR]
            assert again == [], f"{finding}"


@pytest.mark.parametrize("line", [line for line, _ in OPEN_CLIENTS])
def test_what_a_remedy_proposes_matches_nothing_that_the_pattern_did_not(line: str) -> None:
    for finding in findings(CLIENTS, line):
        for each in proposals(finding):
            wider = [
                name
                for name in NAMES
                if matches(CLIENTS, each, name) and not matches(CLIENTS, line, name)
            ]
            assert wider == []


PIECES = [
    "^", "$", ".*", r"\.", ".", "mail", "mx", "[0-9]*", "[a-z]+", "example", "com", "co", "uk", "(",
    ")", "|", "?", r"\.com", r"\.example\.com$", "^mail", "[^.]+", r"\b", "{2}", "-", "@",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join))
def test_the_reported_strangers_really_match(pattern: str) -> None:
    for which in (CLIENTS, SENDERS):
        for finding in findings(which, f"/{pattern}/"):
            if found := WOULD_MATCH.search(finding.problem):
                assert matches(which, f"/{pattern}/", found[1])
            for each in proposals(finding):
                if each.startswith("/"):
                    assert not [
                        str(one) for one in findings(which, each) if one.severity == ERROR
                    ], str(finding)
