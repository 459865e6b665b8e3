"""The reasons why a host name or domain nearly matches."""

from __future__ import annotations

import re

from greyd.rules.hostnames import is_or_is_below, organisation_of
from greyd.rules.names.internationalised import ascii_domain
from greyd.whitelist.near_misses.reasons import Likelihood, MismatchReason, display_name

# Names --------------------------------------------------------------------------------------------


def plain_name(text: bytes) -> bytes:
    """Return the plain name in an entry: without URL scheme, port, wildcard, quotes or brackets.

    An internationalised name is returned in ASCII; the result is empty if it has no such form.
    """
    name = re.sub(rb"^[a-z][a-z0-9+.-]*://", b"", text.lower())
    name = re.sub(rb"[:/].*", b"", name) if name.count(b":") < 2 else name
    name = name.strip(b"[]<>\"',;").lstrip(b"*.@").rstrip(b".")
    name = ascii_domain(name)
    return name if name.isascii() else b""


def related_reason(entry: bytes, name: bytes) -> MismatchReason | None:
    """Return the reason why an entry does not match a related name; None for an unrelated one."""
    if entry.endswith(b"." + name):
        return MismatchReason(
            Likelihood.RELATED_NAME,
            f"matches only names below {display_name(entry)}, and {display_name(name)} is above it",
        )
    if name.startswith(entry + b"."):
        return MismatchReason(
            Likelihood.RELATED_NAME,
            "is the beginning of the name, but names are compared from the end",
        )
    if name.endswith(entry) and b"." in entry:
        return MismatchReason(
            Likelihood.RELATED_NAME, "is the end of the name, but not after a dot"
        )
    organisation = organisation_of(name)
    if organisation and is_or_is_below(entry, organisation):
        return MismatchReason(
            Likelihood.RELATED_NAME,
            f"is another name in the same domain; {display_name(organisation)} would match both",
        )
    return _typo(entry, name)


def _typo(entry: bytes, name: bytes) -> MismatchReason | None:
    if len(entry) < 5 or b"." not in entry:
        return None
    labels = name.split(b".")
    end = b".".join(labels[-1 - entry.count(b".") :])
    if is_one_letter_apart(entry, end):
        return MismatchReason(Likelihood.TYPO, f"differs by one letter from {display_name(end)}")
    return None


def is_one_letter_apart(one: bytes, other: bytes) -> bool:
    """Whether two names differ by exactly one added, missing or different character."""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    short, long = sorted((one, other), key=len)
    place = next((at for at, pair in enumerate(zip(short, long, strict=False))
                  if pair[0] != pair[1]), len(short))  # fmt: skip
    same_length = len(short) == len(long)
    return short[place + same_length :] == long[place + 1 :]
