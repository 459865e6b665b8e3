"""Lints the lists in the format of Postfix tables: logins of senders, and exempt clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.hostnames import is_public_suffix, normal_name
from greyd.whitelist.dns_override import read_override, translated_line
from greyd.whitelist.entries import display_text
from greyd.whitelist.lint.entry_problems import entry_problems
from greyd.whitelist.lint.findings import ERROR, NOTE, LintFinding, Problem
from greyd.whitelist.lint.invisible import invisible_problem
from greyd.whitelist.lint.names import HOST_NAME
from greyd.whitelist.list_names import OVERRIDE
from greyd.whitelist.sender_logins import SenderLogins, logical_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.whitelist.entries import WhitelistFile


def lint_sender_logins(sources: Sequence[WhitelistFile]) -> Iterator[LintFinding]:
    """Yield the findings for the files of ``--sender-logins``."""
    first_lines: dict[bytes, str] = {}
    logins = SenderLogins(sources)
    reported = {(each.file, each.line) for each in logins.diagnostics}
    for each in logins.diagnostics:
        yield LintFinding(each.file, each.line, each.entry, ERROR, each.problem, each.remedy)
    for source in sources:
        for number, line in logical_lines(source.content):
            if (source.file, number) in reported:
                continue
            problem = _problem_of_sender(line) or _problem_of_repetition(
                line, f"{source.file}:{number}", first_lines
            )
            if problem is not None:
                yield _finding(source.file, number, line, problem)


def _problem_of_sender(line: bytes) -> Problem | None:
    if problem := invisible_problem(b"".join(line.split()), lambda _: False):
        return problem
    sender = line.replace(b",", b" ").split()[0]
    local, _, domain = sender.rpartition(b"@")
    name = normal_name(domain)
    if b"*" in sender:
        remedy = f"write @{display_text(name.lstrip(b'*.'))} for all other senders of the domain"
        return Problem("never matches: * is not a wildcard here", remedy)
    if not HOST_NAME.fullmatch(name) or local.startswith((b"<", b'"<')):
        return Problem("never matches: not a valid address", "write an address, or @example.org")
    if is_public_suffix(name):
        return Problem(f"never matches: no mail comes from {display_text(name)} itself",
                       "write your own domain")  # fmt: skip
    return None


def _problem_of_repetition(
    line: bytes, place: str, first_lines: dict[bytes, str]
) -> Problem | None:
    key = line.replace(b",", b" ").split()[0].lower()
    first = first_lines.setdefault(key, place)
    if first == place:
        return None
    return Problem(
        f"has no effect: {first} has the same sender", "write all its logins there", NOTE
    )


def lint_override(sources: Sequence[WhitelistFile]) -> Iterator[LintFinding]:
    """Yield the findings for the files of ``--list-override``."""
    reported = set()
    for each in read_override(sources).diagnostics:
        reported.add((each.file, each.line))
        yield LintFinding(each.file, each.line, each.entry, ERROR, each.problem, each.remedy)
    for source in sources:
        for number, line in enumerate(source.content.split(b"\n"), 1):
            entry = translated_line(source.file, number, line, [])
            if not entry or (source.file, number) in reported:
                continue
            for problem in entry_problems(entry, entry, OVERRIDE):
                yield _finding(source.file, number, line.strip(), problem)


def _finding(file: str, number: int, line: bytes, problem: Problem) -> LintFinding:
    return LintFinding(
        file, number, display_text(line), problem.severity, problem.description, problem.remedy
    )
