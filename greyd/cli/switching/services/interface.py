"""The interface to the program that starts and stops services on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greyd.cli.errors import CommandError
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

TIMEOUT_SECONDS = 120.0
"""The time limit for one start or stop. systemd and init scripts give up earlier."""

MAX_OUTPUT_BYTES = 1024 * 1024
MAX_MESSAGE_BYTES = 400
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ServiceError(CommandError):
    """A service can't be started, stopped, enabled or disabled."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state of a service."""

    exists: bool
    is_running: bool = False
    is_enabled: bool = False
    """Whether it starts at boot."""


class ServiceManager(Protocol):
    """Starts and stops services. The methods raise ServiceError."""

    name: str
    """What to call it in messages."""
    log_command: str
    """The shell command that shows greyd's log."""

    def state(self, service: str) -> ServiceState:
        """Return the state of a service."""

    def start(self, *services: str) -> None:
        """Start services, and wait until they run."""

    def stop(self, *services: str) -> None:
        """Stop services, and wait until their processes have ended."""

    def enable(self, *services: str) -> None:
        """Start services at boot."""

    def disable(self, *services: str) -> None:
        """Don't start services at boot."""

    def reload_definitions(self) -> None:
        """Read the changed definitions of services."""

    def command(self, verb: str, *services: str) -> str:
        """Return the shell command of ``start``, ``stop``, ``enable`` or ``disable``."""


def run_command(*words: str, seconds: float = TIMEOUT_SECONDS) -> str:
    """Run a program, and return its output.

    A Ctrl-C in the terminal does not interrupt the program: a service would be left half started.

    Raises:
        ServiceError: it fails, is missing, or takes longer than ``seconds``.
    """
    name = " ".join(words)
    # Not pipes: a daemon that keeps them open would keep this function waiting.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        status = _run(words, output, errors, seconds)
        if status:
            reason = _first_line(errors) or _first_line(output) or f"exit status {status}"
            raise ServiceError(f"{name}: {reason}")
        output.seek(0)
        return output.read(MAX_OUTPUT_BYTES).decode(errors="replace")


def _run(words: Sequence[str], output: IO[bytes], errors: IO[bytes], seconds: float) -> int:
    name = " ".join(words)
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no argument from a stranger
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            timeout=seconds,
            start_new_session=True,
            preexec_fn=_with_default_signals,
            env={"PATH": SYSTEM_PATH, "LC_ALL": "C"},
        ).returncode
    except subprocess.TimeoutExpired:
        raise ServiceError(f"{name}: not done after {seconds:g} s") from None
    except OSError as error:
        raise ServiceError(f"{name}: {error.strerror}") from None


def _with_default_signals() -> None:
    """Give a service that an init script starts the usual signals and umask."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)


def _first_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = [line.strip() for line in file.read(MAX_OUTPUT_BYTES).splitlines() if line.strip()]
    return printable(lines[0][:MAX_MESSAGE_BYTES]) if lines else ""
