"""Describes the strangers that a pattern lets pass, with a remedy that lets none pass."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.rules.correspondence.mailbox_providers import mailbox_providers
from greyd.rules.hostnames import registered_domain
from greyd.whitelist.entries import WhitelistFile, display_text
from greyd.whitelist.errors import PatternError
from greyd.whitelist.lint.findings import NOTE, Problem
from greyd.whitelist.lint.shared_domains import customers_name, shared_domain_problem
from greyd.whitelist.lint.strangers.host_labels import HOST_LABELS
from greyd.whitelist.lint.strangers.name_forms import ADDRESSES, HOST_NAMES, domain_in
from greyd.whitelist.lint.strangers.reverse_matcher import TooLargeError
from greyd.whitelist.lint.strangers.search import (
    Stranger,
    StrangerKind,
    find_stranger,
    matches_no_name,
)
from greyd.whitelist.lint.strangers.spelled_ends import spelled_ends
from greyd.whitelist.list_names import CLIENTS, LISTS_OF_CLIENTS, OVERRIDE, SENDERS
from greyd.whitelist.matcher import ClientWhitelist, SenderWhitelist
from greyd.whitelist.patterns import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTS_FOR_STRANGERS = (CLIENTS, SENDERS, OVERRIDE)
"""The lists whose names belong to strangers. Recipients are the site's own, and the list of clients
that are never auto-whitelisted lets nobody pass.
"""

_SPELL_OUT = "spell out the domains you mean, each to its end ($)"
_OPEN_END = re.compile(rb"(?:\.\*\??)*\$?\Z")
_LITERAL_DOMAIN = re.compile(rb"((?:[a-z0-9_-]|\\\.|\\-)+)\$", re.IGNORECASE)
_UNESCAPED_DOT = re.compile(
    rb"\\.|\[(?:\\.|[^\]\\])*\]|(?:(?<=[A-Za-z0-9\])+*?}])|\A)\.(?=[A-Za-z0-9\[(])", re.DOTALL
)


def stranger_problem(pattern: bytes, which: str) -> Problem | None:
    """Return the problem if a pattern lets strangers pass; None if it does not.

    Args:
        pattern: a pattern that compiles, without its slashes.
        which: the list's name.
    """
    if which not in LISTS_FOR_STRANGERS:
        return None
    try:
        stranger = _stranger(pattern, which)
    except TooLargeError:
        problem = "too large to determine whose names it matches"
        return Problem(problem, "write several shorter patterns", NOTE)
    if stranger is None:
        return _provider_problem(pattern, which) or _customers_problem(pattern, which)
    if escaped := _closed_variant([with_escaped_dots(pattern)], which):
        return Problem(
            f"an unescaped dot matches any character: {stranger.name} would match",
            f"write {escaped}",
            NOTE,
        )
    return Problem(_description(stranger, pattern), _remedy(stranger, pattern, which))


def _stranger(pattern: bytes, which: str) -> Stranger | None:
    form = HOST_NAMES if which in LISTS_OF_CLIENTS else ADDRESSES
    if not pattern.isascii():
        letters = bytes(sorted({byte for byte in pattern if byte >= 0x80}))
        form = replace(form, characters=form.characters + letters)
    stranger = find_stranger(compile_pattern(pattern).parsed.root, form)
    # Report only what the server really does.
    return stranger if stranger and matches(b"/%b/" % pattern, stranger.name, which) else None


def _customers_problem(pattern: bytes, which: str) -> Problem | None:
    """Return the problem if a pattern lets the customers of an intended domain's owner pass."""
    for end in spelled_ends(compile_pattern(pattern).parsed.root):
        domain = domain_in(end)
        name = customers_name(domain)
        if name is None:
            continue
        shown = name.decode() if which in LISTS_OF_CLIENTS else f"news@{name.decode()}"
        if matches(b"/%b/" % pattern, shown, which):
            return shared_domain_problem(domain)
    return None


def _provider_problem(pattern: bytes, which: str) -> Problem | None:
    """Return the problem if a pattern for senders lets all users of a mailbox provider pass."""
    if which != SENDERS:
        return None
    for domain in sorted(set(map(domain_in, spelled_ends(compile_pattern(pattern).parsed.root)))):
        if domain not in mailbox_providers():
            continue
        users = [f"{local}@{domain.decode()}" for local in _USERS]
        if all(matches(b"/%b/" % pattern, each, which) for each in users):
            return provider_problem(users[0])
    return None


