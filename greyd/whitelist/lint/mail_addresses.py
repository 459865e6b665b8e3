"""Lints entries of the recipient whitelist and of the sender whitelist."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.rules.correspondence.mailbox_providers import mailbox_providers
from greyd.rules.hostnames import is_public_suffix
from greyd.rules.names.internationalised import ascii_domain
from greyd.whitelist.entries import display_text, network_of_entry
from greyd.whitelist.lint.bare_patterns import bare_pattern_problem
from greyd.whitelist.lint.findings import ERROR, NOTE, Problem
from greyd.whitelist.lint.names import (
    HOST_NAME,
    name_problem,
    never_matches,
    non_ascii_problem,
)
from greyd.whitelist.lint.networks import ADDRESS_LIKE, broken_network_problem
from greyd.whitelist.lint.strangers.problems import provider_problem, stranger_problem
from greyd.whitelist.list_names import SENDERS

if TYPE_CHECKING:
    from collections.abc import Iterator


def address_problems(text: bytes, which: str) -> Iterator[Problem]:
    """Yield the problems of an entry in a list of mail addresses that is not a pattern."""
    if network_of_entry(text) or ADDRESS_LIKE.fullmatch(text) or broken_network_problem(text):
        yield Problem("never matches: the address of a client", "move it to the clients list")
    elif text.startswith(b"<") or text.endswith(b">") or text.lower().startswith(b"mailto:"):
        address = re.sub(rb"^mailto:", b"", text.strip(b"<>"), flags=re.IGNORECASE)
        is_clean = not any(each.severity == ERROR for each in address_problems(address, which))
        remedy = f"write {display_text(address)}" if is_clean else "write the address you mean"
        yield Problem("never matches: only the address itself is an entry", remedy)
    elif b"@" in text.lstrip(b"*.@") and not text.startswith((b"@", b"*@")):
        yield from _address_problems(text, which)
    elif HOST_NAME.fullmatch(text) and b"." not in text and text.lower() != b"localhost":
        yield _single_word_problem(text, which)
    elif problem := name_problem(text, which):
        yield problem
    elif which == SENDERS and ascii_domain(text.lower()) in mailbox_providers():
        yield provider_problem()


def _single_word_problem(text: bytes, which: str) -> Problem:
    remedy = f"write {display_text(text)}@ for that local part at any domain"
    if which == SENDERS:
        remedy = "write whole addresses or domains"
    if is_public_suffix(text.lower()):
        below = display_text(text.lower())
        return Problem(f"read as a domain, so it matches all addresses below .{below}", remedy)
    return Problem("never matches: read as a domain", remedy)


def _address_problems(text: bytes, which: str) -> Iterator[Problem]:
    """Yield the problem of an entry ``user@domain`` or ``user@``, if it has one."""
    if (decoration := _decoration_problem(text, which)) is not None:
        yield decoration
        return
    user, _, domain = text.rpartition(b"@")
    domain = ascii_domain(domain)
    if problem := non_ascii_problem(domain) if domain else None:
        # Only a note: with SMTPUTF8 an address may have any domain.
        yield replace(problem, severity=NOTE)
    elif domain in (b"*", b"*.*"):
        if which == SENDERS:
            yield Problem("never matches: * is not a wildcard here", "write the domains you mean")
        else:
            yield never_matches("* is not a wildcard here", user + b"@", " for any domain")
    elif b"*" in user or domain.startswith((b"*", b".")):
        yield _wildcard_problem(user, domain, which)
    elif not domain and which == SENDERS:
        yield Problem(
            "matches this local part at any domain, and anyone can register a domain:"
            f" {display_text(user)}@spammer.example would match",
            "write whole addresses, each with its domain",
        )
    elif domain.endswith(b"."):
        yield never_matches("it ends with a dot", text.rstrip(b"."))
    elif domain and not (HOST_NAME.fullmatch(domain) or domain.startswith(b"[")):
        yield Problem("never matches: no valid domain after the @", "correct it")
    elif domain and b"." not in domain and not domain.startswith(b"[") and domain != b"localhost":
        yield Problem("the domain has no dot", "write the full domain", NOTE)


def _decoration_problem(text: bytes, which: str) -> Problem | None:
    """Return the problem of an address with quotes or marks, or of several addresses."""
    if pattern := bare_pattern_problem(text, which):
        return pattern
    if quoted := re.fullmatch(rb'"([\w.+-]+)"(@.*)', text):
        return never_matches("Postfix passes addresses without quotes", quoted[1] + quoted[2])
    bare = text.strip(b"\"'`,;()")
    if bare != text and HOST_NAME.fullmatch(bare.rpartition(b"@")[2]):
        is_clean = not any(each.severity == ERROR for each in address_problems(bare, which))
        marks = " and ".join(dict.fromkeys(chr(each) for each in text.replace(bare, b"", 1)))
        remedy = f"write {display_text(bare)}" if is_clean else "write the address you mean"
        return Problem(f"never matches: it has {marks} around it", remedy)
    if text.count(b"@") > 1 and not text.startswith(b'"'):
        return Problem("never matches: it has several @", "write one address per line")
    return None


def _wildcard_problem(user: bytes, domain: bytes, which: str) -> Problem:
    """Return the problem of an address with wildcards, and the equivalent pattern."""
    domain_pattern = re.escape(domain.removeprefix(b"*"))
    if domain.startswith((b"*.", b".")):
        domain_pattern = rb"([^@]+\.)?" + re.escape(domain.lstrip(b"*."))
    user_pattern = re.escape(user).replace(rb"\*", b"[^@]*")
    pattern = b"%b@%b$" % (user_pattern, domain_pattern)
    is_safe = b"*" not in domain.lstrip(b"*.") and stranger_problem(b"^" + pattern, which) is None
    remedy = (
        f"write a pattern, such as /^{display_text(pattern)}/" if is_safe else "write the domains"
    )
    return Problem("never matches: neither * nor a leading dot is a wildcard here", remedy)
