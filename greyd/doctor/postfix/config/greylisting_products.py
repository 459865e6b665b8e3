"""Recognises programs that greylist, by their endpoint or command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.doctor.postfix.config.postconf import PostfixConfig


@dataclass(frozen=True, slots=True)
class Product:
    """A program that Postfix may call, and whether it greylists."""

    name: str
    pattern: re.Pattern[str]
    """Matches an endpoint, or the command line of the program that listens there."""
    module: str = ""
    """The part that greylists, if it can be switched off; otherwise empty."""


def _product(name: str, pattern: str, module: str = "") -> Product:
    return Product(name, re.compile(pattern, re.IGNORECASE), module)


_GREYLISTING = (
    _product("postgrey", r"postgrey|^inet:.*:(10023|60000)$"),
    _product("sqlgrey", r"sqlgrey|^inet:.*:2501$"),
    _product("gld", r"\bgld\b|^inet:.*:2525$"),
    _product("gross", r"\bgross(d|-postfix)?\b|^inet:.*:5525$"),
    _product("milter-greylist", r"milter-greylist"),
    _product("iRedAPD", r"iredapd|^inet:.*:7777$", "its greylisting plugin"),
    _product("mtpolicyd", r"mtpolicyd", "its Greylist plugin"),
    _product("policyd", r"\bc(b|luebringer-?)policyd|^inet:.*:10031$|policyd\d?(\.sock)?$",
             "its Greylisting module"),
    _product("a greylisting program", r"gr[ea]y-?(list|fix|d\b|spf|milter)|tumgreyspf|smf-grey"),
)  # fmt: skip


def program_of(postfix: PostfixConfig, endpoint: str) -> str:
    """Return the command line of the program at an endpoint; empty if it is unknown."""
    if found := postfix.programs.get(endpoint):
        return found
    name = endpoint.removeprefix("unix:").removeprefix("private/")
    return next(
        (" ".join(each.arguments) for each in postfix.other_services
         if each.program in ("spawn", "pipe") and each.name == name),
        "",
    )  # fmt: skip


def greylisting_product(endpoint: str, program: str) -> Product | None:
    """Return the greylisting product at an endpoint; a known program outweighs its port."""
    texts = (program,) if program else (endpoint,)
    return next(
        (each for each in _GREYLISTING if any(each.pattern.search(text) for text in texts)), None
    )
