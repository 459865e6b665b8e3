"""Lints entries of the client whitelist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.entries import is_pattern, network_of_entry
from greyd.whitelist.hits import CLIENTS
from greyd.whitelist.lint.findings import Problem
from greyd.whitelist.lint.names import name_problem
from greyd.whitelist.lint.networks import ADDRESS_LIKE, broken_network_problem, network_problems
from greyd.whitelist.lint.patterns import comment_problem, flags_problem, pattern_problems

if TYPE_CHECKING:
    from collections.abc import Iterator


# Clients ------------------------------------------------------------------------------------------


def client_problems(text: bytes, line: bytes) -> Iterator[Problem]:
    """Yield the problems of an entry of the client whitelist."""
    if is_pattern(text):
        yield from pattern_problems(text, CLIENTS)
    elif fault := comment_problem(text, line) or flags_problem(text):
        yield fault
    elif network := network_of_entry(text):
        yield from network_problems(text, network)
    elif text.startswith(b"/"):
        # The matcher says so.
        return
    elif text.lower() == b"unknown":
        yield Problem(
            "lets every client pass that has no confirmed name, so nearly all spam",
            "enter addresses instead",
        )
    elif fault := broken_network_problem(text):
        yield fault
    elif ADDRESS_LIKE.fullmatch(text):
        # The matcher says that it is none.
        return
    elif b"@" in text.lstrip(b"*.@"):
        yield Problem(
            "never matches: a mail address; of clients name and address are compared",
            "a recipient stands in the recipients' list, and senders can't be entered",
        )
    elif fault := name_problem(text):
        yield fault
