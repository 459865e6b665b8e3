"""The whitelist entries that ``greyd top`` offers for a waiting mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.top.mail_actions import AddToWhitelist
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS

if TYPE_CHECKING:
    from greyd.cli.top.waiting_mail import ListedMail


@dataclass(frozen=True, slots=True)
class WhitelistChoice:
    """An entry to offer; the user may change it before it is added."""

    label: str
    entry: str
    which: str

    def action(self, entry: str, reason: str) -> AddToWhitelist:
        """Return the action that adds an entry to this list."""
        return AddToWhitelist(entry, self.which, reason)


def whitelist_choices(mail: ListedMail) -> list[WhitelistChoice]:
    """Return the client, the sender's domain, the recipient and its domain, as far as known."""
    sender, recipient = mail.entry.names.sender, mail.entry.names.recipient
    choices = [WhitelistChoice(f"client {mail.client}", mail.client, CLIENTS)]
    if domain := _domain(sender):
        # A client whitelist has names of clients: the sender's domain is the best guess.
        label = f"clients whose name is {domain}, or below it"
        choices.append(WhitelistChoice(label, domain, CLIENTS))
    address = recipient.decode(errors="surrogateescape")
    choices.append(WhitelistChoice(f"recipient {mail.recipient}", address, RECIPIENTS))
    if domain := _domain(recipient):
        label = f"all recipients at {domain}"
        choices.append(WhitelistChoice(label, f"@{domain}", RECIPIENTS))
    return choices


def _domain(address: bytes) -> str:
    """Return the domain of an address, if it can be a host's name."""
    domain = address.rpartition(b"@")[2] if b"@" in address else b""
    return domain.decode("ascii").lower() if domain.isascii() and b"." in domain else ""
