"""Creates files as root in folders that other users may write to.

Each path is resolved once, component by component, to a descriptor of its folder; all later calls
use names relative to that descriptor (``dir_fd``). So a user who replaces a folder on the path, at
any moment, cannot redirect root to another user's files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_LINKS = 40
"""The maximum number of symbolic links in a path, as in the Linux kernel."""

# Without O_PATH, a folder must be readable, and a socket can't be kept open.
_O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY)
_HAS_O_PATH = hasattr(os, "O_PATH")
_A_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(path: Path) -> int:
    """Return a descriptor of a folder, for use as ``dir_fd``.

    Follows only symbolic links that root or this user owns: another user's link would let that user
    choose where root writes.

    Raises:
        OSError: the folder does not exist, or the path has another user's symbolic link.
    """
    names = list(reversed(path.absolute().parts))
    folder = os.open(names.pop(), _O_PATH | _A_FOLDER)
    links = 0
    try:
        while names:
            name = names.pop()
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                links += 1
                _require_trusted(name, found, links)
                target = Path(os.readlink(name, dir_fd=folder))
                names += reversed(target.parts)
                continue
            # O_NOFOLLOW: a link may have replaced the folder since the stat.
            following = os.open(name, _O_PATH | _A_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = following
    except BaseException:
        os.close(folder)
        raise
    return folder


def _require_trusted(name: str, link: os.stat_result, links: int) -> None:
    if link.st_uid not in (0, os.geteuid()):
        why = f"{name} is a symbolic link of another user (uid {link.st_uid}), not followed"
        raise OSError(errno.ELOOP, why)
    if links > MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


@contextlib.contextmanager
def folder_of(path: Path) -> Iterator[int]:
    """Yield a descriptor of the folder that a file is in; close it afterwards."""
    folder = open_folder(path.parent)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def private_folder(folder: int, name: str) -> Iterator[int]:
    """Create a folder that only this user can enter, in a folder that others may write to.

    Yields a descriptor of the new folder, and removes the folder afterwards.

    Raises:
        OSError: the folder can't be created, or another user has replaced it.
    """
    aside = temporary_name(name)
    os.mkdir(aside, 0o700, dir_fd=folder)
    try:
        private = os.open(aside, os.O_RDONLY | _A_FOLDER, dir_fd=folder)
        try:
            made = os.fstat(private)
            if made.st_uid != os.geteuid() or stat.S_IMODE(made.st_mode) & 0o077:
                raise OSError(errno.EPERM, "another user changes what is in this folder")
            yield private
        finally:
            os.close(private)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(aside, dir_fd=folder)


def temporary_name(name: str) -> str:
    """Return an unpredictable name for a file that will be renamed to ``name``."""
    return f".{name[:100]}.{secrets.token_hex(8)}"


@contextlib.contextmanager
def working_folder(folder: int) -> Iterator[None]:
    """Change the working directory temporarily, for calls that do not support ``dir_fd``."""
    before = os.open(".", _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(folder)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask temporarily; no other thread may run, as the whole process shares it."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(path: Path, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Create a folder with this mode, whatever the umask, and this owner (-1: this user).

    Also creates missing parent folders, which only this user can enter.

    Raises:
        OSError: a folder can't be created.
    """
    with umask(0o077):
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_of(path) as parent:
            os.mkdir(path.name, 0o700, dir_fd=parent)
            made = os.open(path.name, os.O_RDONLY | _A_FOLDER, dir_fd=parent)
    try:
        os.fchown(made, uid, gid)
        os.fchmod(made, mode)
    finally:
        os.close(made)


class OwnFile:
    """A file or socket that is removed only if no other file has replaced it.

    Device and inode identify the file. It is kept open, because the kernel may reuse the inode of a
    deleted file, e.g. for the file of the server that has taken over.
    """

    def __init__(self, folder: int, name: str) -> None:
        """Identify the file ``name`` in the open folder ``folder``, which the caller closes."""
        self.name = name
        self._folder = os.dup(folder)
        self._pin = -1
        self._known = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if _HAS_O_PATH or stat.S_ISREG(self._known.st_mode):
            flags = _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            self._pin = os.open(name, flags, dir_fd=folder)
            self._known = os.fstat(self._pin)

    def link(self, folder: int) -> None:
        """Link the file into another folder, under the same name, and remove the old link.

        Raises:
            OSError: the name exists; the existing file stays unchanged.
        """
        os.link(
            self.name, self.name, src_dir_fd=self._folder, dst_dir_fd=folder, follow_symlinks=False
        )
        self._move(folder)

    def rename(self, name: str) -> None:
        """Rename the file within its folder; replaces an existing file or symbolic link.

        Raises:
            OSError: the file can't be renamed.
        """
        os.rename(self.name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self.name = name

    def _move(self, folder: int) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.name, dir_fd=self._folder)
        os.close(self._folder)
        self._folder = os.dup(folder)

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; empty if the file is gone or another has replaced it."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.name, flags, dir_fd=self._folder)
        except OSError:
            return b""
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return file.read(size) or b"" if self._is_same(os.fstat(descriptor)) else b""

    def remove(self) -> None:
        """Remove the file, unless another file has replaced it.

        After privileges are dropped this can fail; the file then stays.
        """
        with contextlib.suppress(OSError):
            if self._is_same(os.stat(self.name, dir_fd=self._folder, follow_symlinks=False)):
                os.unlink(self.name, dir_fd=self._folder)
        os.close(self._folder)
        if self._pin >= 0:
            os.close(self._pin)

    def _is_same(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino) == (self._known.st_dev, self._known.st_ino)
