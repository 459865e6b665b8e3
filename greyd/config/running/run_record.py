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
from greyd.config.values.parsers import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN_FILE = "greyd.run"
"""The name of the file; a second server in the same folder uses ``greyd-PID.run``."""

RUN_FILE_PATTERN = "greyd*.run"
"""Matches the names of these files, as a pattern of glob(7)."""

RUN_FILE_MODE = 0o640
"""Readable by the server's group: it shows options, sockets and the store's address."""

MAX_RECORD_BYTES = 2**23
"""More than a record of the largest configuration file has (``MAX_CONFIG_BYTES``)."""

MAX_TEXT_CHARACTERS = 4096
"""Maximum length of a path, a URL or a version."""

MAX_PID = 2**31 - 1
MAX_TIME_SECONDS = 2**40

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
    withheld: tuple[str, ...] = ()
    """The options of which values are left out of ``options``, because they contain a key."""

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
            "withheld": list(self.withheld),
            "options": [list(each) for each in self.options],
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def load(cls, content: bytes) -> RunRecord:
        """Parse the content of a file.

        Raises:
            RunRecordError: the content is not a record, or a newer greyd wrote it.
        """
        if len(content) > MAX_RECORD_BYTES:
            raise RunRecordError(f"longer than {MAX_RECORD_BYTES >> 20} MiB, so not a record")
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
            raise RunRecordError("an incomplete or damaged record of a server") from None

    @classmethod
    def _from_document(cls, document: Mapping[str, Any]) -> RunRecord:
        options = [_pair(each) for each in _list(document["options"])]
        metrics = document["metrics"]
        return cls(
            pid=_number(document["pid"], 1, MAX_PID),
            version=_text(document["version"]),
            started_at=_number(document["started_at"], 0, MAX_TIME_SECONDS),
            sockets=tuple(map(_socket, _list(document["sockets"])[:MAX_SOCKETS])),
            metrics=None if metrics is None else _endpoint(metrics),
            store=_text(document["store"]),
            # A newer version's unknown options are left out; this version can't apply them.
            options=tuple(each for each in options if each[0] in BY_NAME),
            has_login=document.get("has_login") is True,
            withheld=tuple(map(_text, _list(document.get("withheld", [])))),
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


# Values: each function raises TypeError or ValueError for what a server does not write -----------


def _number(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    if not least <= value <= most:
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not 0 < len(value) <= MAX_TEXT_CHARACTERS:
        raise ValueError
    return "".join(each if each.isprintable() else "?" for each in value)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _pair(value: object) -> tuple[str, str]:
    name, text = _list(value)
    if not (isinstance(name, str) and isinstance(text, str)):
        raise TypeError
    return name, text


def _endpoint(value: object) -> str:
    parse_endpoint(text := _text(value))
    return text


def _socket(value: object) -> str:
    text = _text(value)
    kind, colon, address = text.partition(":")
    if kind == "inet":
        _endpoint(address)
    elif not colon or not address:
        raise ValueError
    return text
