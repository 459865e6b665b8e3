"""Parses restriction lists as smtpd does (postconf(5), SMTPD_ACCESS_README).

White space or commas separate the words of a list; ``{ … }`` is one word, since Postfix 3.0. Some
words take the next word as their argument. A word with a colon is an access table. The name of a
restriction class stands for the restrictions in the class.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.restriction_table import RESTRICTIONS, Argument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AT_RCPT = ("client", "helo", "sender", "relay", "recipient")
"""The lists that smtpd evaluates per recipient, in order (before Postfix 3.6: relay last)."""

AFTER_RCPT = ("data", "end_of_data")

FOR_ETRN = "etrn"
"""The list for the command ETRN, which no mail reaches."""

ALL_LISTS = (*AT_RCPT, *AFTER_RCPT, FOR_ETRN)

BARE_TABLE = "check_map"
"""The name of a ``Restriction`` that is only a table: it looks up the subject of its list."""

MAX_RESTRICTIONS = 1000
"""The number of restrictions read from one list: nested classes could make it endless."""

FINAL = ("permit", "reject", "defer")
"""Restrictions that end a list for every client."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """One restriction of a list."""

    name: str
    """The name in lower case; for an unknown word, the word itself."""
    argument: str = ""
    """The next word, if the restriction expects an argument; empty if the list ends there."""
    only_warns: bool = False
    """Whether ``warn_if_reject`` precedes it."""
    in_class: str = ""

    def __str__(self) -> str:
        if self.name == BARE_TABLE:
            return self.argument
        return f"{self.name} {self.argument}".strip()

    @property
    def rejects(self) -> bool:
        """Whether the restriction can reject mail."""
        return self.name.startswith(("reject", "defer")) and not self.only_warns


@dataclass(frozen=True, slots=True)
class PlacedRestriction:
    """A restriction that smtpd reaches, with its list and its index in the list."""

    list_name: str
    index: int
    restriction: Restriction


@dataclass(frozen=True, slots=True)
class PolicyCall:
    """A ``check_policy_service``, with its list and its index in the list."""

    list_name: str
    index: int
    endpoint: str
    options: Mapping[str, str]
    """The options inside the braces of the call."""

    @property
    def parameter(self) -> str:
        """The parameter of main.cf that contains the call."""
        return parameter_of(self.list_name)


def parameter_of(list_name: str) -> str:
    """Return the name of the parameter of main.cf that contains a list."""
    return f"smtpd_{list_name}_restrictions"


_SEPARATORS = " ,\t\r\n"
"""Other white space, e.g. a no-break space from a web page, belongs to a word."""


def split_words(text: str, *, braces: bool = True) -> list[str]:
    """Split a list into its words; a pair of braces with its content is one word.

    A word that begins with an unclosed brace extends to the end of the text. Without ``braces``,
    i.e. before Postfix 3.0, a brace is like any other character.
    """
    found: list[str] = []
    word, depth = "", 0
    for each in text:
        if not depth and each in _SEPARATORS:
            found.append(word)
            word = ""
            continue
        depth += braces * ((each == "{") - (each == "}" and depth > 0))
        word += each
    return [each for each in (*found, word) if each]


def has_unbalanced_brace(text: str) -> bool:
    """Whether a list has an unmatched brace."""
    return text.count("{") != text.count("}")


def parse_restrictions(
    text: str, classes: Mapping[str, str], *, braces: bool = True
) -> list[Restriction]:
    """Return the restrictions of a list, with class names replaced by the classes' content.

    A class that contains itself is returned as a restriction of its name.
    """
    return list(islice(_restrictions(text, classes, (), braces), MAX_RESTRICTIONS))


def _restrictions(
    text: str, classes: Mapping[str, str], inside: Sequence[str], braces: bool
) -> Iterator[Restriction]:
    class_name = inside[-1] if inside else ""
    left = iter(split_words(text, braces=braces))
    only_warns = False
    for word in left:
        known = RESTRICTIONS.get(word.lower())
        if known and known.name == "warn_if_reject":
            only_warns = True
            continue
        if ":" in word:
            yield Restriction(BARE_TABLE, word, only_warns, class_name)
        elif known is not None:
            argument = "" if known.argument is Argument.NONE else next(left, "")
            yield Restriction(known.name, argument, only_warns, class_name)
        elif word in classes and word not in inside:
            for each in _restrictions(classes[word], classes, (*inside, word), braces):
                yield replace(each, only_warns=each.only_warns or only_warns)
        else:
            yield Restriction(word, "", only_warns, class_name)
        only_warns = False


def reachable_count(restrictions: Sequence[Restriction]) -> int:
    """Return the number of restrictions that smtpd reaches, including one that ends the list."""
    for index, each in enumerate(restrictions):
        # warn_if_reject does not affect a permit.
        if each.name in FINAL and (each.name == "permit" or not each.only_warns):
            return index + 1
    return len(restrictions)


def reachable_restrictions(
    lists: Mapping[str, Sequence[Restriction]],
) -> list[PlacedRestriction]:
    """Return all restrictions up to RCPT TO that smtpd reaches, in order."""
    return [
        PlacedRestriction(name, index, restriction)
        for name, listed in lists.items()
        if name in AT_RCPT
        for index, restriction in enumerate(listed[: reachable_count(listed)])
    ]


def policy_calls(lists: Mapping[str, Sequence[Restriction]]) -> list[PolicyCall]:
    """Return all calls of policy services, in order."""
    return [
        PolicyCall(name, index, *parse_policy(restriction.argument))
        for name, listed in lists.items()
        for index, restriction in enumerate(listed)
        if restriction.name == "check_policy_service"
    ]


def parse_policy(argument: str) -> tuple[str, dict[str, str]]:
    """Parse ``inet:HOST:PORT`` or ``{ inet:HOST:PORT, name=value, { name = value } }``."""
    if not argument.startswith("{"):
        return argument, {}
    parts = split_words(_without_braces(argument)) or [""]
    options = {}
    for part in parts[1:]:
        name, _, value = _without_braces(part).partition("=")
        options[name.strip()] = _without_braces(value.strip())
    return parts[0], options


def _without_braces(text: str) -> str:
    return text.removeprefix("{").removesuffix("}").strip() if text.startswith("{") else text


_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_time(text: str) -> int | None:
    """Convert a time value of Postfix, such as ``10s``, into seconds; None if it is invalid."""
    parts = re.fullmatch(r"(\d{1,9})([smhdw]?)", text.strip().lower())
    return int(parts[1]) * _UNIT_SECONDS[parts[2]] if parts else None
