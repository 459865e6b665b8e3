"""``greyd ask``: sends a request to the running server as Postfix does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.ask.answer import meaning_of, print_answer, print_request
from greyd.cli.ask.requests import build_requests, encode
from greyd.cli.errors import CommandError
from greyd.cli.request_options import (  # noqa: TC001 - typer reads them at run time
    ClientAddress,
    HeloName,
    PolicyContext,
    ProtocolName,
    Recipient,
    ReverseClientName,
    SaslUsername,
    Sender,
)
from greyd.doctor.listeners import TcpListener, configured_listeners, connectable
from greyd.doctor.policy_request import send_request
from greyd.escaping import printable

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext
    from greyd.doctor.listeners import Listener
    from greyd.doctor.policy_request import PolicyAnswer

_SERVER = re.compile(
    r"(?:inet:)?(?:\[(?P<v6>[^\]]+)\]:|(?P<host>[^:/\[\]]*):)?(?P<port>[0-9]{1,5})"
)


async def ask(
    context: CommandContext,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS SENDER RECIPIENT | FILE]",
            show_default=False,
            help="The client, the sender ('<>' for a bounce) and the recipient; or a file of"
            " requests as Postfix sends them: lines of name=value, each request followed by an"
            " empty line; - for standard input.",
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
    reverse_client_name: ReverseClientName = None,
    protocol_name: ProtocolName = None,
    sasl_username: SaslUsername = None,
    policy_context: PolicyContext = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Also show the request and the meaning of the answer in a pipe."
        ),
    ] = False,
) -> int:
    """Send a request as Postfix does, and show the answer.

    The server treats it as a real request: it stores the triplet, and counts and logs the request.
    By default alice@example.com writes to bob@example.org from 192.0.2.7; the server greylists the
    first request, and passes a retry after the delay. Options override the values in the file. To
    test a request without storing anything, use greyd explain.

    On a terminal, the command also shows the request and what the answer means. In a pipe it prints
    only the answers, one per line. Each request uses its own connection. The exit status is 2 if
    the server does not answer.

    Examples:

      greyd ask

      greyd ask 198.51.100.9 carol@example.net bob@example.org

      greyd ask --server 127.0.0.1:10023 < request -

      greyd ask --server /var/spool/postfix/greyd/socket request
    """
    given = {
        "client_address": client_address, "client_name": client_name, "sender": sender,
        "recipient": recipient, "helo_name": helo_name,
        "reverse_client_name": reverse_client_name, "protocol_name": protocol_name,
        "sasl_username": sasl_username, "policy_context": policy_context,
    }  # fmt: skip
    requests = build_requests(words or [], given)
    servers = (
        [_parse_server(server)]
        if server is not None
        else connectable(configured_listeners(context.settings))
    )
    if not servers:
        raise CommandError(
            "the settings let the kernel choose the port; write --server=[HOST:]PORT"
        )
    explains = (verbose or context.console.is_terminal) and not context.as_json
    for request in requests:
        place, answered = await _send_to_first(servers, encode(request))
        if answered.fault:
            if server is None:
                context.print_search_note()
            raise CommandError(
                f"{place}: {printable(answered.fault.encode())}; is greyd running there?"
            )
        if explains:
            print_request(context, request)
        context.print(f"action={answered.action}")
        if explains:
            print_answer(context, request, answered.action)
        context.print_json(
            {
                "server": str(place),
                "action": answered.action,
                "seconds": answered.seconds,
                "meaning": meaning_of(answered.action, context.settings),
            }
        )
        # Send the other requests to the address that answered the first one.
        servers = [place]
    return 0


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
