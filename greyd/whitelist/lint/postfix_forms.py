"""Explains lines in the form of Postfix's tables and lists, which whitelists do not accept.

Forms: access(5), cidr_table(5), regexp_table(5), pcre_table(5), DATABASE_README.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.whitelist.entries import network_of_entry
from greyd.whitelist.lint.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    Instead = Callable[[bytes], str]
    """Returns the entry to write for a key; empty if there is none."""

TABLE_LINE = "skipped: a line of a Postfix table"
"""The beginning of the problem of each line with a key and an action."""

_TABLE_TYPES = (
    rb"hash|btree|cdb|dbm|lmdb|sdbm|texthash|cidr|pcre|regexp|inline|static|tcp|socketmap|unix|nis"
    rb"|proxy|memcache|ldap|mysql|pgsql|sqlite|unionmap|pipemap|randmap|internal|environ|netinfo"
)
_TABLE = re.compile(rb"(?:%b):[/{a-z]" % _TABLE_TYPES)
_PERMITS = re.compile(rb"ok|permit|relay|[0-9]+|permit_[a-z_]+", re.IGNORECASE)
_FORBIDS = re.compile(
    rb"reject|defer|discard|hold|drop|(?:reject|defer)_[a-z_]+|defer_if_[a-z]+",
    re.IGNORECASE,
)
_OTHER_ACTION = re.compile(
    rb"dunno|warn|info|filter|redirect|bcc|prepend|replace|strip|ignore|check_[a-z_]+",
    re.IGNORECASE,
)
_CONDITION = re.compile(rb"(?:if\s+!?\S.*|endif)", re.IGNORECASE)
_PATH = re.compile(rb"(?:/|\.{1,2}/)(?:[\w.-]+/)+[\w.-]+")
_SHORT_PATTERN = re.compile(rb"/(?!etc|usr|var|opt|srv)[^/]+/[imsxAEUX]{1,3}")
_PATTERN_WITH_FLAGS = re.compile(rb"(!?)(/(?:\\.|[^/\\])+/)([a-zA-Z]*)")


def postfix_problem(text: bytes, instead: Instead) -> Problem | None:
    """Return the problem if an entry, without spaces, has the form of Postfix's lists."""
    if _TABLE.match(text):
        return _table_problem()
    if text.startswith(b"$"):
        return Problem(
            "never matches: Postfix's parameters are not expanded here",
            "write the networks or domains that postconf shows for it",
        )
    if text.lower() == b"endif":
        return _condition_problem()
    if text.startswith(b"!") and len(text) > 1:
        return _negation_problem()
    if _PATH.fullmatch(text) and not _SHORT_PATTERN.fullmatch(text):
        return Problem(
            "never matches: it is the name of a file",
            "name the file in the option instead, which may be repeated",
        )
    flags = _PATTERN_WITH_FLAGS.fullmatch(text)
    if flags and flags[3]:
        return _flags_problem(flags[2], flags[3], instead)
    return None


def line_problem(text: bytes, instead: Instead) -> Problem | None:
    """Return the problem if a line with several words has the form of a Postfix table.

    Args:
        text: the line without its comment.
        instead: returns the entry to write for a key.
    """
    if _CONDITION.fullmatch(text):
        return _condition_problem()
    if _TABLE.match(text):
        return _table_problem()
    if text.startswith(b"!"):
        return _negation_problem()
    key, word, *more = [*text.split(), b""]
    is_code_with_text = re.fullmatch(rb"[45][0-9][0-9]", word) and len(more) > 1
    if _FORBIDS.fullmatch(word) or is_code_with_text:
        return Problem(
            f"{TABLE_LINE}, with the action {word.decode()}",
            "leave it out: each line here lets mail pass",
        )
    if _OTHER_ACTION.fullmatch(word):
        return Problem(
            f"{TABLE_LINE}, with the action {word.decode()}",
            "leave it out: that action lets no mail pass",
        )
    if not _PERMITS.fullmatch(word):
        return None
    entry = instead(plain_ipv6(key) or _key_without_flags(key))
    return Problem(
        f"{TABLE_LINE}, with a key and an action",
        f"write {entry}" if entry else "write the key alone, as a whitelist entry",
    )


_POSTFIXS_IPV6 = re.compile(
    rb"(?:\[(?:ipv6:)?([0-9a-f:.]+)\](/[0-9]{1,3})?|ipv6:([0-9a-f:.]+(?:/[0-9]{1,3})?))",
    re.IGNORECASE,
)
"""IPv6 in files of Postfix (``[2001:db8::]/48``, cidr_table(5)) and in SMTP (``IPv6:2001::1``)."""


def plain_ipv6(text: bytes) -> bytes:
    """Return an IPv6 address or network without Postfix's brackets and tag; empty for others."""
    found = _POSTFIXS_IPV6.fullmatch(text)
    if found is None:
        return b""
    plain = b"".join(each or b"" for each in found.groups())
    return plain if b":" in plain and network_of_entry(plain) else b""


def _key_without_flags(key: bytes) -> bytes:
    found = _PATTERN_WITH_FLAGS.fullmatch(key)
    return found[2] if found else key


def _table_problem() -> Problem:
    return Problem(
        "never matches: greyd does not read Postfix's tables",
        "write the entries of the table here, one per line",
    )


def _condition_problem() -> Problem:
    return Problem(
        "skipped: whitelists have no conditions", "write patterns that hold without the condition"
    )


def _negation_problem() -> Problem:
    return Problem(
        "never matches: ! excludes nothing here, each line lets mail pass",
        "leave it out, and list only what may pass",
    )


def _flags_problem(pattern: bytes, flags: bytes, instead: Instead) -> Problem:
    problem = "never matches: with text after the closing slash it is not a pattern"
    if flags != b"i":
        return Problem(problem, "write the pattern without flags; it ignores case")
    entry = instead(pattern)
    return Problem(
        problem, f"write {entry}, which ignores case anyway" if entry else "remove the i"
    )
