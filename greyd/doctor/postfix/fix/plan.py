"""Plans the changes to Postfix's configuration: applies edits to a copy until it has no problem.

One change may reveal the next fault, or fix others. The plan is therefore made in rounds: each
applies the edits of the findings to a copy of the folder, and checks the copy as ``greyd doctor``
does.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.errors import DoctorError
from greyd.doctor.findings import FAILED_STATES, FindingState
from greyd.doctor.postfix.config.postconf import default_folder, read_config
from greyd.doctor.postfix.fix.edits import DuplicateEdit, IndentEdit, NameEdit
from greyd.doctor.postfix.fix.files import PostfixFiles, Target
from greyd.doctor.postfix.fix.main_cf_text import MainCfText
from greyd.doctor.postfix.fix.master_cf_text import MasterCfText, UneditableError
from greyd.doctor.programs import ProgramError
from greyd.escaping import shell_word

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from greyd.doctor.findings import ConfigChange, Finding

    Check = Callable[[str], Awaitable[Sequence[Finding]]]
    """Returns the findings about the configuration in a folder."""

MAX_ROUNDS = 12
_ERROR = FindingState.ERROR
_LINE = re.compile(r"(?<=\.cf):\d+:")
_AGE_SECONDS = 60

POSTFIX_GROUPS = ("postfix", "order", "tips")
"""The groups of the findings about main.cf and master.cf."""

MAX_FILE_BYTES = 1024 * 1024

_FIRST = ("postfix: files", "postfix: restrictions", "postfix: policy service", "postfix: place")
"""The subjects whose faults cause other faults, in the order in which they are corrected."""


class FixError(DoctorError):
    """The configuration can't be changed safely; nothing was changed. The text has the reason."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """The change to one file."""

    path: Path
    """The file as it is named; it may be a symbolic link."""
    before: str
    after: str

    def diff(self) -> list[str]:
        """Return the lines of a unified diff."""
        name = str(self.path)
        return list(
            difflib.unified_diff(
                _lines(self.before),
                _lines(self.after),
                name,
                f"{name} (changed)",
                lineterm="",
            )
        )


