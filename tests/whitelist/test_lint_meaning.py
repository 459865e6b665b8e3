"""Patterns are judged by what they match: names that exist, several domains, nothing at all."""

from __future__ import annotations

import re

import pytest

from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.lint.findings import ERROR, NOTE, LintFinding
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS, SENDERS


def findings(which: str, line: str) -> list[LintFinding]:
    return lint([WhitelistFile("w", line.encode())], which)


CLEAN = [
    # Only .com exists of .com, .co[m] and .con, and of an end that white space may follow.
    (CLIENTS, r"/\.example\.com+$/"), (CLIENTS, r"/\.example\.co[m]$/"),
    (CLIENTS, r"/\.example\.co[mn]$/"), (CLIENTS, r"/^mail\.example\.com{1,}$/"),
    (CLIENTS, r"/^mail\.example\.com\s*$/"), (CLIENTS, r"/^localhost$/"),
    (CLIENTS, r"/\.local$/"), (CLIENTS, r"/^[0-9]+\.pool\.example\.com$/"),
    (CLIENTS, r"/^[0-9a-f.-]+\.example\.com$/"), (CLIENTS, r"/\.пример\.рф$/"),
    (CLIENTS, r"/\.münchen\.de$/"), (SENDERS, r"/^bob@gmail\.com$/"),
    (SENDERS, r"/^(bob|alice)@(gmail|yahoo)\.com$/"), (SENDERS, r"/@example\.com$/"),
    (SENDERS, r"/^bounce-.*@gmail\.com$/"), (RECIPIENTS, r"/^postmaster$/"),
    (RECIPIENTS, "/^[^@]+@пример.рф$/"), (RECIPIENTS, r"/^[\x80-\xff]+@example\.org$/"),
    (CLIENTS, "10.0.0.0/8"), (CLIENTS, "fc00::/7"), (CLIENTS, "172.16.0.0/12"),
    (CLIENTS, "40.92.0.0/15"), (CLIENTS, "2a01:111::/32"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "line"), CLEAN)
def test_a_line_that_lets_only_intended_names_pass_is_not_reported(which: str, line: str) -> None:
    assert [str(each) for each in findings(which, line)] == []


