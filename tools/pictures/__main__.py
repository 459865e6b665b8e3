"""Make the pictures in docs/pictures: ``python -m tools.pictures``. Takes three minutes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from tools.pictures.browser import photograph
from tools.pictures.run import HOST, PictureError, Run, lived_through, program
from tools.pictures.screen import SECONDS
from tools.pictures.terminal import output_of, svg_of

PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"

COLUMNS, LINES = 90, 40

PAGE_SIZE = (1000, 1180)
"""Width and height of the part of a page that is shown."""

_ATTEMPTS = 20

_COUNTING = "the store is being counted"

_STATE_FOLDER = "/var/lib/greyd"
"""What the pictures show instead of the folder of the run, whose path has the same length."""


def main() -> int:
    """Make all pictures."""
    try:
        program("faketime")
        program("chromium", "chromium-browser", "google-chrome")
        with (
            tempfile.TemporaryDirectory() as scratch,
            _folder() as folder,
            lived_through(Path(folder)) as run,
        ):
            _make(run, Path(scratch))
    except PictureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _folder() -> tempfile.TemporaryDirectory[str]:
    parent = Path("/tmp")  # noqa: S108 - the length of the path matters; the folder is private
    # mkdtemp appends eight characters to the prefix.
    prefix = "x" * (len(_STATE_FOLDER) - len(f"{parent}/") - 8)
    return tempfile.TemporaryDirectory(prefix=prefix, dir=parent)


def _make(run: Run, scratch: Path) -> None:
    PICTURES.mkdir(exist_ok=True)
    _page(run, scratch / "page.html")
    _terminal(run, "status.svg", [], "is healthy")
    _terminal(run, "explain.svg", ["explain", *_greylisted_mail(run)], "To let this mail pass")
    subprocess.run(
        [*run.command(seconds=SECONDS + 1)[:4], "-m", "tools.pictures.screen", scratch / "top.svg"],
        env=run.environment(), check=True,
    )  # fmt: skip
    _write(run, "top.svg", (scratch / "top.svg").read_text())
    report = scratch / "report.html"
    words = ["report", str(run.log), f"--html={report}"]
    subprocess.run(run.command(*words), env=run.environment(), check=True)
    photograph(report.as_uri(), PICTURES / "report.png", scratch / "2", *PAGE_SIZE)


def _page(run: Run, file: Path) -> None:
    """Photograph the status page, with the usual path of the store."""
    url = f"http://127.0.0.1:{run.metrics}/?refresh=0"
    page = _COUNTING
    for _ in range(_ATTEMPTS):
        # The server's time limit for a request is short, as its time passes so fast.
        with (
            contextlib.suppress(OSError, HTTPException),
            urlopen(url, timeout=60) as response,
        ):
            page = response.read().decode()
        if _COUNTING not in page:
            break
        time.sleep(0.5)
    else:
        raise PictureError("the status page does not come")
    file.write_text(page.replace(str(run.folder), _STATE_FOLDER))
    photograph(file.as_uri(), PICTURES / "page.png", file.parent / "1", *PAGE_SIZE)


def _terminal(run: Run, name: str, words: list[str], expected: str) -> None:
    """Write the picture of a command whose output has the expected text."""
    for _ in range(_ATTEMPTS):
        output = output_of(run.command(*words), run.environment(), COLUMNS, LINES)
        if expected in output:
            _write(run, name, svg_of(" ".join(["greyd", *words]), output, COLUMNS))
            return
    raise PictureError(f"greyd {' '.join(words)} does not show {expected!r}:\n{output}")


def _write(run: Run, name: str, svg: str) -> None:
    svg = svg.replace(str(run.folder), _STATE_FOLDER)
    svg = svg.replace(f"127.0.0.1:{run.policy}", "127.0.0.1:10023")
    svg = svg.replace(f"127.0.0.1:{run.metrics}", "127.0.0.1:9923")
    (PICTURES / name).write_text(svg)


def _greylisted_mail(run: Run) -> list[str]:
    """Return client, sender and recipient of a mail of a site that is greylisted just now."""
    before = run.greylisted
    for _ in range(600):
        mail = run.greylisted
        if mail is not None and mail is not before:
            return [mail.address, mail.sender, mail.recipient]
        time.sleep(0.1)
    raise PictureError(f"no site's mail is greylisted on {HOST}")


if __name__ == "__main__":
    sys.exit(main())
