r"""Entries of the whitelists that do not match a client or a recipient, but nearly do, and why not.

Most people who ask why their entry does not match have written it in another notation, for another
name than the one that counts, or into the other list. Each entry is held against such reasons.

Pure, like the matcher; it looks at each entry in turn, and is not meant for a request's way.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import re2

from greyd.rules.hostnames import is_or_is_below, organisation_of
from greyd.whitelist.matcher import (
    Clients,
    Diagnostic,
    Entry,
    Recipients,
    Source,
    entries_of,
    is_pattern,
    network_of_entry,
    search_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.rules.address import Address
    from greyd.whitelist.matcher import Search

MOST = 10
"""That are told; those whose author most likely meant this client come first."""

_MAX_OF_A_KIND = 100


class NearMiss(NamedTuple):
    """An entry that nearly matches."""

    file: str
    line: int
    text: bytes
    why: str
    """What keeps it from matching."""


class Seen(NamedTuple):
    """A client, and what comes with it beside its name and address."""

    name: bytes
    """As Postfix has confirmed it; ``unknown`` where it has not."""
    address: Address | None
    other_names: tuple[bytes, ...] = ()
    """That the address has in DNS, and that do not count."""
    helo: bytes = b""
    sender: bytes = b""


class _Why(NamedTuple):
    rank: int
    """The more likely reason has the smaller one."""
    text: str


_WRITTEN, _UNCONFIRMED, _OTHER_THING, _PATTERN, _RELATED, _NEIGHBOUR, _TYPO = range(7)


def near_client(
    clients: Sequence[Source], recipients: Sequence[Source], seen: Seen
) -> list[NearMiss]:
    """Return the entries that nearly let a client pass, the likeliest first."""
    found = list(_skipped(clients, _words_of(seen.name, seen.address)))
    other = Clients(recipients).match(seen.name, seen.address)
    if other is not None and seen.name != b"unknown":
        found.append((_Why(_WRITTEN, "stands in the recipients' list"), other))
    found += [
        (why, entry) for entry in _entries(clients) if (why := _client_reason(entry.text, seen))
    ]
    return _likeliest(found)


def near_recipient(
    recipients: Sequence[Source], clients: Sequence[Source], recipient: bytes, sender: bytes
) -> list[NearMiss]:
    """Return the entries that nearly let mail to a recipient pass, the likeliest first."""
    found = list(_skipped(recipients, {recipient.lower()}))
    other = Recipients(clients).match(recipient)
    if other is not None:
        found.append((_Why(_WRITTEN, "stands in the clients' list"), other))
    found += [
        (why, entry)
        for entry in _entries(recipients)
        if (why := _recipient_reason(entry.text, recipient, sender))
    ]
    return _likeliest(found)


def _entries(sources: Iterable[Source]) -> Iterator[Entry]:
    for source in sources:
        yield from entries_of(source, [], "")


def _likeliest(found: Iterable[tuple[_Why, Entry]]) -> list[NearMiss]:
    ranked = sorted(found, key=lambda each: (each[0].rank, each[1].file, each[1].line))
    return [NearMiss(*entry, why.text) for why, entry in islice(ranked, MOST)]


def _words_of(name: bytes, address: Address | None) -> set[bytes]:
    """Return what a line that is meant for a client would hold."""
    words = {name.lower(), organisation_of(name.lower()), address.text if address else b""}
    return words - {b"", b"unknown"}


def _skipped(sources: Iterable[Source], words: Iterable[bytes]) -> Iterator[tuple[_Why, Entry]]:
    """Yield lines that can't be used and hold one of some words."""
    for source in sources:
        remarks: list[Diagnostic] = []
        for _ in entries_of(source, remarks, "one entry"):
            continue
        lines = source.content.split(b"\n") if remarks else []
        for _, number, text in remarks[:_MAX_OF_A_KIND]:
            line = lines[number - 1].partition(b"#")[0].strip()
            if any(word in line.lower() for word in words):
                _, _, why = text.rpartition(" – ")
                yield _Why(_WRITTEN, f"is skipped: {why}"), Entry(source.file, number, line)


# Clients ------------------------------------------------------------------------------------------


