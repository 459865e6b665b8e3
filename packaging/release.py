"""Build and test the files of a release in dist/: ``make release``.

The files are a source archive and a wheel, reproducible from a commit and both tested in a clean
environment, a CycloneDX list of the locked packages (SBOM), and the check sums of all files.
"""

from __future__ import annotations

import email
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parent.parent
DIST = CHECKOUT / "dist"
BUILD = CHECKOUT / "build" / "release"
PYTHON = sys.executable

IN_THE_WHEEL = [
    "greyd/__init__.py",
    "greyd/py.typed",
    "greyd/whitelists/whitelist_clients",
    "greyd/whitelists/whitelist_recipients",
    "greyd/rules/correspondence/mailbox_providers.txt",
    ".dist-info/licenses/LICENSE",
    "/share/man/man8/greyd.8",
    "/share/man/man8/greyd-serve.8",
    "/share/bash-completion/completions/greyd",
    "/share/zsh/site-functions/_greyd",
    "/share/fish/vendor_completions.d/greyd.fish",
    "/share/greyd/systemd/greyd.service",
    "/share/greyd/systemd/greyd.socket",
    "/share/greyd/systemd/greyd-report.service",
    "/share/greyd/systemd/greyd-report.timer",
    "/share/greyd/examples/greyd-report.cron",
]
IN_THE_SOURCES = [
    "/LICENSE",
    "/README.md",
    "/CHANGELOG.md",
    "/pyproject.toml",
    "/requirements/run.txt",
    "/whitelists/whitelist_clients",
    "/packaging/systemd/greyd.service",
    "/packaging/man/greyd.8",
    "/tests/processes.py",
]
UNWANTED = re.compile(
    r"__pycache__|\.pyc$|/\.(venv|git|hypothesis|\w+_cache)/|/(build|dist|var)/|\.log$|\.db$"
)


def main() -> None:
    """Build and test everything; exits with a one-line message on failure."""
    version = output_of(PYTHON, "-c", "import greyd; print(greyd.__version__)")
    status = output_of("git", "status", "--porcelain")
    exit_on(faults_of_checkout(status, (CHECKOUT / "CHANGELOG.md").read_text(), version))
    for folder in (DIST, BUILD):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    moment = output_of("git", "log", "-1", "--format=%ct")
    run(PYTHON, "-m", "hatchling", "build", f"--directory={DIST}", SOURCE_DATE_EPOCH=moment)
    wheel = DIST / f"greyd-{version}-py3-none-any.whl"
    sources = DIST / f"greyd-{version}.tar.gz"
    run(PYTHON, "-m", "twine", "check", "--strict", str(wheel), str(sources))
    exit_on(faults_of_archive(names_in(wheel), IN_THE_WHEEL))
    exit_on(faults_of_archive(names_in(sources), IN_THE_SOURCES))

    for archive in (wheel, sources):
        python = installed(archive)
        run(PYTHON, "packaging/smoke.py", str(python.with_name("greyd")))
    write_sbom(DIST / f"greyd-{version}.cdx.json", version, python, moment)
    write_sums()
    sys.stdout.write("".join(f"dist/{path.name}\n" for path in sorted(DIST.iterdir())))


def run(*command: str, **variables: str) -> None:
    """Run a command in the checkout; exits if it fails."""
    done = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **variables})
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} … failed")


def output_of(*command: str) -> str:
    """Return the output of a command that runs in the checkout."""
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def exit_on(faults: list[str]) -> None:
    """Exit with the first fault, if there is one."""
    if faults:
        sys.exit(f"make release: {faults[0]}")


# Checks -----------------------------------------------------------------------------------------


def faults_of_checkout(status: str, changes: str, version: str) -> list[str]:
    """Return the faults of the checkout: uncommitted changes, or versions that disagree."""
    faults = []
    if status:
        first = status.splitlines()[0].split(maxsplit=1)[-1]
        faults.append(f"{first}: not committed; commit or stash the change")
    top = re.search(r"^## (\S+)", changes, re.MULTILINE)
    newest = top[1] if top else "none"
    if newest != version:
        faults.append(
            f"CHANGELOG.md begins with {newest}, greyd/__init__.py says {version}; make them agree"
        )
    return faults


def faults_of_archive(names: list[str], needed: list[str]) -> list[str]:
    """Return the faults of an archive: missing files, and files that do not belong in it."""
    missing = [each for each in needed if not any(name.endswith(each) for name in names)]
    unwanted = [name for name in names if UNWANTED.search(name)]
    return [f"{each} is missing from the archive" for each in missing] + [
        f"{each} does not belong in the archive" for each in unwanted
    ]


