"""Patterns without slashes or with spaces, terms of SPF records, and numbered globs."""

from __future__ import annotations

import re

import pytest

from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.lint.findings import ERROR, LintFinding
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS, SENDERS


def findings(which: str, line: str) -> list[LintFinding]:
    return lint([WhitelistFile("w", line.encode())], which)


MX_1_TO_12 = ", ".join(f"mx{number}.example.com" for number in range(1, 13))

REMEDIES = [
    # no slashes
    (CLIENTS, r"^mail\.example\.com$", r"/^mail\.example\.com$/"),
    (CLIENTS, r"^mail\.example\.com$/", r"/^mail\.example\.com$/"),
    (CLIENTS, r"mail\.example\.com", r"/^mail\.example\.com$/"),
    (CLIENTS, r"\.example\.com", r"/\.example\.com$/"),
    (CLIENTS, r".*\.example\.com", r"/^.*\.example\.com$/"),
    (CLIENTS, r"example\.com$", r"/^example\.com$/"),
    (CLIENTS, r"(mail|mx)\.example\.com", r"/^(mail|mx)\.example\.com$/"),
    (CLIENTS, r"mx\d+\.example\.com", r"/^mx\d+\.example\.com$/"),
    (SENDERS, r"^bob@example\.com$", r"/^bob@example\.com$/"),
    (SENDERS, r"bob@.*\.example\.com", r"/^bob@.*\.example\.com$/"),
    (RECIPIENTS, r"@example\.com", r"/@example\.com$/"),
    (CLIENTS, r"/^mail\.example\.com$", r"/^mail\.example\.com$/"),
    (RECIPIENTS, r"/^bob@example\.com", r"/^bob@example\.com$/"),
    # spaces
    (CLIENTS, r"/^[^ ]*\.example\.com$/", r"/^\S*\.example\.com$/"),
    (CLIENTS, r"/^mail\.example\.com $/", r"/^mail\.example\.com$/"),
    (SENDERS, "Bob <bob@example.com>", "bob@example.com"),
    (RECIPIENTS, '"B, J" <bob@example.com>,', "bob@example.com"),
    # terms of SPF records
    (CLIENTS, "ip4:192.0.2.0/24", "192.0.2.0/24"),
    (CLIENTS, "+ip4:192.0.2.1", "192.0.2.1"),
    (CLIENTS, "ip6:2001:db8::/32", "2001:db8::/32"),
    # globs with numbers
    (CLIENTS, "mx[1-12].example.com", MX_1_TO_12),
    (CLIENTS, "mail[1-30].example.com", r"/^mail[0-9]+\.example\.com$/"),
    (CLIENTS, "mail?.example.com", r"/^mail[^.]\.example\.com$/"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "line", "remedy"), REMEDIES)
def test_a_line_of_another_form_has_a_remedy_that_can_be_written_as_it_stands(
    which: str, line: str, remedy: str
) -> None:
    (finding,) = findings(which, line)
    assert finding.severity == ERROR
    assert finding.remedy == f"write {remedy}"
    for each in remedy.split(", "):
        assert [str(one) for one in findings(which, each)] == []


WITHOUT_PROPOSAL = [
    (CLIENTS, "^mail", "between slashes"), (CLIENTS, r"^mail\.", "between slashes"),
    (CLIENTS, r"\.co\.uk$", "between slashes"), (CLIENTS, ".*example.com", "between slashes"),
    (CLIENTS, r"^192\.0\.2\.", "write the names or networks you mean"),
    (SENDERS, "^bob@", "between slashes"), (SENDERS, r".*\.com", "between slashes"),
    (CLIENTS, "/[^ ]*/", "can't contain spaces"), (CLIENTS, "/^mail .*/", "can't contain spaces"),
    (CLIENTS, "include:_spf.google.com", "SPF"), (CLIENTS, "a:mail.example.com", "SPF"),
    (CLIENTS, "Bob <bob@example.com>", "spaces"), (SENDERS, "Bob <bob@>", "spaces"),
    (CLIENTS, "gmx.?", r"\? is not a wildcard"),
    (CLIENTS, "m?il.*", r"\* and \? are not wildcards"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "line", "words"), WITHOUT_PROPOSAL)
def test_what_would_let_strangers_pass_is_not_proposed(which: str, line: str, words: str) -> None:
    (finding,) = findings(which, line)
    assert finding.severity == ERROR
    assert re.search(words, str(finding)), str(finding)
    assert "write /^" not in finding.remedy


@pytest.mark.parametrize(
    ("which", "line", "entry"),
    [
        (CLIENTS, r"/\bgoogle\.com$/", r"/(^|\.)google\.com$/"),
        (CLIENTS, r"/^.*example\.com$/", r"/(^|\.)example\.com$/"),
        (CLIENTS, r"/(orange|wanadoo)\.fr$/", r"/(^|\.)(orange|wanadoo)\.fr$/"),
        (CLIENTS, r"/((mail|mx)\.)?example\.com$/", r"/(^|\.)((mail|mx)\.)?example\.com$/"),
        (SENDERS, r"/(foo|bar)\.example$/", r"/[@.](foo|bar)\.example$/"),
        (CLIENTS, "/*.example.com/", r"/\.example\.com$/"),
    ],
)
def test_a_pattern_without_a_border_has_a_remedy_with_one(
    which: str, line: str, entry: str
) -> None:
    (finding,) = [each for each in findings(which, line) if each.severity == ERROR]
    assert finding.remedy == f"write {entry}"
    assert [str(each) for each in findings(which, entry)] == []


@pytest.mark.parametrize("line", [r"/^mail.*google\.com$/", r"/[a-z]+yahoo\.com$/", "/*.co.uk/"])
def test_a_pattern_that_no_border_closes_has_no_proposal(line: str) -> None:
    for finding in findings(CLIENTS, line):
        assert "write" not in finding.remedy
