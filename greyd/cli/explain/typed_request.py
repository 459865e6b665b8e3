"""Reads a request that somebody typed as words: ``ADDRESS SENDER RECIPIENT``, or a log line.

A word may also be an attribute with its name, as in a log: ``sender=alice@example.com``.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.typed_address.forms import DomainName
from greyd.cli.typed_address.options import read_client
from greyd.dns.lookup import DnsError, RecordType
from greyd.escaping import printable, shell_word
from greyd.rules.address import address_text, parse_address
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from greyd.dns.lookup import Lookup

_POSITIONS = ("client_address", "sender", "recipient")
_USAGE = "greyd explain ADDRESS SENDER RECIPIENT ('<>' is the sender of a bounce)"
_MAX_SHOWN_ADDRESSES = 5

_LABELS: Mapping[str, str] = {
    "client_address": "client_address", "client": "client_address", "ip": "client_address",
    "client_name": "client_name", "reverse_client_name": "reverse_client_name",
    "sender": "sender", "from": "sender", "recipient": "recipient", "to": "recipient",
    "helo_name": "helo_name", "helo": "helo_name", "protocol_name": "protocol_name",
    "proto": "protocol_name", "sasl_username": "sasl_username",
    "policy_context": "policy_context",
}  # fmt: skip
"""The attributes by the names that logs and policy requests give them."""

_LABELLED = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)
_CLIENT_WITH_NAME = re.compile(r"[^\s\[\]=]+\[(?:IPv6:)?[0-9A-Fa-f:.]+\](?::\d+)?:?,?")
_OF_LOG_LINE = re.compile(r"action=|\"action\"|RCPT|message repeated")


@dataclass(frozen=True, slots=True)
class TypedRequest:
    """The attributes in a command line's words, by name, or the log line that the words form."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    log_line: str | None = None


def read_words(words: Sequence[str]) -> TypedRequest:
    """Return what the arguments of ``greyd explain`` mean.

    Raises:
        CommandError: there are too few or too many words, or an attribute is given twice.
    """
    text = " ".join(words)
    if _OF_LOG_LINE.search(text) and not _are_attributes(words):
        return TypedRequest(log_line=text)
    found: dict[str, str] = {}
    positional = []
    for word in words:
        labelled = _LABELLED.fullmatch(word)
        name = _LABELS.get(labelled[1]) if labelled else None
        if labelled is None or name is None:
            positional.append(word)
        elif name in found:
            raise CommandError(f"{labelled[1]}=: given twice")
        else:
            found[name] = labelled[2].rstrip(",")
    open_positions = [name for name in _POSITIONS if name not in found]
    if len(positional) > len(open_positions):
        raise CommandError(f"too many arguments; {_USAGE}")
    if len(positional) == len(_POSITIONS):
        positional = _in_order(positional)
    found.update(zip(open_positions, positional, strict=False))
    client = found.get("client_address", "")
    if _CLIENT_WITH_NAME.fullmatch(client):
        found.setdefault("client_name", client)
    return TypedRequest(found)


def _in_order(words: Sequence[str]) -> list[str]:
    """Return three words as client, sender and recipient, if their forms show which is which.

    Two mail addresses keep their order: the sender comes first.
    """
    clients = [each for each in words if _is_address(each)] or [
        each for each in words if "@" not in each and "." in each
    ]
    if len(clients) != 1:
        return list(words)
    (client,) = clients
    others = [each for each in words if each is not client]
    # Only a sender is empty.
    return [client, *sorted(others, key=lambda each: each.strip() not in ("<>", ""))]


def _is_address(word: str) -> bool:
    bare = word.strip("[](),;").encode(errors="surrogateescape")
    return _CLIENT_WITH_NAME.fullmatch(word) is not None or parse_address(bare) is not None


def _are_attributes(words: Sequence[str]) -> bool:
    """Whether all words are attributes, as lines of a policy request are."""
    return all((found := _LABELLED.fullmatch(each)) and found[1] in _LABELS for each in words)


def check_complete(attributes: Collection[str], words: Sequence[str] = ()) -> None:
    """Check that a typed request has a client, a sender and a recipient.

    Args:
        attributes: the names of the attributes.
        words: the words that were typed.

    Raises:
        CommandError: one of them is missing.
    """
    if missing := [name for name in _POSITIONS if name not in attributes]:
        names = ", ".join(each.removeprefix("client_").upper() for each in missing)
        stored = f"; what is stored: greyd show {shell_word(words[0])}" if words else ""
        raise CommandError(f"{names}: missing; {_USAGE}{stored}")


@dataclass(frozen=True, slots=True)
class TypedClient:
    """A client as somebody typed it: an address, or the name of a host without a known address."""

    address: str | None
    host: bytes = b""
    """The host's name, if DNS gave no address for it; otherwise empty."""


async def resolve_client(text: str, lookup: Lookup) -> TypedClient:
    """Return a client that may be typed as a host's name, which DNS resolves.

    Anything but a host's name is returned as it is. If a name has several addresses, the first one
    is returned, and a note on standard error shows the others.
    """
    if _CLIENT_WITH_NAME.fullmatch(text):
        return TypedClient(text)
    try:
        client = read_client(text, "ADDRESS")
    except CommandError:
        return TypedClient(text)  # The option's own reader explains what is wrong with it.
    if not isinstance(client, DomainName):
        return TypedClient(text)
    addresses: list[str] = []
    for kind, bits in ((RecordType.A, 32), (RecordType.AAAA, 128)):
        # The lookup records the failure, which the explanation shows if there is no address.
        with contextlib.suppress(DnsError):
            answer = await lookup.query(client.name, kind)
            addresses += [
                address_text(int.from_bytes(each), bits).decode() for each in answer.values
            ]
    if not addresses:
        return TypedClient(None, client.name)
    if others := addresses[1 : _MAX_SHOWN_ADDRESSES + 1]:
        more = len(addresses) - 1 - len(others)
        print_error(
            f"{printable(client.name)}: explaining mail from its address {addresses[0]}; it also"
            f" has {', '.join(others)}{f' and {more} more' if more else ''}"
        )
    return TypedClient(addresses[0])
