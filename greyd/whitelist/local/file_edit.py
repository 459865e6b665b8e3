"""Changes a file atomically, under a lock, and keeps its owner, permissions and attributes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.regular_files import FileError, read_regular_file
from greyd.redaction import redacted_path
from greyd.whitelist.entries import MAX_FILE_BYTES
from greyd.whitelist.local.errors import LocalListError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_TIMEOUT_SECONDS = 5.0
"""Maximum time to wait for another editor of a file in the same folder."""

FILE_MODE = 0o644
FOLDER_MODE = 0o755
"""The modes of a new file and its folder: the server may run as another user."""

BACKUP_SUFFIX = "~"
"""Appended to the file's name for its content before the last change."""

_POLL_SECONDS = 0.05
_AS_ROOT = "permission denied; run the command as root (sudo, or docker exec --user root)"
_REASONS = {
    errno.EACCES: _AS_ROOT,
    errno.EPERM: _AS_ROOT,
    errno.EROFS: "the file system is read-only here; edit the file where it is mounted from",
    errno.EBUSY: (
        "the file is mounted by itself (e.g. into a container), so it can't be replaced; edit it"
        " where it is mounted from, or mount its folder"
    ),
    errno.ENOSPC: "no space left on the device; the file is unchanged",
    errno.EDQUOT: "the disk quota is used up; the file is unchanged",
}


def edit_file(path: Path, change: Callable[[bytes], bytes]) -> bool:
    """Replace the content of a file with the result of ``change``; create the file if necessary.

    A symbolic link stays, and its target changes. The old content is kept in ``FILE~``.

    Returns:
        Whether the content has changed.

    Raises:
        LocalListError: the file can't be read or written, or another program changed it in the
        meantime. The file is unchanged.
    """
    shown = redacted_path(path)
    try:
        target = _target_of(path)
        _make_folder(target.parent)
        with _locked_folder(target.parent):
            before = _status(target)
            content = read_regular_file(target, MAX_FILE_BYTES) if before else b""
            new = change(content)
            if new == content:
                return False
            _replace(target, new, content, before)
            return True
    except LocalListError as error:
        raise LocalListError(f"{shown}: {error}") from None
    except FileError as error:
        raise LocalListError(f"{shown}: {error}") from None
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
        raise LocalListError(f"{shown}: {reason}") from None


def _target_of(path: Path) -> Path:
    """Return the file that a path leads to.

    For root, a link created by another user may lead only to that user's files (as the kernel's
    ``protected_symlinks`` does in folders that everyone can write to).
    """
    target = Path(os.path.realpath(path))
    if path.is_symlink() and (owner := path.lstat().st_uid) not in (0, os.geteuid()):
        found = _status(target)
        if found is None or found.st_uid != owner:
            raise LocalListError(f"another user's link to {redacted_path(target)}; not followed")
    return target


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _make_folder(folder: Path) -> None:
    """Create a missing folder; its parent must exist."""
    if not folder.exists():
        folder.mkdir(FOLDER_MODE)
        folder.chmod(FOLDER_MODE)


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: a lock on the file itself would end with its replacement."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LocalListError(
                        "another command has been editing it for"
                        f" {LOCK_TIMEOUT_SECONDS:g} s; try again"
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _replace(target: Path, new: bytes, old: bytes, before: os.stat_result | None) -> None:
    if before is not None:
        # The backup first: if it can't be written, nothing has changed.
        _write(target.with_name(target.name + BACKUP_SUFFIX), old, target, before)
    _write(target, new, target, before)


def _write(path: Path, content: bytes, model: Path, before: os.stat_result | None) -> None:
    """Write a temporary file next to ``path`` and rename it, unless ``model`` has changed.

    Args:
        path: the file to replace.
        content: its content.
        model: the file whose owner and attributes it gets, if that exists.
        before: the status of ``model`` when it was read; None if it did not exist.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    # Under the lock it can only be left over from a crash; process numbers repeat in containers.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, flags, 0o600)
    with contextlib.ExitStack() as undo:
        undo.callback(temporary.unlink, missing_ok=True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if before is None:
                os.fchmod(descriptor, FILE_MODE)
            else:
                _copy_attributes(model, temporary, descriptor, before)
            os.fsync(descriptor)
        if _identity(_status(model)) != _identity(before):
            raise LocalListError("another program changed it in the meantime; try again")
        temporary.replace(path)
        undo.pop_all()
    _sync_folder(path.parent)


def _copy_attributes(model: Path, copy: Path, descriptor: int, status: os.stat_result) -> None:
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    # Permissions and extended attributes, e.g. access control lists.
    shutil.copystat(model, copy)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    os.utime(descriptor)


def _identity(status: os.stat_result | None) -> tuple[int, ...] | None:
    return status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
