"""Reads regular files up to a maximum size, and never blocks on another kind of file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from greyd.config.errors import ConfigError

_KINDS = (
    (stat.S_ISFIFO, "a named pipe or a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class FileError(ConfigError):
    """A file can't be read; the message gives the reason without the file's name."""


def read_regular_file(file: str | Path, max_bytes: int) -> bytes:
    """Return the content of a regular file; /dev/null is empty.

    Raises:
        FileError: the file does not exist, is not a regular file, can't be read, or is larger than
            ``max_bytes``.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            _require_regular(os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                content = opened.read(max_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileError(_why(file, error)) from error
    except ValueError:
        raise FileError("not a valid file name") from None
    if len(content) > max_bytes:
        raise FileError(f"larger than {_size(max_bytes)}, not read")
    return content


def _require_regular(found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode) or _is_null(found):
        return
    raise FileError(f"{_kind(found)}, not a regular file")


def _is_null(found: os.stat_result) -> bool:
    try:
        return stat.S_ISCHR(found.st_mode) and found.st_rdev == Path(os.devnull).stat().st_rdev
    except OSError:
        return False


def _kind(found: os.stat_result) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "of another kind")


def _why(file: str | Path, error: OSError) -> str:
    """Return why a file can't be opened, e.g. that it is a socket."""
    try:
        found = Path(file).stat()
    except OSError:
        return error.strerror or str(error)
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        return error.strerror or str(error)
    return f"{_kind(found)}, not a regular file"


def _size(max_bytes: int) -> str:
    mebi, rest = divmod(max_bytes, 2**20)
    return f"{max_bytes // 1024} KiB" if rest or not mebi else f"{mebi} MiB"
