"""The steps of a switch on a machine that fails, is interrupted, or loses its power anywhere."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.switching.changes import FileToWrite
from greyd.cli.switching.journal import SWITCHED, JournalError, SwitchJournal
from greyd.cli.switching.services.interface import ServiceError, ServiceState
from greyd.cli.switching.switch import Switch, SwitchOutcome, SwitchPlan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class PowerFailure(BaseException):
    """Ends everything; nothing catches it."""


@dataclass
class FakeMachine:
    """A machine whose actions fail on demand: its services, database, sockets and store."""

    folder: Path
    states: dict[str, list[bool]] = field(
        default_factory=lambda: {"postgrey": [True, True], "greyd": [False, False]}
    )
    """Whether each service runs, and whether it starts at boot."""
    fails_at: int = 0
    """The number of the action that fails; 0 for none."""
    after: bool = False
    """Whether the action has its effect before it fails."""
    error: Callable[[], BaseException] = lambda: ServiceError("injected")
    count: int = 0
    name = "fake"
    log_command = "log"
    did: list[str] = field(default_factory=list)
    last: SwitchJournal | None = None

    @property
    def services(self) -> FakeMachine:
        return self

    def _act(self, what: str, effect: Callable[[], object] = lambda: None) -> None:
        self.count += 1
        fails = self.count == self.fails_at
        if fails and not self.after:
            raise self.error()
        self.did.append(what)
        effect()
        if fails:
            raise self.error()

    def _set(self, services: tuple[str, ...], index: int, value: bool) -> None:
        for each in services:
            self.states[each][index] = value

    def state(self, service: str) -> ServiceState:
        return ServiceState(True, *self.states[service])

    def start(self, *services: str) -> None:
        self._act(f"start {' '.join(services)}", lambda: self._set(services, 0, True))

    def stop(self, *services: str) -> None:
        self._act(f"stop {' '.join(services)}", lambda: self._set(services, 0, False))

    def enable(self, *services: str) -> None:
        self._act(f"enable {' '.join(services)}", lambda: self._set(services, 1, True))

    def disable(self, *services: str) -> None:
        self._act(f"disable {' '.join(services)}", lambda: self._set(services, 1, False))

    def reload_definitions(self) -> None:
        self._act("reload")

    def command(self, verb: str, *services: str) -> str:
        return f"{verb} {' '.join(services)}"

    def import_entries(self, *, is_last: bool) -> str:
        store = self.folder / "store" / "greyd.db"
        self._act("import the rest" if is_last else "import", lambda: store.write_text("entries"))
        return "2 triplets"

    def check(self) -> list[str]:
        self._act("check")
        return ["answers"]

    def postgrey_answers(self, within_seconds: float = 0) -> bool:  # noqa: ARG002 - no clock here
        return self.states["postgrey"][0]

    def snapshot(self) -> dict[str, Any]:
        """Return all that a rollback has to restore."""
        files = {
            str(path.relative_to(self.folder)): (
                path.read_bytes() if path.is_file() else b"",
                path.stat().st_mode,
            )
            for path in self.folder.rglob("*")
        }
        return {"states": {name: [*each] for name, each in self.states.items()}, "files": files}

    def plan(self, **changes: Any) -> SwitchPlan:
        values = {
            "store_file": self.folder / "store" / "greyd.db",
            "store_owner": (os.geteuid(), os.getegid()),
            "files": (
                FileToWrite(self.folder / "etc" / "greyd.toml", b"delay = 60\n"),
                FileToWrite(self.folder / "new" / "script", b"#!/bin/sh\n", 0o755),
            ),
        }
        return SwitchPlan(**{**values, **changes})

    def switch(self, report: Callable[[str], None] = lambda _: None) -> Switch:
        if self.last:
            # Its process has ended.
            self.last.unlock()
        self.last = SwitchJournal.load(self.journal) or SwitchJournal(self.journal, by="root@mx")
        self.last.lock()
        return Switch(self, self.last, report, lambda: None)

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def run(self, **changes: Any) -> SwitchOutcome:
        return self.switch().run(self.plan(**changes))


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "greyd.toml").write_text("# mine\n")
    (tmp_path / "etc" / "greyd.toml").chmod(0o640)
    return FakeMachine(tmp_path)


ACTIONS = (
    "import", "reload", "stop postgrey", "start greyd", "import the rest", "check",
    "disable postgrey", "enable greyd",
)  # fmt: skip


def test_a_switch_imports_first_and_changes_the_boot_last(machine: FakeMachine) -> None:
    outcome = machine.run()
    assert (outcome.error, outcome.problems) == ("", [])
    assert tuple(machine.did) == ACTIONS
    assert machine.states == {"postgrey": [False, False], "greyd": [True, True]}
    written = machine.folder / "etc" / "greyd.toml"
    assert written.read_text() == "delay = 60\n"
    assert written.stat().st_mode & 0o777 == 0o640, "an existing file keeps its permissions"
    assert (machine.folder / "new" / "script").stat().st_mode & 0o777 == 0o755
    journal = SwitchJournal.load(machine.journal)
    assert journal is not None
    assert (journal.state, journal.by) == (SWITCHED, "root@mx")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "a service": lambda: ServiceError("injected"),
    "the disk": lambda: OSError(28, "No space left on device"),
    "a bug": lambda: RuntimeError("injected"),
    "Ctrl-C": KeyboardInterrupt,
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("number", range(1, len(ACTIONS) + 1), ids=ACTIONS)
def test_a_failed_step_leaves_all_as_it_was(
    machine: FakeMachine, number: int, error: Callable[[], BaseException], *, after: bool
) -> None:
    before = machine.snapshot()
    machine.fails_at, machine.after, machine.error = number, after, error
    outcome = machine.run()
    assert outcome.error
    assert outcome.problems == []
    assert machine.snapshot() == before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, len(ACTIONS) + 1), ids=ACTIONS)
def test_a_switch_that_a_power_failure_ended_can_be_undone(
    machine: FakeMachine, number: int, *, after: bool
) -> None:
    before = machine.snapshot()
    machine.fails_at, machine.after, machine.error = number, after, PowerFailure
    first = machine.switch()
    with pytest.raises(PowerFailure):
        first.run(machine.plan())
    journal = SwitchJournal.load(machine.journal)
    assert journal is not None
    assert journal.state != SWITCHED
    assert Switch(machine, journal, lambda _: None, lambda: None).undo(keeps_store=False) == []
    assert machine.snapshot() == before


@pytest.mark.parametrize(
    ("states", "changes"),
    [
        ({"postgrey": [False, True], "greyd": [False, False]}, {"was_running": False}),
        ({"postgrey": [True, False], "greyd": [False, False]}, {"was_enabled": False}),
        (
            {"postgrey": [True, True], "greyd": [True, True]},
            {"greyd_was_running": True, "greyd_was_enabled": True},
        ),
        ({"postgrey": [True, True], "greyd": [False, False]}, {"imports": False}),
        ({"postgrey": [True, True], "greyd": [False, False]}, {"store_file": None, "files": ()}),
    ],
    ids=["postgrey stopped", "not at boot", "greyd beside it", "no database", "no file"],
)
def test_undo_restores_other_beginnings(
    machine: FakeMachine, states: dict[str, list[bool]], changes: dict[str, Any]
) -> None:
    machine.states = states
    if changes.get("store_file", "") is None:
        (machine.folder / "store").mkdir()
    before = machine.snapshot()
    for number in range(1, 12):
        machine.count, machine.fails_at = 0, number
        if not machine.run(**changes).error:
            break
        assert machine.snapshot()["states"] == before["states"], number
    assert machine.states["greyd"] == [True, True]
    assert not machine.states["postgrey"][0]
    machine.fails_at = 0
    assert machine.switch().undo(keeps_store=True) == []
    assert machine.states == before["states"]


def test_a_file_that_cannot_be_written_is_rolled_back(machine: FakeMachine) -> None:
    before = machine.snapshot()
    (machine.folder / "etc" / "greyd.toml").read_text()
    blocked = FileToWrite(machine.folder / "etc" / "greyd.toml" / "below-a-file", b"")
    outcome = machine.run(files=(*machine.plan().files, blocked))
    assert "Not a directory" in outcome.error
    assert machine.snapshot() == before


# Undo ---------------------------------------------------------------------------------------------


def test_a_later_undo_keeps_what_greyd_has_learned(machine: FakeMachine) -> None:
    before = machine.snapshot()
    machine.run()
    lines: list[str] = []
    assert machine.switch(lines.append).undo(keeps_store=True) == []
    store = machine.folder / "store"
    assert (store / "greyd.db").read_text() == "entries"
    assert f"kept: greyd's store, {store / 'greyd.db'}" in lines
    (store / "greyd.db").unlink()
    store.rmdir()
    assert machine.snapshot() == before


def test_a_file_changed_since_stays_and_its_backup_too(machine: FakeMachine) -> None:
    machine.run()
    file = machine.folder / "etc" / "greyd.toml"
    file.write_text("delay = 90\n")
    lines: list[str] = []
    assert machine.switch(lines.append).undo(keeps_store=True) == []
    assert file.read_text() == "delay = 90\n"
    (line,) = [each for each in lines if "changed since" in each]
    assert (machine.journal / line.rpartition("/")[2]).read_text() == "# mine\n"
    assert SwitchJournal.load(machine.journal) is None


@pytest.mark.parametrize("number", range(1, 8))
def test_an_undo_that_failed_is_repeated(machine: FakeMachine, number: int) -> None:
    before = machine.snapshot()
    machine.run()
    machine.count, machine.fails_at = 0, number
    if machine.switch().undo(keeps_store=False):
        assert machine.switch().undo(keeps_store=False) == []
    assert machine.snapshot() == before


def test_a_rollback_that_does_not_bring_postgrey_back_says_so(machine: FakeMachine) -> None:
    machine.fails_at = ACTIONS.index("check") + 1
    restart = machine.start

    def start(*services: str) -> None:
        # As an init script that reports success, and has started nothing.
        if services != ("postgrey",):
            restart(*services)

    machine.start = start  # type: ignore[method-assign]
    machine.postgrey_answers = lambda _=0: True  # type: ignore[method-assign]
    assert machine.run().problems == ["postgrey is not running"]
    assert SwitchJournal.load(machine.journal) is not None, "so that it can be repeated"


# The journal --------------------------------------------------------------------------------------


def test_two_switches_at_the_same_time_are_refused(tmp_path: Path) -> None:
    first = SwitchJournal(tmp_path / "journal")
    first.lock()
    with pytest.raises(JournalError, match="another greyd switch-from is running"):
        SwitchJournal(tmp_path / "journal").lock()
    first.unlock()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2}', b"\xff", b'{"format": 1, "records": 5}'],
)
def test_a_damaged_journal_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "journal.json").write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.json: (damaged|written by another version)"):
        SwitchJournal.load(tmp_path)


FILE = {"path": "/x", "backup": "0-x", "mode": 420, "owner": [0, 0], "written": ""}
STATE = {"exists": True, "is_running": True, "is_enabled": False}


@pytest.mark.parametrize(
    ("changes", "is_used"),
    [
        ({}, True),
        ({"records": [{"kind": "file", "values": FILE}]}, True),
        ({"services": {"postgrey": STATE}, "sockets": ["[::1]:10023", "/run/x"]}, True),
        ({"state": "other"}, False),
        ({"started_at": 10**30}, False),
        ({"sockets": ["x"]}, False),
        ({"sockets": 5}, False),
        ({"services": ["postgrey"]}, False),
        ({"services": {"postgrey": {"exists": True}}}, False),
        ({"services": {"postgrey": STATE | {"exists": "yes"}}}, False),
        ({"records": [{"kind": "other", "values": {}}]}, False),
        ({"records": [{"kind": "file", "values": {"path": "/x"}}]}, False),
        ({"records": [{"kind": "file", "values": FILE | {"owner": [0]}}]}, False),
        ({"records": [{"kind": "file", "values": FILE | {"backup": "../x"}}]}, False),
        ({"records": [{"kind": "store", "values": {"path": 5}}]}, False),
        ({"records": [{"kind": "stopped", "values": {"services": "postgrey"}}]}, False),
        ({"records": [{"kind": "stopped", "values": {"services": [5]}}]}, False),
        ({"records": ["x"]}, False),
    ],
)
def test_an_undo_does_not_begin_with_a_journal_that_would_stop_it_half_way(
    tmp_path: Path, changes: dict[str, object], is_used: bool
) -> None:
    tmp_path.chmod(0o700)
    SwitchJournal(tmp_path).save()
    file = tmp_path / "journal.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    if is_used:
        assert SwitchJournal.load(tmp_path) is not None
        return
    with pytest.raises(JournalError, match=r"journal\.json: damaged"):
        SwitchJournal.load(tmp_path)


def test_a_journal_in_a_folder_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / "journal.json").write_text("{}")
    folder.chmod(0o777)
    with pytest.raises(JournalError, match="another user can write to it"):
        SwitchJournal.load(folder)
