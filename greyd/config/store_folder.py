"""The default folder of the SQLite store."""

from __future__ import annotations

import os
from pathlib import Path

from greyd.config.errors import SettingsError

SERVICE_FOLDER = Path("/var/lib/greyd")
"""The folder of the SQLite store of the system service."""


def default_folder() -> Path:
    """Return the folder in which the SQLite store is if ``--dbdir`` is not set.

    Raises:
        SettingsError: this user has no home folder.
    """
    if os.geteuid() == 0 or _is_mine(SERVICE_FOLDER):
        return SERVICE_FOLDER
    return state_home() / "greyd"


def state_home() -> Path:
    """Return this user's folder for programs' state (XDG_STATE_HOME).

    Raises:
        SettingsError: the user has no home folder: neither HOME nor an entry in /etc/passwd exists,
            e.g. for the arbitrary user IDs of some container platforms.
    """
    if given := os.environ.get("XDG_STATE_HOME"):
        return Path(given)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        raise SettingsError(
            f"user {os.geteuid()} has no home folder; name a folder for the store with --dbdir"
        ) from None


def own_state_folder() -> Path | None:
    """Return this user's folder for greyd's state, which may be missing; None without a home."""
    try:
        return state_home() / "greyd"
    except SettingsError:
        return None


def _is_mine(folder: Path) -> bool:
    """Whether this process runs as the service's user, who owns the folder."""
    try:
        return "XDG_STATE_HOME" not in os.environ and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