def _client_reason(text: bytes, seen: Seen) -> _Why | None:
    if text.startswith(b"/"):
        return _client_pattern(text, seen)
    if network := network_of_entry(text):
        return _network_reason(text, network, seen.address)
    name = _plain(text)
    if not name:
        return None
    if seen.address and (why := _network_like(text, seen.address)):
        return why
    if name != text.lower() and is_or_is_below(seen.name.lower(), name):
        return _Why(_WRITTEN, f"would match if it were written {_shown(name)}")
    for other in seen.other_names:
        if is_or_is_below(other, name):
            return _Why(
                _UNCONFIRMED,
                f"would match {_shown(other)}, which the address calls itself; that name does not"
                " lead back to it, so it does not count",
            )
    if is_or_is_below(seen.helo.lower(), name):
        return _Why(_OTHER_THING, "matches the HELO name, which is not compared")
    domain = seen.sender.rpartition(b"@")[2].lower()
    if domain and (is_or_is_below(domain, name) or text.lower() == seen.sender.lower()):
        return _Why(_OTHER_THING, "matches the sender, who is not compared")
    return None if seen.name == b"unknown" else _related(name, seen.name.lower())


def _network_reason(
    text: bytes, network: tuple[int, int, int], address: Address | None
) -> _Why | None:
    number, _, bits = network
    if address is None or address.bits != bits:
        return None
    data = text.split(b".")
    if len(data) == 2 and address.text.startswith(text + b"."):
        return _Why(
            _WRITTEN, f"is read as {text.decode()}.0.0/24; {text.decode()}.0.0/16 would match"
        )
    # A neighbour: in the same network of the size that stands for one provider's mail servers.
    free = 8 if bits == 32 else 72
    if number >> free == address.number >> free:
        return _Why(
            _NEIGHBOUR, f"holds neighbours of {address.text.decode()}, but not that address"
        )
    return None


_LEADING_BYTES = re.compile(rb"((?:[0-9]{1,3}\.){1,3})[0-9*./-]*")


def _network_like(text: bytes, address: Address) -> _Why | None:
    """Return why what looks like a network, and is read as a name, does not match."""
    found = _LEADING_BYTES.fullmatch(text)
    if found is None or not address.text.startswith(found[1]) or address.bits != 32:
        return None
    return _Why(_WRITTEN, "is no network; write it with the number of its bits, as in 192.0.2.0/24")


def _client_pattern(text: bytes, seen: Seen) -> _Why | None:
    if why := _pattern_reason(text, seen.name if seen.name != b"unknown" else b""):
        return why
    if not is_pattern(text):
        return None
    search = _search(text[1:-1])
    if search is None:
        return None
    if seen.address and search(seen.address.text):
        return _Why(_OTHER_THING, "matches the address, but patterns are searched in the name only")
    if any(search(other) for other in seen.other_names):
        return _Why(_UNCONFIRMED, "matches a name that does not lead back to the address")
    if seen.helo and search(seen.helo):
        return _Why(_OTHER_THING, "matches the HELO name, which is not compared")
    if seen.sender and search(seen.sender):
        return _Why(_OTHER_THING, "matches the sender, who is not compared")
    return None


# Recipients ---------------------------------------------------------------------------------------


def _recipient_reason(text: bytes, recipient: bytes, sender: bytes) -> _Why | None:
    if text.startswith(b"/"):
        return _recipient_pattern(text, recipient, sender)
    lower, wanted = text.lower(), recipient.lower()
    user, _, domain = wanted.rpartition(b"@")
    plain = re.sub(rb"^(?:mailto:|<)|>$", b"", lower)
    entrys_user, at, entrys_domain = plain.rpartition(b"@")
    if plain != lower and Recipients([_one(plain)]).match(recipient):
        return _Why(_WRITTEN, f"would match if it were written {_shown(plain)}")
    if at and entrys_user not in (b"", b"*"):
        if entrys_domain in (b"*", b"") and entrys_user == user:
            return _Why(_WRITTEN, f"would match if it were written {_shown(entrys_user)}@")
        return _same_user(entrys_user, entrys_domain, user, domain)
    name = _plain(plain)
    if not name:
        return None
    if name != lower and is_or_is_below(domain, name):
        return _Why(_WRITTEN, f"would match if it were written {_shown(name)}")
    if name == user:
        return _Why(_WRITTEN, f"is read as a domain; written {_shown(name)}@ it would match")
    if sender and is_or_is_below(sender.lower().rpartition(b"@")[2], name):
        return _Why(_OTHER_THING, "matches the sender, who is not compared")
    return _related(name, domain)


def _same_user(entrys_user: bytes, entrys_domain: bytes, user: bytes, domain: bytes) -> _Why | None:
    if entrys_user.partition(b"+")[0] != user.partition(b"+")[0] and entrys_domain == domain:
        typo = len(user) > 3 and _one_letter_apart(entrys_user, user)
        return _Why(_TYPO, f"differs by one letter from {_shown(user)}") if typo else None
    if entrys_user == user and domain.endswith(b"." + entrys_domain):
        return _Why(_RELATED, f"is for {_shown(entrys_domain)} alone, not for domains below it")
    if entrys_user == user and (why := _related(entrys_domain, domain)):
        return why
    if entrys_domain == domain and entrys_user.startswith(user + b"+"):
        return _Why(_RELATED, f"is for that extension alone; {_shown(user)}@ covers all of them")
    return None


