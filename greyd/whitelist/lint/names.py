"""Lints host names."""

from __future__ import annotations

import re

from greyd.rules.hostnames import MAX_NAME_BYTES, is_public_suffix
from greyd.rules.names.internationalised import ascii_domain
from greyd.whitelist.entries import display_text
from greyd.whitelist.lint.findings import NOTE, Problem

HOST_NAME = re.compile(rb"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)

_PRINTABLE_ASCII = re.compile(rb"[\x21-\x7e]+")
_URL_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WILDCARD_PREFIXES = (b".", b"*.", b"@", b"*@")


def name_problem(text: bytes) -> Problem | None:
    """Return the problem if a name never matches or matches too much, else None."""
    text = ascii_domain(text)
    return (
        non_ascii_problem(text)
        or _notation_problem(text)
        or _host_name_problem(text)
        or _breadth_problem(text)
    )


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


def _notation_problem(text: bytes) -> Problem | None:
    """Return the problem if a name has a notation that whitelists do not support, else None."""
    if scheme := _URL_SCHEME.match(text):
        host = re.split(rb"[:/?]", text[scheme.end() :], maxsplit=1)[0]
        return never_matches("it is a URL, not a host name", host)
    if prefix := next((each for each in _WILDCARD_PREFIXES if text.startswith(each)), b""):
        reason = f'it starts with "{prefix.decode()}"'
        return never_matches(reason, text.lstrip(b"*.@"), ", which also matches all names below it")
    if text.endswith(b"."):
        return never_matches("it ends with a dot", text.rstrip(b"."))
    if b"*" in text:
        pattern = re.escape(text).replace(rb"\*", b".*")
        return Problem("never matches: * is no wildcard here", f"write /^{display_text(pattern)}$/")
    if text.startswith(b"[") and text.endswith(b"]"):
        return never_matches("it is in brackets", text[1:-1])
    if port := re.fullmatch(rb"([^:]+):[0-9a-z]*", text, re.IGNORECASE):
        return never_matches("it has a port", port[1])
    return None


def _host_name_problem(text: bytes) -> Problem | None:
    if HOST_NAME.fullmatch(text) and len(text) <= MAX_NAME_BYTES:
        return None
    if odd := re.search(rb"[^a-zA-Z0-9._-]", text):
        return Problem(
            f"never matches: a host name cannot contain {display_text(odd[0])}",
            "write one name or network per line",
        )
    return Problem("never matches: not a valid host name", "correct it")


def _breadth_problem(text: bytes) -> Problem | None:
    name = text.lower()
    if is_public_suffix(name):
        return suffix_problem(name.decode())
    if b"." not in name and name != b"localhost":
        return Problem("has no dot, unlike nearly all host names", "write the full name", NOTE)
    return None


def suffix_problem(name: str) -> Problem:
    """Return the problem that an entry matches all names below a public suffix."""
    return Problem(
        f"matches all names below .{name}, whoever owns them", "write the names you mean"
    )


def never_matches(reason: str, instead: bytes, note: str = "") -> Problem:
    """Return the problem that an entry never matches.

    Args:
        reason: why it never matches.
        instead: the entry to write instead; empty if the remedy is to remove the entry.
        note: text to add to the remedy.
    """
    remedy = f"write {display_text(instead)}{note}" if instead else "remove it"
    return Problem(f"never matches: {reason}", remedy)
