"""Selects entries by client, sender, recipient, state and age.

A client is an address, a network or a name. A name selects the identity of that domain and the
name's addresses in DNS. A sender or recipient is an address, or a domain including its subdomains;
``<>`` is the sender of bounces, and angle brackets around an address are ignored. The values are
compared in the form that keys have: the client's network, and the sender without its variable
parts.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.config.sender_groups import GROUP_PREFIX
from greyd.escaping import printable
from greyd.rules.address import address_text, network_prefix, parse_address
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.entries import EntryKind, EntryState, StoredEntry
from greyd.rules.hostnames import is_or_is_below
from greyd.rules.keys import any_sender_of, identity_keys, request_keys
from greyd.rules.names.internationalised import ascii_address, ascii_domain
from greyd.rules.networks import Network, parse_network
from greyd.rules.site_rules.sender_groups import SenderGroups

if TYPE_CHECKING:
    from collections.abc import Collection

    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.rules.keys import Keys


_MAX_DOMAINS = 10

NULL_SENDER = b"<>"
"""Selects the empty sender: an empty text would be no condition on the sender."""

# The last label begins with a letter: "192.0" is no name, though resolvers accept it as one.
_NAME = re.compile(rb"(?=.{1,253}\Z)([a-z0-9_-]+\.)+[a-z][a-z0-9-]*\.?", re.IGNORECASE)


_ONLY_EXACT = (
    "with --privacy the store contains only hashes: name one triplet by --client ADDRESS, --sender"
    " ADDRESS and --recipient ADDRESS"
)


@dataclass(frozen=True)
class Selection:
    """Conditions that an entry must all meet; an empty field is no condition."""

    networks: tuple[Network, ...] = ()
    domain: bytes = b""
    """The domain of an identity."""
    sender: bytes = b""
    recipient: bytes = b""
    states: Collection[EntryState] = ()
    since: int = 0
    """Unix time; selects entries seen at this time or later."""
    sender_as_given: bytes = b""
    """The sender before it was normalised: correspondences are stored under this form, too."""

    @property
    def names_somebody(self) -> bool:
        """Whether the selection names a client, a sender or a recipient."""
        return bool(self.networks or self.domain or self.sender or self.recipient)

    def matches(self, entry: StoredEntry, settings: Settings) -> bool:
        """Whether an entry meets all conditions."""
        return (
            (not self.states or (entry.state in self.states and not entry.is_expired))
            and (not self.since or entry.last_seen >= self.since)
            and self._matches_client(entry, settings)
            and self._matches_sender(entry)
            and _matches_address(entry.names.recipient, self.recipient)
        )

    def _matches_client(self, entry: StoredEntry, settings: Settings) -> bool:
        if not (self.networks or self.domain):
            return True
        name = entry.names.network
        if entry.kind in (EntryKind.IDENTITY, EntryKind.IDENTITY_TRIPLET):
            return bool(self.domain) and _matches_address(name, self.domain)
        network = _entry_network(entry, settings)
        return network is not None and any(
            _networks_overlap(network, each) for each in self.networks
        )

    def _matches_sender(self, entry: StoredEntry) -> bool:
        if self.sender == NULL_SENDER:
            is_triplet = entry.kind.is_triplet
            return is_triplet and not entry.is_hidden and not entry.names.sender
        return _matches_address(entry.names.sender, self.sender)

    def exact_keys(self, settings: Settings) -> Keys | None:
        """Return the keys of the triplet that the selection names; None unless it names one."""
        address, sender = self.address, self._exact_sender
        if address is None or sender is None or b"@" not in self.recipient.lstrip(b"@"):
            return None
        return request_keys(address, sender, self.recipient, settings)

    def exact_triplets(self, settings: Settings) -> list[bytes]:
        """Return the keys of the triplet that the selection names, by network and by identity.

        Empty unless the selection names a single triplet. The identities are the sender's domain
        and its parent domains, and the sender group of the address; others would be known only from
        the client's name.
        """
        exact, address, sender = self.exact_keys(settings), self.address, self._exact_sender
        if exact is None or address is None or sender is None:
            return []
        names = list(parent_domains(sender))
        if group := SenderGroups(settings).of(b"", address):
            names.append(group.identity)
        identities = [
            identity_keys(name, each, self.recipient, settings)
            for name in names
            for each in (normalise_sender(sender), any_sender_of(name))
        ]
        return [exact.triplet, *(each.triplet for each in identities)]

    def hashed_triplets(self, settings: Settings) -> list[bytes]:
        """Return the keys of the named triplet, for a store of hashes.

        Raises:
            CommandError: the selection does not name a single triplet.
        """
        if found := self.exact_triplets(settings):
            return found
        raise CommandError(_ONLY_EXACT)

    def hashed_keys(self, settings: Settings) -> list[bytes]:
        """Return the keys of the named triplet or client, for a store of hashes.

        Raises:
            CommandError: the selection does not name a single triplet or client.
        """
        if found := self.exact_triplets(settings):
            return found
        if self.address and not (self.sender or self.recipient):
            return [request_keys(self.address, b"", b"", settings).client]
        raise CommandError(f"{_ONLY_EXACT}, or one client by --client ADDRESS")

    @property
    def _exact_sender(self) -> bytes | None:
        """The sender's address, empty for bounces; None if the selection names none or a domain."""
        if self.sender == NULL_SENDER:
            return b""
        return self.sender if b"@" in self.sender.lstrip(b"@") else None

    @property
    def address(self) -> Address | None:
        """The client's address if the selection names exactly one; otherwise None."""
        if len(self.networks) != 1 or self.networks[0].prefix != self.networks[0].bits:
            return None
        network = self.networks[0]
        return parse_address(address_text(network.number, network.bits))


