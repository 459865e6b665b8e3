"""Finds the settings of the server on this machine, for other commands."""

from __future__ import annotations

import os
import re
import shlex
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.loading import MAX_CONFIG_BYTES, read_settings
from greyd.config.regular_files import FileError, read_regular_file
from greyd.config.running.running_servers import is_server_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

_VARIABLE = re.compile(
    r"\s*(?:export\s+)?((?:GREYD|POSTGREY)_[A-Z0-9_]+|postgrey_[a-z]+)\s*=(.*)", re.DOTALL
)
MAX_LINES_OF_VALUE = 100
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
    own = {name: text for name, text in os.environ.items() if text.strip()}
    environment = {**_service_environment(), **own}
    return read_settings(arguments, environment, _options_of_first_process(), overrides)


def _options_of_first_process() -> list[str]:
    try:
        words = FIRST_PROCESS.read_text(errors="surrogateescape").split("\0")[:-1]
    except OSError:
        return []
    if not is_server_command(words):
        return []
    return words[words.index("serve") + 1 :]


def _service_environment() -> dict[str, str]:
    environment: dict[str, str] = {}
    for file in (*RC_CONF_FILES, *SERVICE_FILES):
        if not file.exists():
            continue
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
        for line in _logical_lines(text):
            if assigned := _VARIABLE.match(line):
                where = f"{file}: {assigned[1]}"
                environment[assigned[1]] = _unquoted(assigned[2], where, comments=has_comments)
    return environment


def _logical_lines(text: str) -> Iterator[str]:
    """Yield the assignments of an environment file, each joined from its lines.

    A line that ends with a backslash, or within quotation marks, continues on the next one; a
    comment does not.
    """
    lines = deque(text.replace("\r\n", "\n").split("\n"))
    while lines:
        line = lines.popleft()
        if line.lstrip().startswith(("#", ";")):
            continue
        while lines and line.endswith("\\"):
            line = line[:-1] + lines.popleft()
        if _is_open(line):
            line = _with_rest_of_value(line, lines)
        yield line


def _is_open(line: str) -> bool:
    """Whether a variable's value begins with a quotation mark that is not closed."""
    assigned = _VARIABLE.match(line)
    if assigned is None or assigned[2].lstrip()[:1] not in ("'", '"'):
        return False
    try:
        shlex.split(assigned[2])
    except ValueError:
        return True
    return False


def _with_rest_of_value(line: str, lines: deque[str]) -> str:
    """Return a line with those up to its value's end, which are removed from ``lines``.

    If the value has no end, all lines stay where they are.
    """
    whole = line
    for count, following in enumerate(islice(lines, MAX_LINES_OF_VALUE), 1):
        whole = f"{whole}\n{following}".replace("\\\n", "")
        if not _is_open(whole):
            for _ in range(count):
                lines.popleft()
            return whole
    return line


def _unquoted(text: str, where: str, *, comments: bool) -> str:
    """Unquote a value as systemd does for ``EnvironmentFile=`` (systemd.exec(5)), or as a shell."""
    if not comments and text.strip()[:1] not in ("'", '"'):
        return text.strip()
    try:
        return " ".join(shlex.split(text, comments=comments))
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
