"""Stand-ins for programs that cannot run on the disposable machine.

``STAND_INS`` is the one list of exceptions: everything else that a page shows is run as it stands.
A page that needs another program that can't run there gets an entry here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHECKOUT = Path(__file__).parents[2]
FOLDER = Path("/usr/local/stand-ins")
"""The first folder in the disposable machine's PATH."""

UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))


def systemctl(words: Sequence[str]) -> int:
    """Act as systemd: read the unit with its drop-ins, check it, run its ExecStart."""
    verb, *units = [word for word in words if word != "--now"]
    for unit in units:
        if unit.endswith((".socket", ".timer")):
            verify(UNIT_FOLDERS[0] / unit)
            continue
        {
            "cat": lambda name: sys.stdout.write(Unit(name).text),
            "disable": _stop if "--now" in words else Unit,
            "edit": Unit,
            "enable": _start if "--now" in words else Unit,
            "is-active": _require_life,
            "reload": _reload,
            "restart": _restart,
            "revert": lambda name: Unit(name).forget_drop_ins(),
            "start": _start,
            "status": _require_life,
            "stop": _stop,
        }[verb](unit)
    return 0 if units or verb == "daemon-reload" else 1


def journalctl(words: Sequence[str]) -> int:
    """Print the output of the unit given by -u."""
    sys.stdout.write(_log_of(words[words.index("-u") + 1]).read_text())
    return 0


def apt(words: Sequence[str]) -> int:
    """Check that the packages exist, except one that the page has built."""
    _, *packages = [word for word in words if not word.startswith(("-", "./dist/", "python3.12"))]
    if not packages:
        return 0
    known = subprocess.run(["apt-cache", "show", *packages], capture_output=True, text=True)
    sys.stderr.write(known.stderr)
    return known.returncode


def python3(words: Sequence[str]) -> int:
    """Create a virtual environment whose pip installs the greyd of this checkout."""
    if words[:2] != ["-m", "venv"]:
        os.execv(sys.executable, [sys.executable, *words])
    folder = Path(words[-1]) / "bin"
    folder.mkdir(parents=True)
    _write_stand_in(folder / "pip", "pip")
    return 0


def pip(words: Sequence[str]) -> int:
    """Install greyd next to pip."""
    if words[0] != "install" or words[-1] not in (".", "greyd"):
        return 1
    target = Path(os.environ["STAND_IN"]).with_name("greyd")
    target.unlink(missing_ok=True)
    target.symlink_to(Path(sys.executable).with_name("greyd"))
    return 0


def docker(words: Sequence[str]) -> int:
    """Check that docker's files exist; test_image.py and test_compose.py run them.

    An import into a container is run into greyd's usual folder.
    """
    if "import" in words:
        folder = Path("/var/lib/greyd")
        folder.mkdir(exist_ok=True)
        os.execvp("greyd", ["greyd", *words[words.index("import") :], f"--dbdir={folder}"])
    files = [words[at + 1] for at, word in enumerate(words) if word in ("--file", "--filename")]
    files += [word.rpartition("=")[2] for word in words if word.startswith("--from-file")]
    known = {"run", "kill", "logs", "compose", "create", "apply", "--namespace"}
    return 0 if words[0] in known and all(Path(file).exists() for file in files) else 1


def swaks(words: Sequence[str]) -> int:
    """Send a mail; for the Postfix in a container, only check the options."""
    if "--server=127.0.0.1:2525" in words:
        words = [*words, "--dump"]
    os.execv("/usr/bin/swaks", ["swaks", *words])


def service(words: Sequence[str]) -> int:
    """Run a script of rc.d, or act as ``systemctl`` on a unit."""
    name, verb = words
    script = Path("/usr/local/etc/rc.d", name)
    if script.exists():
        return subprocess.run(["sh", script, verb]).returncode
    return systemctl([verb, name])


def absent(_words: Sequence[str]) -> int:
    """Do nothing: the program belongs to a product or system that is not there."""
    return 0


def pipx(words: Sequence[str]) -> int:
    """Check that pipx is to install a checkout."""
    return 0 if words == ["install", "."] and (Path.cwd() / "pyproject.toml").exists() else 1


