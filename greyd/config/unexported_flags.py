"""Finds options for postgrey in FreeBSD's ``rc.conf`` that do not reach the server.

The shell of a service script reads ``postgrey_flags`` there, and exports it to no program. Commands
read the file, so without a warning they would show other settings than the server has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.option import Arity
from greyd.config.options import OF_POSTGREYS_PROCESS
from greyd.config.postgrey_variables import FREEBSD_OPTIONS
from greyd.config.server_settings import RC_CONF_FILES, variables_of_file
from greyd.config.settings import merge_settings
from greyd.config.sources import from_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greyd.config.settings import Settings
    from greyd.config.sources import RawSetting


def with_warnings_of_rc_conf(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Return the settings with a warning for each variable whose options the server does not have.

    Args:
        settings: the server's settings.
        environment: the server's environment; a variable that is in it has been read.
    """
    found: dict[str, tuple[str, Mapping[str, str]]] = {}
    for file in RC_CONF_FILES:
        try:
            variables = variables_of_file(file)
        except SettingsError:
            # It is not the server's own file: its faults must not stop the server.
            continue
        found |= {
            name: (f"{file}: {name}", variables)
            for name in FREEBSD_OPTIONS
            if variables.get(name, "").strip() and not environment.get(name, "").strip()
        }
    warnings = [
        f"{where}: {missing}: not in force, because the service script does not export it; add"
        f" ${{{name}}} to the script's command_args"
        for name, (where, variables) in found.items()
        if (missing := " ".join(_missing(variables, name, settings)))
    ]
    return replace(settings, warnings=(*settings.warnings, *warnings)) if warnings else settings


def _missing(variables: Mapping[str, str], name: str, settings: Settings) -> Iterator[str]:
    """Yield the options in a variable that the settings do not have."""
    try:
        given, _ = from_words(variables, name)
    except SettingsError as error:
        yield str(error)
        return
    for option in dict.fromkeys(each.option for each in given):
        if option.name in OF_POSTGREYS_PROCESS:
            continue
        same_option = [each for each in given if each.option is option]
        try:
            wanted = getattr(merge_settings(same_option), option.field)
        except SettingsError as error:
            yield str(error)
            continue
        if wanted != getattr(settings, option.field):
            yield from map(_typed, same_option)


def _typed(given: RawSetting) -> str:
    name = f"--{given.option.name}"
    return name if given.option.kind is Arity.FLAG else f"{name}={given.text}"