_USERS = ("spammer", "k.jqx", "zyxw77")


def provider_problem(user: str = "") -> Problem:
    """Return the problem that an entry lets all users of a mailbox provider pass."""
    example = f": {user} would match" if user else ""
    problem = f"anybody can get an address at this mailbox provider{example}"
    return Problem(problem, "write the addresses you mean", NOTE)


def matches(entry: bytes, name: str, which: str) -> bool:
    """Whether an entry of a list matches a name, according to greyd's own matcher."""
    source = [WhitelistFile("", entry)]
    if which in LISTS_OF_CLIENTS:
        return ClientWhitelist(source).match(name.encode(), None) is not None
    return SenderWhitelist(source).match(name.encode()) is not None


def _description(stranger: Stranger, pattern: bytes) -> str:
    would_match = f"{stranger.name} would match"
    match stranger.kind:
        case StrangerKind.ANY_DOMAIN:
            return f"{_reason_of_open_end(pattern)}: {would_match}"
        case StrangerKind.BELOW_SUFFIX:
            return f"matches names below .{stranger.suffix}, whoever owns them: {would_match}"
        case StrangerKind.LONGER_LABEL:
            return f"also matches domains that end with {stranger.intended}: {would_match}"
    if stranger.other_name:
        return f"matches several domains: {stranger.other_name} and {would_match}"
    return f"also matches other people's domains: {would_match}"


def _reason_of_open_end(pattern: bytes) -> str:
    text = re.sub(rb"\\.|\[.*?\]|\(\?[^:)]*[:)]", b".", pattern.lower())
    words = [word.decode() for word in dict.fromkeys(re.findall(rb"[a-z]+", text))]
    if not words or not HOST_LABELS.issuperset(word.encode() for word in words):
        return "matches names in anyone's domain"
    named = " and ".join(f'"{word}"' for word in words[:3])
    return f"{named} {'name' if len(words) > 1 else 'names'} a service, not its owner"


def _remedy(stranger: Stranger, pattern: bytes, which: str) -> str:
    if stranger.kind is StrangerKind.LONGER_LABEL:
        if found := _LITERAL_DOMAIN.fullmatch(pattern):
            domain = found[1].replace(b"\\", b"").lower()
            if domain == registered_domain(domain):
                return f"write {domain.decode()}, which also matches all names below it"
        if bordered := _closed_variant(_with_border(pattern, which), which):
            return f"write {bordered}"
        return rf"put \. or ^ before {stranger.intended}"
    without_end = _OPEN_END.sub(b"", pattern)
    closed = _closed_variant([pattern + b"$", without_end + b"$"], which)
    return f"end it with $: write {closed}" if closed else _SPELL_OUT


_ANY_BEGINNING = re.compile(rb"\A(?:\^?(?:\.|\\S|\[\^\\s\])\*\??|\\b)")


def _with_border(pattern: bytes, which: str) -> list[bytes]:
    """Return patterns that match only where a label or a domain begins, and no other names."""
    border = rb"(^|\.)" if which in LISTS_OF_CLIENTS else b"[@.]"
    return [border + _ANY_BEGINNING.sub(b"", pattern), b"^" + pattern]


def _closed_variant(patterns: list[bytes], which: str) -> str:
    """Return the first pattern that lets no strangers pass, with its slashes; empty without one."""
    return next(_closed_variants(patterns, which), "")


def _closed_variants(patterns: list[bytes], which: str) -> Iterator[str]:
    for each in patterns:
        entry = b"/%b/" % each
        try:
            if each and display_text(entry).encode() == entry and not _stranger(each, which):
                form = HOST_NAMES if which in LISTS_OF_CLIENTS else ADDRESSES
                root = compile_pattern(each).parsed.root
                if names_a_domain(each) and not matches_no_name(root, form):
                    yield entry.decode()
        except (PatternError, TooLargeError):
            continue


def names_a_domain(pattern: bytes) -> bool:
    """Whether each alternative of a pattern spells a registered domain."""
    root = compile_pattern(pattern).parsed.root
    return all(domain_in(end.removesuffix(b".")) for end in spelled_ends(root))


def with_escaped_dots(pattern: bytes) -> bytes:
    """Return a pattern whose dots between literals match a dot alone."""
    return _UNESCAPED_DOT.sub(lambda found: rb"\." if found[0] == b"." else found[0], pattern)
