"""The errors of whitelists."""

from __future__ import annotations

from greyd.errors import GreydError


class WhitelistError(GreydError):
    """The base class of whitelist errors; raised for an unreadable file, with the reason."""


class PatternError(WhitelistError):
    """A pattern that greyd can't use; the text is the reason."""
