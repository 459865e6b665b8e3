"""``greyd ask``: sends a request to the running server as Postfix does."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.errors import CommandError
from greyd.cli.request_options import (
    ClientAddress,
    HeloName,
    Recipient,
    SaslUsername,
    Sender,
    read_request_options,
)
from greyd.doctor.listeners import TcpListener, configured_listeners, connectable
from greyd.doctor.policy_request import send_request
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.cli.context import CommandContext
    from greyd.doctor.listeners import Listener
    from greyd.doctor.policy_request import PolicyAnswer


MAX_FILE_BYTES = 1024 * 1024

_DEFAULT_REQUEST = {
    "request": b"smtpd_access_policy",
    "protocol_state": b"RCPT",
    "protocol_name": b"ESMTP",
    "helo_name": b"mail.example.com",
    "queue_id": b"",
    "sender": b"alice@example.com",
    "recipient": b"bob@example.org",
    "recipient_count": b"0",
    "client_address": b"192.0.2.7",
    "client_name": b"mail.example.com",
    "reverse_client_name": b"mail.example.com",
    "instance": b"",
    "sasl_username": b"",
    "etrn_domain": b"",
}
"""What Postfix sends at RCPT TO (SMTPD_POLICY_README); the names are those of RFC 2606."""

_SERVER = re.compile(
    r"(?:inet:)?(?:\[(?P<v6>[^\]]+)\]:|(?P<host>[^:/\[\]]*):)?(?P<port>[0-9]{1,5})"
)


async def ask(
    context: CommandContext,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="File of requests as Postfix sends them: lines of name=value, each"
            " request followed by an empty line; - for standard input.",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="[HOST:]PORT|SOCKET",
            help="The server's address; by default the one in the settings.",
        ),
    ] = None,
    client_address: ClientAddress = None,
    client_name: Annotated[
        str | None,
        typer.Option(
            "--client-name", metavar="NAME", help="The client's name in DNS, as Postfix logs it."
        ),
    ] = None,
    sender: Sender = None,
    recipient: Recipient = None,
    helo_name: HeloName = None,
    sasl_username: SaslUsername = None,
) -> int:
    """Send a request as Postfix does, and show the answer.

    The server treats it as a real request: it stores the triplet, and counts and logs the request.
    By default alice@example.com writes to bob@example.org from 192.0.2.7; the server greylists the
    first request, and lets one after the delay pass. Options override the values in the file. To
    test a request without storing anything, use greyd explain.

    Each request uses its own connection. The exit status is 2 if the server does not answer.

    Examples:

      greyd ask

      greyd ask --client-address 198.51.100.9 --sender carol@example.net

      greyd ask --server 127.0.0.1:10023 < request -

      greyd ask --server /var/spool/postfix/greyd/socket request
    """
    given = {
        "client_address": client_address, "client_name": client_name, "sender": sender,
        "recipient": recipient, "helo_name": helo_name, "sasl_username": sasl_username,
    }  # fmt: skip
    named = {
        name: _checked_value(name, value) for name, value in read_request_options(given).items()
    }
    servers = (
        [_parse_server(server)]
        if server is not None
        else connectable(configured_listeners(context.settings))
    )
    if not servers:
        raise CommandError(
            "the settings let the kernel choose the port; write --server=[HOST:]PORT"
        )
    for request in _build_requests(file, named):
        place, answered = await _send_to_first(servers, request)
        if answered.fault:
            if server is None:
                context.print_search_note()
            raise CommandError(
                f"{place}: {printable(answered.fault.encode())}; is greyd running there?"
            )
        context.print(f"action={answered.action}")
        context.print_json(
            {"server": str(place), "action": answered.action, "seconds": answered.seconds}
        )
        # Send the other requests to the address that answered the first one.
        servers = [place]
    return 0


# The server --------------------------------------------------------------------------------------


def _parse_server(text: str) -> Listener:
    """Parse a server's address; ``inet:`` or ``unix:`` may precede it, as in ``main.cf``."""
    path = text.removeprefix("unix:")
    if path.startswith("/"):
        return Path(path)
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise CommandError(
            f"--server={text}: expected [HOST:]PORT or the path of a socket, such as"
            " 127.0.0.1:10023"
        )
    host = found["v6"] or found["host"] or "localhost"
    # Resolve localhost here: a machine may have no /etc/hosts.
    return TcpListener("127.0.0.1" if host in ("localhost", "*") else host, int(found["port"]))


async def _send_to_first(places: list[Listener], request: bytes) -> tuple[Listener, PolicyAnswer]:
    """Try addresses until one answers; return it and the answer, or the first address's fault."""
    unanswered = []
    for place in places:
        answered = await send_request(place, request)
        if not answered.fault:
            return place, answered
        unanswered.append((place, answered))
    return unanswered[0]


# The requests -------------------------------------------------------------------------------------


def _build_requests(file: str | None, named: dict[str, bytes]) -> list[bytes]:
    """Return the requests to send: those of a file, or the default one.

    Raises:
        CommandError: the file can't be read, or contains no request.
    """
    if file is None:
        # --client-name also sets the default reverse name and HELO name.
        name = named.get("client_name", _DEFAULT_REQUEST["client_name"])
        return [
            _encode(_DEFAULT_REQUEST | {"reverse_client_name": name, "helo_name": name} | named)
        ]
    given = _read_file(file).replace(b"\r\n", b"\n")
    requests = []
    for text in re.split(rb"\n\n+", given.strip(b"\n")):
        lines = [line.partition(b"=") for line in text.split(b"\n")]
        if not all(equals for _, equals, _ in lines):
            raise CommandError(
                f"{file}: not a request: expected lines like sender=alice@example.com"
            )
        attributes = {name.decode(errors="surrogateescape"): value for name, _, value in lines}
        requests.append(_encode(attributes | named))
    return requests


def _encode(attributes: Mapping[str, bytes]) -> bytes:
    lines = [
        b"%b=%b\n" % (name.encode(errors="surrogateescape"), value)
        for name, value in attributes.items()
    ]
    return b"".join(lines) + b"\n"


def _checked_value(name: str, value: bytes) -> bytes:
    if b"\n" in value or b"\r" in value:
        option = name.replace("_", "-")
        raise CommandError(f"--{option}: a value must not contain a line break")
    return value


def _read_file(file: str) -> bytes:
    try:
        if file == "-":
            text = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                text = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    if len(text) > MAX_FILE_BYTES:
        raise CommandError(f"{file}: larger than {MAX_FILE_BYTES} bytes")
    return text