REPORTED = [
    # several domains, of which the author can mean one only
    (CLIENTS, r"/\.google\.com?$/", ERROR, r"several domains.*mail\.google\.com? would match"),
    (CLIENTS, r"/\.example-?[0-9]*\.com$/", ERROR, r"several domains"),
    (CLIENTS, r"/\.[a-z]\.com$/", ERROR, r"mail\.[bc]\.com and mail\.a\.com would match"),
    (CLIENTS, r"/\.(foo|[a-z]{5})\.com+$/", ERROR, "several domains"),
    (CLIENTS, r"/\.e[a-z]ample\.com$/", ERROR, "would match"),
    # suffixes in any alphabet
    (CLIENTS, r"/\.рф$/", ERROR, r"below \.рф.*spammer\.рф would match"),
    (CLIENTS, r"/\.中国$/", ERROR, "spammer.中国 would match"),
    (CLIENTS, r"/\.xn--p1ai$/", ERROR, "would match"),
    (CLIENTS, r"/^.*\.xn--[a-z0-9-]+$/", ERROR, r"spammer\.xn--\S+ would match"),
    (CLIENTS, r"/\.xn--p1a.$/", ERROR, r"spammer\.xn--p1a\w would match"),
    (SENDERS, r"/@.*\.рф$/", ERROR, "would match"),
    (CLIENTS, r"/пример\.рф$/", ERROR, "spammer-пример.рф would match"),
    # nothing is like this
    (CLIENTS, "/^$/", ERROR, "never matches"),
    (SENDERS, "/^$/", ERROR, "never matches"),
    (SENDERS, "/^<>$/", ERROR, "never matches"),
    (RECIPIENTS, "/^<bob@example.org>$/", ERROR, "never matches"),
    (RECIPIENTS, r"/^bob@example\.org,$/", ERROR, "never matches"),
    (CLIENTS, r"/\.[0-9]+$/", ERROR, "not in its address.*write a network"),
    (CLIENTS, r"/^\d+\.\d+\.\d+\.\d+$/", ERROR, "not in its address"),
    (CLIENTS, "/^[0-9.]+$/", ERROR, "not in its address"),
    (CLIENTS, "/^[0-9a-f:]+$/", ERROR, "not in its address"),
    (CLIENTS, "/^2001:db8:/", ERROR, "not in its address"),
    (CLIENTS, "/^mail$/", NOTE, "names without a dot"),
    # everything, with the reason
    (CLIENTS, r"/^(mail\.example\.com$)?/", ERROR, "every client pass: it matches any text"),
    (CLIENTS, "/a|/", ERROR, "an alternative is empty"),
    # mailbox providers
    (SENDERS, r"/@gmail\.com$/", NOTE, r"anybody.*spammer@gmail\.com would match"),
    (SENDERS, r"/@(example|gmail)\.com$/", NOTE, r"spammer@gmail\.com would match"),
    (SENDERS, "gmail.com", NOTE, "anybody can get an address"),
    # quoting
    (CLIENTS, r"/\Qmail.example.com\E/", ERROR, r"write /\^mail\\\.example\\\.com\$/$"),
    (CLIENTS, r"/^\Qmail.example.com\E$/", ERROR, r"write /\^mail\\\.example\\\.com\$/$"),
    (CLIENTS, r"/\Qmail\E/", ERROR, "put a backslash before each dot"),
    # a dot without a backslash
    (CLIENTS, "/.example.com$/", NOTE, r"write /\\\.example\\\.com\$/$"),
    (RECIPIENTS, "/^bob@example.org$/", NOTE, r"write /\^bob@example\\\.org\$/$"),
    # an alternative that names nobody is not closed with $
    (CLIENTS, r"/^mail\.example\.com$|^mx\./", ERROR, "spell out the domains"),
    (CLIENTS, r"/^mail\.example\.com$|evil/", ERROR, "spell out the domains"),
    (CLIENTS, r"/^mail\.example\.com$|^mx\.example\.net/", ERROR, r"write .*net\$/$"),
    # networks
    (CLIENTS, "0.0.0.0/1", ERROR, "1/2 of all IPv4"),
    (CLIENTS, "128.0.0.0/2", ERROR, "1/4 of all IPv4"),
    (CLIENTS, "2000::/3", ERROR, "1/8 of all IPv6"),
    (CLIENTS, "8.0.0.0/7", ERROR, "1/128 of all IPv4"),
    (CLIENTS, "192.0.0.0/8", NOTE, "1/256 of all IPv4"),
    (CLIENTS, "192.0.2.0/8", NOTE, "write the networks you mean, or 192.0.2.0 for the single"),
    (CLIENTS, "192.0.2.1/24", NOTE, "write 192.0.2.1 for the single address, or 192.0.2.0/24"),
    (CLIENTS, "192.0.2.0/24/24", ERROR, "two prefix lengths; write 192.0.2.0/24$"),
    (CLIENTS, "192.0.2.01", ERROR, "starts with 0; write 192.0.2.1$"),
    # mail addresses with marks
    (RECIPIENTS, "bob@example.com,", ERROR, ", around it; write bob@example.com$"),
    (RECIPIENTS, "'bob@example.com'", ERROR, "' around it; write bob@example.com$"),
    (RECIPIENTS, '"bob"@example.com', ERROR, "without quotes; write bob@example.com$"),
    (RECIPIENTS, "bob@@example.com", ERROR, "several @"),
    (RECIPIENTS, "bob@co.uk,", ERROR, "around it"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "line", "severity", "words"), REPORTED)
def test_a_line_is_reported_for_what_it_matches(
    which: str, line: str, severity: str, words: str
) -> None:
    (finding,) = findings(which, line)
    assert finding.severity == severity, str(finding)
    text = str(finding)
    assert re.search(words, text), text
