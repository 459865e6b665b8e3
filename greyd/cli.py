"""The command line: builds what is needed, and hands it down.

``greyd serve`` is dispatched before the rest is built: a policy server that is being restarted
should answer again soon, and its command line is postgrey's, read by ``greyd.settings``. Typer
shows its help and completes its options from the same table.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from greyd import __version__
from greyd.configuration import read_settings
from greyd.settings import SettingsError, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run greyd with the given arguments, or the process's own; ends by ``SystemExit``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["serve"] and not {"-h", "--help", "-help"} & set(words):
        sys.exit(serve(words[1:]))
    from greyd.commands import build

    build()(["--help" if word == "-help" else word for word in words], prog_name="greyd")


def serve(arguments: Sequence[str]) -> int:
    """Run the server; returns the exit status."""
    if {"--version", "-version"} & set(arguments):
        sys.stdout.write(f"greyd {__version__}\n")
        return 0
    from greyd.process import run
    from greyd.store import StoreError

    try:
        return run(read_settings(arguments))
    except (SettingsError, SetupError, StoreError) as error:
        sys.stderr.write(f"greyd: {error}\n")
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 0
