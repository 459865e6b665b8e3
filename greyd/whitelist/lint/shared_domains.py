"""Warns of domains under which other people have names, although the domain has one owner.

``amazonaws.com`` belongs to Amazon, but names below ``compute.amazonaws.com`` belong to Amazon's
customers. The public suffix list contains such suffixes in its private section.
"""

from __future__ import annotations

from functools import cache

from greyd.rules.public_suffixes import suffix_list_in_force
from greyd.whitelist.lint.findings import NOTE, Problem

_PRIVATE_SECTION = "// ===BEGIN PRIVATE DOMAINS==="


def shared_domain_problem(domain: bytes) -> Problem | None:
    """Return a note if other people have names below a domain, given in lower case."""
    suffix = _customers_suffixes().get(domain)
    if suffix is None:
        return None
    name = f"mail.spammer.{suffix.decode()}"
    problem = f"also matches names of the owner's customers: {name} would match"
    return Problem(problem, "write the names you mean", NOTE)


def customers_name(domain: bytes) -> bytes | None:
    """Return a name that a customer can have below a domain; None if customers have none."""
    suffix = _customers_suffixes().get(domain)
    return suffix and b"mail.spammer." + suffix


@cache
def _customers_suffixes() -> dict[bytes, bytes]:
    """Return a private suffix for each domain above one; the shortest suffix counts."""
    _, _, section = suffix_list_in_force().suffixes.text.partition(_PRIVATE_SECTION)
    found: dict[bytes, bytes] = {}
    for line in section.splitlines():
        rule = line.strip()
        if not rule or rule.startswith(("//", "!")) or not rule.isascii():
            continue
        suffix = rule.removeprefix("*.").encode()
        parent = suffix.partition(b".")[2]
        while b"." in parent:
            if parent not in found or len(suffix) < len(found[parent]):
                found[parent] = suffix
            parent = parent.partition(b".")[2]
    return found
