"""``python -m tests.fresh``: the README's two commands on a minimal Debian.

debootstrap makes the machine: the smallest one, with the packages that the README names, and a
user. In a clean clone of what is committed here, ``make serve`` answers a request and ``make test``
passes. From outside come only pip's configuration and what that names; after the installation
there is no network but the machine's own loopback.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.containers import mirror_of_debian
from tests.processes import SYSTEM_PATH, program

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parent.parent

PACKAGES = "python3,python3-venv,make,git"
"""The packages that the README requires."""

USER = "alice"
UID = 1000
DEBIANS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ANSWER_SECONDS = 60


def run(*command: str | Path, seconds: float = 600, **variables: str) -> None:
    """Run a command; exits if it fails."""
    print("+", shlex.join(map(str, command[:12])), flush=True)  # noqa: T201 - says what it does
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=seconds,
        env={**os.environ, "PATH": SYSTEM_PATH, **variables},
    )


# The machine --------------------------------------------------------------------------------------


@contextlib.contextmanager
def machine(suite: str | None) -> Iterator[Path]:
    """Yield the folder of a fresh Debian."""
    mirror, here = mirror_of_debian()
    # A folder that other users may enter.
    with tempfile.TemporaryDirectory(prefix="greyd-fresh-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        root = Path(folder) / "root"
        # Waiting for the disk at each file is most of the time that dpkg takes.
        run(program("debootstrap"), "--variant=minbase", f"--include={PACKAGES}",
            suite or here, root, mirror, DPKG_FORCE="unsafe-io")  # fmt: skip
        yield root


def pip_configuration() -> tuple[str, dict[str, str]]:
    """Return this machine's pip configuration, as a file and as variables."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    sections: dict[str, dict[str, str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section != ":env:":
            sections.setdefault(section, {})[key] = ast.literal_eval(value)
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        # A value of several lines goes on where a line is indented.
        lines += [f"{key} = {value.replace(chr(10), chr(10) + '    ')}"
                  for key, value in values.items()]  # fmt: skip
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_CERT_")) or name.lower().endswith("_proxy")
    }
    return "\n".join(lines) + "\n", variables


def named_in(text: str) -> set[Path]:
    """Return the files and folders of this machine that a pip configuration names."""
    # An index in a folder names files beside that folder.
    indexes = {Path(found).parent for found in re.findall(r"file://(/[^\s,]+)", text)}
    others = {Path(found) for found in re.findall(r"(?<![:\w/])/[^\s,:]+", text)}
    return {path for path in indexes | others if path.exists()}


class Fresh:
    """The machine, which runs commands as an ordinary user or as root."""

    def __init__(self, root: Path, user: str) -> None:
        self._root = root
        self._user = user
        home = "/root" if user == "root" else f"/home/{user}"
        self._checkout = f"{home}/greyd"
        file, self._variables = pip_configuration()
        (root / "etc" / "pip.conf").write_text(file)
        self._lent = named_in("\n".join([file, *self._variables.values()]))
        self._variables |= {"HOME": home, "LC_ALL": "C.UTF-8"}
        if user != "root":
            run("chroot", root, "useradd", "--create-home", f"--uid={UID}", user)
        run("git", "clone", "--quiet", "--no-hardlinks", CHECKOUT, f"{root}{self._checkout}")
        run("chroot", root, "chown", "--recursive", f"{user}:{user}", self._checkout)

    def run(self, script: str, *, network: bool = False, seconds: float = 3600) -> None:
        """Run a shell script in the clone."""
        root = shlex.quote(str(self._root))
        mounts = [
            "mount --make-rprivate /",
            f"mount --rbind /dev {root}/dev",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs run {root}/run",
        ]
        for path in sorted(self._lent):
            inside = shlex.quote(f"{self._root}{path}")
            folder = inside if path.is_dir() else shlex.quote(f"{self._root}{path.parent}")
            mounts.append(f"mkdir -p {folder}; [ -e {inside} ] || touch {inside}")
            mounts.append(f"mount -o bind,ro {shlex.quote(str(path))} {inside}")
        mounts.append(f"cp /etc/resolv.conf {root}/etc/" if network else "ip link set lo up")
        as_user = "" if self._user == "root" else (
            f"setpriv --reuid={UID} --regid={UID} --init-groups "
        )  # fmt: skip
        inside = shlex.join(["sh", "-ec", f"cd {self._checkout}; {script}"])
        entered = f"PATH={DEBIANS_PATH} chroot {root} {as_user}{inside}"
        # A shell fetches the children that nobody else does, as a first process has to.
        todo = "\n".join(["set -e", *mounts, f"{entered}; exit $?"])
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        isolated += [] if network else ["--net"]
        print(f"+ {self._user}: {script}", flush=True)  # noqa: T201 - says what it does
        started = time.monotonic()
        status = subprocess.run(
            [*isolated, "bash", "-c", todo],
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            env={**self._variables, "PATH": SYSTEM_PATH},
        ).returncode
        if status:
            sys.exit(f"on the fresh machine this failed with status {status}: {script}")
        print(f"  {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201 - says what it does


# What is tried ------------------------------------------------------------------------------------

SERVE = f"""\
make serve >/tmp/serve.log 2>&1 &
for turn in $(seq {ANSWER_SECONDS}); do
    .venv/bin/greyd ask >/tmp/ask.log 2>&1 && break
    sleep 1
done
cat /tmp/serve.log /tmp/ask.log
grep -q Greylisted /tmp/ask.log
"""
"""The server ends with the machine's first process."""


def main() -> None:
    """Create the machine and run the commands."""
    parser = argparse.ArgumentParser(prog="python -m tests.fresh", description=__doc__)
    parser.add_argument("--user", default=USER, choices=[USER, "root"])
    parser.add_argument("--target", default="test", help="what make is to make after serve")
    parser.add_argument("--hosts", action="store_true", help="with /etc/hosts")
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--suite", help="Debian's code name; this machine's unless given")
    options = parser.parse_args()
    if options.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with machine(options.suite) as root:
        hosts = root / "etc" / "hosts"
        hosts.unlink(missing_ok=True)
        if options.hosts:
            hosts.write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
        fresh = Fresh(root, options.user)
        fresh.run("make .venv/.installed", network=True)
        fresh.run(SERVE)
        fresh.run("make .venv/.installed-dev", network=True)
        fresh.run(f"make {options.target}")


if __name__ == "__main__":
    main()
