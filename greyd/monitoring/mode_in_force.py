"""The mode in force: the configured one, or one that an administrator has set for all servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greyd.rules.control import ModeOverride

_MAX_NAME = 200
_MAX_TIME = 10**11


@dataclass(frozen=True, slots=True)
class ModeSetting:
    """Who set the mode with ``greyd mode``, and until when."""

    by: str
    """The user and host of the command, e.g. ``alice@mx1``."""
    at: int
    """When the command ran, in seconds since 1970."""
    until: int
    """When the configured mode returns, in seconds since 1970; 0 for never."""

    @classmethod
    def load(cls, given: Any) -> ModeSetting | None:
        """Return the setting in a JSON value; None for null.

        Raises:
            KeyError, TypeError, ValueError: the value does not have the form of a setting.
        """
        if given is None:
            return None
        by = given["by"]
        if not isinstance(by, str):
            raise TypeError
        return cls(by[:_MAX_NAME], _time(given["at"]), _time(given["until"]))


@dataclass(frozen=True, slots=True)
class ModeInForce:
    """The mode in force."""

    mode: str
    configured: str
    """The mode of ``--mode``, which applies when no mode is set."""
    set_by: ModeSetting | None = None
    """None if the configured mode is in force."""

    @classmethod
    def of(cls, configured: str, override: ModeOverride | None) -> ModeInForce:
        """Return the mode in force; ``override`` is None if the configured one is."""
        if override is None:
            return cls(configured, configured)
        return cls(override.mode, configured, ModeSetting(override.by, override.at, override.until))


def _time(given: Any) -> int:
    number = int(given)
    if not 0 <= number < _MAX_TIME:
        raise ValueError
    return number
