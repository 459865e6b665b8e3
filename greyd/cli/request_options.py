"""The options that describe a request, for the commands that send or explain one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.errors import CommandError
from greyd.cli.typed_address.options import (
    read_client_address,
    read_host_name,
    read_recipient,
    read_sender,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
ReverseClientName = Annotated[
    str | None,
    typer.Option(
        "--reverse-client-name",
        metavar="NAME",
        help="The address's name in DNS, confirmed or not.",
    ),
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol-name",
        metavar="NAME",
        help="SMTP if the client sent HELO instead of EHLO; default: ESMTP.",
    ),
]
PolicyContext = Annotated[
    str | None,
    typer.Option(
        "--policy-context",
        metavar="TEXT",
        help="The policy_context of the request, e.g. outbound.",
    ),
]
SaslUsername = Annotated[
    str | None,
    typer.Option(
        "--sasl-username", metavar="NAME", help="The SASL user name of the client's login."
    ),
]


def _read_name(text: str, option: str) -> bytes:
    """Return a client's name; one that is not a host name stays as is: the DNS allows any bytes."""
    try:
        return read_host_name(text, option)
    except CommandError:
        return text.encode(errors="surrogateescape")


_READERS: Mapping[str, Callable[[str, str], bytes]] = {
    "client_address": lambda text, option: read_client_address(text, option).text,
    "client_name": _read_name,
    "reverse_client_name": _read_name,
    "sender": read_sender,
    "recipient": read_recipient,
}


def read_request_options(given: Mapping[str, str | None]) -> dict[str, bytes]:
    """Return the attributes of a request from the options, as Postfix sends them.

    Raises:
        CommandError: an address or a name is not valid.
    """
    found = {}
    for name, text in given.items():
        if text is None:
            continue
        read = _READERS.get(name)
        option = "--" + name.replace("_", "-")
        found[name] = read(text, option) if read else text.encode(errors="surrogateescape")
    return found
