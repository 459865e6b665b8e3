"""The exception of the command line."""

from __future__ import annotations

from greyd.errors import GreydError


class CommandError(GreydError):
    """A command can't do what it is told; the text says why, and what to do."""
