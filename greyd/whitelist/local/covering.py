"""Finds the entries of a whitelist that cover another one, and those that match a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.address import address_text, parse_address
from greyd.rules.networks import parse_network
from greyd.whitelist.entries import WhitelistEntry, WhitelistFile, is_pattern, network_of_entry
from greyd.whitelist.lint.redundancy import redundant_entries
from greyd.whitelist.list_names import CLIENTS
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_MATCHING = 50

_BELOW = b"x7q.y3k."
"""Labels that no pattern contains, to test whether an entry matches all names below a domain."""


def covering_entry(
    text: bytes, entries: Sequence[WhitelistEntry], which: str
) -> WhitelistEntry | None:
    """Return an entry that matches everything that the entry ``text`` matches; None without one."""
    new = WhitelistEntry("", 0, text)
    for entry, other in redundant_entries([*entries, new], which):
        if entry is new:
            return other
    if is_pattern(text):
        return None
    candidates = [_matching_of_list(each, entries, which) for each in _examples(text, which)]
    # Different entries may match the examples without covering what is between them.
    return candidates[0] if candidates[0] is candidates[-1] else None


def covered_entries(
    text: bytes, entries: Sequence[WhitelistEntry], which: str
) -> list[WhitelistEntry]:
    """Return the entries that the new entry ``text`` makes redundant."""
    new = WhitelistEntry("", 0, text)
    return [entry for entry, other in redundant_entries([new, *entries], which) if other is new]


def matching_entries(
    text: bytes, entries: Sequence[WhitelistEntry], which: str
) -> list[WhitelistEntry]:
    """Return the entries that match a client's name or address, or a mail address.

    There are at most ``MAX_MATCHING``.
    """
    left = list(entries)
    found: list[WhitelistEntry] = []
    while len(found) < MAX_MATCHING and (entry := _matching_of_list(text, left, which)):
        found.append(entry)
        left.remove(entry)
    return found


def _matching_of_list(
    text: bytes, entries: Sequence[WhitelistEntry], which: str
) -> WhitelistEntry | None:
    # One file with one entry on each line, so that the number of the line is the entry's index.
    source = WhitelistFile("", b"\n".join(entry.text for entry in entries))
    if which != CLIENTS:
        found = RecipientWhitelist([source]).match(text)
    elif (address := parse_address(text)) is not None:
        # Without a name: an entry for names says nothing about an address.
        found = ClientWhitelist([source]).match(b"", address)
    else:
        found = ClientWhitelist([source]).match(text, None)
    return entries[found.line - 1] if found else None


def _examples(text: bytes, which: str) -> Iterator[bytes]:
    """Yield names or addresses that an entry matches, of each kind."""
    if which == CLIENTS and (network := network_of_entry(text)) is not None:
        last = network.number | ((1 << (network.bits - network.prefix)) - 1)
        yield address_text(network.number, network.bits)
        yield address_text(last, network.bits)
        return
    if which == CLIENTS or parse_network(text) is not None:
        yield from (text, _BELOW + text)
    elif b"@" not in text:
        yield from (b"x7q@" + text, b"y3k@" + _BELOW + text)
    elif text.endswith(b"@"):
        yield text + b"x7q.y3k"
    else:
        yield text
