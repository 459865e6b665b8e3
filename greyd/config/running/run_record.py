"""The record that a running server keeps of itself, for the commands (``greyd.run``).

The file is JSON. It holds no secrets: the store's URL has no login and no options, and the options
name files of secrets instead of their contents. The server holds a lock on the file (flock(2)),
which the kernel releases when its last process ends, so a file without a lock is stale.
"""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.config.errors import ConfigError
from greyd.config.options import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN_FILE = "greyd.run"
"""The name of the file; a second server in the same folder uses ``greyd-PID.run``."""

RUN_FILE_PATTERN = "greyd*.run"
"""Matches the names of these files, as a pattern of glob(7)."""

RUN_FILE_MODE = 0o640
"""Readable by the server's group: it shows options, sockets and the store's address."""

MAX_RECORD_BYTES = 2**20
MAX_SOCKETS = 1000

FORMAT = 1
"""The version of the format; a reader ignores fields that it does not know."""


class RunRecordError(ConfigError):
    """A file is not the record of a server; the message gives the reason, not the file's name."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A running server: its process, its addresses, its store, and its options."""

    pid: int
    """The process that supervises the workers, or the only one."""
    version: str
    started_at: int
    """When the server started, in seconds since 1970."""
    sockets: tuple[str, ...]
    """Where it listens: ``inet:127.0.0.1:10023`` or ``unix:/run/greyd/socket``."""
    metrics: str | None
    """The address of the metrics port, such as ``127.0.0.1:9923``; None without one."""
    store: str
    """The store's URL, without login and options."""
    options: tuple[tuple[str, str], ...]
    """Each option that the server was given from any source, and its text; secrets are left out."""
    has_login: bool = False
    """Whether the store's URL had a login or options, which ``store`` lacks."""

    def dump(self) -> bytes:
        """Return the content of the file."""
        document = {
            "format": FORMAT,
            "pid": self.pid,
            "version": self.version,
            "started_at": self.started_at,
            "sockets": list(self.sockets),
            "metrics": self.metrics,
            "store": self.store,
            "has_login": self.has_login,
            "options": [list(each) for each in self.options],
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def load(cls, content: bytes) -> RunRecord:
        """Parse the content of a file.

        Raises:
            RunRecordError: the content is not a record, or a newer greyd wrote it.
        """
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            raise RunRecordError("not the record of a server") from None
        if not isinstance(document, dict) or not isinstance(document.get("format"), int):
            raise RunRecordError("not the record of a server")
        if document["format"] > FORMAT:
            raise RunRecordError("the record of a newer greyd; use that version's commands")
        try:
            return cls._from_document(document)
        except (KeyError, TypeError, ValueError):
            raise RunRecordError("an incomplete record of a server") from None

    @classmethod
    def _from_document(cls, document: Mapping[str, Any]) -> RunRecord:
        options = tuple((str(name), str(text)) for name, text in document["options"])
        return cls(
            pid=int(document["pid"]),
            version=_printable(document["version"]),
            started_at=int(document["started_at"]),
            sockets=tuple(_printable(each) for each in document["sockets"][:MAX_SOCKETS]),
            metrics=None if document["metrics"] is None else _printable(document["metrics"]),
            store=_printable(document["store"]),
            # A newer version's unknown options are left out; this version can't apply them.
            options=tuple(each for each in options if each[0] in BY_NAME),
            has_login=document.get("has_login") is True,
        )

    @property
    def address(self) -> str:
        """The first address that the server listens on, for messages."""
        return self.sockets[0].removeprefix("inet:").removeprefix("unix:") if self.sockets else "?"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server, as a command has found it."""

    record: RunRecord
    path: Path
    """The file of its record."""


def _printable(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return "".join(each if each.isprintable() else "?" for each in value)


def is_locked(descriptor: int) -> bool:
    """Whether a server holds the lock on an open file; a command's lock is shared and brief."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # A file system without locks: assume that the server runs.
        return True
    return False
