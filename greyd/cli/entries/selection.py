"""Selects entries by client, sender, recipient, state and age.

A client is an address, a network or a name. A name selects the identity of that domain and the
name's addresses in DNS. A sender or recipient is an address, or a domain including its subdomains;
``<>`` is the sender of bounces. ``greyd.cli.typed_address`` reads what was typed. The values are
compared in the form that keys have: the client's network, and the sender without its variable
parts.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.typed_address.forms import (
    ClientGroup,
    ClientNetwork,
    DomainName,
    MailAddress,
    stored_form,
)
from greyd.cli.typed_address.options import (
    read_client,
    read_recipient_or_domain,
    read_sender_or_domain,
)
from greyd.escaping import printable
from greyd.rules.address import address_text, network_prefix, parse_address
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.entries import EntryKind, EntryState, StoredEntry
from greyd.rules.hostnames import is_or_is_below
from greyd.rules.keys import any_sender_of, identity_keys, request_keys
from greyd.rules.networks import Network, parse_network
from greyd.rules.site_rules.sender_groups import SenderGroups

if TYPE_CHECKING:
    from collections.abc import Collection

    from greyd.cli.typed_address.forms import NullSender
    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.rules.keys import Keys


_MAX_DOMAINS = 10

NULL_SENDER = b"<>"
"""Selects the empty sender: an empty text would be no condition on the sender."""

# The last label begins with a letter: "192.0" is not a name, though resolvers accept it as one.
_NAME = re.compile(rb"(?=.{1,253}\Z)([a-z0-9_-]+\.)+[a-z][a-z0-9-]*\.?", re.IGNORECASE)


_ONLY_EXACT = (
    "with --privacy the store contains only hashes: name one triplet by --client ADDRESS, --sender"
    " ADDRESS and --recipient ADDRESS"
)


@dataclass(frozen=True)
class Selection:
    """Conditions that an entry must all meet; an empty field is not a condition."""

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

    either: bytes = b""
    """An address or a domain that is the sender or the recipient."""

    @property
    def names_somebody(self) -> bool:
        """Whether the selection names a client, a sender or a recipient."""
        return bool(self.networks or self.domain or self.sender or self.recipient or self.either)

    def matches(self, entry: StoredEntry, settings: Settings) -> bool:
        """Whether an entry meets all conditions."""
        return (
            (not self.states or (entry.state in self.states and not entry.is_expired))
            and (not self.since or entry.last_seen >= self.since)
            and self._matches_client(entry, settings)
            and self.matches_names(entry)
        )

    def matches_names(self, entry: StoredEntry) -> bool:
        """Whether the sender and the recipient of an entry meet the conditions."""
        if self.either:
            return any(each.matches_names(entry) for each in self.in_each_role())
        return self._matches_sender(entry) and _matches_address(
            entry.names.recipient, self.recipient
        )

    def in_each_role(self) -> tuple[Selection, Selection]:
        """Return the selections of ``either`` as sender, and as recipient."""
        return (
            replace(
                self,
                sender=normalise_sender(self.either).lower(),
                sender_as_given=self.either,
                either=b"",
            ),
            replace(self, recipient=self.either.lower(), either=b""),
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

        The result is empty unless the selection names a single triplet, or only its sender and
        recipient; then the triplet is found by identity only. The identities are the sender's
        domain, its parent domains, and the sender group of the address; any others are derived
        from the client's name, which the selection does not contain.
        """
        exact, address, sender = self.exact_keys(settings), self.address, self._exact_sender
        if sender is None or b"@" not in self.recipient.lstrip(b"@"):
            return []
        if exact is None and (self.networks or self.domain):
            return []
        names = list(parent_domains(sender))
        if address is not None and (group := SenderGroups(settings).of(b"", address)):
            names.append(group.identity)
        identities = [
            identity_keys(name, each, self.recipient, settings)
            for name in names
            for each in (normalise_sender(sender), any_sender_of(name))
        ]
        own = [] if exact is None else [exact.triplet]
        return [*own, *(each.triplet for each in identities)]

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
        if self.domain and not (self.sender or self.recipient):
            return [identity_keys(self.domain, b"", b"", settings).identity]
        raise CommandError(f"{_ONLY_EXACT}, or a client or identity by --client")

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
        CommandError: the client is not an address, a network or a name; the sender or recipient is
            not a mail address or domain.
    """
    networks, domain = ((), b"") if client is None else _parse_client(client)
    given = b"" if sender is None else sender_text(read_sender_or_domain(sender, "--sender"))
    wanted = None if recipient is None else read_recipient_or_domain(recipient, "--recipient")
    return Selection(
        networks,
        domain,
        normalise_sender(given).lower(),
        b"" if wanted is None else sender_text(wanted).lower(),
        states,
        since,
        given,
    )


def sender_text(found: NullSender | MailAddress | DomainName) -> bytes:
    """Return the text with which a selection names a sender or a recipient."""
    match found:
        case MailAddress():
            return found.text
        case DomainName(name):
            return name
    return NULL_SENDER


def client_selection(client: ClientNetwork | DomainName | ClientGroup) -> Selection:
    """Return the selection of a client's entries."""
    networks, domain = _client_conditions(client)
    return Selection(networks, domain)


def _parse_client(text: str) -> tuple[tuple[Network, ...], bytes]:
    client = read_client(text, "--client")
    if isinstance(client, DomainName) and not _NAME.fullmatch(client.name):
        raise CommandError(
            f"--client={printable(client.name)}: expected an address, a network (192.0.2.0/24)"
            " or a host's full name"
        )
    return _client_conditions(client)


def _client_conditions(
    client: ClientNetwork | DomainName | ClientGroup,
) -> tuple[tuple[Network, ...], bytes]:
    match client:
        case ClientNetwork(network):
            return (network,), b""
        case ClientGroup(identity):
            return (), identity
        case DomainName(name):
            return _resolve(name.decode("ascii")) if _NAME.fullmatch(name) else (), name


def _resolve(name: str) -> tuple[Network, ...]:
    """Return a name's addresses in DNS; empty is no error: the name may be an identity's domain."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    texts = {str(address[0]).partition("%")[0].encode() for *_, address in found}
    return tuple(filter(None, map(parse_network, sorted(texts))))


def dns_is_silent(name: str) -> bool:
    """Whether DNS did not answer for a name's addresses, so its entries were not searched."""
    try:
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM)
    except (OSError, UnicodeError):
        return False
    return False


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
    if not wanted:
        return True
    address = stored_form(address)
    if address == wanted:
        return True
    if b"@" in wanted.lstrip(b"@"):
        return False
    return is_or_is_below(address.rpartition(b"@")[2], wanted.lstrip(b"@"))
