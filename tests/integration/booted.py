"""A machine that boots: this one's files under an overlay, with a systemd of its own.

``systemd-nspawn`` starts it. Units run there as they do on a real machine, with all that they
forbid, and nothing that happens there stays. Before it boots, programs can be run in it that need
the network (pip); once it has booted, its network is its own, and all ports are free.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import CHECKOUT, only_as_root
from tests.processes import SYSTEM_PATH, program, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = f"""\
#!/usr/bin/python3 -I
import sys
sys.path[:0] = ["{CHECKOUT}", "{sysconfig.get_path("purelib")}"]
from greyd.cli.main import main
main()
"""
"""greyd of this checkout, with a Python that services may read."""

UP = ("running", "degraded")
SECONDS = 300


class Machine:
    """A root folder, and the systemd in it once it has booted."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root = root
        self._log = log
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def prepare(self, script: str) -> str:
        """Run a script before it boots, with this machine's network; returns what it writes."""
        pip = [f"--setenv={name}={value}" for name, value in os.environ.items() if "PIP_" in name]
        command = [*self._command(), "--pipe", *pip, "--setenv=HOME=/root", f"--chdir={CHECKOUT}"]
        return _run([*command, "bash", "-euo", "pipefail", "-c", script])

    def boot(self) -> None:
        """Boot it, and wait until it is up."""
        options = ["--boot", "--console=pipe", "--link-journal=no", "--private-network"]
        with self._log.open("wb") as output:
            self._nspawn = subprocess.Popen(
                [*self._command(), *options, "systemd.unit=multi-user.target"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": SYSTEM_PATH},
            )
        wait_until(self._is_up, "its start", 60)

    def run(self, script: str) -> str:
        """Run a script as root in the machine that has booted; returns what it writes."""
        enter = [program("nsenter"), f"--target={self._init}", "--mount", "--uts", "--ipc", "--net"]
        enter += ["--pid", "--cgroup", "--"]
        return _run([*enter, "bash", "-euo", "pipefail", "-c", f"cd {CHECKOUT}; {script}"])

    def ask(self, sender: str = "alice@example.com") -> str:
        """Ask the greyd of the machine what Postfix would; returns its action."""
        request = (
            "request=smtpd_access_policy\\nclient_address=192.0.2.7\\n"
            f"client_name=mail.example.com\\nsender={sender}\\nrecipient=bob@example.org\\n\\n"
        )
        return self.run(f"printf '{request}' | nc -q1 127.0.0.1 10023").strip()

    def stop(self) -> None:
        """Switch it off."""
        if self._nspawn is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init or self._nspawn.pid, signal.SIGKILL)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(20)

    def _command(self) -> list[str]:
        name = f"greyd-{uuid.uuid4().hex[:12]}"
        return [
            program("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit",
            f"--machine={name}", f"--directory={self.root}",
        ]  # fmt: skip

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            pytest.fail(f"systemd-nspawn ended:\n{self._log.read_text(errors='replace')}")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text()
        if not children.split():
            return False
        self._init = int(children.split()[0])
        with contextlib.suppress(AssertionError):
            return self.run("systemctl is-system-running || true").strip() in UP
        return False


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """Yield a machine that has not booted yet; no service is enabled on it but what a test does."""
    only_as_root()
    for name in ("systemd-nspawn", "nsenter", "nc"):
        program(name)
    folder = Path(tempfile.mkdtemp(prefix="greyd-machine-"))
    folder.chmod(0o755)
    made = Machine(folder / "root", folder / "log")
    try:
        _run(["mount", "-t", "tmpfs", "greyd-machine", str(folder)])
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
        _run(["mount", "-t", "overlay", "overlay", str(made.root), "-o", layers])
        for wants in (made.root / "etc/systemd/system").glob("*.wants"):
            shutil.rmtree(wants)
        # Its own; without one systemd would enable all services, as at a first start.
        (made.root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        yield made
    finally:
        made.stop()
        deadline = time.monotonic() + 20
        for mounted in (made.root, folder):
            # Its processes are gone a moment after its systemd.
            while subprocess.run(["umount", mounted], capture_output=True).returncode:
                if not mounted.is_mount() or time.monotonic() > deadline:
                    break
                time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def machine_with_greyd() -> Iterator[Machine]:
    """Make a machine with this checkout's greyd; it needs the system's Python to be the tests'."""
    asked = ["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])"]
    versions = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if versions != [str(number) for number in sys.version_info[:2]]:
        unavailable("/usr/bin/python3 is another version than the tests' Python")
    with machine() as made:
        path = made.root / "usr/local/bin/greyd"
        path.unlink(missing_ok=True)
        path.write_text(PROGRAM)
        path.chmod(0o755)
        yield made
