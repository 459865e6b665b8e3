"""Containers for the tests: podman with a store of its own, a base image made of Debian, greyd's.

Everything is in one folder, networks too, and goes with it: nothing of the machine's own images and
containers is seen or touched. ``runc`` runs them, since it takes cgroups of either kind.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import CHECKOUT
from tests.processes import SYSTEM_PATH, free_port, program, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BASE = "localhost/base"
POSTFIX = "localhost/greyd-postfix:0.2.0"

CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""

STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""

NETWORK = "greyd-test"
"""Not podman's default one: another podman of this machine may have that."""

CAREFUL = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
           "--security-opt=no-new-privileges")  # fmt: skip
"""How the tests run greyd's image: with nothing that it should not need."""


class Podman:
    """podman, with images, containers and networks in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        overlay = "overlay" in Path("/proc/filesystems").read_text()
        driver = "overlay" if overlay else "vfs"
        conf = folder / "containers.conf"
        conf.write_text(CONTAINERS.format(folder=folder))
        storage = folder / "storage.conf"
        storage.write_text(STORAGE.format(folder=folder, driver=driver))
        self.environment = {
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "TMPDIR": str(folder),
            # Building needs no more of a container than another root folder.
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_FORMAT": "docker",
        }

    def __call__(self, *words: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run ``podman words``; a status other than expected fails the test."""
        return self.run([program("podman"), *words], status)

    def run(
        self, command: list[str], status: int | None = 0, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that uses podman."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            timeout=300,
            env={**os.environ, "PATH": SYSTEM_PATH, **self.environment, **(more or {})},
        )
        if status is not None and done.returncode != status:
            pytest.fail(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def inspect(self, name: str, template: str) -> str:
        """Return what podman knows of a container or an image."""
        return self("inspect", "--format", template, name).stdout.strip()

    @contextlib.contextmanager
    def files_of(self, image: str) -> Iterator[Path]:
        """Yield the folder with an image's files."""
        yield Path(self("image", "mount", image).stdout.strip())
        self("image", "unmount", image)

    def build(self, image: str, folder: Path, dockerfile: str | None = None) -> None:
        """Build an image of a folder on the base image."""
        written = dockerfile or (folder / "Dockerfile").read_text()
        with tempfile.NamedTemporaryFile("w", dir=self._folder) as file:
            file.write(written)
            file.flush()
            self("build", *ON_THE_BASE, f"--file={file.name}", f"--tag={image}", str(folder))

    def give_all_back(self) -> None:
        """Take away all that was made here."""
        self("rm", "--all", "--force", "--time=0", "--volumes", status=None)
        self("system", "reset", "--force", status=None)

    @contextlib.contextmanager
    def greyd(self, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
        """Run greyd's image, with its two ports published on loopback."""
        policy, metrics = free_port(), free_port()
        name = f"greyd-test-{uuid.uuid4().hex[:12]}"
        # On the host's network there is nothing to publish.
        network = [] if "--network=host" in options else [
            f"--network={NETWORK}",
            f"--publish=127.0.0.1:{policy}:10023", f"--publish=127.0.0.1:{metrics}:9923",
        ]  # fmt: skip
        try:
            self(
                "run", "--detach", "--pull=never", f"--name={name}", *network, *CAREFUL,
                # On a busy machine a disk may well take longer than mail should wait for it.
                "--env=GREYD_STORE_TIMEOUT=5", *options, "greyd", *command,
            )  # fmt: skip
            container = Container(self, name, policy, metrics)
            wait_until(lambda: container.ended() or "listens on" in container.log(), "its start")
            assert not container.ended(), container.log()
            yield container
        finally:
            self("rm", "--force", "--time=0", "--volumes", name, status=None)


@dataclass(frozen=True)
class Container:
    """greyd in a container."""

    podman: Podman
    name: str
    policy: int
    metrics: int

    def log(self) -> str:
        """Return all that it has written, to standard output and error."""
        done = self.podman("logs", self.name)
        return done.stdout + done.stderr

    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.podman.inspect(self.name, "{{.State.Running}}") == "false"

    def pid(self) -> int:
        """Return its first process's id outside."""
        return int(self.podman.inspect(self.name, "{{.State.Pid}}"))

    def inside(self, script: str) -> str:
        """Return what a shell script writes inside; a status other than 0 fails the test."""
        return self.podman("exec", self.name, "sh", "-c", script).stdout

    def is_healthy(self) -> bool:
        """Run the image's health check."""
        return self.podman("healthcheck", "run", self.name, status=None).returncode == 0

    def kill(self, signal: str) -> None:
        """Send its first process a signal."""
        self.podman("kill", f"--signal={signal}", self.name)

    def stop(self) -> int:
        """Stop it as ``docker stop`` does, SIGKILL after 10 s; returns the exit status."""
        self.podman("stop", "--time=10", self.name)
        return int(self.podman.inspect(self.name, "{{.State.ExitCode}}"))


# Images -----------------------------------------------------------------------------------------


def _of_this_machine() -> list[str]:
    """Let a build trust whom this machine trusts, where packages come through a proxy."""
    files = [Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf")]
    return [f"--volume={each}:{each}:ro" for each in files if each.exists()]


ON_THE_BASE = ("--pull=never", f"--build-arg=BASE_IMAGE={BASE}", *_of_this_machine())


def mirror_of_debian() -> tuple[str, str]:
    """Return the mirror and the code name of the Debian that apt is set up for here."""
    asked = [program("apt-get"), "indextargets", "--format", "$(LABEL) $(REPO_URI) $(CODENAME)"]
    targets = subprocess.run([*asked, "Created-By: Packages"], capture_output=True, text=True)
    # Not its updates, which are of another code name: bookworm-security.
    mirrors = re.findall(r"^Debian (\S+) ([a-z]+)$", targets.stdout, re.MULTILINE)
    if not mirrors:
        unavailable("apt knows no mirror of Debian; apt-get update may help")
    mirror, suite = mirrors[0]
    return mirror, suite


def _make_base(podman: Podman, folder: Path) -> None:
    """Make what stands for the official Python image: Debian with Python, and a pip beside it."""
    mirror, suite = mirror_of_debian()
    root, log = folder / "base", folder / "debootstrap.log"
    packages = "python3,python3-venv,redis-server"
    command = [program("debootstrap"), "--variant=minbase", f"--include={packages}",
               suite, str(root), mirror]  # fmt: skip
    with log.open("wb") as output:
        # Waiting for the disk at each file is most of the time that dpkg takes.
        quick = {**os.environ, "PATH": SYSTEM_PATH, "DPKG_FORCE": "unsafe-io"}
        done = subprocess.run(command, stdout=output, stderr=output, timeout=300, env=quick)
    if done.returncode != 0:
        pytest.fail(f"debootstrap: {log.read_text()[-2000:]}")
    shutil.rmtree(root / "var/cache/apt/archives")
    for each in ("bin/pip", "lib/python3.99/site-packages/pip/__init__.py"):
        path = root / "usr/local" / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# as in the official image\n")
    archive = folder / "base.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True, timeout=300)
    shutil.rmtree(root)
    podman("import", "--quiet", str(archive), BASE)
    archive.unlink()


@contextlib.contextmanager
def podman_with_greyd() -> Iterator[Podman]:
    """Yield a podman that has greyd's image, built by ``make image``."""
    for name in ("podman", "runc", "debootstrap", "make"):
        program(name)
    if os.geteuid() != 0:
        unavailable("only root can make a base image")
    with tempfile.TemporaryDirectory(prefix="greyd-image-") as name:
        folder = Path(name)
        podman = Podman(folder)
        try:
            podman("network", "create", NETWORK)
            _make_base(podman, folder)
            options = " ".join(ON_THE_BASE)
            podman.run(["make", "image", "BUILDER=podman", f"BUILD_OPTIONS={options}"])
            yield podman
        finally:
            podman.give_all_back()
