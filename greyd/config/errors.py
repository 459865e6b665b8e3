"""The errors of what an administrator sets."""

from __future__ import annotations

from greyd.errors import GreydError


class SettingsError(GreydError):
    """A setting is wrong; the text says where, what, and what to do."""


class SetupError(GreydError):
    """The server can't be started so; the text says what is wrong and what to do."""
