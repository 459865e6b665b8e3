"""Build the Debian package into dist/: ``make deb``.

The package contains greyd and its locked dependencies, for one minor version of Python: Debian 12
has 3.11, Debian 13 has 3.13 (``make deb DEB_PYTHON=3.13``). The build machine may have another
Python or another architecture (``DEB_MACHINE=aarch64``).
"""

from __future__ import annotations

import argparse
import email.utils
import gzip
import os
import platform
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from packaging.markers import Marker, default_environment
from release import CHECKOUT, PYTHON, in_environment, licence_of, output_of, run

if TYPE_CHECKING:
    from pathlib import Path

STAGE = CHECKOUT / "build" / "deb"
LIBRARY = STAGE / "lib"
NO_TIME = 0

# Debian 12 and 13 have a C library that all of these run on.
GLIBC = ["manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28"]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def main() -> None:
    """Read the command line, collect the files, and build the package."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True, help="version of Python, 3.11")
    parser.add_argument("--machine", default=platform.machine(), choices=ARCHITECTURES)
    parser.add_argument("--revision", default="1", help="raise it for newer dependencies")
    given = parser.parse_args()
    strip = strip_for(given.machine)
    version = output_of(PYTHON, "-c", "import greyd; print(greyd.__version__)")
    moment = os.environ.get("SOURCE_DATE_EPOCH") or output_of("git", "log", "-1", "--format=%ct")

    shutil.rmtree(STAGE, ignore_errors=True)
    install_packages(given.python, given.machine)
    apply_debian_policy(strip)
    install_greyd(version, moment)
    shutil.copytree(CHECKOUT / "packaging", STAGE / "packaging")
    write_manual_pages()
    write_documents(f"{debian_version(version)}-{given.revision}", moment)
    normalise_files(int(moment))
    major, minor = given.python.split(".")
    variables = {
        "DEB_ARCH": ARCHITECTURES[given.machine],
        "DEB_VERSION": debian_version(version),
        "DEB_RELEASE": f"{given.revision}~py{given.python}",
        "DEB_PYTHON": given.python,
        "DEB_NEXT_PYTHON": f"{major}.{int(minor) + 1}",
        "SOURCE_DATE_EPOCH": moment,
    }
    (CHECKOUT / "dist").mkdir(exist_ok=True)
    nfpm = ["package", "--config", "build/deb/packaging/deb/nfpm.yaml", "--packager", "deb"]
    run(str(in_environment("nfpm")), *nfpm, "--target", "dist/", **variables)


def debian_version(version: str) -> str:
    """Convert a Python version to Debian's form, which sorts a pre-release before its release."""
    return re.sub(r"\.?(a|b|rc|dev)(\d+)", r"~\1\2", version)


def strip_for(machine: str) -> str:
    """Return the ``strip`` program for the architecture's libraries; exits if it is missing."""
    for name in (
        f"{machine}-linux-gnu-strip",
        *(["strip"] if machine == platform.machine() else []),
    ):
        if found := shutil.which(name):
            return found
    package = "binutils" if machine == platform.machine() else f"binutils-{machine}-linux-gnu"
    sys.exit(f"make deb: {machine}-linux-gnu-strip is missing; apt install {package}")


def install_packages(python: str, machine: str) -> None:
    """Install the locked dependencies for a Python version into the staging folder."""
    platforms = [f"--platform={glibc}_{machine}" for glibc in GLIBC]
    locked = (CHECKOUT / "requirements" / "run.txt").read_text()
    STAGE.mkdir(parents=True)
    (STAGE / "run.txt").write_text(locked_for(locked, python, machine))
    run(
            PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install",
            "--require-hashes", f"--requirement={STAGE / 'run.txt'}", "--only-binary=:all:",
            f"--python-version={python}", *platforms, "--no-compile", f"--target={LIBRARY}",
    )  # fmt: skip
    shutil.rmtree(LIBRARY / "bin", ignore_errors=True)


