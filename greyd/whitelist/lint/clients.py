"""Lints entries of the client whitelist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.whitelist.entries import network_of_entry
from greyd.whitelist.lint.findings import Problem
from greyd.whitelist.lint.names import name_problem
from greyd.whitelist.lint.networks import ADDRESS_LIKE, broken_network_problem, network_problems
from greyd.whitelist.list_names import NEVER_AUTO, OVERRIDE

if TYPE_CHECKING:
    from collections.abc import Iterator


def client_problems(text: bytes, which: str) -> Iterator[Problem]:
    """Yield the problems of an entry in a list of clients that is not a pattern."""
    if network := network_of_entry(text):
        yield from network_problems(text, network, which)
    elif problem := broken_network_problem(text):
        yield problem
    elif ADDRESS_LIKE.fullmatch(text):
        # The matcher reports the invalid address.
        return
    else:
        yield from _name_problems(text, which)


def _name_problems(text: bytes, which: str) -> Iterator[Problem]:
    if text.lower() == b"unknown":
        if which != NEVER_AUTO:
            passes = "exempts" if which == OVERRIDE else "lets"
            verb = "from the lists" if which == OVERRIDE else "pass"
            yield Problem(
                f"{passes} every client without a confirmed name {verb}, which is nearly all spam",
                "write addresses instead",
            )
    elif b"@" in text.lstrip(b"*.@"):
        yield Problem(
            "never matches: a mail address, but clients are matched by host name and IP address",
            "move a recipient to the recipients list, a sender to --whitelist-senders",
        )
    elif problem := name_problem(text, which):
        yield problem