def make(words: Sequence[str]) -> int:
    """Run ``make serve`` with the installed packages; check that other targets exist."""
    how = "--old-file=.venv/.installed" if words == ["serve"] else "--dry-run"
    # Which builder there is, the machine need not know to plan.
    os.execv("/usr/bin/make", ["make", how, "BUILDER=docker", *words])


class StandIn(NamedTuple):
    """A program that replaces another."""

    run: Callable[[Sequence[str]], int]
    reason: str


STAND_INS = {
    "apt": StandIn(apt, "there is no network; the packages' names are looked up"),
    "apt-get": StandIn(apt, "as apt"),
    "docker": StandIn(docker, "no container can be run there; its files are looked for"),
    "kubectl": StandIn(docker, "there is no cluster; its files are looked for"),
    "swaks": StandIn(swaks, "is run, but for a Postfix in a container"),
    "journalctl": StandIn(
        journalctl, "no journal without systemd; shows what the unit has written"
    ),
    "make": StandIn(
        make, "tests and checks run by themselves; `make serve` is run, others are planned"
    ),
    "pip": StandIn(pip, "there is no network; what is installed is this checkout"),
    "pipx": StandIn(pipx, "there is no network; tests/integration/test_installed.py runs it"),
    "python3": StandIn(python3, "as pip, for `python3 -m venv`; anything else is run"),
    "service": StandIn(service, "there is neither FreeBSD nor an init script; units are run"),
    "systemctl": StandIn(
        systemctl, "systemd is not running; units are checked and their programs run"
    ),
}

STAND_INS |= {
    name: StandIn(absent, reason)
    for name, reason in {
        "add-apt-repository": "there is no network",
        "ausearch": "SELinux's audit log is not there",
        "dnf": "a program of Fedora and RHEL",
        "pkg": "a program of FreeBSD",
        "plesk": "a program of Plesk",
        "rspamadm": "rspamd is not there",
        "sysrc": "a program of FreeBSD",
    }.items()
}
STAND_INS |= {
    name: StandIn(python3, "as python3, whatever version it is")
    for name in ("python3.11", "python3.12")
}


# Units ------------------------------------------------------------------------------------------


class Unit:
    """A service's file with its drop-ins."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service")
        main = [folder / f"{self.name}.service" for folder in UNIT_FOLDERS]
        found = [path for path in main if path.exists()]
        if not found:
            sys.exit(f"systemctl: no unit {name}")
        self._drop_ins = sorted((UNIT_FOLDERS[0] / f"{self.name}.service.d").glob("*.conf"))
        self.text = "\n".join(path.read_text() for path in [found[0], *self._drop_ins])
        verify(found[0])

    def forget_drop_ins(self) -> None:
        """Remove the drop-ins."""
        for path in self._drop_ins:
            path.unlink()

    def values(self, key: str) -> list[str]:
        """Return the values of a key; an empty value clears the earlier ones."""
        values: list[str] = []
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith(f"{key}="):
                value = line.partition("=")[2].strip()
                values = [*values, value] if value else []
        return values

    def environment(self) -> dict[str, str]:
        """Return the variables that the unit sets and reads."""
        texts = [word for value in self.values("Environment") for word in shlex.split(value)]
        for file in self.values("EnvironmentFile"):
            with contextlib.suppress(FileNotFoundError):
                lines = Path(file.removeprefix("-")).read_text().splitlines()
                texts += [
                    "".join(shlex.split(line)) for line in lines if re.match(r"\s*[A-Z_]+=", line)
                ]
        return dict(text.replace("%S", "/var/lib").split("=", 1) for text in texts)

    def command(self) -> list[str]:
        """Return the words of ExecStart as systemd splits them."""
        (line,) = self.values("ExecStart")
        variables = self.environment()
        words: list[str] = []
        for word in shlex.split(line):
            if re.fullmatch(r"\$[A-Z_]+", word):
                words += variables.get(word[1:], "").split()
            else:
                words.append(re.sub(r"\$\{(\w+)\}", lambda it: variables.get(it[1], ""), word))
        return words


def verify(path: Path) -> None:
    """Check a unit's file with systemd; exits if systemd reports a problem."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)


def _log_of(unit: str) -> Path:
    return Path(f"/var/log/{unit.removesuffix('.service')}.log")


