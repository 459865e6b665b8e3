"""Lints host names."""

from __future__ import annotations

import re

from greyd.rules.hostnames import MAX_NAME_BYTES, is_public_suffix
from greyd.rules.names.internationalised import ascii_domain
from greyd.whitelist.entries import display_text, network_of_entry
from greyd.whitelist.errors import PatternError
from greyd.whitelist.lint.bare_patterns import bare_pattern_problem
from greyd.whitelist.lint.findings import NOTE, Problem
from greyd.whitelist.lint.globs import is_glob, names_meant, pattern_meant, wildcards_in
from greyd.whitelist.lint.postfix_forms import plain_ipv6
from greyd.whitelist.lint.shared_domains import shared_domain_problem
from greyd.whitelist.lint.strangers.problems import (
    LISTS_FOR_STRANGERS,
    names_a_domain,
    stranger_problem,
)
from greyd.whitelist.list_names import CLIENTS, LISTS_OF_CLIENTS

HOST_NAME = re.compile(rb"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)

_PRINTABLE_ASCII = re.compile(rb"[\x21-\x7e]+")
_URL_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WILDCARD_PREFIXES = (b".", b"*.", b"@", b"*@", b"*")


def name_problem(text: bytes, which: str) -> Problem | None:
    """Return the problem if a name never matches or matches too much, else None."""
    text = ascii_domain(text)
    return (
        non_ascii_problem(text)
        or bare_pattern_problem(text, which)
        or _spf_problem(text, which)
        or _list_problem(text, which)
        or _notation_problem(text, which)
        or _host_name_problem(text)
        or _breadth_problem(text, which)
    )


def is_clean_name(text: bytes, which: str) -> bool:
    """Whether a name is worth proposing: a host name or domain that is not a public suffix."""
    problem = name_problem(text, which) if HOST_NAME.fullmatch(text) else None
    return HOST_NAME.fullmatch(text) is not None and (problem is None or problem.severity == NOTE)


def non_ascii_problem(text: bytes) -> Problem | None:
    """Return the problem if a name still has other characters in its ASCII form."""
    if _PRINTABLE_ASCII.fullmatch(text):
        return None
    try:
        text.decode()
    except UnicodeDecodeError:
        return Problem("neither ASCII nor a name in UTF-8", "retype the name")
    return Problem(
        "contains characters that no domain name has",
        "retype the name, or write it in ASCII (xn--…)",
    )


_SPF_TERM = re.compile(
    rb"[+?]?(?:ip4|ip6|a|mx|ptr|include|exists|redirect)[:=](\S+)", re.IGNORECASE
)


def _spf_problem(text: bytes, which: str) -> Problem | None:
    """Return the problem of a term of an SPF record (RFC 7208), e.g. ``ip4:192.0.2.0/24``."""
    if not (found := _SPF_TERM.fullmatch(text)):
        return None
    if which in LISTS_OF_CLIENTS and network_of_entry(found[1]):
        return never_matches("it is a term of an SPF record", found[1])
    return Problem(
        "never matches: it is a term of an SPF record",
        "write the networks or host names that it stands for",
    )


def _notation_problem(text: bytes, which: str) -> Problem | None:
    """Return the problem if a name has a notation that whitelists do not support, else None."""
    if scheme := _URL_SCHEME.match(text):
        host = re.split(rb"[:/?]", text[scheme.end() :], maxsplit=1)[0]
        return _proposing("it is a URL, not a host name", host, which)
    if log_form := re.fullmatch(rb"([^\[\]]+)\[([0-9a-fA-F.:]+)\](?::[0-9]+)?", text):
        name, address = log_form.groups()
        clean = [name] if name != b"unknown" and is_clean_name(name, which) else []
        instead = b" or ".join([*clean, address]).decode()
        return Problem(
            "never matches: it is a client's name and address together", f"write {instead}"
        )
    if is_glob(text) and not text.startswith(b"[") and (problem := _glob_problem(text, which)):
        return problem
    if prefix := next((each for each in _WILDCARD_PREFIXES if text.startswith(each)), b""):
        reason = f'it starts with "{prefix.decode()}"'
        below = ", which also matches all names below it"
        return _proposing(reason, text.lstrip(b"*.@"), which, below)
    if text.endswith(b"."):
        return _proposing("it ends with a dot", text.rstrip(b"."), which)
    if plain := plain_ipv6(text):
        return _proposing("it is an IPv6 address as Postfix writes it", plain, which)
    if text.startswith(b"[") and (host := re.fullmatch(rb"\[([^\]]+)\](?::[0-9]+)?", text)):
        return _proposing("it is in brackets", host[1], which)
    if port := re.fullmatch(rb"([^:]+):[0-9a-z]*", text, re.IGNORECASE):
        return _proposing("it has a port", port[1], which)
    if (stripped := text.strip(b"\"'`,;<>()")) != text and stripped:
        return _proposing(f"it has {_marks(text, stripped)} around it", stripped, which)
    return None


def _marks(text: bytes, stripped: bytes) -> str:
    return " and ".join(dict.fromkeys(chr(each) for each in text.replace(stripped, b"", 1)))


def _list_problem(text: bytes, which: str) -> Problem | None:
    """Return the problem of several names in one entry, separated by punctuation."""
    names = [each.strip(b"\"'") for each in re.split(rb"[,;|]", text)]
    if is_glob(text) or len(names) < 2 or not all(names):
        return None
    listed = ", ".join(display_text(each) for each in names[:16])
    is_clean = len(names) <= 16 and all(is_clean_name(each, which) for each in names)
    return Problem(
        "never matches: a host name cannot contain ,",
        "write one name or network per line" + (f": {listed}" if is_clean else ""),
    )


def _glob_problem(text: bytes, which: str) -> Problem | None:
    """Return the problem of a name with wildcards, and what to write instead."""
    if names := names_meant(text):
        if all(is_clean_name(each, which) for each in names):
            listed = ", ".join(each.decode() for each in names)
            return Problem("never matches: [ ] and { } are not wildcards here", f"write {listed}")
        return None
    rest = text.lstrip(b"*.@")
    if b"*" not in rest and b"?" not in rest and not is_glob(rest):
        return None
    pattern = pattern_meant(text)[1:-1]
    marks = wildcards_in(text)
    noun = "wildcards" if marks.endswith("are") else "a wildcard"
    problem = f"never matches: {marks} not {noun} here"
    try:
        stranger = stranger_problem(pattern, CLIENTS)
        if stranger is None and names_a_domain(pattern):
            return Problem(problem, f"write /{display_text(pattern)}/")
    except PatternError:
        stranger = None
    reason = f"; as one, it {stranger.description}" if stranger else ""
    return Problem(problem + reason, "write each domain in full")


def _proposing(reason: str, instead: bytes, which: str, note: str = "") -> Problem:
    """Return the problem that an entry never matches; propose another only if it is safe."""
    if is_clean_name(instead, which) or network_of_entry(instead):
        return never_matches(reason, instead, note)
    if is_public_suffix(instead.lower()):
        name = display_text(instead)
        return Problem(
            f"never matches: {reason}; {name} would match anyone's names",
            "write the names you mean",
        )
    return never_matches(reason, b"", "correct it, or remove it")


def _host_name_problem(text: bytes) -> Problem | None:
    if HOST_NAME.fullmatch(text) and len(text) <= MAX_NAME_BYTES:
        return None
    if odd := re.search(rb"[^a-zA-Z0-9._-]", text):
        return Problem(
            f"never matches: a host name cannot contain {display_text(odd[0])}",
            "write one name or network per line",
        )
    return Problem("never matches: not a valid host name", "correct it")


def _breadth_problem(text: bytes, which: str) -> Problem | None:
    name = text.lower()
    if is_public_suffix(name) or is_public_suffix(b"spammer." + name):
        return suffix_problem(name.decode())
    if which in LISTS_FOR_STRANGERS and (problem := shared_domain_problem(name)):
        return problem
    if b"." not in name and name != b"localhost":
        return Problem("has no dot, unlike nearly all host names", "write the full name", NOTE)
    return None


def suffix_problem(name: str) -> Problem:
    """Return the problem that an entry matches all names below a public suffix."""
    return Problem(
        f"matches all names below .{name}, whoever owns them: mail.spammer.{name} would match",
        "write the names you mean",
    )


def never_matches(reason: str, instead: bytes, note: str = "") -> Problem:
    """Return the problem that an entry never matches.

    Args:
        reason: why it never matches.
        instead: the entry to write instead; empty if the remedy is to remove the entry.
        note: text to add to the remedy.
    """
    remedy = f"write {display_text(instead)}{note}" if instead else note or "remove it"
    return Problem(f"never matches: {reason}", remedy)
