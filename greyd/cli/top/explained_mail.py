"""Explains a waiting mail with the functions of ``greyd explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.top.mail_actions import output_of
from greyd.rules.address import address_text
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext
    from greyd.cli.top.waiting_mail import ListedMail


async def explain_mail(context: CommandContext, mail: ListedMail, width: int) -> str:
    """Return the explanation of the answer that a mail's next attempt would get.

    Args:
        context: the command's context.
        mail: the waiting mail.
        width: the width of the text, in terminal cells.

    Raises:
        GreydError: the request can't be explained.
    """
    if mail.entry.is_hidden:
        return (
            "With --privacy the store has only hashes, so this mail's client, sender and"
            " recipient are unknown. Its log line has them: greyd explain --log-line …"
        )
    from greyd.cli.explain.command import explain

    network = parse_network(mail.entry.names.network)
    address = (
        address_text(network.number, network.bits) if network else mail.entry.names.network
    ).decode(errors="replace")
    is_network = mail.client != address
    text = await output_of(
        explain,
        context,
        width=width,
        # The names of a network's first address are not those of the client.
        no_dns=is_network,
        client_address=address,
        sender=mail.entry.names.sender.decode(errors="surrogateescape"),
        recipient=mail.entry.names.recipient.decode(errors="surrogateescape"),
    )
    if not is_network:
        return text
    return (
        f"{text}\n\nThe store has only the client's network, {mail.client}. This explains its first"
        " address, without its names in DNS; for the client itself: greyd explain --log-line …"
    )
