"""The errors of what an administrator sets."""

from __future__ import annotations

from greyd.errors import GreydError


class ConfigError(GreydError):
    """The configuration can't be used; the base of this package's errors."""


class SettingsError(ConfigError):
    """A setting is wrong; the text says where, what, and what to do."""


class SecretError(ConfigError):
    """A file that should hold a secret can't be read, or holds none."""
