"""Finds out which of several worker processes is the first or the last to note an outage.

Each worker holds a shared lock on the source's file while the source is out for it, and tries an
exclusive one first: it gets this only if no other worker holds a lock. The kernel releases the
locks of a worker that ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path


class SharedOutages:
    """The outages of sources that all workers of a server know of."""

    def __init__(self, folder: str | None) -> None:
        """Create the view of one worker.

        Args:
            folder: the folder that the workers share; None for the only worker.
        """
        self._folder = folder
        self._held: dict[str, int] = {}
        """A descriptor with a shared lock, for each source that is out."""

    def is_first(self, name: str) -> bool:
        """Record that a source is out for this worker; return whether it was in for all others."""
        if (held := self._held.pop(name, None)) is not None:
            os.close(held)
        descriptor = self._open(name)
        if descriptor is None:
            return True
        is_first = _lock(descriptor, fcntl.LOCK_EX)
        # If another worker is just trying for the exclusive lock, this one holds none.
        _lock(descriptor, fcntl.LOCK_SH)
        self._held[name] = descriptor
        return is_first

    def was_last(self, name: str) -> bool:
        """Record that a source is back for this worker; return whether it is back for all."""
        if (held := self._held.pop(name, None)) is not None:
            os.close(held)
        descriptor = self._open(name)
        if descriptor is None:
            return True
        try:
            return _lock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Release all locks."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _open(self, name: str) -> int | None:
        """Open the file of a source; None without a shared folder."""
        if self._folder is None:
            return None
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(Path(self._folder, f"outage_{digest}.lock"), flags, 0o600)
        except OSError:
            # Each worker logs for itself then.
            return None


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
