"""Plans the addition of an entry to a whitelist: its faults, and the entries that cover it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.whitelist.entries import WhitelistFile, display_text, is_pattern
from greyd.whitelist.lint.findings import ERROR
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS
from greyd.whitelist.local.content import with_lines
from greyd.whitelist.local.covering import covered_entries, covering_entry
from greyd.whitelist.local.errors import LocalListError, UselessEntryError
from greyd.whitelist.local.file_edit import edit_file
from greyd.whitelist.local.local_list import LocalList, local_list
from greyd.whitelist.local.notes import note_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.whitelist.entries import WhitelistEntry
    from greyd.whitelist.lint.findings import LintFinding

MAX_ENTRY_BYTES = 1000

_WITHOUT_EFFECT = ("never matches", "skipped", "neither ASCII", "contains characters")
"""The beginnings of the linter's errors about entries that match nothing."""


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """An entry that is to be added to a ``.local`` file."""

    text: str
    """The entry as it will be in the file."""
    target: LocalList
    findings: tuple[LintFinding, ...] = ()
    """The linter's findings; an entry with findings needs a confirmation."""
    covered_by: WhitelistEntry | None = None
    """An entry in force that matches all that the new one matches; there is nothing to add."""
    covers: tuple[WhitelistEntry, ...] = ()
    """The entries of the list that become redundant."""

    @property
    def needs_confirmation(self) -> bool:
        """Whether the entry may let strangers pass, or mean something unexpected."""
        return bool(self.findings)

    @property
    def is_same(self) -> bool:
        """Whether the list already has the entry in the same form."""
        other = self.covered_by
        return other is not None and other.text.lower() == _encoded(self.text).lower()


def plan_entry(settings: Settings, text: str, which: str) -> PlannedEntry:
    """Check an entry for a whitelist against the linter and the entries in force.

    Args:
        settings: the server's settings.
        text: the entry.
        which: the list, ``clients`` or ``recipients``.

    Raises:
        LocalListError: the entry would match nothing, or the server reads no ``.local`` file.
    """
    target = local_list(settings, which)
    text = normal_entry(text, which)
    findings = entry_findings(text, which)
    if useless := [each for each in findings if _has_no_effect(each)]:
        raise UselessEntryError(
            f'"{useless[0].text}" – {useless[0].problem}; {useless[0].remedy}',
            _alternatives(text, useless[0].remedy, which),
        )
    entries = target.entries()
    return PlannedEntry(
        text,
        target,
        tuple(findings),
        covering_entry(_encoded(text), entries, which),
        tuple(covered_entries(_encoded(text), entries, which)),
    )


def normal_entry(text: str, which: str) -> str:
    """Return an entry without the brackets and signs that people paste with it.

    ``<bob@example.org>`` becomes the address; ``@example.org``, all recipients of the domain,
    becomes the domain.

    Raises:
        LocalListError: there is no single entry in the text.
    """
    text = text.strip()
    if which == RECIPIENTS:
        text = text.removeprefix("<").removesuffix(">").removeprefix("@")
    if which == CLIENTS and text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if not text or len(_encoded(text)) > MAX_ENTRY_BYTES or not text.isprintable():
        shown = display_text(_encoded(text)) if text else ""
        raise LocalListError(
            f'"{shown}" – not an entry; write an address, a network, a name or a /pattern/'
        )
    if "#" in text and not is_pattern(_encoded(text)):
        raise LocalListError(
            f'"{display_text(_encoded(text))}" – # starts a comment; leave it out, and give the'
            " comment as --reason=TEXT"
        )
    return text


def entry_findings(text: str, which: str) -> list[LintFinding]:
    """Return the findings of the linter of ``greyd check-whitelist`` for an entry."""
    return lint([WhitelistFile("", _encoded(text))], which)


def is_safe_entry(text: str, which: str) -> bool:
    """Whether the linter has no finding for an entry, so that a message may propose it."""
    return text.isprintable() and "#" not in text and not entry_findings(text, which)


def add_entries(planned: Sequence[PlannedEntry], now: float, by: str, reason: str) -> bool:
    """Write planned entries into the ``.local`` file of their list; return whether it changed.

    Args:
        planned: the entries, all of one list.
        now: the current Unix time.
        by: who adds them, as ``USER@HOST``.
        reason: why; it may be empty.

    Raises:
        LocalListError: the file can't be changed; it is as it was.
    """
    target = planned[0].target
    note = note_line(now, by, reason)
    wanted = {each.text: None for each in planned if each.covered_by is None}

    def change(content: bytes) -> bytes:
        # Another command may have added an entry since it was planned.
        present = {line.partition(b"#")[0].strip().lower() for line in content.split(b"\n")}
        lines = [
            line
            for text in wanted
            if _encoded(text).lower() not in present
            for line in (note, text)
        ]
        return with_lines(content, lines) if lines else content

    return edit_file(target.path, change)


def _has_no_effect(finding: LintFinding) -> bool:
    return finding.severity == ERROR and finding.problem.startswith(_WITHOUT_EFFECT)


def _alternatives(text: str, remedy: str, which: str) -> list[tuple[str, str]]:
    """Return the entries that a remedy of the linter names, and their list, if they are safe."""
    other = RECIPIENTS if which == CLIENTS else CLIENTS
    if remedy.startswith("move "):
        return [(text, other)] if is_safe_entry(text, other) else []
    proposed = remedy.removeprefix("write ").partition(", which")[0]
    entries = re.split(r", | or ", proposed)
    return [(each, which) for each in entries] if _are_safe(entries, which) else []


def _are_safe(entries: Sequence[str], which: str) -> bool:
    return all(is_safe_entry(each, which) for each in entries)


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