def _lines(text: str) -> list[str]:
    """Return the lines as Postfix sees them: a form feed, for example, does not end one."""
    lines = [each.removesuffix("\r") for each in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


@dataclass(frozen=True, slots=True)
class FixPlan:
    """The changes that fix findings, and the commands that do the same one by one."""

    folder: Path
    changes: Sequence[FileChange] = ()
    commands: dict[Finding, tuple[str, ...]] = field(default_factory=dict)
    """The lines to paste into a shell, by the finding that they fix; none if the changes for other
    findings also fix it."""
    refusals: dict[Finding, str] = field(default_factory=dict)
    """Why a finding's settings can't be edited safely."""
    remaining: Sequence[Finding] = ()
    """The warnings and errors that the changed configuration would have."""
    is_default_folder: bool = True

    def with_commands(self, finding: Finding) -> Finding:
        """Return a finding with the commands that fix it."""
        commands = self.commands.get(finding)
        return replace(finding, commands=commands) if commands else finding


async def plan_fix(folder: str | None, findings: Sequence[Finding], check: Check) -> FixPlan:
    """Plan the changes that fix the findings with edits.

    Args:
        folder: the folder of main.cf; None for Postfix's default folder.
        findings: the findings about the configuration in the folder.
        check: checks the configuration in another folder, as for ``findings``.

    Raises:
        FixError: a file can't be read, or is not one that can be edited.
    """
    source = Path(folder or await default_folder())
    main, master = _read(source / "main.cf"), _read(source / "master.cf")
    files = PostfixFiles(MainCfText(main), MasterCfText(master))
    targets: dict[Finding, list[Target | ConfigChange]] = {}
    refusals: dict[Finding, str] = {}
    findings = [each for each in findings if each.group in POSTFIX_GROUPS]
    problems = [each for each in findings if each.state in FAILED_STATES]
    current = problems
    with tempfile.TemporaryDirectory(prefix="greyd-doctor-") as copy:
        fill_copy(Path(copy), source, main, master)
        await _read_values(files, copy)
        for _ in range(MAX_ROUNDS):
            if not _apply_next(current, files, targets, refusals):
                break
            _write(Path(copy) / "main.cf", files.main.text)
            _write(Path(copy) / "master.cf", files.master.text)
            current = [each for each in await check(copy) if each.state in FAILED_STATES]
            await _read_values(files, copy)
    if caused := _new_errors(problems, current, copy, str(source)):
        reason = f"the changes would cause another error: {caused[0]}"
        untouched = {each: reason for each in problems if each.edits}
        return FixPlan(source, (), {}, untouched, problems, folder is None)
    changes = [
        FileChange(source / name, old, new)
        for name, old, new in (
            ("main.cf", main, files.main.text),
            ("master.cf", master, files.master.text),
        )
        if old != new
    ]
    where = f" -c {shell_word(folder)}" if folder else ""
    left = {_key(each, copy, str(source)) for each in current}
    commands: dict[Finding, tuple[str, ...]] = {}
    for each in findings:
        if each.state not in FAILED_STATES or _key(each, copy, str(source)) in left:
            continue
        commands[each] = ()
        if each.edits:
            # Without targets of its own, the edits of another finding have fixed it.
            own = targets.get(each) or [Target(*_place(edit)) for edit in each.edits]
            lines = _commands(own, files, source, main, where)
            commands[each] = tuple(dict.fromkeys(lines))
    refusals = {
        each: why for each, why in refusals.items() if _key(each, copy, str(source)) in left
    }
    return FixPlan(source, changes, commands, refusals, current, folder is None)


def _new_errors(
    before: Sequence[Finding], after: Sequence[Finding], copy: str, source: str
) -> list[str]:
    """Return the errors of a changed configuration that the old one did not have.

    If Postfix can't read a file, what else is wrong shows only after the change.
    """
    if any(each.check == "postfix: files" and each.state is _ERROR for each in before):
        return []
    old = {_without_numbers(_key(each, copy, source)) for each in before if each.state is _ERROR}
    keys = [_key(each, copy, source) for each in after if each.state is _ERROR]
    return [seen for check, seen in keys if _without_numbers((check, seen)) not in old]


def _without_numbers(key: tuple[str, str]) -> tuple[str, ...]:
    """Return a key without line numbers, which changes move."""
    return tuple(_LINE.sub(":", each) for each in key)


def _key(finding: Finding, copy: str, source: str) -> tuple[str, str]:
    """Return what identifies a finding in the configuration and in its copy."""
    return finding.check, finding.seen.replace(copy, source)


def _place(edit: ConfigChange) -> tuple[str, str]:
    return getattr(edit, "parameter", ""), getattr(edit, "service", "")


def _apply_next(
    findings: Sequence[Finding],
    files: PostfixFiles,
    targets: dict[Finding, list[Target | ConfigChange]],
    refusals: dict[Finding, str],
) -> bool:
    """Apply the edits of the first subject that has any; return whether a file changed.

    Faults in the files and in single words have consequences, which further findings report.
    """
    for subject in (*_FIRST, ""):
        before = files.main.text, files.master.text
        # Edits that move lines come after those that name lines by their number.
        for each in sorted(findings, key=_moves_lines):
            name = each.check.partition(" (")[0]
            if name == subject or (not subject and name not in _FIRST):
                _apply(each, files, targets, refusals)
        if (files.main.text, files.master.text) != before:
            return True
    return False


def _moves_lines(finding: Finding) -> bool:
    return not all(isinstance(each, IndentEdit | NameEdit) for each in finding.edits)


def _apply(
    finding: Finding,
    files: PostfixFiles,
    targets: dict[Finding, list[Target | ConfigChange]],
    refusals: dict[Finding, str],
) -> None:
    """Apply all edits of a finding, or none of them."""
    main, master, overrides = files.main.text, files.master.text, files.overrides
    made: list[Target | ConfigChange] = []
    try:
        for edit in finding.edits:
            target = files.apply(edit)
            made.append(target if target is not None else edit)
    except UneditableError as error:
        files.main, files.master = MainCfText(main), MasterCfText(master)
        files.overrides = overrides
        refusals.setdefault(finding, str(error))
        return
    if made:
        targets.setdefault(finding, made)


async def _read_values(files: PostfixFiles, folder: str) -> None:
    """Read the values as Postfix interprets the files; an unreadable file has no values."""
    try:
        postfix = await read_config(folder)
    except ProgramError:
        return
    files.effective = postfix.parameters
    files.overrides = {
        f"{each.name}/{each.kind}": each.overrides
        for each in (*postfix.services, *postfix.other_services)
    }


def fill_copy(copy: Path, source: Path, main: str, master: str) -> None:
    """Fill a folder with both files and links to all others; Postfix reads it the same way."""
    for each in source.iterdir():
        if each.name not in ("main.cf", "master.cf"):
            (copy / each.name).symlink_to(each.absolute())
    _write(copy / "main.cf", main)
    _write(copy / "master.cf", master)


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode(errors="surrogateescape"))
    # Postfix's programs take a file for unfinished that changed in the last two seconds, and sleep.
    written_at = time.time() - _AGE_SECONDS
    os.utime(path, (written_at, written_at))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FixError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise FixError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB")
    if b"\0" in data:
        raise FixError(f"{path}: contains a null byte")
    return data.decode(errors="surrogateescape")


# Commands -----------------------------------------------------------------------------------------


def _commands(
    targets: Sequence[Target | ConfigChange],
    files: PostfixFiles,
    folder: Path,
    main: str,
    where: str,
) -> Iterator[str]:
    file = shell_word(str(folder / "main.cf"))
    for each in targets:
        match each:
            case IndentEdit(line=line, is_continuation=True):
                yield f"sed -i '{line}s/^/    /' {file}"
            case IndentEdit(line=line):
                yield f"sed -i '{line}s/^[[:blank:]]*//' {file}"
            case NameEdit(line=line, new=new):
                yield f"sed -i '{line}s/^[^=]*=/{new} =/' {file}"
            case DuplicateEdit(parameter=name):
                document = MainCfText(main)
                *earlier, _ = [entry for entry in document.entries() if entry.name == name]
                numbers = ";".join(f"{n + 1}d" for entry in earlier for n in entry.lines)
                yield f"sed -i '{numbers}' {file}"
            case Target(name=name, service=service, is_column=True):
                value = files.master.column(service, name)
                yield f"postconf{where} -F {shell_word(f'{service}/{name} = {value}')}"
            case Target(name=name, service=""):
                yield f"postconf{where} -e {shell_word(f'{name} = {files.value_of(each)}')}"
            case Target(name=name, service=service):
                setting = f"{service}/{name} = {files.value_of(each)}"
                yield f"postconf{where} -P {shell_word(setting)}"
