"""The queries of ``greyd show``: a triplet, a client, an identity or a key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.entries.selection import (
    Selection,
    parent_domains,
    parse_mail_address,
    parse_selection,
)
from greyd.cli.errors import CommandError
from greyd.escaping import printable
from greyd.rules.address import Address, parse_address
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.correspondence.keys import keys_to_learn
from greyd.rules.entries import EntryKind
from greyd.rules.keys import any_sender_of, identity_keys, request_keys
from greyd.rules.names.internationalised import ascii_address, ascii_domain
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.entries.found_entries import FoundEntries
    from greyd.config.settings import Settings
    from greyd.store.contract import Store


USAGE = (
    "expected a client's address, a sender and a recipient; or one of: a client's address, an"
    " identity's domain, a key"
)


def parse_query(
    words: Sequence[str], client: str | None, sender: str | None, recipient: str | None
) -> _TripletQuery | _ClientQuery | _KeyQuery:
    """Return the query that the arguments or options describe.

    Raises:
        CommandError: they do not describe a query.
    """
    if words and (client or sender or recipient):
        raise CommandError("arguments or --client, --sender and --recipient, not both")
    if len(words) == 3:
        client, sender, recipient = words
    elif len(words) == 1:
        address = _parse_client_address(words[0])
        return _KeyQuery(words[0]) if address is None else _ClientQuery(address)
    elif words:
        raise CommandError(USAGE)
    if client is None or (sender is None) != (recipient is None):
        raise CommandError(USAGE)
    address = _parse_client_address(client)
    if address is None:
        raise CommandError(
            f"{printable(client.encode(errors='surrogateescape'))}: not an address; {USAGE}"
        )
    if sender is None or recipient is None:
        return _ClientQuery(address)
    return _TripletQuery(address, parse_mail_address(sender), parse_mail_address(recipient))


def _parse_client_address(text: str) -> Address | None:
    data = text.strip().encode(errors="surrogateescape")
    network = parse_network(data)
    if network is None or network.prefix != network.bits:
        return None
    return parse_selection(text, None, None).address


@dataclass(frozen=True)
class _TripletQuery:
    client: Address
    sender: bytes
    recipient: bytes

    @property
    def name(self) -> bytes:
        return b"%b, %b, %b" % (self.client.text, self.sender or b"<>", self.recipient)

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:
        settings = found.settings
        exact = request_keys(self.client, self.sender, self.recipient, settings)
        await found.print_entries(store, exact.triplet, exact.client)
        if settings.identity:
            await self._add_identities(store, found, quick=quick)
        if settings.learn_outbound:
            learnt = keys_to_learn(self.recipient, self.sender, settings)
            await found.print_entries(store, *(each.key for each in learnt))

    async def _add_identities(self, store: Store, found: FoundEntries, *, quick: bool) -> None:
        """Print the entries of the identities that the sender's mail may belong to."""
        settings = found.settings
        domains = parent_domains(self.sender)
        if not (quick or settings.privacy):
            same = normalise_sender(self.sender).lower(), self.recipient.lower()
            others = await found.scan_store(
                store,
                lambda each: each.kind is EntryKind.IDENTITY_TRIPLET and each.names[1:] == same,
            )
            domains = list(dict.fromkeys([*domains, *(each.names.network for each in others)]))
        for domain in domains:
            keys = identity_keys(domain, normalise_sender(self.sender), self.recipient, settings)
            below = identity_keys(domain, any_sender_of(domain), self.recipient, settings)
            await found.print_entries(store, keys.triplet, below.triplet, keys.identity)


@dataclass(frozen=True)
class _ClientQuery:
    address: Address

    @property
    def name(self) -> bytes:
        return self.address.text

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:
        settings = found.settings
        await found.print_entries(store, request_keys(self.address, b"", b"", settings).client)
        if quick or settings.privacy:
            return
        network = parse_network(self.address.text)
        mail = Selection(networks=(network,) if network else ())
        found.add_others(
            await found.scan_store(
                store, lambda each: each.kind.is_triplet and mail.matches(each, settings)
            ),
            f"greyd list --client={self.address.text.decode()}",
        )


_QUOTED = re.compile(rb"\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_PERCENT = re.compile(rb"%([01][0-9A-F]|7F|[89A-F][0-9A-F])")
"""Matches the escapes that ``printable`` writes; not ``%25`` or ``%2f``, which keys contain."""


@dataclass(frozen=True)
class _KeyQuery:
    text: str

    @property
    def name(self) -> bytes:
        return self.text.encode(errors="surrogateescape")

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:  # noqa: ARG002 - never scans
        """Try each key that the text may stand for, until one exists."""
        for key in dict.fromkeys(self._meanings(found.settings)):
            if await found.print_entries(store, key):
                return

    def _meanings(self, settings: Settings) -> list[bytes]:
        given = self.name.strip()
        # On a terminal, redis-cli prints keys in quotes.
        unquoted = _QUOTED.sub(_unescape, given.removeprefix(b'"').removesuffix(b'"'))
        prefix = settings.key_prefix.encode()
        bare = [each.removeprefix(prefix) for each in (given, unquoted)]
        percent = [_PERCENT.sub(lambda odd: bytes([int(odd[1], 16)]), each) for each in bare]
        place, slash, names = b"/".join(map(ascii_address, given.split(b"/"))).partition(b"/")
        postgreys = b"{%b}%b%b" % (place, slash, names) if parse_address(place) else given
        domain = ascii_domain(given).lower()
        return [
            given, *bare, *percent, postgreys, b"{%b}:%b" % (domain, domain), b"/" + given,
            b":" + given,
        ]  # fmt: skip


def _unescape(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes([int(escape[1], 16)])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}.get(
        escape[2], escape[2]
    )
