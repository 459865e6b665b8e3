"""Which changes ``greyd doctor --fix`` proposes: none after which more is wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from greyd.doctor.findings import Finding, FindingState
from greyd.doctor.postfix.fix.edits import ValueEdit
from greyd.doctor.postfix.fix.plan import FileChange, plan_fix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.doctor.postfix.fix.plan import FixPlan

ERROR, WARNING = FindingState.ERROR, FindingState.WARNING
EDIT = (ValueEdit("smtpd_delay_reject", "yes"),)
FIXABLE = Finding("postfix: restrictions", ERROR, "delayed", "set it", edits=EDIT)


@dataclass
class Site:
    """A folder with Postfix's files, and what the doctor finds in the changed copy."""

    folder: Path
    afterwards: Sequence[Finding]

    def plan(self, *findings: Finding) -> FixPlan:
        for name in ("main.cf", "master.cf"):
            (self.folder / name).write_text("")
        return asyncio.run(plan_fix(str(self.folder), findings, self._check))

    async def _check(self, folder: str) -> Sequence[Finding]:
        return [
            Finding(each.check, each.state, each.seen.replace("FOLDER", folder), each.remedy)
            for each in self.afterwards
        ]


def found(text: str, state: FindingState = ERROR, check: str = "postfix: restrictions") -> Finding:
    return Finding(check, state, text, "see to it")


@pytest.mark.parametrize(
    ("before", "after", "is_changed"),
    [
        ((), (), True),
        # A fault that stays, though its line has moved.
        ((found("FOLDER/main.cf:3: bogus"),), (found("FOLDER/main.cf:5: bogus"),), True),
        ((), (found("slow", WARNING),), True),
        ((), (found("a brace is not closed"),), False),
        ((found("other"),), (found("other"), found("a brace is not closed")), False),
        ((found("other", WARNING),), (found("other"),), False),
        # Postfix could read nothing before: it may have been there all the time.
        ((found("not readable", check="postfix: files"),), (found("bogus"),), True),
    ],
)
def test_changes_that_would_cause_another_error_are_not_proposed(
    tmp_path: Path, before: Sequence[Finding], after: Sequence[Finding], is_changed: bool
) -> None:
    own = [
        Finding(each.check, each.state, each.seen.replace("FOLDER", str(tmp_path)), each.remedy)
        for each in before
    ]
    plan = Site(tmp_path, after).plan(FIXABLE, *own)
    assert bool(plan.changes) is is_changed
    assert bool(plan.commands) is is_changed
    if not is_changed:
        assert plan.refusals[FIXABLE].startswith("the changes would cause another error: ")
        assert after[-1].seen in plan.refusals[FIXABLE]


@pytest.mark.parametrize("mark", ["\f", "\v", "\x1c", "\x85", "\u2028", "\r"])
def test_only_a_line_feed_ends_a_line_of_a_diff(tmp_path: Path, mark: str) -> None:
    change = FileChange(tmp_path / "main.cf", f"a = 1{mark}2\nb = 3\n", f"a = 1{mark}4\nb = 3\n")
    assert change.diff()[3:] == [f"-a = 1{mark}2", f"+a = 1{mark}4", " b = 3"]