def names_in(archive: Path) -> list[str]:
    """Return the names of all files in an archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.namelist()
    with tarfile.open(archive) as sources:
        return sources.getnames()


def installed(archive: Path) -> Path:
    """Install an archive and the locked packages in a clean environment; returns its Python."""
    folder = BUILD / archive.name.removesuffix(".gz").rpartition(".")[2]
    run(PYTHON, "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    install = [PYTHON, "-m", "pip", f"--python={python}", "--quiet", "install"]
    run(*install, "--require-hashes", "--requirement=requirements/run.txt")
    run(*install, "--no-deps", str(archive))
    return python


# SBOM and check sums ----------------------------------------------------------------------------


def write_sbom(path: Path, version: str, python: Path, moment: str) -> None:
    """Write the SBOM: the installed packages with their licences and locked hashes."""
    made = BUILD / "sbom.json"
    options = ["--output-reproducible", "--of=JSON", "--sv=1.6", "--pyproject=pyproject.toml"]
    command = [str(in_environment("cyclonedx-py")), "environment", str(python), *options]
    run(*command, "--output-file", str(made), SOURCE_DATE_EPOCH=moment)
    licences = dict(map(licence_of, python.parents[1].glob("lib/*/site-packages/*.dist-info")))
    locked = (CHECKOUT / "requirements" / "run.txt").read_text()
    sbom = complete_sbom(json.loads(made.read_text()), version, locked, licences)
    exit_on(faults_of_sbom(sbom))
    path.write_text(json.dumps(sbom, indent=2, sort_keys=True) + "\n")


def in_environment(name: str) -> Path:
    """Return the path of a program in this virtual environment."""
    return Path(PYTHON).parent / name


def licence_of(dist_info: Path) -> tuple[str, str]:
    """Return the name and the licence of an installed package, from its metadata."""
    metadata = email.message_from_string((dist_info / "METADATA").read_text())
    classified = [
        line.rpartition(":: ")[2]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    licence = metadata["License-Expression"] or ", ".join(classified) or metadata["License"]
    return metadata["Name"], licence.splitlines()[0]


def complete_sbom(
    sbom: dict[str, Any], version: str, locked: str, licences: dict[str, str]
) -> dict[str, Any]:
    """Return the SBOM with greyd's version, hashes and licences, and without addresses.

    Adds a licence only if cyclonedx-py could not read it. The purl identifies a package; the
    address that it was fetched from is private.
    """
    sbom["metadata"]["component"]["version"] = version
    hashes = locked_hashes(locked)
    for component in sbom["components"]:
        component["hashes"] = [
            {"alg": "SHA-256", "content": each}
            for each in hashes[component["name"].lower().replace("_", "-"), component["version"]]
        ]
        licence = {"name": licences[component["name"]], "acknowledgement": "declared"}
        component.setdefault("licenses", [{"license": licence}])
    tools = sbom["metadata"]["tools"]["components"]
    for component in (*sbom["components"], *tools):
        component.pop("externalReferences", None)
    return sbom


def locked_hashes(locked: str) -> dict[tuple[str, str], list[str]]:
    """Return the SHA-256 sums of the files of each locked package, by name and version."""
    hashes: dict[tuple[str, str], list[str]] = {}
    key = ("", "")
    for line in locked.splitlines():
        if package := re.match(r"([\w.-]+)==([^ ;]+)", line):
            key = (package[1].lower().replace("_", "-"), package[2])
        hashes.setdefault(key, []).extend(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return hashes


def faults_of_sbom(sbom: dict[str, Any]) -> list[str]:
    """Return the faults of the SBOM: schema errors, missing fields, and addresses."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    faults = []
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom)):
        faults.append(f"the SBOM is not valid: {error}")
    for component in sbom["components"]:
        lacks = [each for each in ("purl", "licenses", "hashes") if not component.get(each)]
        faults += [f"the SBOM has no {each} of {component['name']}" for each in lacks]
    addresses = re.findall(r"\w+://[^\"\s]+", json.dumps({**sbom, "$schema": ""}))
    return faults + [f"the SBOM names {each}" for each in addresses]


def write_sums() -> None:
    """Write the check sums of all files in the format of sha256sum --check."""
    files = sorted(DIST.iterdir())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (DIST / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main()
