"""The queries of ``greyd show``: a triplet, a client, an identity or a key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.entries.aliases import AddressAliases
from greyd.cli.entries.related import AddressQuery, ClientQuery, Query, Role
from greyd.cli.entries.search.key_texts import texts_of_selection
from greyd.cli.entries.selection import Selection, parent_domains
from greyd.cli.errors import CommandError
from greyd.cli.typed_address.decoration import NotUnderstoodError
from greyd.cli.typed_address.forms import DomainName, MailAddress, NullSender, recognise
from greyd.cli.typed_address.options import (
    read_client,
    read_client_address,
    read_recipient,
    read_recipient_or_domain,
    read_sender,
    read_sender_or_domain,
)
from greyd.rules.address import parse_address
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.correspondence.keys import keys_to_learn
from greyd.rules.entries import EntryKind
from greyd.rules.keys import any_sender_of, identity_keys, request_keys
from greyd.rules.names.internationalised import ascii_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.entries.found_entries import FoundEntries
    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.store.contract import Store


USAGE = (
    "expected a client's address, a sender and a recipient; or one of: a client's address, network"
    " or name, a mail address, a domain, a key"
)

_NULL_SENDER = (
    "<>: the null sender sends all bounces; name a client and a recipient too, or use greyd list"
    " --sender '<>'"
)


def parse_query(
    words: Sequence[str], client: str | None, sender: str | None, recipient: str | None
) -> Query:
    """Return the query that the arguments or options describe.

    Raises:
        CommandError: they do not describe a query.
    """
    given = [client, sender, recipient]
    if words and any(each is not None for each in given):
        raise CommandError("arguments or --client, --sender and --recipient, not both")
    if len(words) == 1:
        return _parse_word(words[0])
    if len(words) not in (0, 1, 3):
        raise CommandError(USAGE)
    if len(words) == 3:
        return _parse_triplet(words, ("CLIENT", "SENDER", "RECIPIENT"))
    match given:
        case [str() as one, str() as two, str() as three]:
            return _parse_triplet([one, two, three], ("--client", "--sender", "--recipient"))
        case [str() as text, None, None]:
            return ClientQuery(read_client(text, "--client"))
        case [None, str() as text, None]:
            sender_found = read_sender_or_domain(text, "--sender")
            if isinstance(sender_found, NullSender):
                raise CommandError(_NULL_SENDER)
            return AddressQuery(AddressAliases(sender_found), (Role.SENDER,))
        case [None, None, str() as text]:
            found = read_recipient_or_domain(text, "--recipient")
            return AddressQuery(AddressAliases(found), (Role.RECIPIENT,))
    raise CommandError(USAGE)


def _parse_triplet(words: Sequence[str], options: tuple[str, str, str]) -> _TripletQuery:
    client, sender, recipient = words
    return _TripletQuery(
        read_client_address(client, options[0]),
        read_sender(sender, options[1]),
        read_recipient(recipient, options[2]),
    )


_KEY = re.compile(
    r"""\s*["']?[^\s{}@]{0,100}(?:\{[^{}]*\}[/:~!].*|[/:~][0-9a-f]{40,64}["']?\s*)""", re.DOTALL
)
"""Texts that can only be keys: an optional prefix, then a tag in braces, or a mark and a hash."""


def _parse_word(word: str) -> Query:
    """Return the query for one word: a key, or what the word names."""
    key = _KeyQuery(word)
    if _KEY.fullmatch(word) or _is_postgreys_key(word):
        return key
    try:
        found = recognise(word)
    except NotUnderstoodError as error:
        return _KeyQuery(word, str(error))
    match found:
        case NullSender():
            raise CommandError(_NULL_SENDER)
        case MailAddress():
            return _KeyOrElse(key, AddressQuery(AddressAliases(found), tuple(Role)))
        case DomainName(has_at=True):
            return _KeyOrElse(key, AddressQuery(AddressAliases(found), tuple(Role)))
        case DomainName():
            aliases = AddressAliases(found)
            return _KeyOrElse(key, AddressQuery(aliases, tuple(Role), ClientQuery(found)))
        case _:
            return _KeyOrElse(key, ClientQuery(found))


def _is_postgreys_key(word: str) -> bool:
    place, slash, names = word.strip().partition("/")
    is_place = parse_address(place.encode(errors="surrogateescape")) is not None
    return is_place and bool(slash) and "/" in names


@dataclass(frozen=True)
class _KeyOrElse:
    """Shows the entry with this key, if there is one; otherwise what the word names."""

    key: _KeyQuery
    other: AddressQuery | ClientQuery

    @property
    def name(self) -> bytes:
        return self.other.name

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:
        await self.key.answer(store, found, quick=quick)
        if not found.has_entries:
            await self.other.answer(store, found, quick=quick)


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
                texts_of_selection(Selection(sender=same[0], recipient=same[1]), settings),
            )
            domains = list(dict.fromkeys([*domains, *(each.names.network for each in others)]))
        for domain in domains:
            keys = identity_keys(domain, normalise_sender(self.sender), self.recipient, settings)
            below = identity_keys(domain, any_sender_of(domain), self.recipient, settings)
            await found.print_entries(store, keys.triplet, below.triplet, keys.identity)


_QUOTED = re.compile(rb"\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_PERCENT = re.compile(rb"%([01][0-9A-F]|7F|[89A-F][0-9A-F])")
"""Matches the escapes that ``printable`` writes; not ``%25`` or ``%2f``, which keys contain."""


@dataclass(frozen=True)
class _KeyQuery:
    text: str
    reason: str = ""
    """Why the text can only be a key."""

    @property
    def name(self) -> bytes:
        return self.text.encode(errors="surrogateescape")

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:  # noqa: ARG002 - never scans
        """Try each key that the text may stand for, until one exists."""
        for key in dict.fromkeys(self._meanings(found.settings)):
            if await found.print_entries(store, key):
                return
        if self.reason:
            raise CommandError(f"{self.reason}, and there is no entry with this key; {USAGE}")

    def _meanings(self, settings: Settings) -> list[bytes]:
        given = self.name.strip()
        # On a terminal, redis-cli prints keys in quotes.
        unquoted = _QUOTED.sub(_unescape, given.removeprefix(b'"').removesuffix(b'"'))
        prefix = settings.key_prefix.encode()
        bare = [each.removeprefix(prefix) for each in (given, unquoted)]
        percent = [_PERCENT.sub(lambda odd: bytes([int(odd[1], 16)]), each) for each in bare]
        place, slash, names = b"/".join(map(ascii_address, given.split(b"/"))).partition(b"/")
        postgreys = b"{%b}%b%b" % (place, slash, names) if parse_address(place) else given
        hashes = [mark + given for mark in (b"/", b":", b"~")]
        return [given, *bare, *percent, postgreys, *hashes]


def _unescape(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes([int(escape[1], 16)])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}.get(
        escape[2], escape[2]
    )
