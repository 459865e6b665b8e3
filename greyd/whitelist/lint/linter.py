"""Lints whitelists: finds lines that probably do not do what their author meant.

A finding is an *error* if the line never matches, is skipped, or matches far too much, else a
*note*. The findings include the diagnostics of the matcher. The linter does no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.entries import (
    BYTE_ORDER_MARK,
    display_text,
    is_utf16,
    parse_entries,
    spaced_lines,
)
from greyd.whitelist.lint.entry_problems import entry_problems, spaced_line_problem
from greyd.whitelist.lint.findings import ERROR, NOTE, LintFinding, Problem
from greyd.whitelist.lint.redundancy import redundant_entries
from greyd.whitelist.lint.tables import lint_override, lint_sender_logins
from greyd.whitelist.lint.whole_tables import summarise_tables
from greyd.whitelist.list_names import LISTS_OF_CLIENTS, OVERRIDE, SENDER_LOGINS
from greyd.whitelist.matcher import AddressWhitelist, ClientWhitelist

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.whitelist.entries import Diagnostic, WhitelistEntry, WhitelistFile

    Line = tuple[str, int]


_LINTERS_OF_TABLES = {SENDER_LOGINS: lint_sender_logins, OVERRIDE: lint_override}


def lint(sources: Sequence[WhitelistFile], which: str) -> list[LintFinding]:
    """Return the findings for the files of a list, in the order of files and lines.

    Args:
        sources: all files of the list.
        which: the list's name.
    """
    file_names = [source.file for source in sources]
    if which in _LINTERS_OF_TABLES:
        found = list(_LINTERS_OF_TABLES[which](sources))
        return sorted(found, key=lambda each: (file_names.index(each.file), each.line))
    readable = [source for source in sources if not is_utf16(source)]
    entries = [entry for source in readable for entry in parse_entries(source, [])]
    of_entries = list(_findings_of_entries(readable, entries, which))
    # An error of the linter is more specific than the matcher's diagnostic for the same line.
    explained = _lines_with_errors(of_entries)
    of_matcher = [
        LintFinding(
            each.file,
            each.line,
            each.entry,
            NOTE if each.is_note else ERROR,
            each.problem,
            each.remedy,
        )
        for each in _matcher_diagnostics(sources, which)
        if (each.file, each.line) not in explained or not each.entry
    ]
    findings = [*of_matcher, *of_entries]
    failed = _lines_with_errors(findings)
    valid = [each for each in entries if (each.file, each.line) not in failed]
    findings += _redundancy_findings(valid, which)
    findings.sort(key=lambda each: (file_names.index(each.file), each.line))
    return list(summarise_tables(findings))


def _findings_of_entries(
    sources: Iterable[WhitelistFile], entries: Iterable[WhitelistEntry], which: str
) -> Iterable[LintFinding]:
    lines = {source.file: source.content.split(b"\n") for source in sources}
    for entry in entries:
        line = lines[entry.file][entry.line - 1]
        # The matcher reports the byte order mark of a file.
        text = entry.text.removeprefix(BYTE_ORDER_MARK) if entry.line == 1 else entry.text
        for problem in entry_problems(text, line, which):
            yield _finding(entry, problem)
    for source in sources:
        for entry in spaced_lines(source):
            yield _finding(entry, spaced_line_problem(entry.text, which))


def _finding(entry: WhitelistEntry, problem: Problem) -> LintFinding:
    text, severity = display_text(entry.text), problem.severity
    return LintFinding(entry.file, entry.line, text, severity, problem.description, problem.remedy)


def _lines_with_errors(findings: Iterable[LintFinding]) -> set[Line]:
    return {(each.file, each.line) for each in findings if each.severity == ERROR}


def _matcher_diagnostics(sources: Sequence[WhitelistFile], which: str) -> Iterable[Diagnostic]:
    matcher = ClientWhitelist if which in LISTS_OF_CLIENTS else AddressWhitelist
    return matcher(sources).diagnostics


def _redundancy_findings(entries: Iterable[WhitelistEntry], which: str) -> Iterable[LintFinding]:
    for entry, other in redundant_entries(entries, which):
        relation = "the same as" if entry.text.lower() == other.text.lower() else "covered by"
        description = f'{relation} {other.file}:{other.line}: "{display_text(other.text)}"'
        yield _finding(entry, Problem(description, "remove one of them", NOTE))
