"""The errors of whitelists."""

from __future__ import annotations

from greyd.errors import GreydError


class WhitelistError(GreydError):
    """A file can't be read."""
