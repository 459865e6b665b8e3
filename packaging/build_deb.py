"""Builds the Debian package into dist/: ``make deb``.

It holds greyd and the locked packages that it needs, for one minor version of Python: Debian 12 has
3.11, Debian 13 has 3.13 (``make deb DEB_PYTHON=3.13``). They are fetched for that version, so the
machine that builds may have another.
"""

from __future__ import annotations

import argparse
import email.utils
import gzip
import os
import platform
import shutil
from typing import TYPE_CHECKING

from release import CHECKOUT, PYTHON, beside_python, licence_of, run, said_by

if TYPE_CHECKING:
    from pathlib import Path

STAGE = CHECKOUT / "build" / "deb"
LIBRARY = STAGE / "lib"
NOBODYS_TIME = 0

# Debian 12 and 13 have a C library that all of these run on.
GLIBC = ["manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28"]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def main() -> None:
    """Read the command line, gather the files, and build."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", required=True, help="version of Python, 3.11")
    parser.add_argument("--machine", default=platform.machine(), choices=ARCHITECTURES)
    given = parser.parse_args()
    version = said_by(PYTHON, "-c", "import greyd; print(greyd.__version__)")
    moment = os.environ.get("SOURCE_DATE_EPOCH") or said_by("git", "log", "-1", "--format=%ct")

    shutil.rmtree(STAGE, ignore_errors=True)
    install_packages(given.python, given.machine)
    install_greyd(version, moment)
    shutil.copytree(CHECKOUT / "packaging", STAGE / "packaging")
    write_manual_pages()
    write_documents(version, moment)
    make_all_alike(int(moment))
    major, minor = given.python.split(".")
    variables = {
        "DEB_ARCH": ARCHITECTURES[given.machine],
        "DEB_VERSION": version,
        "DEB_RELEASE": f"1~py{given.python}",
        "DEB_PYTHON": given.python,
        "DEB_NEXT_PYTHON": f"{major}.{int(minor) + 1}",
        "SOURCE_DATE_EPOCH": moment,
    }
    (CHECKOUT / "dist").mkdir(exist_ok=True)
    nfpm = ["package", "--config", "build/deb/packaging/deb/nfpm.yaml", "--packager", "deb"]
    run(str(beside_python("nfpm")), *nfpm, "--target", "dist/", **variables)


def install_packages(python: str, machine: str) -> None:
    """Put the locked packages for a version of Python below the stage."""
    platforms = [f"--platform={glibc}_{machine}" for glibc in GLIBC]
    run(
            PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install",
            "--require-hashes", "--requirement=requirements/run.txt", "--only-binary=:all:",
            f"--python-version={python}", *platforms, "--no-compile", f"--target={LIBRARY}",
    )  # fmt: skip
    shutil.rmtree(LIBRARY / "bin", ignore_errors=True)


def install_greyd(version: str, moment: str) -> None:
    """Put greyd's own wheel there; what it has for the operating system nfpm takes from here."""
    build = [PYTHON, "-m", "hatchling", "build", "--target=wheel", f"--directory={STAGE}"]
    run(*build, SOURCE_DATE_EPOCH=moment)
    shutil.unpack_archive(STAGE / f"greyd-{version}-py3-none-any.whl", LIBRARY, "zip")
    shutil.rmtree(LIBRARY / f"greyd-{version}.data")


def write_gzipped(path: Path, text: str) -> None:
    """Write a file as Debian wants pages and change logs."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=NOBODYS_TIME))


def write_manual_pages() -> None:
    """Write the manual pages."""
    for page in (CHECKOUT / "packaging" / "man").glob("*.8"):
        write_gzipped(STAGE / "man" / f"{page.name}.gz", page.read_text())


def write_documents(version: str, moment: str) -> None:
    """Write what /usr/share/doc holds: the changes, and whose work is in the package."""
    changes = (CHECKOUT / "CHANGELOG.md").read_text()
    write_gzipped(STAGE / "doc" / "changelog.gz", changes)
    date = email.utils.formatdate(int(moment))
    entry = f"greyd ({version}-1) stable; urgency=medium\n\n  * What is new is in changelog.gz.\n"
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


def make_all_alike(moment: int) -> None:
    """Give all files one date and mode, so that the same commit makes the same package."""
    for path in STAGE.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (moment, moment))


if __name__ == "__main__":
    main()
