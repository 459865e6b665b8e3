"""Finds where the value of each option comes from: an option, a variable, or a line of a file."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.loading import DEFAULT_CONFIG, MAX_CONFIG_BYTES
from greyd.config.option import Arity
from greyd.config.options import OPTIONS
from greyd.config.regular_files import FileError, read_regular_file
from greyd.config.server_settings import RC_CONF_FILES, SERVICE_FILES, variables_of_file
from greyd.config.settings import preset_fields
from greyd.redaction import redacted_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.config.loading import SettingSources
    from greyd.config.option import Option
    from greyd.config.sources import RawSetting


class SourceKind(Enum):
    """The kind of source of a setting; the enum's values are for programs."""

    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    FILE = "file"
    POSTGREY = "postgrey"
    PRESET = "preset"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """The value of an option, and where it comes from."""

    option: Option
    texts: tuple[str, ...]
    """The value as it was written, or several; empty for a preset's value and a default."""
    kind: SourceKind
    place: str
    """The place for display, such as ``/etc/greyd/greyd.toml:12`` or ``command line (--delay)``."""


def origins_of(read: SettingSources, *, files: Sequence[Path] | None = None) -> list[SettingOrigin]:
    """Return the origin of each option's value, in the order of the options.

    Args:
        read: the values of all sources.
        files: the environment files of the service, the last one with the highest precedence;
            None for the usual ones.
    """
    files = (*RC_CONF_FILES, *SERVICE_FILES) if files is None else files
    chosen: dict[str, list[RawSetting]] = {}
    for source in read.sources:
        here: dict[str, list[RawSetting]] = {}
        for given in source:
            here.setdefault(given.option.field, []).append(given)
        chosen = {**here, **chosen}
    preset = chosen.get("preset", ())
    of_preset = preset_fields(preset[-1].text if preset else "")
    lines = _Lines(_config_file(chosen), files, read.environment)
    return [_origin(option, chosen, of_preset, lines) for option in OPTIONS]


def _origin(
    option: Option,
    chosen: Mapping[str, Sequence[RawSetting]],
    of_preset: Iterable[str],
    lines: _Lines,
) -> SettingOrigin:
    given = chosen.get(option.field, ())
    if not given:
        if option.field in of_preset:
            return SettingOrigin(option, (), SourceKind.PRESET, "preset")
        return SettingOrigin(option, (), SourceKind.DEFAULT, "default")
    if option.kind is not Arity.MANY:
        given = given[-1:]
    kind, place = lines.place_of(given[0])
    return SettingOrigin(option, tuple(each.text for each in given), kind, place)


def _config_file(chosen: Mapping[str, Sequence[RawSetting]]) -> str:
    given = chosen.get("config", ())
    return given[-1].text if given else str(DEFAULT_CONFIG)


class _Lines:
    """Finds the lines of configuration files that set an option or a variable."""

    def __init__(self, config: str, files: Sequence[Path], environment: Mapping[str, str]) -> None:
        self._config = config
        self._files = files
        self._environment = environment

    def place_of(self, given: RawSetting) -> tuple[SourceKind, str]:
        """Return the kind of source of a value, and its place."""
        variable = given.where.partition(": ")[0]
        if given.where.startswith("-"):
            return SourceKind.COMMAND_LINE, f"command line ({given.where})"
        if re.fullmatch(r"GREYD_[A-Z0-9_]+", variable):
            return SourceKind.ENVIRONMENT, self._place_of_variable(variable)
        if re.fullmatch(r"POSTGREY_[A-Z0-9_]+|postgrey_[a-z]+", variable):
            return SourceKind.POSTGREY, self._place_of_variable(variable)
        key = "|".join({re.escape(given.option.key), re.escape(given.option.name)})
        # A key, or the first line of a table.
        found = _lines_matching(self._config, rf"\s*\[{{0,2}}\s*[\"']?(?:{key})[\"']?\s*[=\].]")
        place = redacted_path(Path(self._config).absolute())
        return SourceKind.FILE, f"{place}:{found[0]}" if found else place

    def _place_of_variable(self, name: str) -> str:
        for file in reversed(self._files):
            with contextlib.suppress(SettingsError):
                if variables_of_file(file).get(name) != self._environment.get(name):
                    continue
            # The last assignment applies.
            if found := _lines_matching(file, rf"\s*(?:export\s+)?{name}\s*="):
                return f"{name} in {file}:{found[-1]}"
        return name


def _lines_matching(file: Path | str, pattern: str) -> list[int]:
    """Return the numbers of the lines that a pattern matches; none if the file can't be read."""
    try:
        text = read_regular_file(file, MAX_CONFIG_BYTES).decode(errors="replace")
    except FileError:
        return []
    return [number for number, line in enumerate(text.split("\n"), 1) if re.match(pattern, line)]
