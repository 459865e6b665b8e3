"""The ``--server`` option of the commands that ask servers for their statistics."""

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
        " By default the one that --metrics names in the settings.",
    ),
]
"""The annotation of the ``--server`` option."""
