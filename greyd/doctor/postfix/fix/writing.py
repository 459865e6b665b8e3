"""Writes a plan's changes to Postfix's files, with a backup and a check by Postfix."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.postfix.fix.interruption import cancelled_by_signals
from greyd.doctor.postfix.fix.plan import FixError, fill_copy
from greyd.doctor.programs import FailedProgramError, ProgramError, run_program
from greyd.escaping import shell_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.doctor.postfix.fix.plan import FileChange, FixPlan

_CHECK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that was changed."""

    path: Path
    """The file itself, not a symbolic link to it."""
    backup: Path


def real_path(change: FileChange) -> Path:
    """Return the file that a change writes: the target of a symbolic link.

    Raises:
        FixError: the file can't be replaced safely.
    """
    try:
        path = change.path.resolve(strict=True)
        status = path.stat()
    except (OSError, RuntimeError) as error:
        raise FixError(f"{change.path}: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise FixError(f"{path}: not a regular file; change it by hand")
    if status.st_nlink > 1:
        raise FixError(f"{path}: has several hard links; change it by hand")
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) or _is_immutable(path):
        raise FixError(f"{path}: not writable; run greyd doctor --fix as root")
    return path


def _is_immutable(path: Path) -> bool:
    """Whether the file system is mounted read-only."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


async def check_with_postfix(plan: FixPlan) -> None:
    """Run ``postfix check`` on a copy of the folder with the changes.

    Raises:
        FixError: Postfix rejects the changed files, or the check can't run, or a signal ends it.
    """
    with cancelled_by_signals():
        await _check_copy(plan)


async def _check_copy(plan: FixPlan) -> None:
    if os.geteuid() != 0:
        raise FixError("postfix check must run as root: run greyd doctor --fix as root")
    texts = {each.path.name: each.after for each in plan.changes}
    with tempfile.TemporaryDirectory(prefix="greyd-doctor-") as copy:
        main, master = (
            texts.get(name) or (plan.folder / name).read_text(errors="surrogateescape")
            for name in ("main.cf", "master.cf")
        )
        fill_copy(Path(copy), plan.folder, main, master)
        await _run_check(copy)


async def _run_check(folder: str) -> None:
    try:
        await run_program("postfix", "-c", folder, "check", seconds=_CHECK_SECONDS)
    except FailedProgramError as fault:
        reason = "; ".join(filter(None, fault.lines[-3:])) or str(fault)
        raise FixError(f"postfix check rejects the changed files: {reason}") from None
    except ProgramError as fault:
        raise FixError(str(fault)) from None


async def write_plan(plan: FixPlan) -> Sequence[WrittenFile]:
    """Write the changes; keep a backup of each file, with its owner and mode, next to it.

    Postfix checks the changes in a copy first, and the files themselves afterwards. If that check
    or any other step fails, or a signal arrives before its end, the old files are restored.

    Raises:
        FixError: nothing was changed, or the text names the files that were, and how to put them
            back; it has the reason.
        KeyboardInterrupt: SIGINT arrived; nothing was changed.
    """
    with cancelled_by_signals():
        return await _write(plan)


async def _write(plan: FixPlan) -> Sequence[WrittenFile]:
    paths = [real_path(each) for each in plan.changes]
    await _check_copy(plan)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    written: list[WrittenFile] = []
    try:
        for change, path in zip(plan.changes, paths, strict=True):
            if path.read_bytes() != change.before.encode(errors="surrogateescape"):
                raise FixError(f"{path}: changed in the meantime; run greyd doctor --fix again")
            backup = path.with_name(f"{path.name}.greyd-{stamp}")
            _copy(path, backup, path.read_bytes())
            written.append(WrittenFile(path, backup))
            _replace(path, change.after.encode(errors="surrogateescape"))
        await _run_check(str(plan.folder))
    except BaseException as fault:
        if problems := _roll_back(plan, written):
            raise FixError("; ".join([_reason(fault), *problems])) from None
        if isinstance(fault, OSError):
            raise FixError(f"{_reason(fault)}; nothing was changed") from None
        raise
    return written


def _reason(fault: BaseException) -> str:
    if isinstance(fault, OSError):
        return f"{fault.filename}: {fault.strerror}"
    return str(fault) or "interrupted"


def _roll_back(plan: FixPlan, written: Sequence[WrittenFile]) -> list[str]:
    """Put the old files back; return those that could not be put back, and what to do."""
    problems = []
    for change, each in zip(plan.changes, written, strict=False):
        undo = f"cp -p {shell_word(str(each.backup))} {shell_word(str(each.path))}"
        try:
            before, after = (
                text.encode(errors="surrogateescape") for text in (change.before, change.after)
            )
            now = each.path.read_bytes()
            if now not in (before, after):
                problems.append(
                    f"{each.path} was changed meanwhile, and stays so; to put it back: {undo}"
                )
                continue
            if now != before:
                _replace(each.path, before)
            each.backup.unlink()
        except OSError as error:
            problems.append(
                f"{each.path} is still changed ({error.strerror}); to put it back: {undo}"
            )
    return problems


def _copy(source: Path, target: Path, data: bytes) -> None:
    """Create a file with the owner, mode and extended attributes of another."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        status = source.stat()
        os.chown(target, status.st_uid, status.st_gid)
        shutil.copystat(source, target)
    except BaseException as fault:
        target.unlink()
        # An error of write() or fsync() does not name the file.
        if isinstance(fault, OSError) and fault.filename is None:
            fault.filename = str(target)
        raise


def _replace(path: Path, data: bytes) -> None:
    """Replace the content of a file atomically."""
    new = path.with_name(f".{path.name}.greyd-{os.getpid()}")
    try:
        _copy(path, new, data)
        new.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
