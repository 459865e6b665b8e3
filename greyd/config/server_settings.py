"""Finds the settings of the server on this machine, for other commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.loading import MAX_CONFIG_BYTES, merge_sources, read_sources
from greyd.config.regular_files import FileError, read_regular_file
from greyd.config.running.running_servers import is_server_command
from greyd.config.values.environment_file import parse_environment_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.loading import SettingSources
    from greyd.config.settings import Settings
    from greyd.config.sources import RawSetting


SERVICE_FILES = tuple(
    Path(folder) / program
    for program in ("postgrey", "greyd")
    for folder in ("/etc/default", "/etc/sysconfig", "/etc/conf.d")
)
"""The environment files of ``greyd.service``, by distribution; later ones take precedence."""

RC_CONF_FILES = tuple(map(Path, ("/etc/rc.conf", "/etc/rc.conf.local", "/etc/rc.conf.d/postgrey")))
"""The files with FreeBSD's ``postgrey_flags``; all service files take precedence over them."""

FIRST_PROCESS = Path("/proc/1/cmdline")


def read_server_settings(
    arguments: Sequence[str], overrides: Sequence[RawSetting] = ()
) -> Settings:
    """Load the settings of the server on this machine, for a command that works with it.

    In order of precedence: ``overrides``, ``arguments``, the options of a container's first
    process, the environment, the environment files of the systemd unit.

    Raises:
        SettingsError: a setting is invalid, or an environment file can't be read.
    """
    return merge_sources(read_server_sources(arguments, overrides))


def read_server_sources(
    arguments: Sequence[str], overrides: Sequence[RawSetting] = ()
) -> SettingSources:
    """Read all sources of ``read_server_settings``, before they are merged.

    Raises:
        SettingsError: an option is unknown, or a file can't be read.
    """
    own = {name: text for name, text in os.environ.items() if text.strip()}
    environment = {**service_environment(), **own}
    return read_sources(arguments, environment, options_of_first_process(), overrides)


def options_of_first_process() -> list[str]:
    """Return the options of a container's first process, if it is a server."""
    try:
        words = FIRST_PROCESS.read_text(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return []
    if not is_server_command(words):
        return []
    return words[words.index("serve") + 1 :]


def service_environment() -> dict[str, str]:
    """Return the variables of the service's environment files.

    Raises:
        SettingsError: a file can't be read.
    """
    environment: dict[str, str] = {}
    for file in (*RC_CONF_FILES, *SERVICE_FILES):
        environment |= variables_of_file(file)
    return environment


def variables_of_file(file: Path) -> dict[str, str]:
    """Return the variables of an environment file; none if it does not exist.

    Raises:
        SettingsError: the file can't be read.
    """
    if not file.exists():
        return {}
    try:
        text = read_regular_file(file, MAX_CONFIG_BYTES).decode("utf-8-sig")
    except FileError as error:
        raise SettingsError(
            f"{file}: {error}; it configures the server, so run this as root"
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from None
    # The shell reads these files; systemd reads the others.
    has_comments = file in RC_CONF_FILES or file.parent.name == "conf.d"
    return parse_environment_file(text, str(file), has_comments=has_comments)
