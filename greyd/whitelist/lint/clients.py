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


def client_problems(text: bytes, line: bytes) -> Iterator[Problem]:
    """Yield the problems of a client entry; ``line`` is the whole line with its comment."""
    if is_pattern(text):
        yield from pattern_problems(text, CLIENTS)
    elif problem := comment_problem(text, line) or flags_problem(text):
        yield problem
    elif network := network_of_entry(text):
        yield from network_problems(text, network)
    elif text.startswith(b"/"):
        # The matcher reports the missing slash.
        return
    elif text.lower() == b"unknown":
        yield Problem(
            "lets every client without a confirmed name pass, which is nearly all spam",
            "write addresses instead",
        )
    elif problem := broken_network_problem(text):
        yield problem
    elif ADDRESS_LIKE.fullmatch(text):
        # The matcher reports the invalid address.
        return
    elif b"@" in text.lstrip(b"*.@"):
        yield Problem(
            "never matches: a mail address, but clients are matched by host name and IP address",
            "move a recipient to the recipients list; senders cannot be whitelisted",
        )
    elif problem := name_problem(text):
        yield problem
