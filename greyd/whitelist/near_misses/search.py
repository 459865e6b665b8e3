r"""Entries of the whitelists that do not match a client or a recipient, but nearly do, and why not.

Most people who ask why their entry does not match have written it in another notation, for another
name than the one that counts, or into the other list. Each entry is held against such reasons.

Pure, like the matcher; it looks at each entry in turn, and is not meant for a request's way.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from greyd.rules.hostnames import organisation_of
from greyd.whitelist.entries import Diagnostic, WhitelistEntry, WhitelistFile, parse_entries
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist
from greyd.whitelist.near_misses.clients import client_reason
from greyd.whitelist.near_misses.reasons import WRITTEN, ClientNames, NearMiss, Reason
from greyd.whitelist.near_misses.recipients import recipient_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.rules.address import Address


MAX_NEAR_MISSES = 10
"""That are told; those whose author most likely meant this client come first."""

_MAX_SKIPPED_LINES = 100


def near_misses_for_client(
    clients: Sequence[WhitelistFile], recipients: Sequence[WhitelistFile], seen: ClientNames
) -> list[NearMiss]:
    """Return the entries that nearly let a client pass, the likeliest first."""
    found = list(_skipped(clients, _client_words(seen.name, seen.address)))
    other = ClientWhitelist(recipients).match(seen.name, seen.address)
    if other is not None and seen.name != b"unknown":
        found.append((Reason(WRITTEN, "stands in the recipients' list"), other))
    found += [
        (why, entry) for entry in _entries(clients) if (why := client_reason(entry.text, seen))
    ]
    return _most_likely(found)


def near_misses_for_recipient(
    recipients: Sequence[WhitelistFile],
    clients: Sequence[WhitelistFile],
    recipient: bytes,
    sender: bytes,
) -> list[NearMiss]:
    """Return the entries that nearly let mail to a recipient pass, the likeliest first."""
    found = list(_skipped(recipients, {recipient.lower()}))
    other = RecipientWhitelist(clients).match(recipient)
    if other is not None:
        found.append((Reason(WRITTEN, "stands in the clients' list"), other))
    found += [
        (why, entry)
        for entry in _entries(recipients)
        if (why := recipient_reason(entry.text, recipient, sender))
    ]
    return _most_likely(found)


def _entries(sources: Iterable[WhitelistFile]) -> Iterator[WhitelistEntry]:
    for source in sources:
        yield from parse_entries(source, [], "")


def _most_likely(found: Iterable[tuple[Reason, WhitelistEntry]]) -> list[NearMiss]:
    ranked = sorted(found, key=lambda each: (each[0].rank, each[1].file, each[1].line))
    return [NearMiss(*entry, why.text) for why, entry in islice(ranked, MAX_NEAR_MISSES)]


def _client_words(name: bytes, address: Address | None) -> set[bytes]:
    """Return what a line that is meant for a client would hold."""
    words = {name.lower(), organisation_of(name.lower()), address.text if address else b""}
    return words - {b"", b"unknown"}


def _skipped(
    sources: Iterable[WhitelistFile], words: Iterable[bytes]
) -> Iterator[tuple[Reason, WhitelistEntry]]:
    """Yield lines that can't be used and hold one of some words."""
    for source in sources:
        diagnostics: list[Diagnostic] = []
        for _ in parse_entries(source, diagnostics, "one entry"):
            continue
        lines = source.content.split(b"\n") if diagnostics else []
        for _, number, text in diagnostics[:_MAX_SKIPPED_LINES]:
            line = lines[number - 1].partition(b"#")[0].strip()
            if any(word in line.lower() for word in words):
                _, _, why = text.rpartition(" – ")
                yield (
                    Reason(WRITTEN, f"is skipped: {why}"),
                    WhitelistEntry(source.file, number, line),
                )
