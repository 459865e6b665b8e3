"""The keys of the records of triplets, clients and identities."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from typing import TYPE_CHECKING, NamedTuple

from greyd.rules.address import Address, address_text, is_address, network_of
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.correspondence.keys import keys_of_answer
from greyd.rules.correspondence.mailbox_providers import mailbox_providers
from greyd.rules.hostnames import domain_of
from greyd.rules.names.internationalised import ascii_address, ascii_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.correspondence.keys import CorrespondenceKey
    from greyd.rules.evidence import Evidence, ProvenIdentity


# Keys -------------------------------------------------------------------------------------------


class IdentityKeys(NamedTuple):
    """The keys of an identity's record, and of its triplet. A tuple, as part of ``Keys``."""

    triplet: bytes
    identity: bytes


class Keys(NamedTuple):
    """The keys of a request's records. A tuple, because each request creates one."""

    triplet: bytes
    client: bytes
    identities: tuple[IdentityKeys, ...] = ()
    """In the order of the evidence's identities."""
    correspondences: tuple[CorrespondenceKey, ...] = ()
    """If one of these has a record, the request is an answer to a local user's mail."""
    network_checksum: int = 0
    """A checksum of the client's network, for the identities' records; 0 without identities."""


def request_keys(
    address: Address,
    sender: bytes,
    recipient: bytes,
    settings: Settings,
    evidence: Evidence | None = None,
) -> Keys:
    """Return the keys for a request's client, envelope sender and recipient."""
    normal = normalise_sender(sender)
    keys = keys_of_normal(address, normal, recipient, settings)
    if evidence is None or not evidence.identities:
        return keys
    # Bots that a spammer's SPF record includes must each come back with their own sender.
    joins = not evidence.voids_merit
    identities = tuple(
        identity_keys(
            each.organisation,
            _sender_for_identity(each, normal) if joins else normal,
            recipient,
            settings,
        )
        for each in evidence.identities
    )
    correspondences = keys_of_answer(sender, recipient, evidence, settings)
    checksum = _network_checksum(address, settings)
    return Keys(keys.triplet, keys.client, identities, correspondences, checksum)


def _sender_for_identity(proven: ProvenIdentity, sender: bytes) -> bytes:
    """Return the sender in the triplet of an identity.

    Newsletters have a bounce address of their own for each message, often in a domain of its own
    below the organisation's: ``a1b2@b4711.mail.example.com``. If SPF proves the organisation, all
    senders below its domain count as one. Senders at the domain itself, which people use, do not,
    and neither do those of mailbox providers and of machines, which belong to different people.
    """
    domain = ascii_domain(domain_of(sender))
    is_own = proven.way == "spf" and proven.speaks_for_sender and not proven.may_be_customer
    if not is_own or domain == proven.organisation or domain in mailbox_providers():
        return sender
    return any_sender_of(proven.organisation)


def any_sender_of(organisation: bytes) -> bytes:
    """Return the sender in a triplet's key that represents all below an organisation's domain."""
    return b"@" + organisation


def _network_checksum(address: Address, settings: Settings) -> int:
    text = address_text(network_of(address, settings), address.bits)
    if settings.privacy:
        text = _digest(settings.privacy_key)(text)
    return zlib.crc32(text)


def keys_of_normal(address: Address, sender: bytes, recipient: bytes, settings: Settings) -> Keys:
    """Return the keys for a normalised sender, which must not be normalised a second time.

    A second normalisation can change the sender again. Both forms of an internationalised domain
    have the same keys; for ASCII the keys contain what postgrey's do. A hash without a secret is
    that of postgrey in any case: a hash imported from it cannot be converted.
    """
    is_postgreys_hash = settings.privacy and settings.privacy_key is None
    if not is_postgreys_hash and not (sender.isascii() and recipient.isascii()):
        sender, recipient = ascii_address(sender), ascii_address(recipient)
    network = network_of(address, settings)
    if settings.privacy:
        return _private_keys(address, network, sender, recipient, settings)
    tag = address_text(network, address.bits)
    triplet = b"{%b}/%b/%b" % (tag, _escape_sender(sender), recipient)
    return Keys(triplet.lower(), b"{%b}:%b" % (tag, address.text))


