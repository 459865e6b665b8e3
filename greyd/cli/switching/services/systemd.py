"""Services of systemd."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import time
from pathlib import Path

from greyd.cli.switching.services.interface import ServiceError, ServiceState, run_command
from greyd.escaping import printable

_RUNNING = Path("/run/systemd/system")
"""Exists if systemd is the first process (sd_booted(3))."""

_ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "alias")
MAX_LOG_LINES = 3
MAX_LOG_CHARACTERS = 300


class SystemdServices:
    """Starts and stops services with systemctl."""

    name = "systemd"
    log_command = "journalctl -u greyd -f"

    @staticmethod
    def is_running() -> bool:
        """Whether systemd runs this machine."""
        return _RUNNING.is_dir()

    def state(self, service: str) -> ServiceState:
        """Return the state of a unit."""
        properties = self.properties(service)
        return ServiceState(
            exists=properties.get("LoadState") == "loaded",
            is_running=properties.get("ActiveState") in ("active", "activating", "reloading"),
            is_enabled=_is_enabled(service, properties.get("UnitFileState", "")),
        )

    def start(self, *services: str) -> None:
        """Start units; the error has the last lines of their log."""
        started_at = int(time.time())
        try:
            run_command("systemctl", "start", *services)
        except ServiceError as error:
            raise ServiceError(f"{error}{_last_log_lines(services[-1], started_at)}") from None

    def stop(self, *services: str) -> None:
        """Stop units, and forget that they failed."""
        run_command("systemctl", "stop", *services)
        with contextlib.suppress(ServiceError):
            run_command("systemctl", "reset-failed", *services)

    def enable(self, *services: str) -> None:
        """Start units at boot."""
        run_command("systemctl", "enable", *services)

    def disable(self, *services: str) -> None:
        """Don't start units at boot."""
        run_command("systemctl", "disable", *services)

    def reload_definitions(self) -> None:
        """Read the changed unit files."""
        run_command("systemctl", "daemon-reload")

    def command(self, verb: str, *services: str) -> str:
        """Return the shell command of a change."""
        return f"systemctl {verb} {' '.join(services)}"

    def properties(self, service: str) -> dict[str, str]:
        """Return the properties of a unit; one that does not exist has a LoadState, too."""
        names = "LoadState,ActiveState,UnitFileState,MainPID,Environment,EnvironmentFiles"
        lines = run_command("systemctl", "show", service, f"--property={names}").splitlines()
        found: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition("=")
            # A unit has one EnvironmentFiles= for each file.
            found[name] = f"{found[name]}\n{value}" if name in found else value
        return found

    def start_command(self, service: str) -> list[str]:
        """Return the words of ``ExecStart=``, with variables as they are written.

        ``systemctl show`` loses the quotation marks, so this reads the files.

        Raises:
            ServiceError: there is none, or it can't be split into words.
        """
        text = run_command("systemctl", "cat", service).replace("\\\n", " ")
        found = [line.strip() for line in re.findall(r"^\s*ExecStart=(.*)$", text, re.MULTILINE)]
        if not found or not found[-1]:
            raise ServiceError(f"{service}: its unit has no ExecStart=")
        try:
            words = shlex.split(found[-1].lstrip("-@:+!"))
        except ValueError as error:
            raise ServiceError(f"{service}: ExecStart=: {error}") from None
        return [_without_specifiers(word) for word in words]


def _is_enabled(service: str, state: str) -> bool:
    if state != "generated":
        return state in _ENABLED
    # For an init script, only this command looks at its links.
    with contextlib.suppress(ServiceError):
        return run_command("systemctl", "is-enabled", service).strip() in _ENABLED
    return False


def _without_specifiers(word: str) -> str:
    """Replace the specifiers of systemd.unit(5) for the host name and for ``%`` itself."""
    return re.sub(r"%([H%])", lambda it: "%" if it[1] == "%" else socket.gethostname(), word)


def _last_log_lines(service: str, since: int) -> str:
    with contextlib.suppress(ServiceError):
        shown = run_command(
            "journalctl", "--quiet", "--no-pager", "--output=cat", "--unit", service,
            f"--lines={MAX_LOG_LINES}", f"--since=@{since}", "--identifier=greyd",
        )  # fmt: skip
        lines = [printable(line.encode())[:MAX_LOG_CHARACTERS] for line in shown.splitlines()]
        return f"; its log: {' | '.join(lines)}" if lines else ""
    return ""