def parent_domains(sender: bytes) -> list[bytes]:
    """Return the domains that may be a sender's identity: its domain and the parent domains."""
    labels = sender.rpartition(b"@")[2].split(b".")
    return [b".".join(labels[start:]) for start in range(len(labels) - 1)][:_MAX_DOMAINS]


def parse_selection(
    client: str | None,
    sender: str | None,
    recipient: str | None,
    states: Collection[EntryState] = (),
    since: int = 0,
) -> Selection:
    """Return the selection that a command's options describe.

    Raises:
        CommandError: the client is not an address, a network or a name.
    """
    networks, domain = _parse_client(client) if client else ((), b"")
    given = parse_mail_address(sender or "", null=NULL_SENDER)
    return Selection(
        networks,
        domain,
        normalise_sender(given).lower(),
        parse_mail_address(recipient or "").lower(),
        states,
        since,
        given,
    )


def parse_mail_address(text: str, *, null: bytes = b"") -> bytes:
    """Return a mail address or a domain without brackets; ``null`` for ``<>``.

    Its domain is in ASCII.
    """
    data = text.strip().encode(errors="surrogateescape")
    if data == NULL_SENDER:
        return null
    data = data[1:-1] if data.startswith(b"<") and data.endswith(b">") else data
    return ascii_address(data) if b"@" in data else ascii_domain(data)


def _parse_client(text: str) -> tuple[tuple[Network, ...], bytes]:
    data = ascii_domain(text.strip().encode(errors="surrogateescape"))
    if network := parse_network(data):
        return (network,), b""
    if data.lower().startswith(GROUP_PREFIX):
        return (), data.lower()
    if not _NAME.fullmatch(data):
        raise CommandError(
            f"--client={printable(data)}: expected an address, a network (192.0.2.0/24)"
            " or a host's name"
        )
    return _resolve(data.decode("ascii")), data.lower().rstrip(b".")


def _resolve(name: str) -> tuple[Network, ...]:
    """Return a name's addresses in DNS; empty is no error: the name may be an identity's domain."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    texts = {str(address[0]).partition("%")[0].encode() for *_, address in found}
    return tuple(filter(None, map(parse_network, sorted(texts))))


def _entry_network(entry: StoredEntry, settings: Settings) -> Network | None:
    """Return the network of an entry's client."""
    network = parse_network(entry.names.network)
    if network is None or entry.kind is EntryKind.CLIENT or settings.lookup_by_host:
        return network
    prefix = network_prefix(network.number, network.bits, settings)
    return replace(network, prefix=min(prefix, network.bits))


def _networks_overlap(one: Network, other: Network) -> bool:
    free = one.bits - min(one.prefix, other.prefix)
    return one.bits == other.bits and one.number >> free == other.number >> free


def _matches_address(address: bytes, wanted: bytes) -> bool:
    """Whether an address equals ``wanted``, or is in the domain ``wanted`` or a subdomain.

    Entries of version 0.1.0 have internationalised domains in UTF-8.
    """
    address = ascii_address(address)
    if not wanted or address == wanted:
        return True
    if b"@" in wanted.lstrip(b"@"):
        return False
    return is_or_is_below(address.rpartition(b"@")[2], wanted.lstrip(b"@"))
