"""The grid of settings: the values of each axis, and all their combinations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.config.loading import with_changes
from greyd.config.shadow import setting_changes
from greyd.escaping import printable_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings

MAX_SETTINGS = 1000
"""The maximum number of combinations, which bounds memory and time."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting that the grid varies."""

    option: str
    """The option of ``greyd tune`` with the values."""
    name: str
    """The server's option, without dashes; also the key in the TOML file."""
    values: Sequence[str]
    """The values as in the TOML file; the grid adds today's."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting of the server with another value than today."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One combination of values."""

    changes: tuple[SettingChange, ...]
    """Empty for today's settings."""
    settings: Settings

    @property
    def is_preset(self) -> bool:
        """Whether a preset is the change."""
        return any(each.name == "preset" for each in self.changes)

    @property
    def text(self) -> str:
        """The changes in words."""
        return " ".join(map(str, self.changes)) or "today's settings"

    @property
    def options(self) -> str:
        """The changes as options of ``greyd serve``."""
        return " ".join(f"--{each}" for each in self.changes)


def read_axis(option: str, name: str, text: str) -> Axis:
    """Parse the comma-separated values of an axis.

    Raises:
        CommandError: there is no value.
    """
    values = [each.strip() for each in text.split(",")]
    if not all(values):
        raise CommandError(f"{option}={printable_text(text)}: expected values, such as 60,300")
    return Axis(option, name, list(dict.fromkeys(values)))


def grid_of(settings: Settings, axes: Sequence[Axis]) -> list[GridPoint]:
    """Return all combinations of the axes' values and today's; today's settings come first.

    Raises:
        CommandError: the combinations are more than ``MAX_SETTINGS``.
        SettingsError: a value is invalid.
    """
    number = 1
    for axis in axes:
        number *= len(axis.values) + 1
    if number > MAX_SETTINGS:
        raise CommandError(
            f"{number:,} combinations of settings, at most {MAX_SETTINGS:,}: give fewer values"
        )
    alternatives = [_alternatives(settings, axis) for axis in axes]
    points = [GridPoint((), settings)]
    for values in product(*alternatives):
        changes = tuple(each for each in values if each is not None)
        if changes:
            points.append(GridPoint(changes, _changed(settings, changes)))
    return points


def presets_of(settings: Settings, text: str) -> list[GridPoint]:
    """Return a point for each preset of a comma-separated list, with today's other values.

    Those that change nothing are left out, and ``none`` stands for no preset.

    Raises:
        CommandError: there is no value, or one is not a preset.
    """
    axis = read_axis("--preset", "preset", text)
    axis = Axis(axis.option, axis.name, [each for each in axis.values if each != "none"])
    points = [
        GridPoint((change,), _changed(settings, (change,)))
        for change in _alternatives(settings, axis)
        if change is not None
    ]
    return [each for each in points if _decides_otherwise(each.settings, settings)]


def _decides_otherwise(one: Settings, other: Settings) -> bool:
    return replace(one, preset=other.preset) != other


def _alternatives(settings: Settings, axis: Axis) -> list[SettingChange | None]:
    """Return None for today's value, and a change for each other value of an axis."""
    today = _changed(settings, ())
    found: list[SettingChange | None] = [None]
    for value in axis.values:
        change = SettingChange(axis.name, value)
        try:
            other = _changed(settings, (change,))
        except CommandError as error:
            raise CommandError(f"{axis.option}: {error}") from None
        if other != today:
            found.append(change)
    return found


def _changed(settings: Settings, changes: Sequence[SettingChange]) -> Settings:
    given = setting_changes([(each.name, each.value) for each in changes], "greyd tune")
    return with_changes(settings, given)
