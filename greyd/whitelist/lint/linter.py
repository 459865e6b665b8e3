r"""What is wrong with the lines of a whitelist, or likely to be: what, and what to write instead.

The matcher's own remarks are among it (``greyd.whitelist.matcher``). The rest is what a matcher
need not
know: lines that are taken as they stand and do something else than their author thinks. An *error*
never matches, or matches what nobody can mean; a *note* is worth a look.

Pure: files' contents go in, findings come out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.entries import Diagnostic, WhitelistEntry, WhitelistFile, parse_entries
from greyd.whitelist.hits import CLIENTS
from greyd.whitelist.lint.clients import client_problems
from greyd.whitelist.lint.findings import ERROR, NOTE, LintFinding, Problem, display_text
from greyd.whitelist.lint.recipients import recipient_problems
from greyd.whitelist.lint.redundancy import redundant_entries
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def lint(sources: Sequence[WhitelistFile], which: str) -> list[LintFinding]:
    """Return what is to be said of the files of a list, in their order.

    ``which`` is ``clients`` or ``recipients``; the files are those that are in force together.
    """
    ignored: list[Diagnostic] = []
    entries = [entry for source in sources for entry in parse_entries(source, ignored, "")]
    raw = {source.file: source.content.split(b"\n") for source in sources}
    look = client_problems if which == CLIENTS else recipient_problems
    faults: dict[tuple[str, int], list[tuple[bytes, Problem]]] = {}

    def note(entry: WhitelistEntry, fault: Problem) -> None:
        faults.setdefault((entry.file, entry.line), []).append((entry.text, fault))

    sound = []
    for entry in entries:
        line = raw[entry.file][entry.line - 1]
        found = list(look(entry.text, line))
        for fault in found:
            note(entry, fault)
        if not any(fault.severity == ERROR for fault in found):
            sound.append(entry)
    for diagnostic in _matcher_diagnostics(sources, which):
        # Of a line that more is known of, that is said.
        if not any(fault.severity == ERROR for _, fault in faults.get(diagnostic[:2], ())):
            text, fault = _from_diagnostic(diagnostic)
            faults.setdefault(diagnostic[:2], []).insert(0, (text, fault))
    told = {place for place, found in faults.items() if any(f.severity == ERROR for _, f in found)}
    for entry, other in redundant_entries([e for e in sound if e[:2] not in told], which):
        same = "the same as" if entry.text.lower() == other.text.lower() else "covered by"
        where = f'{other.file}:{other.line}: "{display_text(other.text)}"'
        note(entry, Problem(f"{same} {where}", "take one of them out", NOTE))
    order = {source.file: number for number, source in enumerate(sources)}
    return [
        LintFinding(file, line, display_text(text), fault.severity, fault.what, fault.remedy)
        for file, line in sorted(faults, key=lambda place: (order[place[0]], place[1]))
        for text, fault in faults[file, line]
    ]


def _matcher_diagnostics(sources: Sequence[WhitelistFile], which: str) -> Iterable[Diagnostic]:
    return (
        ClientWhitelist(sources) if which == CLIENTS else RecipientWhitelist(sources)
    ).diagnostics


def _from_diagnostic(diagnostic: Diagnostic) -> tuple[bytes, Problem]:
    """Take a remark of the matcher apart: ``"text" – what; remedy``."""
    text, dash, rest = diagnostic.text.partition('" – ')
    if not dash:
        text, rest = '"', diagnostic.text
    what, _, remedy = rest.rpartition("; ") if "; " in rest else (rest, "", "correct it")
    return text[1:].encode(), Problem(what, remedy)
