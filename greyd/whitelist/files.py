"""Selects the whitelist files in force, and loads and reloads them.

``--whitelist-clients`` and ``--whitelist-recipients`` name the files. Without these options greyd
reads the first of the main files ``/etc/greyd/…``, ``/etc/postgrey/…`` and
``/etc/postfix/postgrey_…`` that exists, and the file with the suffix ``.local`` beside it. If no
main file exists, it reads the bundled file and ``/etc/greyd/….local``. The other lists have no
default files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from greyd.whitelist.dns_override import read_override
from greyd.whitelist.entries import WhitelistFile, read_whitelist_file
from greyd.whitelist.errors import WhitelistError
from greyd.whitelist.matcher import (
    ClientWhitelist,
    RecipientWhitelist,
    SenderWhitelist,
    Whitelists,
)
from greyd.whitelist.sender_logins import SenderLogins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings

MAX_LOGGED_DIAGNOSTICS = 50
"""Maximum number of diagnostics that one load or reload logs."""

_PLACES = ("/etc/greyd/", "/etc/postgrey/", "/etc/postfix/postgrey_")


def bundled_whitelist(name: str) -> Path:
    """Return the path of a whitelist that greyd includes."""
    package = Path(__file__).parent.parent
    installed = package / "whitelists" / name
    return installed if installed.exists() else package.parent / "whitelists" / name


def files_in_force(given: Sequence[Path], name: str) -> list[Path]:
    """Return the files in force: those of the option, else the default ones.

    Args:
        given: the values of the option.
        name: ``whitelist_clients`` or ``whitelist_recipients``.
    """
    if given:
        return list(given)
    for place in _PLACES:
        main = Path(place + name)
        if main.exists():
            return [main, Path(f"{main}.local")]
    return [bundled_whitelist(name), Path(f"{_PLACES[0]}{name}.local")]


class _MessageLog(Protocol):
    """A log with two severities."""

    def warning(self, message: str) -> None:
        """Log a warning."""

    def info(self, message: str) -> None:
        """Log information."""


@dataclass(frozen=True, slots=True)
class LoadMessages:
    """The messages that a load or reload has to log.

    Another thread may read the whitelists, but only the event loop's thread may log.
    """

    warnings: list[str]
    summary: str = ""

    def log_to(self, log: _MessageLog) -> None:
        """Log the messages."""
        for warning in self.warnings:
            log.warning(warning)
        if self.summary:
            log.info(self.summary)


def load_whitelists(settings: Settings) -> tuple[Whitelists, LoadMessages]:
    """Load the whitelists when the server starts; an unreadable file causes only a warning."""
    read = read_whitelist_files(settings)
    whitelists = replace(read.whitelists(), complete=not read.errors)
    warnings = [f"whitelist {error}; continuing without it" for error in read.errors]
    return whitelists, _messages(read, whitelists, warnings)


def reload_whitelists(settings: Settings) -> tuple[Whitelists | None, LoadMessages]:
    """Reload the whitelists; return None if a file is unreadable: the old ones stay in force."""
    read = read_whitelist_files(settings)
    if read.errors:
        consequence = "the old whitelists stay in force"
        return None, LoadMessages([f"whitelist {error}; {consequence}" for error in read.errors])
    whitelists = read.whitelists()
    return whitelists, _messages(read, whitelists)


@dataclass(frozen=True, slots=True)
class WhitelistContents:
    """The contents of the files in force, and an error for each unreadable file."""

    clients: list[WhitelistFile]
    recipients: list[WhitelistFile]
    override: list[WhitelistFile]
    errors: list[WhitelistError]
    sender_logins: list[WhitelistFile] = field(default_factory=list)
    senders: list[WhitelistFile] = field(default_factory=list)
    never_auto: list[WhitelistFile] = field(default_factory=list)

    def whitelists(self) -> Whitelists:
        """Compile the whitelists from the contents."""
        return Whitelists(
            ClientWhitelist(self.clients),
            RecipientWhitelist(self.recipients),
            read_override(self.override),
            SenderWhitelist(self.senders),
            ClientWhitelist(self.never_auto),
            sender_logins=SenderLogins(self.sender_logins),
        )


def read_whitelist_files(settings: Settings) -> WhitelistContents:
    """Read the whitelist files in force; never raises."""
    errors: list[WhitelistError] = []
    return WhitelistContents(
        _read_all(files_in_force(settings.whitelist_clients, "whitelist_clients"), errors),
        _read_all(files_in_force(settings.whitelist_recipients, "whitelist_recipients"), errors),
        _read_all(settings.list_override, errors),
        errors,
        _read_all(settings.sender_logins, errors),
        _read_all(settings.whitelist_senders, errors),
        _read_all(settings.never_auto_whitelist, errors),
    )


def _read_all(paths: Sequence[Path], errors: list[WhitelistError]) -> list[WhitelistFile]:
    sources = []
    for path in paths:
        try:
            sources.append(read_whitelist_file(str(path)))
        except WhitelistError as error:
            if not is_absent_local(path):
                errors.append(error)
    return sources


def is_absent_local(path: Path) -> bool:
    """Whether a path is that of a missing ``.local`` file, which is no error (as in postgrey)."""
    return path.suffix == ".local" and not path.exists()


def _messages(
    read: WhitelistContents, whitelists: Whitelists, warnings: Sequence[str] = ()
) -> LoadMessages:
    diagnostics = whitelists.diagnostics
    warnings = [*warnings, *map(str, diagnostics[:MAX_LOGGED_DIAGNOSTICS])]
    if len(diagnostics) > MAX_LOGGED_DIAGNOSTICS:
        warnings.append(f"whitelists: {len(diagnostics) - MAX_LOGGED_DIAGNOSTICS} more diagnostics")
    sources = (*read.clients, *read.recipients, *read.senders, *read.never_auto)
    counts = [f"{len(whitelists.clients)} clients", f"{len(whitelists.recipients)} recipients"]
    if read.senders:
        counts.append(f"{len(whitelists.senders)} senders")
    if read.never_auto:
        counts.append(f"{len(whitelists.never_auto)} clients never to auto-whitelist")
    files = ", ".join(source.file for source in sources) or "no file"
    return LoadMessages(warnings, f"whitelists: {', '.join(counts)} from {files}")
