"""The machine on which a switch runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.importing.command import format_counts, import_entries
from greyd.cli.importing.counts import ImportCounts
from greyd.cli.importing.import_source import SourceOptions
from greyd.cli.importing.sources import open_source
from greyd.cli.switching.check import check_decisions
from greyd.config.vocabulary import HOUR
from greyd.doctor.listeners import TcpListener, connectable
from greyd.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.switching.found_postgrey import FoundPostgrey
    from greyd.cli.switching.services.interface import ServiceManager
    from greyd.doctor.listeners import Listener

CONNECT_SECONDS = 2.0
CLOCK_MARGIN_SECONDS = HOUR
"""How far the clock may be set back between the two imports."""


@dataclass(slots=True)
class MachineSite:
    """This machine: its services, postgrey's database and sockets, and greyd's store."""

    services: ServiceManager
    context: CommandContext
    """The settings of greyd after the switch."""
    folder: Path | None
    """The folder of postgrey's database; None if it has none."""
    listeners: tuple[Listener, ...]
    """Where postgrey listens."""
    imported_at: int = 0
    """When the last import began, in seconds since 1970; 0 before the first one."""

    @classmethod
    def of(
        cls, services: ServiceManager, context: CommandContext, found: FoundPostgrey
    ) -> MachineSite:
        """Return this machine with the postgrey that was found on it."""
        folder = None if found.database_bytes is None else found.folder
        return cls(services, context, folder, answering(found.listeners))

    def import_entries(self, *, is_last: bool) -> str:
        """Import postgrey's database; return a summary in one line.

        A second import takes only entries that postgrey has used since the first one began.

        Args:
            is_last: whether postgrey has stopped, so that missing entries stay missing.

        Raises:
            CommandError: the database can't be read.
            StoreError: greyd's store can't be written.
        """
        return asyncio.run(self._import(is_last=is_last))

    async def _import(self, *, is_last: bool) -> str:
        settings = self.context.settings
        now = int(time.time())
        used_since = self.imported_at - CLOCK_MARGIN_SECONDS
        counts = ImportCounts(settings, now, dry_run=False, used_since=used_since)
        options = SourceOptions(settings, settings.delay_seconds, None)
        async with open_source(str(self.folder), self.context, options) as source:
            await import_entries(self.context, source, counts)
            counts.warnings += source.warnings()
        self.imported_at = now
        problems = [each.text for each in counts.warnings if is_last or not each.is_problem]
        if counts.unreadable_count:
            problems.append(
                f"{counted(counts.unreadable_count, 'entry', 'entries')} could not be read"
            )
        summary = format_counts(counts.changes) or "nothing new"
        return "; ".join([summary, *problems])

    def check(self) -> Sequence[str]:
        """Check that greyd answers in postgrey's place; return what was checked.

        Raises:
            CheckError: greyd does not answer, or its answer is wrong.
        """
        knows_mail = self.folder is not None
        return asyncio.run(check_decisions(self.context, self.listeners, knows_mail=knows_mail))

    def postgrey_answers(self, within_seconds: float = 0) -> bool:
        """Whether something listens where postgrey did, now or within some seconds."""
        deadline = time.monotonic() + within_seconds
        while not any(map(_connects, self.listeners)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
        return True


def answering(listeners: Sequence[Listener]) -> tuple[Listener, ...]:
    """Return the addresses and sockets that accept connections; all of them if none does."""
    all_of_them = connectable(listeners)
    return tuple(filter(_connects, all_of_them)) or tuple(all_of_them)


def parse_listener(text: str) -> Listener:
    """Return the address or socket that ``str`` has formatted."""
    if text.startswith("/"):
        return Path(text)
    host, _, port = text.rpartition(":")
    return TcpListener(host.strip("[]"), int(port))


def _connects(listener: Listener) -> bool:
    with contextlib.suppress(OSError):
        if not isinstance(listener, Path):
            address = (listener.host, listener.port)
            socket.create_connection(address, CONNECT_SECONDS).close()
            return True
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(CONNECT_SECONDS)
            client.connect(str(listener))
            return True
    return False