def keys_to_remember(keys: Keys, settings: Settings) -> Sequence[bytes]:
    """Return the keys whose records ``decide_from_memory`` needs."""
    if keys.identities:
        return (keys.triplet, keys.client, *(each.triplet for each in keys.identities))
    return (keys.triplet, keys.client) if settings.auto_whitelist_clients else (keys.triplet,)


def keys_to_read(keys: Keys, settings: Settings) -> Sequence[bytes]:
    """Return the keys whose records ``decide`` needs, as ``RememberedRecords.under`` takes them."""
    if not keys.identities:
        return keys_to_remember(keys, settings)
    wanted = [keys.triplet, keys.client]
    for each in keys.identities:
        wanted += each
    return (*wanted, *(each.key for each in keys.correspondences))


def identity_keys(
    domain: bytes, sender: bytes, recipient: bytes, settings: Settings
) -> IdentityKeys:
    """Return the keys of an identity and its triplet; ``sender`` is normalised."""
    sender, recipient = ascii_address(sender), ascii_address(recipient)
    triplet = (b"{%b}/%b/%b" % (domain, _escape_sender(sender), recipient)).lower()
    domain = domain.lower()
    identity = b"{%b}:%b" % (domain, domain)
    if settings.privacy:
        return IdentityKeys(hash_key(triplet, settings), hash_key(identity, settings))
    return IdentityKeys(triplet, identity)


def hash_key(key: bytes, settings: Settings) -> bytes:
    """Return the hashed form, with ``--privacy``, of the key of an identity or of its triplet."""
    digest = _digest(settings.privacy_key)
    return b"/" + digest(key) if is_triplet(key) else b":" + digest(key.partition(b"}:")[2])


class TripletNames(NamedTuple):
    """The names in a triplet's key: network, sender and recipient."""

    network: bytes
    """The client's network, or its identity's domain."""
    sender: bytes
    recipient: bytes


def is_triplet(key: bytes) -> bool:
    """Whether a key is that of a triplet, either of a network or of an identity."""
    return key.startswith(b"/") or b"}/" in key


def is_of_identity(key: bytes) -> bool:
    """Whether a key's tag is a domain instead of a network; False for a hash, which has no tag."""
    tag, brace, _ = key.partition(b"}")
    return bool(brace) and not is_address(tag.removeprefix(b"{"))


def names_in(key: bytes) -> TripletNames | None:
    """Return the names in a triplet's key; None for a hash or a key of another kind."""
    network, brace, names = key.partition(b"}/")
    sender, slash, recipient = names.partition(b"/")
    if not (network.startswith(b"{") and brace and slash):
        return None
    sender = sender.replace(b"%2f", b"/").replace(b"%25", b"%")
    return TripletNames(network[1:], sender, recipient)


def _escape_sender(sender: bytes) -> bytes:
    return sender.replace(b"%", b"%25").replace(b"/", b"%2f")


def _private_keys(
    address: Address, network: int, sender: bytes, recipient: bytes, settings: Settings
) -> Keys:
    # The hashed text is exactly that of postgrey, so that greyd can import its private databases.
    place = _postgrey_text(network, address.bits)
    if settings.lookup_by_host:
        place += b"/%d" % address.bits
    if settings.privacy_key is not None:
        sender = _escape_sender(sender)
    triplet = b"%b/%b/%b" % (place, sender, recipient)
    digest = _digest(settings.privacy_key)
    return Keys(
        b"/" + digest(triplet.lower()),
        b":" + digest(_postgrey_text(address.number, address.bits).upper()),
    )


def _digest(secret: bytes | None) -> Callable[[bytes], bytes]:
    if secret is None:
        return lambda text: hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
    return lambda text: hmac.digest(secret, text, "sha256").hex().encode()


def _postgrey_text(number: int, bits: int) -> bytes:
    """Return an address as postgrey writes it: IPv6 as eight groups, without ``::``."""
    if bits == 32:
        return address_text(number, bits)
    return b":".join(b"%x" % (number >> shift & 0xFFFF) for shift in range(112, -1, -16))
