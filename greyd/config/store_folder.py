"""The default folder of the SQLite store."""

from __future__ import annotations

import os
from pathlib import Path

from greyd.config.errors import SettingsError

SERVICE_FOLDER = Path("/var/lib/greyd")
"""The folder of its store."""


def default_folder() -> Path:
    """Return the folder of the SQLite store where ``--dbdir`` names none."""
    if os.geteuid() == 0 or _is_mine(SERVICE_FOLDER):
        return SERVICE_FOLDER
    return state_home() / "greyd"


def state_home() -> Path:
    """Return the folder in which this user's programs keep what they remember (XDG).

    Raises:
        SettingsError: the user has no home: neither HOME nor an entry among the users, as the
            arbitrary users of some container platforms.
    """
    if given := os.environ.get("XDG_STATE_HOME"):
        return Path(given)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        raise SettingsError(
            f"user {os.geteuid()} has no home folder; name a folder for the store by --dbdir"
        ) from None


def _is_mine(folder: Path) -> bool:
    """Whether a folder belongs to this user, who is then the service's."""
    try:
        return "XDG_STATE_HOME" not in os.environ and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
