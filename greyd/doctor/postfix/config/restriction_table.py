"""All restrictions of smtpd, with their arguments and versions.

Source: postconf(5) of Postfix 2.1 to 3.11, ``smtpd_recipient_restrictions`` and its neighbours. An
integration test compares the table with the words that the installed smtpd accepts.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Version = tuple[int, int]

NEWEST: Version = (99, 0)
"""Represents an unknown version: every restriction is accepted."""


class Argument(Enum):
    """The word that a restriction expects after it; the value describes it."""

    NONE = "no argument"
    TABLE = "a table, TYPE:NAME"
    POLICY = "a policy server, inet:HOST:PORT or unix:PATH"
    DOMAIN = "a domain"
    NUMBER = "a number of seconds"


class Subject(Enum):
    """What a restriction checks; it has no effect in a list where this is not known yet."""

    ANY = "everything"
    CLIENT = "client"
    HELO = "HELO name"
    SENDER = "sender"
    RECIPIENT = "recipient"
    ETRN = "ETRN domain"


@dataclass(frozen=True, slots=True)
class KnownRestriction:
    """A restriction that some version of smtpd accepts."""

    name: str
    subject: Subject
    argument: Argument = Argument.NONE
    since: Version = (2, 1)
    until: Version | None = None
    """The version that removed it; None if none has."""

    def is_in(self, version: Version) -> bool:
        """Whether smtpd of a version accepts the restriction."""
        return self.since <= version and (
            self.until is None or version < self.until or version == NEWEST
        )


def _words(
    subject: Subject,
    names: str,
    argument: Argument = Argument.NONE,
    since: Version = (2, 1),
    until: Version | None = None,
) -> Iterator[KnownRestriction]:
    for name in names.split():
        yield KnownRestriction(name, subject, argument, since, until)


_TABLE, _DOMAIN = Argument.TABLE, Argument.DOMAIN
_ANY, _CLIENT, _HELO = Subject.ANY, Subject.CLIENT, Subject.HELO
_SENDER, _RECIPIENT = Subject.SENDER, Subject.RECIPIENT

_REMOVED: Version = (3, 9)

_ALL = (
    *_words(
        _ANY,
        "permit defer reject defer_if_permit defer_if_reject warn_if_reject"
        " reject_unauth_pipelining reject_multi_recipient_bounce",
    ),
    *_words(_ANY, "reject_plaintext_session", since=(2, 3)),
    *_words(_ANY, "check_policy_service", Argument.POLICY),
    *_words(_ANY, "sleep", Argument.NUMBER, (2, 2)),
    # The client
    *_words(_CLIENT, "permit_mynetworks permit_sasl_authenticated reject_unknown_client"),
    *_words(
        _CLIENT,
        "permit_inet_interfaces permit_tls_clientcerts permit_tls_all_clientcerts",
        since=(2, 2),
    ),
    *_words(
        _CLIENT,
        "reject_unknown_client_hostname reject_unknown_reverse_client_hostname",
        since=(2, 3),
    ),
    *_words(_CLIENT, "reject_maps_rbl", until=_REMOVED),
    *_words(_CLIENT, "reject_rbl reject_rbl_client reject_rhsbl_client", _DOMAIN),
    *_words(
        _CLIENT,
        "permit_dnswl_client permit_rhswl_client reject_rhsbl_reverse_client",
        _DOMAIN,
        (2, 8),
    ),
    *_words(_CLIENT, "check_client_access", _TABLE),
    *_words(_CLIENT, "check_ccert_access", _TABLE, (2, 2)),
    *_words(_CLIENT, "check_reverse_client_hostname_access", _TABLE, (2, 6)),
    *_words(
        _CLIENT,
        "check_client_mx_access check_client_ns_access check_reverse_client_hostname_mx_access"
        " check_reverse_client_hostname_ns_access",
        _TABLE,
        (2, 7),
    ),
    *_words(_CLIENT, "check_sasl_access", _TABLE, (2, 11)),
    *_words(
        _CLIENT, "check_client_a_access check_reverse_client_hostname_a_access", _TABLE, (3, 0)
    ),
    # The HELO name
    *_words(_HELO, "reject_invalid_hostname reject_unknown_hostname reject_non_fqdn_hostname"),
    *_words(
        _HELO,
        "reject_invalid_helo_hostname reject_unknown_helo_hostname reject_non_fqdn_helo_hostname",
        since=(2, 3),
    ),
    *_words(_HELO, "permit_naked_ip_address", until=_REMOVED),
    *_words(_HELO, "reject_rhsbl_helo", _DOMAIN),
    *_words(_HELO, "check_helo_access check_helo_mx_access check_helo_ns_access", _TABLE),
    *_words(_HELO, "check_helo_a_access", _TABLE, (3, 0)),
    # The sender
    *_words(
        _SENDER,
        "reject_unknown_address reject_unknown_sender_domain reject_unverified_sender"
        " reject_non_fqdn_sender reject_unlisted_sender reject_sender_login_mismatch"
        " reject_authenticated_sender_login_mismatch"
        " reject_unauthenticated_sender_login_mismatch",
    ),
    *_words(_SENDER, "reject_known_sender_login_mismatch", since=(2, 11)),
    *_words(_SENDER, "reject_rhsbl_sender", _DOMAIN),
    *_words(_SENDER, "check_sender_access check_sender_mx_access check_sender_ns_access", _TABLE),
    *_words(_SENDER, "check_sender_a_access", _TABLE, (3, 0)),
    # The recipient
    *_words(
        _RECIPIENT,
        "permit_auth_destination permit_mx_backup reject_unauth_destination"
        " reject_unknown_recipient_domain reject_unverified_recipient reject_non_fqdn_recipient"
        " reject_unlisted_recipient check_recipient_maps",
    ),
    *_words(_RECIPIENT, "defer_unauth_destination", since=(2, 10)),
    *_words(_RECIPIENT, "check_relay_domains", until=_REMOVED),
    *_words(_RECIPIENT, "reject_rhsbl_recipient", _DOMAIN),
    *_words(
        _RECIPIENT,
        "check_recipient_access check_recipient_mx_access check_recipient_ns_access",
        _TABLE,
    ),
    *_words(_RECIPIENT, "check_recipient_a_access", _TABLE, (3, 0)),
    *_words(Subject.ETRN, "check_etrn_access", _TABLE),
)

RESTRICTIONS = {each.name: each for each in _ALL}
"""All restrictions, by name."""

ACCESS_ACTIONS = frozenset({
    "bcc", "discard", "dunno", "filter", "hold", "info", "ok", "prepend", "redirect", "strip",
    "warn",
})  # fmt: skip
"""Words that are actions of access(5): they belong in a table, not in a list."""

_MIN_LIKENESS = 0.75
"""The minimum similarity (``difflib``) at which one word counts as a typo of the other."""


def nearest_word(word: str, words: Iterable[str]) -> str:
    """Return the word that a typo most probably stands for; empty if none is similar."""
    found = difflib.get_close_matches(word.lower(), list(words), 1, _MIN_LIKENESS)
    return found[0] if found else ""


def nearest_restriction(word: str, version: Version, classes: Iterable[str] = ()) -> str:
    """Return the restriction or class that a typo most probably stands for; empty if none."""
    names = [each.name for each in _ALL if each.is_in(version)]
    lower = word.lower()
    # A part of a name counts before a name with similar letters.
    begun = [each for each in names if each.startswith(f"{lower}_")]
    ended = [each for each in names if each.endswith(f"_{lower}")]
    if f"reject_{lower}" in ended:
        return f"reject_{lower}"
    for found in (begun, ended):
        if len(found) == 1:
            return found[0]
    return nearest_word(word, [*names, *classes])
