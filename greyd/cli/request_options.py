"""The options that describe a request, for the commands that send or explain one."""

from __future__ import annotations

from typing import Annotated

import typer

ClientAddress = Annotated[
    str | None,
    typer.Option("--client-address", metavar="ADDRESS", help="The client's IP address."),
]
Sender = Annotated[
    str | None,
    typer.Option(
        "--sender", metavar="ADDRESS", help="The envelope sender; empty for a bounce: --sender=."
    ),
]
Recipient = Annotated[
    str | None, typer.Option("--recipient", metavar="ADDRESS", help="The envelope recipient.")
]
HeloName = Annotated[
    str | None,
    typer.Option("--helo-name", metavar="NAME", help="The name in the client's HELO or EHLO."),
]
SaslUsername = Annotated[
    str | None,
    typer.Option(
        "--sasl-username", metavar="NAME", help="The SASL user name of the client's login."
    ),
]
