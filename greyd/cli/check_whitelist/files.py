"""The whitelist files to check, and which list each of them belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.terminal import print_error
from greyd.whitelist.entries import (
    WhitelistEntry,
    WhitelistFile,
    parse_entries,
    read_whitelist_file,
)
from greyd.whitelist.errors import WhitelistError
from greyd.whitelist.files import files_in_force, is_absent_local
from greyd.whitelist.list_names import (
    ALL_LISTS,
    CLIENTS,
    NEVER_AUTO,
    OVERRIDE,
    RECIPIENTS,
    SENDER_LOGINS,
    SENDERS,
    TABLES,
)
from greyd.whitelist.sender_logins import logical_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greyd.config.settings import Settings

_WORDS = (
    ("login", SENDER_LOGINS),
    ("override", OVERRIDE),
    ("never_auto", NEVER_AUTO),
    ("never-auto", NEVER_AUTO),
    ("recipient", RECIPIENTS),
    ("client", CLIENTS),
    ("sender", SENDERS),
)
"""Words in the name of a file, and the list that it then belongs to; the first match applies."""


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """The whitelist files to check."""

    sources: Mapping[str, Sequence[WhitelistFile]]
    """The sources of each list, by the list's name."""
    unreadable: int

    def entries(self) -> Iterator[tuple[str, WhitelistEntry]]:
        """Yield all entries of whitelists, each with the name of its list."""
        for which in ALL_LISTS:
            for source in self.sources[which]:
                for entry in parse_entries(source, []):
                    yield which, entry

    def entry_count(self) -> int:
        """Return the number of entries in all files."""
        table_lines = sum(
            1
            for which in TABLES
            for source in self.sources[which]
            for _ in logical_lines(source.content)
        )
        return table_lines + sum(1 for _ in self.entries())


def read_files(settings: Settings, files: Sequence[str], only: str | None) -> CheckedFiles:
    """Read the files to check; print an error for each unreadable one.

    Args:
        settings: the server's settings.
        files: the files; if empty, those of the settings.
        only: the list of all these files; None to find it by each file's name.

    Raises:
        CommandError: a file's name does not say to which list it belongs.
    """
    wanted = [(only or _list_of(file), Path(file)) for file in files]
    if not files:
        in_force = {
            CLIENTS: files_in_force(settings.whitelist_clients, "whitelist_clients"),
            RECIPIENTS: files_in_force(settings.whitelist_recipients, "whitelist_recipients"),
            SENDERS: settings.whitelist_senders,
            NEVER_AUTO: settings.never_auto_whitelist,
            OVERRIDE: settings.list_override,
            SENDER_LOGINS: settings.sender_logins,
        }
        wanted = [
            (which, path)
            for which, paths in in_force.items()
            for path in paths
            if only in (None, which) and not is_absent_local(path)
        ]
    sources: dict[str, list[WhitelistFile]] = {which: [] for which in (*ALL_LISTS, *TABLES)}
    unreadable = 0
    for which, path in wanted:
        try:
            sources[which].append(read_whitelist_file(str(path)))
        except WhitelistError as error:
            print_error(str(error))
            unreadable += 1
    return CheckedFiles(sources, unreadable)


def _list_of(file: str) -> str:
    name = Path(file).name
    for word, which in _WORDS:
        if word in name:
            return which
    raise CommandError(
        f"{file}: the name does not show the kind of list; add --clients, --recipients, --senders,"
        " --never-auto-whitelist, --sender-logins or --list-override"
    )
