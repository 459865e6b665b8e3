"""Selects decisions by client, sender, recipient, action, reason and text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.tail.decision_text import plain_line
from greyd.cli.typed_address.forms import (
    ClientGroup,
    ClientNetwork,
    DomainName,
    MailAddress,
    NullSender,
    stored_form,
)
from greyd.cli.typed_address.options import (
    read_client,
    read_recipient_or_domain,
    read_sender_or_domain,
)
from greyd.rules.address import parse_address
from greyd.rules.hostnames import is_or_is_below

if TYPE_CHECKING:
    from greyd.maillog.decisions import LoggedDecision

_ESCAPED = re.compile(rb"%([89A-F][0-9A-F])")


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Conditions, all of which a decision must meet; None and an empty text match any."""

    client: ClientNetwork | ClientGroup | DomainName | None = None
    sender: NullSender | MailAddress | DomainName | None = None
    recipient: MailAddress | DomainName | None = None
    action: str = ""
    reason: str = ""
    """A part of the reason, in lower case."""
    text: str = ""
    """A part of the line, in lower case."""

    @classmethod
    def from_options(
        cls,
        client: str | None,
        sender: str | None,
        recipient: str | None,
        action: str,
        reason: str,
        text: str,
    ) -> DecisionFilter:
        """Return the filter that options describe.

        Raises:
            CommandError: a client, a sender or a recipient is not valid.
        """
        return cls(
            None if client is None else read_client(client, "--client"),
            None if sender is None else read_sender_or_domain(sender, "--sender"),
            None if recipient is None else read_recipient_or_domain(recipient, "--recipient"),
            action,
            reason.lower(),
            text.lower(),
        )

    def matches(self, decision: LoggedDecision) -> bool:
        """Whether a decision meets all conditions."""
        return (
            (not self.action or decision.action == self.action)
            and self.reason in f"{decision.reason} ({decision.detail})".lower()
            and self._matches_client(decision)
            and _matches_address(decision.sender, self.sender)
            and _matches_address(decision.recipient, self.recipient)
            and (not self.text or self.text in plain_line(decision).lower())
        )

    def _matches_client(self, decision: LoggedDecision) -> bool:
        match self.client:
            case ClientNetwork(network):
                address = parse_address(decision.client_address)
                return address is not None and network.contains(address)
            case DomainName(name):
                names = (decision.client_name.lower(), decision.identity)
                return any(is_or_is_below(each, name) for each in names)
            case ClientGroup(identity):
                return identity in (decision.identity, *decision.other_identities.split(b"+"))
        return True


def _matches_address(address: bytes, wanted: NullSender | MailAddress | DomainName | None) -> bool:
    """Whether a logged address is the wanted one, or in the wanted domain or below it."""
    if wanted is None:
        return True
    if isinstance(wanted, NullSender):
        return not address
    own = stored_form(_unescaped(address)).lower()
    if isinstance(wanted, MailAddress):
        return own == wanted.text.lower()
    return is_or_is_below(own.rpartition(b"@")[2], wanted.name)


def _unescaped(address: bytes) -> bytes:
    """Return the bytes above ASCII that the log has as ``%XX``, as in a domain in UTF-8."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), address)
