"""The reasons why a recipient entry nearly matches a recipient."""

from __future__ import annotations

import re

from greyd.rules.hostnames import is_or_is_below
from greyd.whitelist.entries import WhitelistFile, is_pattern
from greyd.whitelist.matcher import RecipientWhitelist
from greyd.whitelist.near_misses.names import is_one_letter_apart, plain_name, related_reason
from greyd.whitelist.near_misses.patterns import compile_or_none, pattern_reason
from greyd.whitelist.near_misses.reasons import Likelihood, MismatchReason, display_name

# Recipients ---------------------------------------------------------------------------------------


def recipient_reason(text: bytes, recipient: bytes, sender: bytes) -> MismatchReason | None:
    """Return the reason why an entry nearly matches a recipient; None if it does not."""
    if text.startswith(b"/"):
        return _recipient_pattern(text, recipient, sender)
    lower, wanted = text.lower(), recipient.lower()
    user, _, domain = wanted.rpartition(b"@")
    plain = re.sub(rb"^(?:mailto:|<)|>$", b"", lower)
    entry_user, at, entry_domain = plain.rpartition(b"@")
    if plain != lower and RecipientWhitelist([_single_entry(plain)]).match(recipient):
        return MismatchReason(
            Likelihood.NOTATION, f"would match if it were written {display_name(plain)}"
        )
    if at and entry_user not in (b"", b"*"):
        if entry_domain in (b"*", b"") and entry_user == user:
            return MismatchReason(
                Likelihood.NOTATION, f"would match if it were written {display_name(entry_user)}@"
            )
        return _same_user(entry_user, entry_domain, user, domain)
    name = plain_name(plain)
    if not name:
        return None
    if name != lower and is_or_is_below(domain, name):
        return MismatchReason(
            Likelihood.NOTATION, f"would match if it were written {display_name(name)}"
        )
    if name == user:
        return MismatchReason(
            Likelihood.NOTATION,
            f"is read as a domain; written {display_name(name)}@ it would match",
        )
    if sender and is_or_is_below(sender.lower().rpartition(b"@")[2], name):
        return MismatchReason(
            Likelihood.OTHER_ATTRIBUTE,
            "matches the sender, which only --whitelist-senders compares",
        )
    return related_reason(name, domain)


def _same_user(
    entry_user: bytes, entry_domain: bytes, user: bytes, domain: bytes
) -> MismatchReason | None:
    if entry_user.partition(b"+")[0] != user.partition(b"+")[0] and entry_domain == domain:
        typo = len(user) > 3 and is_one_letter_apart(entry_user, user)
        return (
            MismatchReason(Likelihood.TYPO, f"differs by one letter from {display_name(user)}")
            if typo
            else None
        )
    if entry_user == user and domain.endswith(b"." + entry_domain):
        return MismatchReason(
            Likelihood.RELATED_NAME,
            f"matches {display_name(entry_domain)} only, not the domains below it",
        )
    if entry_user == user and (why := related_reason(entry_domain, domain)):
        return why
    if entry_domain == domain and entry_user.startswith(user + b"+"):
        return MismatchReason(
            Likelihood.RELATED_NAME,
            f"matches that extension only; {display_name(user)}@ would match all of them",
        )
    return None


def _recipient_pattern(text: bytes, recipient: bytes, sender: bytes) -> MismatchReason | None:
    if why := pattern_reason(text, recipient):
        return why
    search = compile_or_none(text[1:-1]) if is_pattern(text) and sender else None
    if search and search(sender):
        return MismatchReason(
            Likelihood.OTHER_ATTRIBUTE,
            "matches the sender, which only --whitelist-senders compares",
        )
    return None


def _single_entry(text: bytes) -> WhitelistFile:
    return WhitelistFile("", text)
