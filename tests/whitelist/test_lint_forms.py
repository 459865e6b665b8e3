"""check-whitelist explains forms of other programs, and what the eye does not see."""

from __future__ import annotations

import re

import pytest

from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.lint.findings import ERROR, LintFinding
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS, SENDERS


def findings(which: str, line: str | bytes) -> list[LintFinding]:
    content = line if isinstance(line, bytes) else line.encode()
    return lint([WhitelistFile("w", content)], which)


OF_CLIENTS = [
    # tables and lists of Postfix
    ("mail.example.com OK", "key and an action; write mail.example.com$"),
    ("mail.example.com\tpermit", "write mail.example.com$"),
    (".example.com RELAY", "write example.com$"),
    ("192.0.2 OK", "write 192.0.2.0/24$"),
    ("192.0 OK", "write 192.0.0.0/16$"),
    ("10 OK", "write 10.0.0.0/8$"),
    ("192.0.2.0/24 OK", "write 192.0.2.0/24$"),
    ("[2001:db8::]/48 OK", "write 2001:db8::/48$"),
    ("mail.example.com 12345", "write mail.example.com$"),
    ("mail.example.com x", "a key and a value; write mail.example.com$"),
    ("mail.example.com REJECT no", "REJECT; leave it out"),
    ("mail.example.com 450 4.7.1 wait", "450; leave it out"),
    ("mail.example.com DUNNO", "DUNNO; leave it out"),
    ("co.uk OK", "write the key alone"),
    (r"/^mail\.example\.com$/ OK", r"write /\^mail\\.example\\.com\$/$"),
    (r"/^mail\.example\.com$/i OK", r"write /\^mail\\.example\\.com\$/$"),
    (r"/^mail\./ OK", "write the key alone"),
    (r"!/^mail\.example\.com$/ OK", "! excludes nothing"),
    ("!192.0.2.7", "! excludes nothing"),
    ("!example.com", "! excludes nothing"),
    ("if /example/", "no conditions"),
    ("if !/example/", "no conditions"),
    ("endif", "no conditions"),
    (r"/^mail\.example\.com$/x", "write the pattern without flags"),
    ("hash:/etc/postfix/access", "does not read Postfix's tables"),
    ("cidr:/etc/postfix/clients", "does not read Postfix's tables"),
    ("pcre:{{/x/ OK}}", "does not read Postfix's tables"),
    ("proxy:mysql:/etc/x.cf", "does not read Postfix's tables"),
    ("/etc/postfix/whitelist", "the name of a file"),
    ("../config/whitelist", "the name of a file"),
    ("$mynetworks", "Postfix's parameters"),
    # wildcards and ranges
    ("mail*.example.com", r"write /\^mail\[\^.\]\*\\.example\\.com\$/$"),
    ("mx?.example.com", r"write /\^mx\[\^.\]\\.example\\.com\$/$"),
    ("mx[1-3].example.com", "write mx1.example.com, mx2.example.com, mx3.example.com$"),
    ("mx{1,2}.example.com", "write mx1.example.com, mx2.example.com$"),
    ("mx{1..3}.example.com", "write mx1.example.com, mx2.example.com, mx3.example.com$"),
    ("*example.com", "write example.com,"),
    ("gmx.*", "gmx.example would match; write each domain in full"),
    ("*.co.uk", "co.uk would match anyone's names"),
    ("*", "correct it, or remove it"),
    ("192.0.2.0-192.0.2.9", "write 192.0.2.0/29, 192.0.2.8/31$"),
    ("192.0.2.0-9", "write 192.0.2.0/29, 192.0.2.8/31$"),
    ("192.0.2.0 - 192.0.2.9", "write 192.0.2.0/29, 192.0.2.8/31$"),
    ("192.0.2.0 255.255.255.0", "write 192.0.2.0/24$"),
    ("192.0.2.0/0.0.0.255", "write 192.0.2.0/24$"),
    ("192.0.2.1*", "write 192.0.2.1, 192.0.2.10/31, "),
    ("192.0.2.[1-4]", "write 192.0.2.1, 192.0.2.2/31, 192.0.2.4$"),
    ("192.0.2.", "write 192.0.2.0/24$"),
    ("192.0.2.x", "write 192.0.2.0/24$"),
    ("2001:db8:1:*", "write 2001:db8:1::/48$"),
    ("2001:db8::*", "write 2001:db8::/112$"),
    ("2001:db8::1-2001:db8::2", "write 2001:db8::1, 2001:db8::2$"),
    # logs, lists, quotes
    ("mail.example.com[192.0.2.7]", "write mail.example.com or 192.0.2.7$"),
    ("unknown[192.0.2.7]:25", "write 192.0.2.7$"),
    ("[mail.example.com]:25", "write mail.example.com$"),
    ("a.example.com,b.example.com", "per line: a.example.com, b.example.com$"),
    ("a.example.com b.example.com", "per line: a.example.com, b.example.com$"),
    ("'mail.example.com'", "write mail.example.com$"),
    ("mail.example.com;", "write mail.example.com$"),
    # public suffixes
    ("compute.amazonaws.com", "whoever owns them"),
    ("github.io", "whoever owns them"),
    ("ck", "whoever owns them"),
]


@pytest.mark.parametrize(("line", "words"), OF_CLIENTS)
def test_another_programs_notation_is_explained_with_the_lines_to_write(
    line: str, words: str
) -> None:
    (finding,) = findings(CLIENTS, line)
    assert finding.severity == ERROR
    assert re.search(words, f"{finding.problem}; {finding.remedy}"), str(finding)


