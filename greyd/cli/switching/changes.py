"""The changes of a switch, and how each is undone.

Each change is noted in the journal before it is made, so its undo may meet a change that was never
made, or made in part. Undoing twice is the same as undoing once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greyd.cli.switching.journal import write_durably

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.cli.switching.journal import SwitchJournal, UndoRecord
    from greyd.cli.switching.services.interface import ServiceManager

STORE_SUFFIXES = ("", "-wal", "-shm", "-lock", "-journal")
"""The files of a SQLite store."""


class FileChangedError(Exception):
    """Somebody has changed a file since the switch; the text says what was left as it is."""


@dataclass(frozen=True, slots=True)
class FileToWrite:
    """A file as the switch writes it."""

    path: Path
    content: bytes
    mode: int = 0o644


class Changes:
    """Makes the changes of a switch, and undoes them."""

    def __init__(self, services: ServiceManager, journal: SwitchJournal) -> None:
        self._services = services
        self._journal = journal

    # Making them --------------------------------------------------------------------------------

    def make_folder(self, path: Path, owner: tuple[int, int], mode: int) -> None:
        """Create a folder, unless it exists."""
        if path.exists():
            return
        self._journal.add("folder", path=str(path))
        path.mkdir(parents=True, mode=mode)
        path.chmod(mode)
        os.chown(path, *owner)

    def note_store(self, file: Path) -> None:
        """Note that a store is about to be created, unless it exists."""
        if not file.exists():
            self._journal.add("store", path=str(file))

    def write_file(self, file: FileToWrite) -> None:
        """Write a file; keep a backup of the one that it replaces."""
        values: dict[str, Any] = {
            "path": str(file.path), "backup": "", "mode": file.mode, "owner": [0, 0],
            "written": _digest(file.content),
        }  # fmt: skip
        owner = None
        if file.path.exists():
            found = file.path.stat()
            owner = (found.st_uid, found.st_gid)
            mode = found.st_mode & 0o7777
            values |= {"backup": self._journal.back_up(file.path), "mode": mode, "owner": [*owner]}
        else:
            self.make_folder(file.path.parent, (os.geteuid(), os.getegid()), 0o755)
        self._journal.add("file", **values)
        write_durably(file.path, file.content, values["mode"], owner)

    def start(self, *services: str) -> None:
        """Start services."""
        self._journal.add("started", services=list(services))
        self._services.start(*services)

    def stop(self, *services: str) -> None:
        """Stop services."""
        self._journal.add("stopped", services=list(services))
        self._services.stop(*services)

    def enable(self, *services: str) -> None:
        """Start services at boot."""
        self._journal.add("enabled", services=list(services))
        self._services.enable(*services)

    def disable(self, *services: str) -> None:
        """Don't start services at boot."""
        self._journal.add("disabled", services=list(services))
        self._services.disable(*services)

    def reload_definitions(self) -> None:
        """Let the service manager read changed definitions, now and after their undo."""
        self._services.reload_definitions()

    # Undoing them -------------------------------------------------------------------------------

    def undo(self, record: UndoRecord, *, keeps_store: bool) -> None:
        """Undo one change.

        Args:
            record: the change.
            keeps_store: whether to keep a store that the switch has created.

        Raises:
            ServiceError: a service can't be started, stopped, enabled or disabled.
            FileChangedError: the file is not the one that the switch wrote, and was left as it is.
            OSError: a file can't be written or removed.
        """
        undo: dict[str, Callable[[dict[str, Any]], None]] = {
            "folder": _remove_folder,
            "store": _keep_store if keeps_store else _remove_store,
            "file": self._restore_file,
            "started": lambda values: self._services.stop(*values["services"]),
            "stopped": lambda values: self._services.start(*values["services"]),
            "enabled": lambda values: self._services.disable(*values["services"]),
            "disabled": lambda values: self._services.enable(*values["services"]),
        }
        undo[record.kind](record.values)

    def _restore_file(self, values: dict[str, Any]) -> None:
        path = Path(values["path"])
        backup = self._journal.folder / values["backup"] if values["backup"] else None
        before = backup.read_bytes() if backup else None
        now = path.read_bytes() if path.exists() else None
        if now == before:
            return
        if now is not None and _digest(now) != values["written"]:
            kept = f"; as it was before: {backup}" if backup else ""
            raise FileChangedError(f"{path}: was changed since, and stays as it is{kept}")
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_durably(path, before, values["mode"], tuple(values["owner"]))
        self._services.reload_definitions()


def describe_undo(record: UndoRecord, *, keeps_store: bool) -> str:
    """Return what the undo of a change does, in one line; empty for a folder."""
    values = record.values
    services = " and ".join(each for each in values.get("services", ()) if "." not in each)
    if record.kind == "file":
        return f"{'restored' if values['backup'] else 'removed'}: {values['path']}"
    return {
        "folder": "",
        "store": f"{'kept' if keeps_store else 'removed'}: greyd's store, {values.get('path')}",
        "started": f"stopped: {services}",
        "stopped": f"started again: {services}",
        "enabled": f"no longer starts at boot: {services}",
        "disabled": f"starts at boot again: {services}",
    }[record.kind]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _remove_folder(values: dict[str, Any]) -> None:
    # It stays if it is not empty.
    with contextlib.suppress(OSError):
        Path(values["path"]).rmdir()


def _remove_store(values: dict[str, Any]) -> None:
    for suffix in STORE_SUFFIXES:
        Path(f"{values['path']}{suffix}").unlink(missing_ok=True)


def _keep_store(_values: dict[str, Any]) -> None:
    """Do nothing: greyd's entries stay for another switch."""
