"""Reads the values of options and arguments that take an address, a domain or a client.

Each function raises ``CommandError``, which states how it read the value, for any other form.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.typed_address.decoration import NotUnderstoodError
from greyd.cli.typed_address.forms import (
    ClientGroup,
    ClientNetwork,
    DomainName,
    MailAddress,
    NullSender,
    recognise,
    recognise_in_line,
)
from greyd.escaping import printable_text
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from greyd.cli.typed_address.forms import Recognised
    from greyd.rules.address import Address

_MAX_SHOWN_CHARACTERS = 200
_SENDER, _RECIPIENT, _CLIENT, _NAME = (
    "sender|from",
    "recipient|to",
    "client_address|client",
    "client_name",
)
"""Labels of the field whose value counts if somebody pastes a whole log line."""
_NULL_SENDER_IN_QUEUES = DomainName(b"mailer-daemon")
"""The form in which Postfix shows the null sender in its queues (mailq, postqueue)."""
_LOGGED_CLIENT = re.compile(r"\s*(?:client=)?(?P<name>[^\s\[\]@=]+)\[[0-9a-fA-F:.]+\].*")


def read_sender(text: str, option: str) -> bytes:
    """Return the address of a sender; empty for ``<>`` and for no text at all.

    A single word is a local part without a domain, as in ``MAIL FROM:<root>``.
    """
    if not text.strip():
        return b""
    match _recognised(text, option, expected := "a mail address, or <> for bounces", _SENDER):
        case NullSender():
            return b""
        case other:
            return _mailbox(other, text, option, expected)


def read_recipient(text: str, option: str) -> bytes:
    """Return the address of a recipient; a single word is one without a domain (``postmaster``)."""
    expected = "a mail address"
    return _mailbox(_recognised(text, option, expected, _RECIPIENT), text, option, expected)


def _mailbox(found: Recognised, text: str, option: str, expected: str) -> bytes:
    """Return a mail address or a local part without a domain; refuse anything else."""
    match found:
        case MailAddress() as address:
            return address.text
        case DomainName(name, has_at=False) if b"." not in name:
            return name
        case other:
            raise _refusal(text, option, other, expected)


def read_sender_or_domain(text: str, option: str) -> NullSender | MailAddress | DomainName:
    """Return the null sender, a sender's address or a domain."""
    match _recognised(
        text, option, expected := "a mail address, a domain, or <> for bounces", _SENDER
    ):
        case NullSender() | MailAddress() | DomainName() as found:
            return found
        case other:
            raise _refusal(text, option, other, expected)


def read_recipient_or_domain(text: str, option: str) -> MailAddress | DomainName:
    """Return a recipient's address or a domain."""
    match _recognised(text, option, expected := "a mail address or a domain", _RECIPIENT):
        case MailAddress() | DomainName() as found:
            return found
        case other:
            raise _refusal(text, option, other, expected)


def read_address_or_domain(text: str, option: str) -> MailAddress | DomainName:
    """Return a mail address or a domain; a log line is refused, because it has several."""
    match _recognised(text, option, expected := "a mail address or a domain"):
        case MailAddress() | DomainName() as found:
            return found
        case other:
            raise _refusal(text, option, other, expected)


def read_domain(text: str, option: str) -> bytes:
    """Return a domain, or the domain of a mail address."""
    match _recognised(text, option, expected := "a domain such as example.com", _SENDER):
        case DomainName(name):
            return name
        case MailAddress(_, domain) if not domain.startswith(b"["):
            return domain
        case other:
            raise _refusal(text, option, other, expected)


def read_client_address(text: str, option: str) -> Address:
    """Return the IP address of a client."""
    match _recognised(text, option, expected := "an IP address", _CLIENT):
        case ClientNetwork() as client if (address := client.address) is not None:
            return address
        case other:
            raise _refusal(text, option, other, expected)


def read_client(text: str, option: str) -> ClientNetwork | DomainName | ClientGroup:
    """Return the address, network, name or sender group of a client."""
    expected = "an address, a network (192.0.2.0/24) or a host's name"
    match _recognised(text, option, expected, _CLIENT):
        case ClientNetwork() | ClientGroup() as found:
            return found
        case DomainName(has_at=False) as name:
            return name
        case other:
            raise _refusal(text, option, other, expected)


def read_host_name(text: str, option: str) -> bytes:
    """Return a host's name, including that in ``mail.example.com[192.0.2.7]``."""
    if (logged := _LOGGED_CLIENT.fullmatch(text)) is not None:
        text = logged["name"]
    match _recognised(text, option, expected := "a host's name", _NAME):
        case DomainName(name, has_at=False):
            return name
        case other:
            raise _refusal(text, option, other, expected)


def _recognised(text: str, option: str, expected: str, labels: str = "") -> Recognised:
    """Recognise a value, or in a whole log line the field with one of the labels."""
    try:
        found = recognise(text)
        is_null = labels == _SENDER and found == _NULL_SENDER_IN_QUEUES
        return NullSender() if is_null else found
    except NotUnderstoodError as error:
        with contextlib.suppress(NotUnderstoodError):
            if labels and (field := recognise_in_line(text, labels)) is not None:
                return field
        raise CommandError(
            f"{option}={_shown(text)}: {excerpt(str(error), _MAX_SHOWN_CHARACTERS)}; expected"
            f" {expected}"
        ) from None


def _refusal(text: str, option: str, found: Recognised, expected: str) -> CommandError:
    return CommandError(f"{option}={_shown(text)}: understood as {found}; expected {expected}")


def _shown(text: str) -> str:
    return excerpt(printable_text(text), _MAX_SHOWN_CHARACTERS)
