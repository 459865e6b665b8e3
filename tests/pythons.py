"""``python -m tests.pythons``: run pytest, with its arguments, on each other installed Python.

Looked for are the versions that greyd supports, on the PATH and among pyenv's; each gets a virtual
environment of its own below ``build``. Ends with 1 where a test fails on one of them. With
``TESTS_NEWEST_PYTHON=1`` the tests run on the newest only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
VERSIONS = [(3, minor) for minor in range(11, 15)]
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
APART = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
"""As root the tests get their own loopback, so that other runs do not use their ports."""
if os.geteuid() != 0:
    APART = []
PROCESSES = os.environ.get("TEST_PROCESSES", str((os.cpu_count() or 1) + 1))


def find() -> dict[tuple[int, int], str]:
    """Return an installed Python of each supported version except this one's."""
    found: dict[tuple[int, int], str] = {}
    folders = [*os.get_exec_path(), *map(str, sorted(PYENV.glob("versions/*/bin")))]
    for major, minor in VERSIONS:
        for folder in folders:
            python = f"{folder}/python{major}.{minor}"
            # Of pyenv's names on the PATH not all lead to a Python.
            if (major, minor) not in found and is_whole(python):
                found[major, minor] = python
    found.pop(sys.version_info[:2], None)
    if os.environ.get("TESTS_NEWEST_PYTHON") == "1":
        return dict(sorted(found.items())[-1:])
    return found


def is_whole(python: str) -> bool:
    """Whether a Python starts and can create a virtual environment."""
    try:
        done = subprocess.run([python, "-c", "import ensurepip, sqlite3, ssl"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def environment(version: tuple[int, int], python: str) -> Path:
    """Create a virtual environment, or reuse it; returns its Python."""
    folder = Path("build") / "python{}.{}".format(*version)
    subprocess.run(["packaging/venv.sh", python, folder], cwd=CHECKOUT, check=True)
    pip = [folder / "bin" / "pip", "--quiet", "--disable-pip-version-check", "install"]
    locked = ["--require-hashes", "--requirement", "requirements/dev.txt"]
    for what in (locked, ["--no-deps", "--editable", "."]):
        subprocess.run([*pip, *what], cwd=CHECKOUT, check=True)
    return CHECKOUT / folder / "bin" / "python"


def main() -> None:
    """Run pytest on each of them."""
    failed = []
    pythons = find()
    for version, python in pythons.items():
        name = "Python {}.{}".format(*version)
        print(f"{name}: {python}", flush=True)  # noqa: T201 - says what it does
        pytest = [
            *APART,
            environment(version, python),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        parallel = [f"--numprocesses={PROCESSES}", "--dist=loadfile"]
        if subprocess.run([*pytest, *parallel, *sys.argv[1:]], cwd=CHECKOUT).returncode:
            failed.append(name)
    if not pythons:
        print("no other Python that greyd supports is on this machine")  # noqa: T201 - as above
    if failed:
        sys.exit(f"tests failed on {', '.join(failed)}")


if __name__ == "__main__":
    main()
