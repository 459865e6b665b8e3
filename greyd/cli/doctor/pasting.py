"""The lines to paste into a shell that fix a finding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.doctor.findings import Finding

_PROGRAMS = (
    "chmod", "chown", "df", "echo", "fuser", "greyd", "journalctl", "kill", "namei", "newaliases",
    "postalias", "postconf", "postfix", "postmap", "ps", "redis-cli", "sed", "ss", "systemctl",
    "timedatectl", "top",
)  # fmt: skip
_COMMAND = re.compile(rf"(?P<command>(?:{'|'.join(_PROGRAMS)})(?: [^()]*)?)(?P<note> \(.*\))?")
_PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")


def lines_to_paste(finding: Finding) -> list[str]:
    """Return the lines to paste; empty if the remedy needs a person's judgement.

    Explanations of a command become a comment after it.
    """
    if finding.commands:
        return list(finding.commands)
    lines = []
    for part in finding.remedy.split("; "):
        found = _COMMAND.fullmatch(part)
        if found is None or _PLACEHOLDER.search(found["command"]):
            return []
        note = f"  # {found['note'].strip(' ()')}" if found["note"] else ""
        lines.append(found["command"] + note)
    return lines
