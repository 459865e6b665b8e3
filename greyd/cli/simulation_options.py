"""The options of the commands that simulate settings on the mail of a log."""

from __future__ import annotations

from typing import Annotated

import typer

Logs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LOG]...",
        help="Mail logs, compressed or not; - is standard input. Default: this machine's mail"
        " log or the journal.",
        show_default=False,
    ),
]
WarmUp = Annotated[
    str,
    typer.Option(metavar="DURATION", help="Simulate the beginning of the log without counting it."),
]
LookUpClients = Annotated[bool, typer.Option("--dns", help="Look clients up in today's DNS.")]
