"""Where the settings are read from: command line, environment, files; and the secrets they name."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError, SetupError
from greyd.config.options import OWN_OPTIONS
from greyd.config.regular_files import FileError, read_regular_file
from greyd.config.settings import settle
from greyd.config.sources import (
    from_arguments,
    from_environment,
    from_postgrey,
    from_table,
    from_words,
)
from greyd.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.config.sources import Given

MAX_CONFIG_BYTES = 2**20
MAX_SECRET_BYTES = 64 * 1024

DEFAULT_CONFIG = Path("/etc/greyd/greyd.toml")

SERVICE_FILES = (Path("/etc/default/postgrey"), Path("/etc/default/greyd"))
"""What ``greyd.service`` takes its environment from; the last counts most."""

SERVICE_FOLDER = Path("/var/lib/greyd")
"""The folder of its store."""

FIRST_PROCESS = Path("/proc/1/cmdline")


def read_settings(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    of_server: Sequence[str] = (),
    instead: Sequence[Given] = (),
) -> Settings:
    """Read all settings: command line, environment, file, what was meant for postgrey, defaults.

    Args:
        arguments: the command line, without the program's and the command's name.
        environment: the process's own, unless another one is given.
        of_server: another process's command line, which counts just less.
        instead: values that count more than all of it.

    Raises:
        SettingsError: one of them is wrong.
    """
    if environment is None:
        environment = os.environ
    given, ignored = from_arguments(arguments)
    servers, _ = from_arguments(of_server)
    words, ignored_words = from_words(environment, OWN_OPTIONS)
    variables, unknown = from_environment(environment)
    postgreys, of_its_process, ignored_of_it = from_postgrey(environment)
    warnings = [f"{variable}: no such setting, ignored" for variable in unknown]
    if rest := [*ignored, *ignored_words, *ignored_of_it]:
        warnings.append(f"ignored, as postgrey does: {shown(' '.join(rest))}")
    own = {each.option for each in (*given, *servers, *words, *variables)}
    warnings += [
        f"{left.where}: that is for postgrey's own process; not taken over"
        for left in of_its_process
        if left.option not in own
    ]
    file = _from_file([*variables, *words, *servers, *given])
    return settle(instead, given, servers, words, variables, file, postgreys, warnings=warnings)


def _from_file(given: Sequence[Given]) -> list[Given]:
    named = [each.text for each in given if each.option.name == "config"]
    path = Path(named[-1]) if named else DEFAULT_CONFIG
    if not named and not path.exists():
        return []
    try:
        text = read_regular_file(path, MAX_CONFIG_BYTES)
    except FileError as error:
        raise SettingsError(f"{path_shown(path)}: {error}") from None
    return from_table(_parsed(text, path), path_shown(path))


def _parsed(content: bytes, path: Path) -> dict[str, object]:
    """Read TOML.

    Raises:
        SettingsError: it is none; the text is one line.
    """
    import tomllib

    try:
        return tomllib.loads(content.decode())
    except RecursionError:
        raise SettingsError(f"{path_shown(path)}: tables or lists are nested too deep") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path_shown(path)}: {shown(str(error))}") from None
    except ValueError:
        # The standard library's own limit, of the digits of a number.
        raise SettingsError(f"{path_shown(path)}: a number has too many digits") from None


def path_shown(path: Path) -> str:
    """Return a path as it can stand in a message."""
    return "".join(each if each.isprintable() else "?" for each in str(path))


# The server's settings, as another process can know them ------------------------------------------


def read_settings_of_server(arguments: Sequence[str], instead: Sequence[Given] = ()) -> Settings:
    """Read the settings of the server that runs here, for a command that looks after it.

    Its unit's environment files count where the environment says nothing; in a container, so do
    the options of the first process. ``arguments`` count more than all of it,
    and ``instead`` counts most.

    Raises:
        SettingsError: one of them is wrong, or a file of the unit may not be read.
    """
    environment = {**_service_environment(), **os.environ}
    return read_settings(arguments, environment, _options_of_first_process(), instead)


def _options_of_first_process() -> list[str]:
    try:
        words = FIRST_PROCESS.read_text(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return []
    program = [Path(word).name for word in words[:3]]
    if "greyd" not in program or "serve" not in words:
        return []
    return words[words.index("serve") + 1 :]


def _service_environment() -> dict[str, str]:
    environment: dict[str, str] = {}
    for file in SERVICE_FILES:
        if not file.exists():
            continue
        try:
            text = read_regular_file(file, MAX_CONFIG_BYTES).decode()
            lines = text.replace("\\\n", "").splitlines()
        except (FileError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{file}: {error}; the server is set up there, so run this as root"
            ) from None
        for line in lines:
            if assigned := re.match(r"\s*((?:GREYD|POSTGREY)_[A-Z_]+)\s*=(.*)", line):
                environment[assigned[1]] = _unquoted(assigned[2], f"{file}: {assigned[1]}")
    return environment


def _unquoted(text: str, where: str) -> str:
    """Return a value as systemd reads it from a file (systemd.exec(5), EnvironmentFile=)."""
    try:
        return " ".join(shlex.split(text)) if text.strip()[:1] in ("'", '"') else text.strip()
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def default_folder() -> Path:
    """Return the folder of the SQLite store where ``--dbdir`` names none."""
    if os.geteuid() == 0 or _is_mine(SERVICE_FOLDER):
        return SERVICE_FOLDER
    return state_home() / "greyd"


def state_home() -> Path:
    """Return the folder in which this user's programs keep what they remember (XDG).

    Raises:
        SettingsError: the user has no home: neither HOME nor an entry among the users, as the
            arbitrary users of some container platforms.
    """
    if given := os.environ.get("XDG_STATE_HOME"):
        return Path(given)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        raise SettingsError(
            f"user {os.geteuid()} has no home folder; name a folder for the store by --dbdir"
        ) from None


def _is_mine(folder: Path) -> bool:
    """Whether a folder belongs to this user, who is then the service's."""
    try:
        return "XDG_STATE_HOME" not in os.environ and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


# Secrets ------------------------------------------------------------------------------------------


def read_secrets(settings: Settings) -> Settings:
    """Return the settings with what stands in the files that hold secrets.

    Raises:
        SetupError: a file can't be read, or holds no secret.
    """
    return replace(
        settings,
        privacy_key=_read_privacy_key(settings.privacy_key_file),
        store_password=_read_password(settings.store_password_file, "--store-password-file"),
        sentinel_password=_read_password(
            settings.sentinel_password_file, "--sentinel-password-file"
        ),
    )


def _read_privacy_key(file: Path | None) -> bytes | None:
    if file is None:
        return None
    secret = _read_secret(file, "--privacy-key")
    if len(secret) < 16:
        raise SetupError(
            f"--privacy-key={file}: less than 16 octets; openssl rand -hex 32 makes one"
        )
    return secret


def _read_password(file: Path | None, option: str) -> str | None:
    if file is None:
        return None
    try:
        password = _read_secret(file, option).decode()
    except UnicodeDecodeError:
        raise SetupError(f"{option}={file}: no text (UTF-8)") from None
    if not password.isprintable() or not password:
        raise SetupError(f"{option}={file}: write the password alone, on one line")
    return password


def _read_secret(file: Path, option: str) -> bytes:
    try:
        return read_regular_file(file, MAX_SECRET_BYTES).strip()
    except FileError as error:
        raise SetupError(f"{option}={file}: {error}") from None
