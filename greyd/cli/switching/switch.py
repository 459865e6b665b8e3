"""Runs the steps of a switch; undoes them all if one fails or is interrupted."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

from greyd.cli.switching.changes import Changes, FileChangedError, describe_undo
from greyd.cli.switching.found_postgrey import SERVICE as POSTGREY
from greyd.cli.switching.journal import SWITCHED, SWITCHING
from greyd.errors import GreydError, describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from greyd.cli.switching.changes import FileToWrite
    from greyd.cli.switching.journal import SwitchJournal
    from greyd.cli.switching.services.interface import ServiceManager

GREYD = "greyd"
GREYD_SOCKET = "greyd.socket"
MAX_START_SECONDS = 10.0
"""How long to wait until postgrey listens again."""


@dataclass(frozen=True, slots=True)
class SwitchPlan:
    """What a switch does, in its order."""

    store_file: Path | None
    """The SQLite store; None for another store."""
    store_owner: tuple[int, int]
    """The user and group that own the folder of the store."""
    files: tuple[FileToWrite, ...]
    starts: tuple[str, ...] = (GREYD,)
    """The services that take postgrey's place, in the order of their start."""
    imports: bool = True
    """Whether postgrey has a database."""
    was_running: bool = True
    """Whether postgrey runs."""
    was_enabled: bool = True
    """Whether postgrey starts at boot."""
    greyd_was_running: bool = False
    greyd_was_enabled: bool = False


class SwitchSite(Protocol):
    """The machine: what the switch needs of it."""

    @property
    def services(self) -> ServiceManager:
        """Return the program that starts and stops services."""

    def import_entries(self, *, is_last: bool) -> str:
        """Import postgrey's database; return a summary in one line."""

    def check(self) -> Sequence[str]:
        """Check that greyd answers in postgrey's place; return what was checked, one line each."""

    def postgrey_answers(self, within_seconds: float = 0) -> bool:
        """Whether something listens where postgrey did, now or within some seconds."""


@dataclass
class SwitchOutcome:
    """The result of a switch."""

    error: str = ""
    """Why it failed; empty if it succeeded."""
    problems: list[str] = field(default_factory=list)
    """What could not be undone after a failure."""
    pause_seconds: float = 0.0
    """How long nothing greylisted."""


class Switch:
    """A switch from postgrey to greyd, or back."""

    def __init__(
        self,
        site: SwitchSite,
        journal: SwitchJournal,
        report: Callable[[str], None],
        ignore_signals: Callable[[], None],
    ) -> None:
        """Create a switch.

        Args:
            site: the machine.
            journal: gets each change before it is made.
            report: prints a line about the progress.
            ignore_signals: called before changes are undone: a Ctrl-C must not interrupt that.
        """
        self._site = site
        self._journal = journal
        self._changes = Changes(site.services, journal)
        self._report = report
        self._ignore_signals = ignore_signals

    def run(self, plan: SwitchPlan) -> SwitchOutcome:
        """Run the steps; if one fails, undo all, and check that postgrey serves as before."""
        outcome = SwitchOutcome()
        self._journal.state = SWITCHING
        self._journal.services = {
            name: asdict(self._site.services.state(name)) for name in (POSTGREY, *plan.starts)
        }
        self._journal.answered = self._site.postgrey_answers()
        self._journal.save()
        try:
            self._make(plan, outcome)
            self._journal.state = SWITCHED
            self._journal.save()
        except KeyboardInterrupt:
            outcome.error = "interrupted"
        except GreydError as error:
            outcome.error = str(error)
        except Exception as error:  # noqa: BLE001 - whatever fails, postgrey has to serve again
            outcome.error = describe_error(error)
        if outcome.error:
            outcome.problems = self.undo(keeps_store=False, reason=outcome.error)
        return outcome

    def _make(self, plan: SwitchPlan, outcome: SwitchOutcome) -> None:
        changes = self._changes
        if plan.store_file is not None:
            changes.make_folder(plan.store_file.parent, plan.store_owner, 0o750)
            changes.note_store(plan.store_file)
        if plan.imports:
            self._report(f"imported: {self._site.import_entries(is_last=False)}")
        if plan.greyd_was_running:
            changes.stop(*reversed(plan.starts))
        for file in plan.files:
            changes.write_file(file)
            self._report(f"written: {file.path}")
        changes.reload_definitions()
        stopped_at = time.monotonic()
        if plan.was_running:
            changes.stop(POSTGREY)
            self._report("stopped: postgrey")
        changes.start(*plan.starts)
        outcome.pause_seconds = time.monotonic() - stopped_at
        self._report(f"started: greyd; nothing greylisted for {outcome.pause_seconds:.1f} s")
        if plan.imports and plan.was_running:
            self._report(f"imported: {self._site.import_entries(is_last=True)}")
        for line in self._site.check():
            self._report(f"checked: {line}")
        if plan.was_enabled:
            changes.disable(POSTGREY)
        if not plan.greyd_was_enabled:
            changes.enable(*plan.starts)
        self._report("from now on greyd starts at boot, and postgrey does not")

    def undo(self, *, keeps_store: bool, reason: str = "") -> list[str]:
        """Undo all changes in reverse order, and check the result.

        The journal is removed if nothing is left to undo.

        Args:
            keeps_store: whether to keep the entries that greyd has learned.
            reason: why, for the first line; empty if the user asked for it.

        Returns:
            The problems: what is not as it was before the switch.
        """
        self._ignore_signals()
        if reason:
            self._report(f"failed: {reason}")
            self._report("rolling back to postgrey")
        problems, remarks = [], []
        for record in reversed(self._journal.records):
            if line := describe_undo(record, keeps_store=keeps_store):
                self._report(line)
            try:
                self._changes.undo(record, keeps_store=keeps_store)
            except FileChangedError as error:
                remarks.append(str(error))
            except (GreydError, OSError) as error:
                problems.append(str(error))
        if reason and all(each.kind != "store" for each in self._journal.records):
            self._report("kept: the entries imported into greyd's store, which existed before")
        problems += self._differences()
        for each in remarks:
            self._report(each)
        if not problems:
            self._journal.remove(keeps_backups=bool(remarks))
        return problems

    def _differences(self) -> list[str]:
        """Return what differs from the state before the switch."""
        found = []
        for name, before in self._journal.services.items():
            try:
                state = asdict(self._site.services.state(name))
            except GreydError as error:
                found.append(str(error))
                continue
            for key, (yes, no) in {
                "is_running": ("is running", "is not running"),
                "is_enabled": ("starts at boot", "does not start at boot"),
            }.items():
                if before["exists"] and state[key] != before[key]:
                    found.append(f"{name} {yes if state[key] else no}")
        if self._journal.answered and not self._site.postgrey_answers(MAX_START_SECONDS):
            found.append("nothing listens where postgrey did")
        return found
