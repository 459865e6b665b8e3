"""Files made with root's rights in folders that other users may write to.

A path is walked once, name by name, to a descriptor of its folder; from then on names are used
relative to that (``dir_fd``). Whoever owns a folder on the way, and puts something else in the
place of a part of it at any moment, changes nothing but what is theirs.
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
"""Symbolic links on the way to a folder, as in the kernel."""

# Where there is none, a folder has to be readable, and a socket can't be kept open.
_O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY)
_HAS_O_PATH = hasattr(os, "O_PATH")
_A_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(path: Path) -> int:
    """Return a descriptor of a folder, for names relative to it.

    A symbolic link is followed only where root or this user has made it: with another user's link,
    that user would decide where root writes.

    Raises:
        OSError: there is no such folder, or another user's link is on the way.
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
            # O_NOFOLLOW: what takes its place between the two calls may be a link.
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
    """Open the folder that a file is in, for as long as it is needed."""
    folder = open_folder(path.parent)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def private_folder(folder: int, name: str) -> Iterator[int]:
    """Make a folder that only this user can enter, in a folder that others may write to.

    Raises:
        OSError: it can't be made, or somebody has put another in its place.
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
    """Return a name that nobody foresees, for what is to take the name given."""
    return f".{name[:100]}.{secrets.token_hex(8)}"


@contextlib.contextmanager
def working_folder(folder: int) -> Iterator[None]:
    """Work in a folder meanwhile, for calls that know no ``dir_fd``."""
    before = os.open(".", _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(folder)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask meanwhile; it is the process's, so there must be no other thread yet."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(path: Path, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Make a folder with this mode, whatever the umask, and this owner (-1: this user).

    Parents that are missing are made too, for this user alone.

    Raises:
        OSError: it can't be made.
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
    """A file or socket of ours, which is removed only while it is still there.

    It is known by device and inode, and kept open, since the inode of a file that is gone may be
    given to the next one: to that of the server that has taken over.
    """

    def __init__(self, folder: int, name: str) -> None:
        """Know the file of this name in an open folder, which stays the caller's."""
        self.name = name
        self._folder = os.dup(folder)
        self._pin = -1
        self._known = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if _HAS_O_PATH or stat.S_ISREG(self._known.st_mode):
            flags = _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            self._pin = os.open(name, flags, dir_fd=folder)
            self._known = os.fstat(self._pin)

    def link(self, folder: int) -> None:
        """Give it its name in another folder; from now on it is known there.

        Raises:
            OSError: something of that name is there; it stays as it is.
        """
        os.link(
            self.name, self.name, src_dir_fd=self._folder, dst_dir_fd=folder, follow_symlinks=False
        )
        self._move(folder)

    def rename(self, name: str) -> None:
        """Put it in the place of whatever has that name in its folder, without following a link.

        Raises:
            OSError: that can't be.
        """
        os.rename(self.name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self.name = name

    def _move(self, folder: int) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.name, dir_fd=self._folder)
        os.close(self._folder)
        self._folder = os.dup(folder)

    def read(self, size: int) -> bytes:
        """Return the beginning of what is in it; nothing where it is not there any more."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.name, flags, dir_fd=self._folder)
        except OSError:
            return b""
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return file.read(size) or b"" if self._is_same(os.fstat(descriptor)) else b""

    def remove(self) -> None:
        """Remove it, unless it is gone or another has its name.

        Without the rights of the start that may be refused; then it stays.
        """
        with contextlib.suppress(OSError):
            if self._is_same(os.stat(self.name, dir_fd=self._folder, follow_symlinks=False)):
                os.unlink(self.name, dir_fd=self._folder)
        os.close(self._folder)
        if self._pin >= 0:
            os.close(self._pin)

    def _is_same(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino) == (self._known.st_dev, self._known.st_ino)