@pytest.mark.parametrize(
    ("which", "line", "words"),
    [
        (RECIPIENTS, "bob@example.org OK", "write bob@example.org$"),
        (RECIPIENTS, "@example.org OK", "write example.org$"),
        (RECIPIENTS, "postmaster@ OK", "write postmaster@$"),
        (SENDERS, "newsletter@ OK", "write the key alone"),
        (RECIPIENTS, r"/^bob@example\.org$/i", r"write /\^bob@example\\.org\$/, which ignores"),
        (RECIPIENTS, "b*@example.org", r"/\^b\[\^@\]\*@example\\.org\$/"),
        (RECIPIENTS, "bob@*.example.org", r"/\^bob@\(\[\^@\]\+\\.\)\?example\\.org\$/"),
    ],
)
def test_tables_of_addresses_are_explained_likewise(which: str, line: str, words: str) -> None:
    (finding,) = findings(which, line)
    assert re.search(words, finding.remedy), str(finding)


def test_a_whole_table_is_summarised_with_the_number_of_its_lines() -> None:
    lines = [f"192.0.2.{number} permit" for number in range(100)]
    found = findings(CLIENTS, "\n".join([*lines, "*.example.com"]))
    assert [each.line for each in found] == [1, 2, 3, 4, 101]
    assert "97 more lines of a Postfix table are skipped" in found[3].problem
    few = findings(CLIENTS, "\n".join(lines[:20]))
    assert [each.remedy for each in few] == [f"write 192.0.2.{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("[2001:db8::]/48", "2001:db8::/48"),
        ("IPv6:2001:db8::1", "2001:db8::1"),
        ("ipv6:2001:db8::/64", "2001:db8::/64"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[IPv6:2001:db8::]/64", "2001:db8::/64"),
    ],
)
def test_postfixs_forms_of_ipv6_are_explained_with_the_entry_to_write(
    line: str, instead: str
) -> None:
    (finding,) = findings(CLIENTS, line)
    assert finding.problem.startswith("never matches: it is an IPv6 address as Postfix writes it")
    assert finding.remedy == f"write {instead}"
    assert findings(CLIENTS, instead) == []


INVISIBLE = [
    ("mail\u200b.example.com", "U+200B ZERO WIDTH SPACE (bytes e2 80 8b)"),
    ("mail\u200d.example.com", "U+200D ZERO WIDTH JOINER"),
    ("\ufeffmail.example.com", "U+FEFF"),
    ("x.example\n\ufeffmail.example.com", "U+FEFF"),
    ("mail.example.com\u00a0", "U+00A0 NO-BREAK SPACE (bytes c2 a0)"),
    ("mail.exam\u00adple.com", "U+00AD SOFT HYPHEN"),
    ("\u202email.example.com", "U+202E RIGHT-TO-LEFT OVERRIDE"),
    ("mail.example.com\u2069", "U+2069 POP DIRECTIONAL ISOLATE"),
    ("mail.example.com\u3000", "U+3000 IDEOGRAPHIC SPACE"),
    ("mail.example.com\x00", "U+0000 NUL"),
    ("mail.example.com\x1a", "U+001A control-Z"),
    ("mail\x07.example.com", "U+0007"),
    ("mail\ufe0f.example.com", "U+FE0F VARIATION SELECTOR-16"),
    ("ｍａｉｌ.example.com", '(bytes ef bd 8d), which looks like "m"'),
    ("mail．example.com", "U+FF0E FULLWIDTH FULL STOP"),
    ("mail.ex\u0430mple.com", "U+0430 CYRILLIC SMALL LETTER A (bytes d0 b0)"),
    ("mail.ex\u03b1mple.com", "U+03B1 GREEK SMALL LETTER ALPHA"),
    (r"/^mail\u200b\.example\.com$/".replace(r"\u200b", "\u200b"), "U+200B"),
    ("\u0430\u0440\u0440\u04cf\u0435.com", "consists of letters that look like Latin ones"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "words"), INVISIBLE)
@pytest.mark.parametrize("which", [CLIENTS, RECIPIENTS, SENDERS])
def test_invisible_characters_are_named_with_their_bytes(which: str, line: str, words: str) -> None:
    found = [str(each) for each in findings(which, line)]
    assert any(words in each for each in found), found


def test_invisible_characters_are_shown_in_the_line() -> None:
    (finding,) = findings(CLIENTS, "mail\u200b.example.com")
    assert finding.text == "mail<U+200B>.example.com"
    assert finding.remedy == "write mail.example.com"


def test_a_byte_that_is_not_utf_8_is_named() -> None:
    (finding,) = findings(CLIENTS, b"mail.example.com\xa0")
    assert "the byte a0, in Latin-1 a no-break space" in finding.problem


def test_a_file_in_utf_16_is_named() -> None:
    found = findings(CLIENTS, "mail.example.com\n".encode("utf-16"))
    assert any("UTF-16" in str(each) for each in found)


@pytest.mark.parametrize(
    "line",
    [
        "bücher.example",
        "пример.рф",
        "例え.jp",
        "abc例.jp",
        "παράδειγμα.gr",
        "straße.example",
        "bu\u0308cher.example",
    ],
)
def test_a_domain_in_one_alphabet_is_not_reported(line: str) -> None:
    assert [str(each) for each in findings(CLIENTS, line)] == []


@pytest.mark.parametrize("separator", ["\0", "\u2028", "\u00a0", "\u3000", "\x85"])
def test_what_an_invisible_character_separates_is_not_joined(separator: str) -> None:
    for line in (f"a.example{separator}b.example", f"co{separator}.uk"):
        (finding,) = findings(CLIENTS, line)
        assert finding.remedy == "retype the line"
    (finding,) = findings(CLIENTS, f"a.example{separator}")
    assert finding.remedy in ("write a.example", "retype the line")
