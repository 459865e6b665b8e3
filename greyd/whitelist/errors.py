"""The errors of whitelists."""

from __future__ import annotations

from greyd.errors import GreydError


class WhitelistError(GreydError):
    """The base of the errors of whitelists: a file that cannot be read, with the reason."""


class PatternError(WhitelistError):
    """A pattern that greyd can't use; the text is the reason."""
