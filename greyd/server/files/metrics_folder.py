"""The folder of the metrics that several workers share; see ``greyd.monitoring.metrics``.

It is in the service's runtime folder (systemd's ``RuntimeDirectory=``), or else in the folder for
temporary files. If an administrator or a cleanup job removes it, greyd creates another one, under a
new name, because any user may have taken the old name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PROMETHEUS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the folder for prometheus-client, also in workers."""


class MetricsFolder:
    """The folder of the metrics; ``recreate`` replaces it after a removal."""

    def __init__(self) -> None:
        """Create the folder.

        Raises:
            OSError: the folder can't be created.
        """
        self.path, self._descriptor = _make()

    def recreate(self) -> None:
        """Create another folder, and remove the old one if it still exists.

        Raises:
            OSError: the folder can't be created.
        """
        path, descriptor = _make()
        self.remove()
        self.path, self._descriptor = path, descriptor

    def exists(self) -> bool:
        """Whether the path still leads to the folder that was created."""
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def has_metrics_of(self, pid: int) -> bool:
        """Whether the folder has the counters of the worker ``pid``, which must be ready."""
        return (self.path / f"counter_{pid}.db").exists()

    def remove_gauges_of(self, pid: int) -> None:
        """Remove the gauges of a worker that has ended."""
        from prometheus_client.multiprocess import mark_process_dead

        with contextlib.suppress(OSError):
            mark_process_dead(pid, str(self.path))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Remove the folder if it still exists, and close its descriptor."""
        if self.exists():
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def _make() -> tuple[Path, int]:
    """Create a folder for prometheus-client; return its path and a descriptor of it."""
    path = Path(_make_in_first_writable())
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    # systemd-tmpfiles does not clean a locked folder.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.environ[_PROMETHEUS_VARIABLE] = str(path)
    return path, descriptor


def _make_in_first_writable() -> str:
    """Create a folder in the runtime folder, or else in the folder for temporary files."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if runtime:
        with contextlib.suppress(OSError):
            return tempfile.mkdtemp(prefix="metrics-", dir=runtime)
    return tempfile.mkdtemp(prefix="greyd-metrics-")
