"""Writes a report's page to a file, atomically."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from greyd.cli.errors import CommandError


def write_page(path: Path, page: bytes) -> None:
    """Write a page to a file; an existing file keeps its owner and permissions.

    Raises:
        CommandError: the page cannot be written.
    """
    try:
        _replace(path.resolve(), page)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None


def _replace(path: Path, data: bytes) -> None:
    before = path.stat() if path.exists() else None
    if before is not None and not stat.S_ISREG(before.st_mode):
        raise CommandError(f"{path}: not a regular file")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if before is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