def _recipient_pattern(text: bytes, recipient: bytes, sender: bytes) -> _Why | None:
    if why := _pattern_reason(text, recipient):
        return why
    search = _search(text[1:-1]) if is_pattern(text) and sender else None
    if search and search(sender):
        return _Why(_OTHER_THING, "matches the sender, who is not compared")
    return None


def _one(text: bytes) -> Source:
    return Source("", text)


# Patterns -----------------------------------------------------------------------------------------


def _search(pattern: bytes) -> Search | None:
    try:
        return search_of(pattern) if pattern else None
    except re2.error:
        return None


def _pattern_reason(text: bytes, name: bytes) -> _Why | None:
    """Return why a pattern is not found in a name in which one like it would be."""
    if not name:
        return None
    for rank, pattern, why in _variants(text):
        search = _search(pattern)
        if search is not None and search(name):
            return _Why(rank, why)
    return None


def _variants(text: bytes) -> Iterator[tuple[int, bytes, str]]:
    """Yield patterns that were perhaps meant, each with what is otherwise with it."""
    if not is_pattern(text):
        body = text[1:]
        if found := re.fullmatch(rb"(.+)/[a-z]+", body):
            flags = "is no pattern: it has to end with a slash, and is case-blind anyway"
            yield _WRITTEN, found[1], flags
        else:
            yield _WRITTEN, body, "is no pattern: it has no slash at its end (# begins a comment)"
        return
    pattern = text[1:-1]
    if b"\\\\." in pattern:
        yield _WRITTEN, pattern.replace(b"\\\\.", b"\\."), r"would match with \. for each \\."
    if b"*" in pattern and b".*" not in pattern:
        glob = re.sub(rb"\\?\*", b".*", pattern)
        yield _PATTERN, glob, "would match with .* for *: * repeats what stands before it"
    start, end = pattern.startswith(b"^"), pattern.endswith(b"$")
    bare = pattern.removeprefix(b"^").removesuffix(b"$")
    if start:
        yield _PATTERN, pattern[1:], "would match without ^: the name does not begin so"
    if end:
        yield _PATTERN, pattern[:-1], "would match without $: the name goes on after it"
    if start and end:
        yield _PATTERN, bare, "would match without ^ and $: the name only holds it"
    loose = pattern.replace(rb"\.", b".")
    if loose != pattern:
        yield _PATTERN, loose, r"would match if its \. stood for any character"


# Names --------------------------------------------------------------------------------------------


def _plain(text: bytes) -> bytes:
    """Return a name without what other notations put around it."""
    name = re.sub(rb"^[a-z][a-z0-9+.-]*://", b"", text.lower())
    name = re.sub(rb"[:/].*", b"", name) if name.count(b":") < 2 else name
    name = name.strip(b"[]<>\"',;").lstrip(b"*.@").rstrip(b".")
    if not name.isascii():
        try:
            return name.decode().encode("idna")
        except UnicodeError:
            return b""
    return name


def _related(entry: bytes, name: bytes) -> _Why | None:
    """Return how a name is related to one that does not match it."""
    if entry.endswith(b"." + name):
        return _Why(
            _RELATED, f"is for names below {_shown(entry)} only; {_shown(name)} is above it"
        )
    if name.startswith(entry + b"."):
        return _Why(_RELATED, "is how the name begins; a name matches by how it ends")
    if name.endswith(entry) and b"." in entry:
        return _Why(_RELATED, "is how the name ends, but not after a dot")
    organisation = organisation_of(name)
    if organisation and is_or_is_below(entry, organisation):
        return _Why(
            _RELATED, f"is another name of the same domain; {_shown(organisation)} covers both"
        )
    return _typo(entry, name)


def _typo(entry: bytes, name: bytes) -> _Why | None:
    if len(entry) < 5 or b"." not in entry:
        return None
    labels = name.split(b".")
    end = b".".join(labels[-1 - entry.count(b".") :])
    if _one_letter_apart(entry, end):
        return _Why(_TYPO, f"differs by one letter from {_shown(end)}")
    return None


def _one_letter_apart(one: bytes, other: bytes) -> bool:
    """Whether one letter more, less or another makes one of the other."""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    short, long = sorted((one, other), key=len)
    place = next((at for at, pair in enumerate(zip(short, long, strict=False))
                  if pair[0] != pair[1]), len(short))  # fmt: skip
    same_length = len(short) == len(long)
    return short[place + same_length :] == long[place + 1 :]


def _shown(name: bytes) -> str:
    return name[:100].decode("ascii", "backslashreplace")
