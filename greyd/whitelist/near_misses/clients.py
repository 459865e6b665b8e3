"""The reasons why a client entry nearly matches a client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.rules.hostnames import is_or_is_below
from greyd.whitelist.entries import is_pattern, network_of_entry
from greyd.whitelist.near_misses.names import plain_name, related_reason
from greyd.whitelist.near_misses.patterns import compile_or_none, pattern_reason
from greyd.whitelist.near_misses.reasons import (
    ClientAttributes,
    Likelihood,
    MismatchReason,
    display_name,
)

if TYPE_CHECKING:
    from greyd.rules.address import Address
    from greyd.rules.networks import Network


# Clients ------------------------------------------------------------------------------------------


def client_reason(text: bytes, seen: ClientAttributes) -> MismatchReason | None:
    """Return the reason why an entry nearly matches a client; None if it does not."""
    if text.startswith(b"/"):
        return _client_pattern(text, seen)
    if network := network_of_entry(text):
        return _network_reason(text, network, seen.address)
    name = plain_name(text)
    if not name:
        return None
    if seen.address and (why := _network_like(text, seen.address)):
        return why
    if name != text.lower() and is_or_is_below(seen.name.lower(), name):
        return MismatchReason(
            Likelihood.NOTATION, f"would match if it were written {display_name(name)}"
        )
    if why := _unconfirmed_name(name, seen):
        return why
    if is_or_is_below(seen.helo.lower(), name):
        return MismatchReason(
            Likelihood.OTHER_ATTRIBUTE, "matches the HELO name, which whitelists ignore"
        )
    domain = seen.sender.rpartition(b"@")[2].lower()
    if domain and (is_or_is_below(domain, name) or text.lower() == seen.sender.lower()):
        return MismatchReason(
            Likelihood.OTHER_ATTRIBUTE,
            "matches the sender, which only --whitelist-senders compares",
        )
    return None if seen.name == b"unknown" else related_reason(name, seen.name.lower())


def _unconfirmed_name(entry: bytes, seen: ClientAttributes) -> MismatchReason | None:
    for other in seen.other_names:
        if is_or_is_below(other, entry):
            return MismatchReason(
                Likelihood.UNCONFIRMED_NAME,
                f"would match {display_name(other)}, a name of the address that does not resolve"
                " back to it, so it does not count",
            )
    for other in seen.unanswered_names:
        if is_or_is_below(other, entry):
            return MismatchReason(
                Likelihood.UNCONFIRMED_NAME,
                f"matches {display_name(other)}, a name of the address; DNS did not answer whether"
                " it resolves back to it",
            )
    return None


def _network_reason(
    text: bytes, network: Network, address: Address | None
) -> MismatchReason | None:
    if address is None or address.bits != network.bits:
        return None
    if text.count(b".") == 1 and address.text.startswith(text + b"."):
        return MismatchReason(
            Likelihood.NOTATION,
            f"is read as {text.decode()}.0.0/24; {text.decode()}.0.0/16 would match",
        )
    # Neighbours share a /24 (IPv4) or /56 (IPv6), as the mail servers of one provider often do.
    free = 8 if network.bits == 32 else 72
    if network.number >> free == address.number >> free:
        return MismatchReason(
            Likelihood.NEIGHBOUR,
            f"contains neighbours of {address.text.decode()}, but not that address",
        )
    return None


_LEADING_BYTES = re.compile(rb"((?:[0-9]{1,3}\.){1,3})[0-9*./-]*")


def _network_like(text: bytes, address: Address) -> MismatchReason | None:
    """Return the reason if text is read as a name but begins with the client's address."""
    found = _LEADING_BYTES.fullmatch(text)
    if found is None or not address.text.startswith(found[1]) or address.bits != 32:
        return None
    return MismatchReason(
        Likelihood.NOTATION,
        "is not a valid network; write it with its prefix length, as in 192.0.2.0/24",
    )


def _client_pattern(text: bytes, seen: ClientAttributes) -> MismatchReason | None:
    if why := pattern_reason(text, seen.name if seen.name != b"unknown" else b""):
        return why
    if not is_pattern(text):
        return None
    search = compile_or_none(text[1:-1])
    if search is None:
        return None
    if seen.address and search(seen.address.text):
        return MismatchReason(
            Likelihood.OTHER_ATTRIBUTE,
            "matches the address, but patterns are only searched in the name",
        )
    if any(search(other) for other in seen.other_names):
        return MismatchReason(
            Likelihood.UNCONFIRMED_NAME, "matches a name that does not resolve back to the address"
        )
    if any(search(other) for other in seen.unanswered_names):
        return MismatchReason(
            Likelihood.UNCONFIRMED_NAME,
            "matches a name of the address; DNS did not answer whether it resolves back to it",
        )
    if seen.helo and search(seen.helo):
        return MismatchReason(
            Likelihood.OTHER_ATTRIBUTE, "matches the HELO name, which whitelists ignore"
        )
    if seen.sender and search(seen.sender):
        return MismatchReason(
            Likelihood.OTHER_ATTRIBUTE,
            "matches the sender, which only --whitelist-senders compares",
        )
    return None
