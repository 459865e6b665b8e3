"""Which whitelist files are in force, and reading them at the start and again.

Without ``--whitelist-clients`` (or ``-recipients``) the first of these main files that exists is
taken, and the ``.local`` file beside it: ``/etc/greyd/…``, ``/etc/postgrey/…``,
``/etc/postfix/postgrey_…``. Where none exists it is the one that comes with greyd, and
``/etc/greyd/….local``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from greyd.whitelist import Clients, Recipients, Source, WhitelistError, Whitelists, read_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.log import Log
    from greyd.settings import Settings

MOST_REMARKS = 50
"""Lines about a whitelist's content that one reading writes to the log."""

_PLACES = ("/etc/greyd/", "/etc/postgrey/", "/etc/postfix/postgrey_")


def shipped(name: str) -> Path:
    """Return the path of a whitelist that comes with greyd."""
    package = Path(__file__).parent
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
    return [shipped(name), Path(f"{_PLACES[0]}{name}.local")]


def load_whitelists(settings: Settings, log: Log) -> Whitelists:
    """Read the whitelists at the start; a file that can't be read is a warning."""
    clients, recipients, failed = _read(settings)
    for error in failed:
        log.warning(f"whitelist {error}; going on without it")
    return _build(clients, recipients, log)._replace(complete=not failed)


def reload_whitelists(settings: Settings, log: Log) -> Whitelists | None:
    """Read the whitelists again; None, and the old ones stay, where a file can't be read."""
    clients, recipients, failed = _read(settings)
    for error in failed:
        log.warning(f"whitelist {error}; the old whitelists stay in force")
    return None if failed else _build(clients, recipients, log)


def _read(settings: Settings) -> tuple[list[Source], list[Source], list[WhitelistError]]:
    """Return the clients' files, the recipients', and why others can't be read."""
    clients, failed_clients = _sources(settings.whitelist_clients, "whitelist_clients")
    recipients, failed_recipients = _sources(settings.whitelist_recipients, "whitelist_recipients")
    return clients, recipients, failed_clients + failed_recipients


def _sources(given: Sequence[Path], name: str) -> tuple[list[Source], list[WhitelistError]]:
    sources = []
    failed = []
    for path in files_in_force(given, name):
        try:
            sources.append(read_file(str(path)))
        except WhitelistError as error:
            # postgrey, too, takes a .local file that is not there for an empty one.
            if not (path.suffix == ".local" and not path.exists()):
                failed.append(error)
    return sources, failed


def _build(clients: Sequence[Source], recipients: Sequence[Source], log: Log) -> Whitelists:
    whitelists = Whitelists(Clients(clients), Recipients(recipients))
    for remark in whitelists.remarks[:MOST_REMARKS]:
        log.warning(str(remark))
    if len(whitelists.remarks) > MOST_REMARKS:
        log.warning(f"whitelists: {len(whitelists.remarks) - MOST_REMARKS} more lines like these")
    files = ", ".join(source.file for source in (*clients, *recipients))
    log.info(
        f"whitelists: {len(whitelists.clients)} clients,"
        f" {len(whitelists.recipients)} recipients from {files or 'no file'}"
    )
    return whitelists
