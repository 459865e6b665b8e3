"""Builds what is released into dist/: ``make release``.

Source archive and wheel are dated by the last commit, so the same commit makes the same files. Each
is checked, installed into an environment of its own with the locked packages, and has to answer a
request there. ``greyd.cdx.json`` (CycloneDX) says what is in such an environment, ``SHA256SUMS``
what the files are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
DIST = CHECKOUT / "dist"
REQUEST = (
    b"request=smtpd_access_policy\nclient_address=192.0.2.7\nclient_name=mail.example.com\n"
    b"sender=alice@example.com\nrecipient=bob@example.org\n\n"
)
ANSWER_SECONDS = 20


def main() -> None:
    """Check that there is something to release, build it, and try it."""
    version = check_tree()
    shutil.rmtree(DIST, ignore_errors=True)
    run([sys.executable, "-m", "hatchling", "build", f"--directory={DIST}"])
    archives = sorted(DIST.iterdir())
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, archives)])
    for archive in archives:
        with tempfile.TemporaryDirectory() as folder:
            python = install(archive, Path(folder))
            try_out(python, version, Path(folder))
            if archive.suffix == ".whl":
                write_bill_of_materials(python)
    write_sums()
    sys.stdout.write("".join(f"{path.name}\n" for path in sorted(DIST.iterdir())))


def check_tree() -> str:
    """Return the version; ends the release where the tree is not ready for one."""
    if said_by("git", "status", "--porcelain"):
        sys.exit("make release: the tree has changes; commit them, or take them back")
    version = said_by(sys.executable, "-c", "import greyd; print(greyd.__version__)")
    changes = (CHECKOUT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## (\S+)", changes, re.MULTILINE)
    if newest is None or newest[1] != version:
        found = newest[1] if newest else "nothing"
        sys.exit(
            f"make release: greyd/__init__.py says {version}, CHANGELOG.md begins with {found};"
            " let both say the same"
        )
    os.environ["SOURCE_DATE_EPOCH"] = said_by("git", "log", "-1", "--format=%ct")
    return version


def said_by(*command: str) -> str:
    """Return what a command says."""
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run(command: list[str]) -> None:
    """Run a command in the checkout; ends the release where it fails."""
    if subprocess.run(command, cwd=CHECKOUT).returncode:
        sys.exit(f"make release: {' '.join(command[1:4])} … failed")


def install(archive: Path, folder: Path) -> Path:
    """Install an archive and the locked packages into a new environment; returns its Python."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    run([*pip, "--require-hashes", "--requirement=requirements/run.txt"])
    # The archive of sources is built there, with what it says that it needs.
    run([*pip, "--no-deps", str(archive)])
    return python


def try_out(python: Path, version: str, folder: Path) -> None:
    """Let what is installed say its version, and answer a request."""
    greyd = str(python.with_name("greyd"))
    for words in (["--version"], ["serve", "--version"]):
        if said_by(greyd, *words) != f"greyd {version}":
            sys.exit(f"make release: greyd {' '.join(words)} does not say {version}")
    said_by(greyd, "--help")
    place = folder / "socket"
    command = [greyd, "serve", f"--unix={place}", f"--dbdir={folder}", "--metrics=0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as server:
        try:
            answer = ask(place)
        finally:
            server.terminate()
    if not answer.startswith(b"action=DEFER_IF_PERMIT") or server.returncode:
        sys.exit(f"make release: it answers {answer!r} and ends with {server.returncode}")


def ask(place: Path) -> bytes:
    """Send a request to a socket, once it is there."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_SECONDS)
            try:
                client.connect(str(place))
            except OSError as error:
                if time.monotonic() > deadline:
                    sys.exit(f"make release: greyd serve does not start: {error}")
                time.sleep(0.1)
                continue
            client.sendall(REQUEST)
            return client.recv(4096)


def write_bill_of_materials(python: Path) -> None:
    """Write which packages greyd runs with, with versions, licences and hashes, as CycloneDX."""
    target = DIST / "greyd.cdx.json"
    name = Path(sys.executable).with_name("cyclonedx-py")
    run([
        str(name), "requirements", "requirements/run.txt", "--pyproject=pyproject.toml",
        "--mc-type=application", "--output-reproducible", f"--output-file={target}",
    ])  # fmt: skip
    bill = json.loads(target.read_text())
    licences = licences_of(python)
    # Which tools made it, and where an index has its files, is nobody's business: a purl says what
    # a package is, and its hashes which files are meant.
    bill["metadata"].pop("tools", None)
    for component in bill["components"]:
        references = component.pop("externalReferences", [])
        component["hashes"] = [each for one in references for each in one.get("hashes", [])]
        component.pop("description", None)
        if licence := licences.get(component["name"].lower().replace("_", "-")):
            component["licenses"] = [{"license": {"name": licence}}]
    target.write_text(json.dumps(bill, indent=2) + "\n")


def licences_of(python: Path) -> dict[str, str]:
    """Return what the packages of an environment say of their licences."""
    script = """\
import importlib.metadata, json
def licence(about):
    known = [each for each in about.get_all("Classifier", []) if each.startswith("License ::")]
    told = about["License-Expression"] or ", ".join(each.rpartition(":: ")[2] for each in known)
    return told or about["License"] or ""
found = {one.name: licence(one.metadata) for one in importlib.metadata.distributions()}
print(json.dumps({name.lower().replace("_", "-"): told for name, told in found.items()}))
"""
    found: dict[str, str] = json.loads(said_by(str(python), "-c", script))
    return found


def write_sums() -> None:
    """Write the files' hashes, for ``sha256sum --check``."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(DIST.iterdir())
    ]
    (DIST / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    main()
