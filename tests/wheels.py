"""The wheel of this checkout, built once per test file, and the files it installs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from greyd import __version__

CHECKOUT = Path(__file__).parent.parent
DATA = f"greyd-{__version__}.data/data/"


def build_wheel(folder: Path, epoch: int = 1_700_000_000) -> Path:
    """Build the wheel into a folder, with a given time."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=CHECKOUT,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def put_data_below(prefix: Path, wheel: Path) -> None:
    """Unpack the wheel's files for the operating system, as pip does below a prefix."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(DATA):
                path = prefix / name.removeprefix(DATA)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
