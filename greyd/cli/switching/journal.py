"""The journal of a switch: what to undo, written before each change.

The switch can therefore be undone after a crash or a power failure between any two changes. The
journal and the backups are in a folder of root's own: root acts on its content, so no other user
may write to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greyd.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path("/var/lib/greyd-switch")
FORMAT = 1
MAX_JOURNAL_BYTES = 4 * 1024 * 1024

SWITCHING, SWITCHED = "switching", "switched"


_MAX_TIME = 2**40
_SERVICES = {"services": list}
_VALUES: Mapping[str, Mapping[str, type]] = {
    "folder": {"path": str},
    "store": {"path": str},
    "file": {"path": str, "backup": str, "mode": int, "owner": list, "written": str},
    **dict.fromkeys(("started", "stopped", "enabled", "disabled"), _SERVICES),
}
"""The values of each kind of record, with their types."""


class JournalError(CommandError):
    """The journal can't be read or written."""


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """One change to undo."""

    kind: str
    """The name of the change, as in ``greyd.cli.switching.changes``."""
    values: dict[str, Any]
    """What the change needs to be undone."""


@dataclass
class SwitchJournal:
    """The state of a switch, on disk."""

    folder: Path = FOLDER
    state: str = SWITCHING
    by: str = ""
    """Who started the switch."""
    started_at: int = 0
    sockets: list[str] = field(default_factory=list)
    """Where postgrey listened: ``HOST:PORT`` or the path of a Unix socket."""
    answered: bool = False
    """Whether postgrey accepted connections before the switch."""
    services: dict[str, dict[str, bool]] = field(default_factory=dict)
    """The state of each service before the switch."""
    records: list[UndoRecord] = field(default_factory=list)
    _descriptor: int = field(default=-1, repr=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "journal.json"

    @classmethod
    def load(cls, folder: Path = FOLDER) -> SwitchJournal | None:
        """Return the journal of the last switch; None if there is none.

        Raises:
            JournalError: it can't be read, is damaged, or another user could have written it.
        """
        journal = cls(folder)
        path = journal.path
        try:
            _require_own(folder)
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read(MAX_JOURNAL_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}") from None
        try:
            document = json.loads(content)
            if document["format"] != FORMAT:
                raise JournalError(f"{path}: written by another version of greyd; use that one")
            _require_form(document)
            journal.state, journal.by = str(document["state"]), str(document["by"])
            journal.started_at = int(document["started_at"])
            journal.sockets = [str(each) for each in document["sockets"]]
            journal.answered, journal.services = bool(document["answered"]), document["services"]
            journal.records = [
                UndoRecord(each["kind"], each["values"]) for each in document["records"]
            ]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise JournalError(
                f"{path}: damaged; undo the switch by hand (docs/migrating.md)"
            ) from None
        return journal

    def save(self) -> None:
        """Write the journal; return when it is on the disk.

        Raises:
            JournalError: it can't be written.
        """
        document = {
            "format": FORMAT, "state": self.state, "by": self.by, "started_at": self.started_at,
            "sockets": self.sockets, "answered": self.answered, "services": self.services,
            "records": [asdict(each) for each in self.records],
        }  # fmt: skip
        try:
            write_durably(self.path, json.dumps(document, indent=1).encode() + b"\n", 0o600)
        except OSError as error:
            raise JournalError(f"{self.path}: {error.strerror}") from None

    def lock(self) -> None:
        """Lock the journal until this process ends.

        Raises:
            JournalError: another process has locked it, or the folder can't be created.
        """
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            _require_own(self.folder)
            self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError("another greyd switch-from is running; wait for it") from None
        except OSError as error:
            raise JournalError(f"{self.folder}: {error.strerror}") from None

    def unlock(self) -> None:
        """Release the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def add(self, kind: str, **values: Any) -> None:
        """Note a change before it is made."""
        self.records.append(UndoRecord(kind, values))
        self.save()

    def back_up(self, path: Path) -> str:
        """Copy a file into the journal's folder; return the name of the copy."""
        name = f"{len(self.records)}-{path.name}"
        try:
            write_durably(self.folder / name, path.read_bytes(), 0o600)
        except OSError as error:
            raise JournalError(f"{path}: can't be backed up: {error.strerror}") from None
        return name

    def remove(self, *, keeps_backups: bool = False) -> None:
        """Remove the journal, and then the backups and the lock."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        if not keeps_backups:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.unlock()


def _require_form(document: dict[str, Any]) -> None:
    """Check all that an undo reads: it must not stop half-way.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is not as ``save`` writes it.
    """
    if document["state"] not in (SWITCHING, SWITCHED):
        raise ValueError
    if not 0 <= int(document["started_at"]) < _MAX_TIME:
        raise ValueError
    for socket in document["sockets"]:
        if not str(socket).startswith("/") and not str(socket).rpartition(":")[2].isdecimal():
            raise ValueError
    for states in dict(document["services"]).values():
        if {type(states[key]) for key in ("exists", "is_running", "is_enabled")} != {bool}:
            raise ValueError
    for record in document["records"]:
        _require_record(_VALUES[record["kind"]], record["values"])


def _require_record(kinds: Mapping[str, type], values: dict[str, Any]) -> None:
    if not all(isinstance(values[name], kind) for name, kind in kinds.items()):
        raise TypeError
    if not all(isinstance(each, str) for each in values.get("services", ())):
        raise TypeError
    _user, _group = values.get("owner", (0, 0))
    if "/" in values.get("backup", ""):
        raise ValueError


def _require_own(folder: Path) -> None:
    found = folder.lstat()
    is_own = found.st_uid in (0, os.geteuid()) and not stat.S_IMODE(found.st_mode) & 0o022
    if not (stat.S_ISDIR(found.st_mode) and is_own):
        raise JournalError(f"{folder}: another user can write to it; move it away")


def write_durably(
    path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None
) -> None:
    """Replace a file as a whole; return when it is on the disk.

    Raises:
        OSError: it can't be written; the old file is unchanged.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(aside, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
