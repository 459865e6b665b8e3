"""Finds texts that the keys of selected entries contain, so that the store can leave out others.

The texts need only be necessary: every matching entry has one of them in its key, or a character
of UTF-8 outside ASCII. A search without such a text scans the whole store.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.cli.entries.selection import NULL_SENDER
from greyd.cli.typed_address.forms import MailAddress
from greyd.rules.address import address_text
from greyd.rules.correspondence.address_forms import local_part_without_tags, replace_numbers
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from collections.abc import Collection

    from greyd.cli.entries.aliases import AddressAliases
    from greyd.cli.entries.selection import Selection
    from greyd.config.settings import Settings
    from greyd.rules.networks import Network

MIN_FILTERED_ENTRIES = 5000
"""The size of a store below which a scan of all entries is as quick."""

MAX_SEARCHED_CLIENTS = 10
"""The maximum number of clients to search for; for each, the store compares each key."""

_QUOTED = b'"@'
"""The end of a local part in quotes, which some mail servers add."""

_CORRESPONDENCE = b"}~"
"""The mark in the key of a correspondence, which contains the hash of the address."""

_OCTET_BITS, _GROUP_BITS = 8, 16
_IPV4_BITS = 32


def texts_of_selection(selection: Selection, settings: Settings) -> tuple[bytes, ...]:
    """Return the texts one of which is in the key of each entry that the selection matches.

    The result is empty if no text is known to be.
    """
    if settings.privacy:
        return ()
    if selection.either:
        found = [texts_of_selection(each, settings) for each in selection.in_each_role()]
        return tuple(dict.fromkeys((*found[0], *found[1]))) if all(found) else ()
    alternatives = [
        _of_sender_or_recipient(selection.recipient),
        _of_sender_or_recipient(selection.sender),
        _of_client(selection, settings),
    ]
    known = [each for each in alternatives if each]
    # The longest texts are in the fewest keys.
    return max(known, key=lambda texts: min(map(len, texts)), default=())


def texts_of_clients(names: Collection[bytes], settings: Settings) -> tuple[bytes, ...]:
    """Return the texts one of which is in the key of each entry of these clients.

    The result is empty if no text is known to be, or if a scan of all entries is as quick, because
    the clients are many.

    Args:
        names: the networks as triplets' keys have them, and the domains of identities.
        settings: the server's settings.
    """
    if len(names) > MAX_SEARCHED_CLIENTS:
        return ()
    networks = {name: parse_network(name) for name in names}
    texts = [
        _of_network(replace(network, prefix=network.bits), settings) if network else name
        for name, network in networks.items()
    ]
    return tuple(dict.fromkeys(texts)) if all(texts) else ()


def texts_of_query(
    aliases: AddressAliases, client: Selection | None, settings: Settings
) -> tuple[bytes, ...]:
    """Return the texts for a search for an address or a domain that may also be a client."""
    of_address = texts_of_address(aliases, settings)
    if client is None or not of_address:
        return of_address
    of_client = texts_of_selection(client, settings)
    return (*of_address, *of_client) if of_client else ()


def texts_of_address(aliases: AddressAliases, settings: Settings) -> tuple[bytes, ...]:
    """Return the texts one of which is in each key that has to do with a mail address or domain.

    The result is empty if no text is known to be, e.g. for correspondences, whose search needs the
    addresses in all keys.
    """
    if settings.privacy or settings.learn_outbound:
        return ()
    if not isinstance(aliases.address, MailAddress):
        return (*_of_domain(aliases.address.name), _CORRESPONDENCE)
    local, _, _ = aliases.text.rpartition(b"@")
    base = local_part_without_tags(local)
    if not base or not base.isascii():
        return ()
    forms = [base, replace_numbers(base)]
    texts = dict.fromkeys([*forms, *map(_escaped, forms)])
    return (*texts, _QUOTED, _CORRESPONDENCE)


def _of_sender_or_recipient(wanted: bytes) -> tuple[bytes, ...]:
    if not wanted:
        return ()
    if wanted == NULL_SENDER:
        return (b"}//",)
    local, _, domain = wanted.rpartition(b"@")
    if not local:
        return _of_domain(domain)
    if not local.isascii():
        return ()
    return (*dict.fromkeys([local + b"@", _escaped(local) + b"@"]), _QUOTED)


def _of_domain(domain: bytes) -> tuple[bytes, ...]:
    # Version 0.1.0 stored internationalised domains in UTF-8: such keys are not ASCII.
    return (domain.lower(),) if domain.isascii() and domain else ()


def _escaped(local: bytes) -> bytes:
    """Return a local part as the sender in a key."""
    return local.replace(b"%", b"%25").replace(b"/", b"%2f")


def _of_client(selection: Selection, settings: Settings) -> tuple[bytes, ...]:
    texts = [_of_network(each, settings) for each in selection.networks]
    if selection.domain:
        texts += _of_domain(selection.domain) or [b""]
    return tuple(dict.fromkeys(texts)) if all(texts) else ()


def _of_network(network: Network, settings: Settings) -> bytes:
    """Return the beginning of the addresses in a network as keys have it; empty if unknown."""
    is_ipv4 = network.bits == _IPV4_BITS
    kept = min(network.prefix, settings.ipv4cidr if is_ipv4 else settings.ipv6cidr)
    text = address_text(network.number, network.bits)
    if is_ipv4:
        octets = text.split(b".")[: kept // _OCTET_BITS]
        return b"".join(octet + b"." for octet in octets) if len(octets) < 4 else text
    groups = []
    for place in range(min(kept // _GROUP_BITS, 7)):
        group = network.number >> (network.bits - (place + 1) * _GROUP_BITS) & 0xFFFF
        if not group:
            # A text may abbreviate zeros from here on.
            break
        groups.append(b"%x:" % group)
    return b"".join(groups)
