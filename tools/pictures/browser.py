"""Shows a page in Chromium as PNG."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tools.pictures.run import PictureError, program

if TYPE_CHECKING:
    from pathlib import Path


def photograph(url: str, file: Path, profile: Path, width: int, height: int) -> None:
    """Write a picture of the upper part of a page.

    Raises:
        PictureError: Chromium has made none.
    """
    done = subprocess.run(
        [
            program("chromium", "chromium-browser", "google-chrome"), "--headless=new",
            "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
            f"--window-size={width},{height}", f"--screenshot={file}",
            url,
        ],
        check=False, capture_output=True, timeout=120,
    )  # fmt: skip
    if not file.exists():
        raise PictureError(f"Chromium has made no picture of {url}:\n{done.stderr.decode()}")