def _pid_of(unit: Unit) -> int | None:
    # An init script of the page may have started it.
    for file in (f"/run/{unit.name}.stand-in", f"/run/{unit.name}.pid"):
        with contextlib.suppress(FileNotFoundError):
            pid = int(Path(file).read_text())
            if Path(f"/proc/{pid}").exists():
                return pid
    return None


def _require_life(name: str) -> None:
    pid = None if name == "postfix" else _pid_of(Unit(name))
    alive = _postfix("status") if name == "postfix" else pid is not None
    sys.stdout.write("active\n" if alive else "inactive\n")
    if not alive:
        sys.exit(3)


def _postfix(verb: str) -> bool:
    return subprocess.run(["postfix", verb], capture_output=True).returncode == 0


def _start(name: str) -> None:
    if name == "postfix":
        _postfix("start")
        return
    unit = Unit(name)
    if _pid_of(unit):
        return
    if name == "redis-server":
        _start_redis(unit)
        return
    log = _log_of(name)
    user = next(iter(unit.values("User")), None)
    for folder in unit.values("StateDirectory"):
        Path("/var/lib", folder).mkdir(exist_ok=True)
        shutil.chown(Path("/var/lib", folder), user)
    with log.open("ab") as output:
        started = subprocess.Popen(
            # greyd changes the user itself: a developer's Python is often readable by root alone.
            [*unit.command(), *([f"--user={user}"] if user else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **unit.environment()},
            start_new_session=True,
        )
    Path(f"/run/{unit.name}.stand-in").write_text(str(started.pid))
    deadline = time.monotonic() + 15
    while b"listens on" not in log.read_bytes():
        # postgrey, which some pages go back to, says so in other words.
        if b"Binding to TCP port" in log.read_bytes():
            return
        if started.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"systemctl: {name} did not start:\n{log.read_text()}")
        time.sleep(0.05)


def _start_redis(unit: Unit) -> None:
    started = subprocess.Popen(
        unit.command(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
        start_new_session=True,
    )
    Path(f"/run/{unit.name}.stand-in").write_text(str(started.pid))
    deadline = time.monotonic() + 15
    while subprocess.run(["redis-cli", "ping"], capture_output=True).stdout != b"PONG\n":
        if started.poll() is not None or time.monotonic() > deadline:
            sys.exit("systemctl: redis-server did not start; see /var/log/redis")
        time.sleep(0.05)


def install_greyd() -> None:
    """Install greyd as its package does: unit, user, program."""
    subprocess.run(["useradd", "--system", "--no-create-home", "greyd"], check=True)
    shutil.copy(CHECKOUT / "packaging/systemd/greyd.service", UNIT_FOLDERS[0])
    Path("/usr/local/bin/greyd").unlink(missing_ok=True)
    Path("/usr/local/bin/greyd").symlink_to(Path(sys.executable).with_name("greyd"))


def _stop(name: str) -> None:
    if name == "postfix":
        _postfix("stop")
    elif pid := _pid_of(Unit(name)):
        while Path(f"/proc/{pid}").exists():
            # postgrey sleeps through one that comes just after a request.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.1)
        _log_of(name).unlink(missing_ok=True)


def _reload(name: str) -> None:
    if name == "postfix":
        _postfix("reload")
        return
    unit = Unit(name)
    pid = _pid_of(unit)
    if pid is None or not any("-HUP" in each for each in unit.values("ExecReload")):
        sys.exit(f"systemctl: {name} does not run, or can't be reloaded")
    os.kill(pid, signal.SIGHUP)


def _restart(name: str) -> None:
    _stop(name)
    _start(name)


# Where they are ---------------------------------------------------------------------------------


def install() -> None:
    """Write the stand-ins' programs."""
    FOLDER.mkdir()
    for name in STAND_INS:
        if name != "pip":
            _write_stand_in(FOLDER / name, name)


def _write_stand_in(path: Path, name: str) -> None:
    path.write_text(
        f'#!/bin/sh\nSTAND_IN="$0" PYTHONPATH={CHECKOUT} exec {sys.executable}'
        f' -m tests.pages.stand_ins {name} "$@"\n'
    )
    path.chmod(0o755)


if __name__ == "__main__":
    sys.exit(STAND_INS[sys.argv[1]].run(sys.argv[2:]))
