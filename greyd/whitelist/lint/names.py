"""Lints host names."""

from __future__ import annotations

import re

from greyd.rules.hostnames import load_suffixes
from greyd.whitelist.lint.findings import NOTE, Problem, display_text

# Both lists ---------------------------------------------------------------------------------------

_PRINTABLE_ASCII = re.compile(rb"[\x21-\x7e]+")
HOST_NAME = re.compile(rb"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)
_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*:(?://)?", re.IGNORECASE)


def non_ascii_problem(text: bytes) -> Problem | None:
    """Return what is wrong with a name that is not ASCII, and how DNS writes it."""
    if _PRINTABLE_ASCII.fullmatch(text):
        return None
    try:
        written = text.decode().lower().encode("idna").decode()
    except UnicodeError:
        return Problem("neither ASCII nor a name in UTF-8", "write it anew")
    if not written.isprintable() or " " in written:
        return Problem("holds what no name can hold", "write it anew")
    return Problem("mail servers write such names in ASCII", f"write {written}")


def name_problem(text: bytes) -> Problem | None:
    """Return what keeps a name from matching, or makes it match too much."""
    return (
        non_ascii_problem(text)
        or _notation_problem(text)
        or _host_name_problem(text)
        or _breadth_problem(text)
    )


def _notation_problem(text: bytes) -> Problem | None:
    """Return that something belongs to other notations than a whitelist's."""
    scheme = _SCHEME.match(text)
    if scheme and scheme[0].endswith(b"//"):
        return never_matches(
            "a URL is no name", re.split(rb"[:/?]", text[scheme.end() :], maxsplit=1)[0]
        )
    if text.startswith((b".", b"*.", b"@", b"*@")):
        return never_matches("", text.lstrip(b"*.@"), ", which covers all names below it too")
    if text.endswith(b"."):
        return never_matches("a name ends without a dot", text.rstrip(b"."))
    if b"*" in text:
        pattern = re.escape(text).replace(rb"\*", b".*")
        return Problem(
            "never matches: * stands for nothing here", f"write /^{display_text(pattern)}$/"
        )
    if text.startswith(b"[") and text.endswith(b"]"):
        return never_matches("", text[1:-1])
    if port := re.fullmatch(rb"([^:]+):[0-9a-z]*", text, re.IGNORECASE):
        return never_matches("a name has no port", port[1])
    return None


def _host_name_problem(text: bytes) -> Problem | None:
    if HOST_NAME.fullmatch(text) and len(text) <= 253:
        return None
    odd = re.search(rb"[^a-zA-Z0-9._-]", text)
    what = f"no host name: it can't hold {display_text(odd[0])}" if odd else "no host name"
    return Problem(f"never matches: {what}", "one name or network a line")


def _breadth_problem(text: bytes) -> Problem | None:
    name = text.lower().decode()
    if is_public_suffix(name):
        return Problem(f"everybody below .{name} passes", "write the names that are meant")
    if "." not in name and name != "localhost":
        return Problem("hardly any client's name has no dot", "write the whole name", NOTE)
    return None


def is_public_suffix(name: str) -> bool:
    """Whether names below this one belong to all kinds of people (the public suffix list)."""
    return bool(load_suffixes().publicsuffix(name) == name)


def never_matches(what: str, instead: bytes, why: str = "") -> Problem:
    """Return the problem of an entry that never matches."""
    remedy = f"write {display_text(instead)}{why}" if instead else "take it out"
    return Problem(f"never matches: {what}" if what else "never matches", remedy)
