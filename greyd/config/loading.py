"""Loads the settings from command line, environment and configuration file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.options import BY_NAME, OWN_OPTIONS
from greyd.config.own_domains import read_own_domains
from greyd.config.postgrey_variables import has_unread_options, unknown_variables
from greyd.config.regular_files import FileError, read_regular_file
from greyd.config.settings import merge_settings
from greyd.config.shadow import with_shadow
from greyd.config.sources import (
    RawSetting,
    from_arguments,
    from_environment,
    from_postgrey,
    from_table,
    from_words,
)
from greyd.config.toml_hints import syntax_hint
from greyd.redaction import excerpt, redacted_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.config.settings import Settings


MAX_CONFIG_BYTES = 2**20

DEFAULT_CONFIG = Path("/etc/greyd/greyd.toml")


@dataclass(frozen=True, slots=True)
class SettingSources:
    """The values of all options from all sources, before they are merged."""

    sources: tuple[Sequence[RawSetting], ...]
    """The values of each source, those with the highest precedence first."""
    warnings: tuple[str, ...]
    """What is unknown or ignored in the sources."""
    environment: Mapping[str, str]
    """The variables that were read."""


def read_settings(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    server_arguments: Sequence[str] = (),
    overrides: Sequence[RawSetting] = (),
) -> Settings:
    """Load the settings from command line, environment, file, postgrey's variables, and defaults.

    Args:
        arguments: the command line, without the names of program and command.
        environment: environment variables; None for those of this process.
        server_arguments: the server's command line; ``arguments`` take precedence over it.
        overrides: values that take precedence over all others.

    Raises:
        SettingsError: a setting is invalid.
    """
    return merge_sources(read_sources(arguments, environment, server_arguments, overrides))


def merge_sources(read: SettingSources) -> Settings:
    """Return the settings that the values of all sources give.

    Raises:
        SettingsError: a setting is invalid.
    """
    merged = merge_settings(*read.sources, warnings=read.warnings)
    return with_shadow(read_own_domains(merged), read.sources)


def read_sources(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    server_arguments: Sequence[str] = (),
    overrides: Sequence[RawSetting] = (),
) -> SettingSources:
    """Read all sources of settings; the arguments are those of ``read_settings``.

    Raises:
        SettingsError: an option is unknown, or the file can't be read.
    """
    if environment is None:
        environment = os.environ
    given, ignored = from_arguments(arguments)
    servers, _ = from_arguments(server_arguments)
    words, ignored_words = from_words(environment, OWN_OPTIONS)
    variables, unknown = from_environment(environment)
    postgreys, of_its_process, ignored_of_it = from_postgrey(environment)
    unknown += unknown_variables(environment)
    warnings = [f"{variable}: unknown setting, ignored" for variable in unknown]
    if has_unread_options(environment):
        warnings.append(
            "OPTIONS: not read, although it has options of postgrey's (as in RHEL 6's"
            " /etc/sysconfig/postgrey); rename it POSTGREY_OPTS"
        )
    if rest := [*ignored, *ignored_words, *ignored_of_it]:
        warnings.append(f"ignored, as postgrey does: {excerpt(' '.join(rest))}{_remedy(rest)}")
    own = {each.option for each in (*given, *servers, *words, *variables)}
    warnings += [
        f"{left.where}: ignored, because it concerns postgrey's own process"
        for left in of_its_process
        if left.option not in own
    ]
    file = _from_file([*variables, *words, *servers, *given])
    sources = (overrides, given, servers, words, variables, file, postgreys)
    return SettingSources(sources, tuple(warnings), environment)


def settings_of_server(arguments: Sequence[str], options: Iterable[tuple[str, str]]) -> Settings:
    """Return the settings of a running server, according to its record.

    Args:
        arguments: the command line, which takes precedence.
        options: the server's options and their texts (``RunRecord.options``).

    Raises:
        SettingsError: a setting is invalid.
    """
    given, _ = from_arguments(arguments)
    of_server = [RawSetting(BY_NAME[name], text, f"the server's {name}") for name, text in options]
    sources = ([each for each in given if each.option.name != "config"], of_server)
    return with_shadow(read_own_domains(merge_settings(*sources)), sources)


def with_changes(settings: Settings, changes: Sequence[RawSetting]) -> Settings:
    """Return settings with changed values, merged again with all given options.

    Raises:
        SettingsError: a changed value is invalid, or contradicts another one.
    """
    given = [RawSetting(BY_NAME[name], text, name) for name, text in settings.given]
    sources = (changes, given)
    return with_shadow(read_own_domains(merge_settings(*sources)), sources)


def _remedy(ignored: Sequence[str]) -> str:
    """Return the remedy for ignored words that begin with a variable, as in shell scripts."""
    if not ignored[0].startswith("$"):
        return ""
    return "; variables are not expanded here, so write all options on one line"


def _from_file(given: Sequence[RawSetting]) -> list[RawSetting]:
    named = [each.text for each in given if each.option.name == "config"]
    path = Path(named[-1]) if named else DEFAULT_CONFIG
    if not named and not path.exists():
        return []
    try:
        text = read_regular_file(path, MAX_CONFIG_BYTES)
    except FileError as error:
        raise SettingsError(f"{redacted_path(path)}: {error}") from None
    return from_table(_parsed(text, path), redacted_path(path))


def _parsed(content: bytes, path: Path) -> dict[str, object]:
    """Parse the TOML text of a file.

    Raises:
        SettingsError: the content is not TOML; the message is one line.
    """
    import tomllib

    try:
        text = content.decode("utf-8-sig")
        return tomllib.loads(text)
    except RecursionError:
        raise SettingsError(f"{redacted_path(path)}: tables or lists are nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        remedy = syntax_hint(message, text)
        raise SettingsError(f"{redacted_path(path)}: {excerpt(message)}{remedy}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{redacted_path(path)}: {excerpt(str(error))}") from None
    except ValueError:
        # Python limits the number of digits of an integer.
        raise SettingsError(f"{redacted_path(path)}: a number has too many digits") from None
