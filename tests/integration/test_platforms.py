"""For which platforms the locked packages can be had, as docs/install.md says."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

COMPILED = re.compile(
    r"^(?:backports-zstd|cffi|google-re2|hiredis|lz4|markupsafe|pycares|pydantic-core|uvloop)==",
    re.MULTILINE,
)


def compiled_packages(python: str, machine: str) -> list[str]:
    """Return the locked packages that are compiled, as requirements with their hashes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CHECKOUT / "packaging"))
        deb = runpy.run_path(str(CHECKOUT / "packaging" / "build_deb.py"))
    locked = (CHECKOUT / "requirements" / "run.txt").read_text()
    packages = re.split(r"^(?=\w)", deb["locked_for"](locked, python, machine), flags=re.MULTILINE)
    return [each for each in packages if COMPILED.match(each)]


def fetch(
    folder: Path, packages: list[str], python: str, machine: str, tags: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    """Fetch packages for a platform, as pip does there; none is installed."""
    wanted = folder / "wanted.txt"
    wanted.write_text("".join(packages))
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += [f"--dest={folder}", f"--python-version={python}", f"--requirement={wanted}"]
    command += [f"--platform={tag}_{machine}" for tag in tags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


GLIBC_2_28 = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux2014")
MUSL = ("musllinux_1_2", "musllinux_1_1")


@pytest.mark.parametrize(
    ("python", "machine"), [("3.11", "aarch64"), ("3.14", "aarch64"), ("3.14", "x86_64")]
)
def test_a_platform_that_is_supported_has_every_package(
    tmp_path: Path, python: str, machine: str
) -> None:
    packages = compiled_packages(python, machine)
    # Python 3.14 has zstd itself.
    count = 8 if python == "3.14" else 9
    assert len(packages) == count, "one that is compiled has gone; docs/install.md counts them"
    done = fetch(tmp_path, packages, python, machine, GLIBC_2_28)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.whl"))) == len(packages)


@pytest.mark.parametrize(
    ("machine", "tags"),
    [
        ("x86_64", MUSL),
        ("aarch64", MUSL),
        ("armv7l", ("manylinux_2_35", "manylinux_2_31", "manylinux2014")),
        ("x86_64", ("manylinux2014",)),
    ],
    ids=["musl", "musl on arm64", "armv7l", "an old glibc"],
)
def test_a_platform_that_is_not_supported_lacks_google_re2(
    tmp_path: Path, machine: str, tags: tuple[str, ...]
) -> None:
    packages = [each for each in compiled_packages("3.13", machine) if "google-re2" in each]
    done = fetch(tmp_path, packages, "3.13", machine, tags)
    assert done.returncode != 0
    assert "No matching distribution found for google-re2" in done.stderr
