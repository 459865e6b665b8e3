"""The faults of sources, and the administrator's remedy for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from greyd.dns.lists.families import OWN_RESOLVER, code_text, family_of


class FaultKind(Enum):
    """The kinds of faults."""

    NO_ANSWER = "no answer"
    """Time-outs, SERVFAIL, REFUSED, or an unreachable server."""
    ERROR_ANSWER = "error answer"
    """The list answers with an error code, e.g. because it does not serve this resolver."""
    FOREIGN_ANSWER = "foreign answer"
    """Answers outside 127.0.0.0/8: the zone is parked, or the resolver replaces NXDOMAIN."""
    LISTS_EVERYTHING = "lists everything"
    """The list contains the entry that no list may contain."""
    NO_TEST_ENTRY = "no test entry"
    """The list does not contain its test entry, so it is empty or not reached."""


@dataclass(frozen=True, slots=True)
class SourceFault:
    """The fault of a source that is out of order."""

    kind: FaultKind
    text: str
    """The problem, with the name of the source; one line."""
    remedy: str
    """The remedy; one line."""


def no_answer_of_resolver(servers: str) -> SourceFault:
    """Return the fault of a resolver that does not answer; ``servers`` says where it is set."""
    return SourceFault(
        FaultKind.NO_ANSWER,
        "the DNS resolver does not answer",
        f"check the name servers in {servers}",
    )


def no_answer_of_list(zone: str, reason: str) -> SourceFault:
    """Return the fault of a list that does not answer."""
    return SourceFault(
        FaultKind.NO_ANSWER,
        f"{zone} does not answer ({reason})",
        f"if it lasts, remove the list; {family_of(zone).access_remedy}",
    )


def bad_answer(zone: str, code: int) -> SourceFault:
    """Return the fault of a list whose answer is an error code, or outside 127.0.0.0/8."""
    family = family_of(zone)
    if code >> 24 == 127:
        return SourceFault(
            FaultKind.ERROR_ANSWER,
            f"{zone} answers {code_text(code)}, which is an error code",
            family.access_remedy,
        )
    return SourceFault(
        FaultKind.FOREIGN_ANSWER,
        f"{zone} answers {code_text(code)}, which is not an answer of a DNS list",
        f"remove the list if it has shut down; if the resolver replaces answers, {OWN_RESOLVER}",
    )


def lists_everything(zone: str, name: str) -> SourceFault:
    """Return the fault of a list that contains ``name``, which no list may contain."""
    return SourceFault(
        FaultKind.LISTS_EVERYTHING,
        f"{zone} lists {name}, which no list may contain (RFC 5782)",
        "it may list everything; if it lasts, remove the list",
    )


def no_test_entry(zone: str, name: str) -> SourceFault:
    """Return the fault of a list that lacks its test entry ``name``."""
    return SourceFault(
        FaultKind.NO_TEST_ENTRY,
        f"{zone} does not list its test entry {name}",
        f"check the name of the zone; if it is right, {OWN_RESOLVER}",
    )
