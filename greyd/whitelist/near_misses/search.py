"""Finds whitelist entries that nearly match a client or recipient, and the reasons.

Typical near misses are entries in another notation, for a name that whitelists ignore, or in the
wrong list. The search does no I/O, but inspects every entry, which is too slow for requests.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from greyd.rules.hostnames import organisation_of
from greyd.whitelist.entries import Diagnostic, WhitelistEntry, WhitelistFile, parse_entries
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist
from greyd.whitelist.near_misses.clients import client_reason
from greyd.whitelist.near_misses.reasons import (
    ClientAttributes,
    Likelihood,
    MismatchReason,
    NearMiss,
)
from greyd.whitelist.near_misses.recipients import recipient_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.rules.address import Address


MAX_NEAR_MISSES = 10
"""Maximum number of near misses to return."""

_MAX_SKIPPED_LINES = 100


def near_misses_for_client(
    clients: Sequence[WhitelistFile], recipients: Sequence[WhitelistFile], seen: ClientAttributes
) -> list[NearMiss]:
    """Return the entries that nearly match a client, the likeliest first."""
    found = list(_skipped(clients, _client_words(seen.name, seen.address)))
    other = ClientWhitelist(recipients).match(seen.name, seen.address)
    if other is not None and seen.name != b"unknown":
        found.append((MismatchReason(Likelihood.NOTATION, "is in the recipients list"), other))
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
    """Return the entries that nearly match a recipient, the likeliest first."""
    found = list(_skipped(recipients, {recipient.lower()}))
    other = RecipientWhitelist(clients).match(recipient)
    if other is not None:
        found.append((MismatchReason(Likelihood.NOTATION, "is in the clients list"), other))
    found += [
        (why, entry)
        for entry in _entries(recipients)
        if (why := recipient_reason(entry.text, recipient, sender))
    ]
    return _most_likely(found)


def near_misses_for_sender(senders: Sequence[WhitelistFile], sender: bytes) -> list[NearMiss]:
    """Return the entries of the sender whitelist that nearly match, the likeliest first."""
    found = list(_skipped(senders, {sender.lower()}))
    found += [
        (why, entry)
        for entry in _entries(senders)
        if (why := recipient_reason(entry.text, sender, b""))
    ]
    return _most_likely(found)


def _entries(sources: Iterable[WhitelistFile]) -> Iterator[WhitelistEntry]:
    for source in sources:
        yield from parse_entries(source, [])


def _most_likely(found: Iterable[tuple[MismatchReason, WhitelistEntry]]) -> list[NearMiss]:
    ranked = sorted(found, key=_rank)
    return [
        NearMiss(entry.file, entry.line, entry.text, reason.text)
        for reason, entry in islice(ranked, MAX_NEAR_MISSES)
    ]


def _rank(found: tuple[MismatchReason, WhitelistEntry]) -> tuple[int, str, int]:
    reason, entry = found
    return reason.likelihood, entry.file, entry.line


def _client_words(name: bytes, address: Address | None) -> set[bytes]:
    """Return words that indicate a line for this client: its name, organisation and address."""
    words = {name.lower(), organisation_of(name.lower()), address.text if address else b""}
    return words - {b"", b"unknown"}


def _skipped(
    sources: Iterable[WhitelistFile], words: Iterable[bytes]
) -> Iterator[tuple[MismatchReason, WhitelistEntry]]:
    """Yield lines that the matcher skips and that contain one of the words, with the reason."""
    for source in sources:
        diagnostics: list[Diagnostic] = []
        for _ in parse_entries(source, diagnostics):
            continue
        lines = source.content.split(b"\n") if diagnostics else []
        for each in diagnostics[:_MAX_SKIPPED_LINES]:
            text = lines[each.line - 1].partition(b"#")[0].strip()
            if any(word in text.lower() for word in words):
                reason = MismatchReason(Likelihood.NOTATION, f"is {each.problem}; {each.remedy}")
                yield reason, WhitelistEntry(source.file, each.line, text)
