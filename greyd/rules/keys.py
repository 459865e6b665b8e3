"""The keys under which a triplet, a client, an identity and a correspondence are stored."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, NamedTuple

from greyd.rules.address import Address, address_text, network_of, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.evidence import Evidence


# Senders ----------------------------------------------------------------------------------------

_BATV = re.compile(rb"prvs=([^=]*)=([^=]+)")
_BATV_TAG = re.compile(rb"[0-9a-z]{10}")
_LONE_NUMBER = re.compile(rb"\b[0-9]+\b")


def normalise_sender(sender: bytes) -> bytes:
    """Return the sender without what changes from mail to mail (postgrey's behaviour).

    Only where there is an ``@``, and only in the local part: a BATV tag goes, an extension from
    the first ``+`` goes, and a run of digits between word boundaries becomes ``#``.
    """
    local, at, domain = sender.partition(b"@")
    if not at:
        return sender
    if local.startswith(b"prvs="):
        local = _without_batv_tag(local)
    local = local.partition(b"+")[0]
    return _LONE_NUMBER.sub(b"#", local) + at + domain


def _without_batv_tag(local: bytes) -> bytes:
    batv = _BATV.fullmatch(local)
    if batv is None:
        return local
    left, right = batv.groups()
    # Both orders are in use; where the tag can't be told from the name, the tag came first.
    tag_is_right = _BATV_TAG.match(right) and not _BATV_TAG.match(left)
    return left if tag_is_right else right


# Keys -------------------------------------------------------------------------------------------


class Keys(NamedTuple):
    """Where a request's triplet and its client are remembered.

    Those of the identity and of the correspondence are empty where they do not matter.
    """

    triplet: bytes
    client: bytes
    identity_triplet: bytes = b""
    identity: bytes = b""
    correspondence: bytes = b""


def request_keys(
    address: Address,
    sender: bytes,
    recipient: bytes,
    settings: Settings,
    evidence: Evidence | None = None,
) -> Keys:
    """Return the keys for a request's client, envelope sender and recipient."""
    normal = normalise_sender(sender)
    here = keys_of_normal(address, normal, recipient, settings)
    if evidence is None or not evidence.identity:
        return here
    correspondence = b""
    if evidence.speaks_for_sender and settings.learn_outbound:
        correspondence = correspondence_key(sender, recipient, settings)
    return Keys(
        *here[:2], *_identity_keys(evidence.identity, normal, recipient, settings), correspondence
    )


def keys_of_normal(address: Address, sender: bytes, recipient: bytes, settings: Settings) -> Keys:
    """Return the keys for a client, a sender that is normalised already, and a recipient.

    Normalising twice is not the same as once.
    """
    network = network_of(address, settings)
    if settings.privacy:
        return _private_keys(address, network, sender, recipient, settings)
    tag = address_text(network, address.bits)
    triplet = b"{%b}/%b/%b" % (tag, _unambiguous(sender), recipient)
    return Keys(triplet.lower(), b"{%b}:%b" % (tag, address.text))


def keys_to_read(keys: Keys, settings: Settings) -> Sequence[bytes]:
    """Return the keys whose records ``decide`` wants, in their order."""
    if keys.identity:
        return keys if keys.correspondence else keys[:4]
    return keys[:2] if settings.auto_whitelist_clients else keys[:1]


def _identity_keys(
    domain: bytes, sender: bytes, recipient: bytes, settings: Settings
) -> tuple[bytes, bytes]:
    triplet = (b"{%b}/%b/%b" % (domain, _unambiguous(sender), recipient)).lower()
    domain = domain.lower()
    keys = triplet, b"{%b}:%b" % (domain, domain)
    return (hidden(keys[0], settings), hidden(keys[1], settings)) if settings.privacy else keys


def hidden(key: bytes, settings: Settings) -> bytes:
    """Return what stands for the key of an identity or of its triplet with ``--privacy``."""
    digest = _digest(settings.privacy_key)
    return b"/" + digest(key) if is_triplet(key) else b":" + digest(key.partition(b"}:")[2])


def correspondence_key(correspondent: bytes, user: bytes, settings: Settings) -> bytes:
    """Return where it is remembered that one of our users has written to somebody elsewhere."""
    both = (correspondent + b"\0" + user).lower()
    hashed = hmac.digest(settings.privacy_key or b"", both, "sha256").hex().encode()
    if settings.privacy:
        return b"~" + hashed
    return b"{%b}~%b" % (correspondent.rpartition(b"@")[2].lower(), hashed)


class Names(NamedTuple):
    """Whom a triplet is about, as its key tells."""

    network: bytes
    sender: bytes
    recipient: bytes


def is_triplet(key: bytes) -> bool:
    """Whether a key is a triplet's; else it is a client's, or something of the store's own."""
    return key.startswith(b"/") or b"}/" in key


def is_of_identity(key: bytes) -> bool:
    """Whether a key's tag is a domain, not a network; a hash does not tell."""
    tag, brace, _ = key.partition(b"}")
    return bool(brace) and parse_address(tag.removeprefix(b"{")) is None


def names_in(key: bytes) -> Names | None:
    """Return whom a triplet's key is about; None for a hash, which tells nobody."""
    network, brace, names = key.partition(b"}/")
    sender, slash, recipient = names.partition(b"/")
    if not (network.startswith(b"{") and brace and slash):
        return None
    sender = sender.replace(b"%2f", b"/").replace(b"%25", b"%")
    return Names(network[1:], sender, recipient)


def _unambiguous(sender: bytes) -> bytes:
    return sender.replace(b"%", b"%25").replace(b"/", b"%2f")


def _private_keys(
    address: Address, network: int, sender: bytes, recipient: bytes, settings: Settings
) -> Keys:
    # The hashed text is postgrey's to the letter, so that its private databases can be taken over.
    place = _postgrey_text(network, address.bits)
    if settings.lookup_by_host:
        place += b"/%d" % address.bits
    if settings.privacy_key is not None:
        sender = _unambiguous(sender)
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
    """Return an address as postgrey writes it: IPv6 as eight groups, none left out."""
    if bits == 32:
        return address_text(number, bits)
    return b":".join(b"%x" % (number >> shift & 0xFFFF) for shift in range(112, -1, -16))
