"""The ``--server`` option of the commands that fetch statistics from servers."""

from __future__ import annotations

from typing import Annotated

import typer

Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="URL",
        show_default=False,
        help="Ask the server at this metrics port, http://HOST:PORT; may be repeated."
        " By default that of the running server.",
    ),
]
"""The annotation of the ``--server`` option."""
