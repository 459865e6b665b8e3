"""The folder in which the metrics of several workers add up, see ``greyd.monitoring.metrics``.

It is in the service's runtime folder where systemd made one (``RuntimeDirectory=``), else where
temporary files are. There others may take it away: somebody who cleans up, or a program that
removes what is old. Then another is made, under another name, since anybody may take the old one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PROMETHEUS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Tells prometheus-client of the folder, also in the processes that are started later."""


class MetricsFolder:
    """The folder, made anew where it is gone."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: it can't be made.
        """
        self.path, self._descriptor = _make()

    def recreate(self) -> None:
        """Make another folder, and forget the former one.

        Raises:
            OSError: it can't be made.
        """
        path, descriptor = _make()
        self.remove()
        self.path, self._descriptor = path, descriptor

    def exists(self) -> bool:
        """Whether the path still leads to the folder that was made."""
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def has_metrics_of(self, pid: int) -> bool:
        """Whether the counters of a worker that is ready are there."""
        return (self.path / f"counter_{pid}.db").exists()

    def remove_gauges_of(self, pid: int) -> None:
        """Take away what was true only while a worker lived."""
        from prometheus_client.multiprocess import mark_process_dead

        with contextlib.suppress(OSError):
            mark_process_dead(pid, str(self.path))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Take it away, unless somebody has done so."""
        if self.exists():
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def _make() -> tuple[Path, int]:
    """Make a folder and tell prometheus-client; returns its path and a descriptor of it."""
    path = Path(_make_in_first_writable())
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    # systemd-tmpfiles spares what is old in a folder that somebody has locked.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.environ[_PROMETHEUS_VARIABLE] = str(path)
    return path, descriptor


def _make_in_first_writable() -> str:
    """Make a folder in the first place that takes it."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if runtime:
        with contextlib.suppress(OSError):
            return tempfile.mkdtemp(prefix="metrics-", dir=runtime)
    return tempfile.mkdtemp(prefix="greyd-metrics-")
