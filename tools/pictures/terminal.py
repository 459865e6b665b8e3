"""Shows what a command prints on a terminal as SVG.

The fonts are those of the reader: the file loads nothing.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FONT_FACE = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)
_FONTS = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"


def output_of(
    command: Sequence[str], environment: Mapping[str, str], columns: int, lines: int
) -> str:
    """Return what a command writes to a terminal of this size, until it ends."""
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    child = subprocess.Popen(
        command,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": str(columns)},
        stdin=its, stdout=its, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(its)
    written = b""
    while True:
        try:
            ready = select.select([own], [], [], 60)[0]
            received = os.read(own, 65536) if ready else b""
        except OSError:
            # The other end is closed.
            break
        if not received:
            break
        written += received
    child.wait()
    os.close(own)
    return written.decode().replace("\r\n", "\n")


def svg_of(prompt: str, output: str, columns: int) -> str:
    """Return a picture of a terminal with a command and its output."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(
            record=True, width=columns, file=nowhere, force_terminal=True, color_system="256",
            highlight=False,
        )  # fmt: skip
        console.print(Text.assemble(("$ ", "green"), (prompt, "bold")))
        console.print(Text.from_ansi(output.rstrip("\n")))
        return without_fonts(console.export_svg(title=f"{prompt.split(maxsplit=1)[0]} on mx1"))


def without_fonts(svg: str) -> str:
    """Return a picture of rich's or Textual's with the reader's fonts, without trailing blanks."""
    svg = _FONT_FACE.sub("", svg).replace(
        "font-family: Fira Code, monospace", f"font-family: {_FONTS}"
    )
    svg = svg.replace("Fira Code", "monospace")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
