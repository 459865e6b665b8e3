"""Summarises the findings for a file that is a whole Postfix table, with hundreds of such lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.whitelist.lint.postfix_forms import TABLE_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.whitelist.lint.findings import LintFinding

MAX_TABLE_LINES = 50
"""Maximum number of lines of a table in one file that each have a finding of their own."""

_SHOWN = 3
_CONVERSION = "awk 'tolower($2) ~ /^(ok|permit|relay)$/ {print $1}'"


def summarise_tables(findings: Sequence[LintFinding]) -> Iterator[LintFinding]:
    """Yield the findings; for a file with many table lines, only the first ones and a count."""
    totals = Counter(each.file for each in findings if each.problem.startswith(TABLE_LINE))
    seen: Counter[str] = Counter()
    for each in findings:
        if not each.problem.startswith(TABLE_LINE) or totals[each.file] <= MAX_TABLE_LINES:
            yield each
            continue
        seen[each.file] += 1
        if seen[each.file] <= _SHOWN:
            yield each
        elif seen[each.file] == _SHOWN + 1:
            count = totals[each.file] - _SHOWN
            yield replace(
                each,
                text="",
                problem=f"{count} more lines of a Postfix table are skipped",
                remedy=f"take the keys that permit: {_CONVERSION}, and check the result",
            )
