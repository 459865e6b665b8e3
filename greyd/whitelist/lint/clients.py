"""Lints entries of the client whitelist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.entries import is_pattern, network_of_entry
from greyd.whitelist.lint.findings import Problem
from greyd.whitelist.lint.names import name_problem
from greyd.whitelist.lint.networks import ADDRESS_LIKE, broken_network_problem, network_problems
from greyd.whitelist.lint.patterns import comment_problem, flags_problem, pattern_problems
from greyd.whitelist.list_names import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterator


def client_problems(text: bytes, line: bytes, which: str) -> Iterator[Problem]:
    """Yield the problems of an entry of a list of clients.

    Args:
        text: the entry.
        line: the whole line with its comment.
        which: the list's name.
    """
    if is_pattern(text):
        yield from pattern_problems(text, which)
    elif problem := comment_problem(text, line) or flags_problem(text):
        yield problem
    elif network := network_of_entry(text):
        yield from network_problems(text, network, which)
    elif text.startswith(b"/"):
        # The matcher reports the missing slash.
        return
    elif problem := broken_network_problem(text):
        yield problem
    elif ADDRESS_LIKE.fullmatch(text):
        # The matcher reports the invalid address.
        return
    else:
        yield from _name_problems(text, which)


def _name_problems(text: bytes, which: str) -> Iterator[Problem]:
    if text.lower() == b"unknown":
        if which == CLIENTS:
            yield Problem(
                "lets every client without a confirmed name pass, which is nearly all spam",
                "write addresses instead",
            )
    elif b"@" in text.lstrip(b"*.@"):
        yield Problem(
            "never matches: a mail address, but clients are matched by host name and IP address",
            "move a recipient to the recipients list, a sender to --whitelist-senders",
        )
    elif problem := name_problem(text):
        yield problem
