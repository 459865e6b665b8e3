"""The exception of the commands."""

from __future__ import annotations

from greyd.errors import GreydError


class CommandError(GreydError):
    """A command cannot do its work; the text gives the reason and the remedy."""
