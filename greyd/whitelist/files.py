"""Which whitelist files are in force, and reading them at the start and again.

Without ``--whitelist-clients`` (or ``-recipients``) the first of these main files that exists is
taken, and the ``.local`` file beside it: ``/etc/greyd/…``, ``/etc/postgrey/…``,
``/etc/postfix/postgrey_…``. Where none exists it is the one that comes with greyd, and
``/etc/greyd/….local``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from greyd.whitelist.dns_override import read_override
from greyd.whitelist.entries import WhitelistFile, read_whitelist_file
from greyd.whitelist.errors import WhitelistError
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings


MAX_LOGGED_DIAGNOSTICS = 50
"""Lines about a whitelist's content that one reading writes to the log."""

_PLACES = ("/etc/greyd/", "/etc/postgrey/", "/etc/postfix/postgrey_")


def bundled_whitelist(name: str) -> Path:
    """Return the path of a whitelist that comes with greyd."""
    package = Path(__file__).parent.parent
    installed = package / "whitelists" / name
    return installed if installed.exists() else package.parent / "whitelists" / name


def files_in_force(given: Sequence[Path], name: str) -> list[Path]:
    """Return the files to read for ``whitelist_clients`` or ``whitelist_recipients``."""
    if given:
        return list(given)
    for place in _PLACES:
        main = Path(place + name)
        if main.exists():
            return [main, Path(f"{main}.local")]
    return [bundled_whitelist(name), Path(f"{_PLACES[0]}{name}.local")]


class _MessageLog(Protocol):
    """A log that takes lines of two severities."""

    def warning(self, message: str) -> None:
        """Log a warning."""

    def info(self, message: str) -> None:
        """Log information."""


class LoadMessages(NamedTuple):
    """What the log is to say of a reading.

    Whitelists may be read in a thread, and only the event loop's thread logs.
    """

    warnings: list[str]
    summary: str = ""

    def log_to(self, log: _MessageLog) -> None:
        """Log them."""
        for warning in self.warnings:
            log.warning(warning)
        if self.summary:
            log.info(self.summary)


def load_whitelists(settings: Settings) -> tuple[Whitelists, LoadMessages]:
    """Read the whitelists at the start; a file that can't be read is a warning."""
    read = read_whitelist_files(settings)
    whitelists = read.whitelists()._replace(complete=not read.failed)
    without_it = [f"whitelist {error}; going on without it" for error in read.failed]
    return whitelists, _messages(read, whitelists, without_it)


def reload_whitelists(settings: Settings) -> tuple[Whitelists | None, LoadMessages]:
    """Read the whitelists again; None, and the old ones stay, where a file can't be read."""
    read = read_whitelist_files(settings)
    if read.failed:
        old_stay = "the old whitelists stay in force"
        return None, LoadMessages([f"whitelist {error}; {old_stay}" for error in read.failed])
    whitelists = read.whitelists()
    return whitelists, _messages(read, whitelists)


class WhitelistFiles(NamedTuple):
    """The files' content, and why others can't be read."""

    clients: list[WhitelistFile]
    recipients: list[WhitelistFile]
    override: list[WhitelistFile]
    failed: list[WhitelistError]

    def whitelists(self) -> Whitelists:
        """Return what matches as they say."""
        return Whitelists(
            ClientWhitelist(self.clients),
            RecipientWhitelist(self.recipients),
            read_override(self.override),
        )


def read_whitelist_files(settings: Settings) -> WhitelistFiles:
    """Read the files in force."""
    failed: list[WhitelistError] = []
    return WhitelistFiles(
        _read_all(files_in_force(settings.whitelist_clients, "whitelist_clients"), failed),
        _read_all(files_in_force(settings.whitelist_recipients, "whitelist_recipients"), failed),
        _read_all(settings.list_override, failed),
        failed,
    )


def _read_all(paths: Sequence[Path], failed: list[WhitelistError]) -> list[WhitelistFile]:
    sources = []
    for path in paths:
        try:
            sources.append(read_whitelist_file(str(path)))
        except WhitelistError as error:
            if not is_absent_local(path):
                failed.append(error)
    return sources


def is_absent_local(path: Path) -> bool:
    """Whether a .local file is not there: postgrey, too, takes it for an empty one."""
    return path.suffix == ".local" and not path.exists()


def _messages(
    read: WhitelistFiles, whitelists: Whitelists, warnings: Sequence[str] = ()
) -> LoadMessages:
    diagnostics = whitelists.diagnostics
    warnings = [*warnings, *map(str, diagnostics[:MAX_LOGGED_DIAGNOSTICS])]
    if len(diagnostics) > MAX_LOGGED_DIAGNOSTICS:
        warnings.append(
            f"whitelists: {len(diagnostics) - MAX_LOGGED_DIAGNOSTICS} more lines like these"
        )
    files = ", ".join(source.file for source in (*read.clients, *read.recipients))
    return LoadMessages(
        warnings,
        f"whitelists: {len(whitelists.clients)} clients,"
        f" {len(whitelists.recipients)} recipients from {files or 'no file'}",
    )