def locked_for(locked: str, python: str, machine: str) -> str:
    """Return the locked packages that the target's Python needs, without environment markers.

    pip evaluates the markers for the Python that runs it, whatever ``--python-version`` says. They
    are evaluated for the first release of the minor version, because Debian 12 has 3.11.2, where
    redis needs async-timeout.
    """
    environment: dict[str, str] = {
        **default_environment(),
        "implementation_name": "cpython",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    needed = []
    for package in re.split(r"^(?=\w)", locked, flags=re.MULTILINE):
        first, line_feed, hashes = package.partition("\n")
        name, _, condition = first.removesuffix("\\").partition(";")
        if not condition.strip() or Marker(condition.strip()).evaluate(environment):
            needed.append(f"{name.rstrip()} \\{line_feed}{hashes}" if line_feed else package)
    return "".join(needed)


def apply_debian_policy(strip: str) -> None:
    """Remove what Debian's policy does not allow in a package."""
    options = ["--strip-unneeded", "--remove-section=.comment", "--remove-section=.note"]
    for library in sorted(LIBRARY.rglob("*.so*")):
        # The options of dh_strip.
        subprocess.run([strip, *options, library], check=True)
    for record in LIBRARY.glob("*.dist-info/RECORD"):
        # pip's file list, whose check sums are now wrong; dpkg has its own.
        record.unlink()
    for module in LIBRARY.rglob("*.py"):
        text = module.read_bytes()
        if text.startswith(b"#!"):
            # Modules are not executed; an empty line keeps the line numbers in tracebacks right.
            module.write_bytes(b"#" + text[text.find(b"\n") :])


def install_greyd(version: str, moment: str) -> None:
    """Unpack greyd's wheel; nfpm takes the files for the operating system from the checkout."""
    build = [PYTHON, "-m", "hatchling", "build", "--target=wheel", f"--directory={STAGE}"]
    run(*build, SOURCE_DATE_EPOCH=moment)
    shutil.unpack_archive(STAGE / f"greyd-{version}-py3-none-any.whl", LIBRARY, "zip")
    shutil.rmtree(LIBRARY / f"greyd-{version}.data")


def write_gzipped(path: Path, text: str) -> None:
    """Write a file compressed as Debian's policy requires for manual pages and changelogs."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=NO_TIME))


def write_manual_pages() -> None:
    """Write the manual pages."""
    for page in (CHECKOUT / "packaging" / "man").glob("*.8"):
        write_gzipped(STAGE / "man" / f"{page.name}.gz", page.read_text())


def write_documents(version: str, moment: str) -> None:
    """Write the files for /usr/share/doc: the changelogs and the copyright notices.

    ``version`` is Debian's, with its revision.
    """
    changes = (CHECKOUT / "CHANGELOG.md").read_text()
    write_gzipped(STAGE / "doc" / "changelog.gz", changes)
    date = email.utils.formatdate(int(moment))
    entry = f"greyd ({version}) stable; urgency=medium\n\n  * What is new is in changelog.gz.\n"
    signed = f"{entry}\n -- The greyd maintainers <maintainers@greyd.invalid>  {date}\n"
    write_gzipped(STAGE / "doc" / "changelog.Debian.gz", signed)
    described = map(licence_of, sorted(LIBRARY.glob("*.dist-info")))
    parts = "".join(f"{name}: {licence}\n" for name, licence in described)
    licence = (CHECKOUT / "LICENSE").read_text()
    (STAGE / "doc" / "copyright").write_text(
        f"greyd is\n\n{licence}\nIt comes with these packages. Their licences are in"
        " /usr/lib/greyd/*.dist-info; the Apache License is in"
        f" /usr/share/common-licenses/Apache-2.0 too.\n\n{parts}"
    )


def normalise_files(moment: int) -> None:
    """Set one date and mode for all files, so that the same commit gives the same package."""
    for path in STAGE.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (moment, moment))


if __name__ == "__main__":
    main()
