"""The errors of the configuration."""

from __future__ import annotations

from greyd.errors import GreydError


class ConfigError(GreydError):
    """The configuration can't be used; the base of this package's errors."""


class SettingsError(ConfigError):
    """A setting is invalid; the text says where it is, what is wrong, and what to do."""


class SecretError(ConfigError):
    """A secret's file can't be read, or its content is not a usable secret."""
