"""The errors of whitelists."""

from __future__ import annotations

from greyd.errors import GreydError


class WhitelistError(GreydError):
    """A whitelist file cannot be read; the text has the file and the reason."""
