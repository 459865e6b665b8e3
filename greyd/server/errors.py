"""The error of a server that can't start."""

from __future__ import annotations

from greyd.errors import GreydError


class SetupError(GreydError):
    """The server can't start with these settings; the text says what is wrong and what to do."""
