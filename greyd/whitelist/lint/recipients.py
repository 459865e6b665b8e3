"""Lints entries of the recipient whitelist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.whitelist.entries import is_pattern, network_of_entry
from greyd.whitelist.hits import RECIPIENTS
from greyd.whitelist.lint.findings import NOTE, Problem, display_text
from greyd.whitelist.lint.names import (
    HOST_NAME,
    is_public_suffix,
    name_problem,
    never_matches,
    non_ascii_problem,
)
from greyd.whitelist.lint.networks import ADDRESS_LIKE, broken_network_problem
from greyd.whitelist.lint.patterns import comment_problem, flags_problem, pattern_problems

if TYPE_CHECKING:
    from collections.abc import Iterator


# Recipients ---------------------------------------------------------------------------------------


def recipient_problems(text: bytes, line: bytes) -> Iterator[Problem]:
    """Yield the problems of an entry of the recipient whitelist."""
    if is_pattern(text):
        yield from pattern_problems(text, RECIPIENTS)
    elif fault := comment_problem(text, line) or flags_problem(text):
        yield fault
    elif text.startswith(b"/"):
        yield Problem("never matches: a pattern is /…/", "close it with a slash")
    elif network_of_entry(text) or ADDRESS_LIKE.fullmatch(text) or broken_network_problem(text):
        yield Problem("never matches: an address of a client", "move it to the clients' list")
    elif text.startswith(b"<") or text.endswith(b">") or text.lower().startswith(b"mailto:"):
        yield never_matches("", re.sub(rb"^mailto:", b"", text.strip(b"<>"), flags=re.IGNORECASE))
    elif b"@" in text.lstrip(b"*.@") and not text.startswith((b"@", b"*@")):
        yield from _address_problems(text)
    elif HOST_NAME.fullmatch(text) and b"." not in text and text.lower() != b"localhost":
        what = (
            "everybody below it passes"
            if is_public_suffix(text.lower().decode())
            else "never matches"
        )
        yield Problem(
            f"{what}: read as a domain",
            f"write {display_text(text)}@ for that local part at any domain",
        )
    elif fault := name_problem(text):
        yield fault


def _address_problems(text: bytes) -> Iterator[Problem]:
    """Yield what keeps ``user@domain`` or ``user@`` from matching; at most one."""
    user, _, domain = text.rpartition(b"@")
    if fault := non_ascii_problem(domain) if domain else None:
        # With SMTPUTF8 the sender may write it so.
        remedy = fault.remedy.replace("write ", f"write {display_text(user)}@", 1)
        yield fault._replace(remedy=remedy, severity=NOTE)
    elif domain in (b"*", b"*.*"):
        yield never_matches("* stands for nothing here", user + b"@", " for any domain")
    elif b"*" in user or domain.startswith((b"*", b".")):
        pattern = re.escape(text).replace(rb"\*", b".*")
        yield Problem("never matches: * and a dot in front stand for nothing here",
                     f"write a pattern, such as /^{display_text(pattern)}$/")  # fmt: skip
    elif domain.endswith(b"."):
        yield never_matches("a domain ends without a dot", text.rstrip(b"."))
    elif domain and not (HOST_NAME.fullmatch(domain) or domain.startswith(b"[")):
        yield Problem("never matches: what follows the @ is no domain", "correct it")
    elif domain and b"." not in domain and not domain.startswith(b"[") and domain != b"localhost":
        yield Problem("the domain has no dot", "write the whole domain", NOTE)
