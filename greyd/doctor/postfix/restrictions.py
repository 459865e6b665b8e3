"""Parses restriction lists as smtpd does (postconf(5), SMTPD_ACCESS_README).

White space or commas separate the words of a list; ``{ … }`` is one word. Some words take the next
word as their argument. The name of a restriction class stands for the restrictions in the class.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AT_RCPT = ("client", "helo", "sender", "relay", "recipient")
"""The lists that smtpd evaluates per recipient, in order (before Postfix 3.6: relay last)."""

AFTER_RCPT = ("data", "end_of_data")

MAX_RESTRICTIONS = 1000
"""The number of restrictions read from one list: nested classes could make it endless."""

FINAL = ("permit", "reject", "defer")
"""Restrictions that end a list for every client."""

_WITH_ARGUMENT = re.compile(
    r"check_\w+_access|check_policy_service|reject_rbl(_client)?|reject_rhsbl_\w+|"
    r"permit_(dnswl|rhswl)_client|sleep"
)
_KNOWN = re.compile(r"(permit|reject|defer|check)(_\w+)?|warn_if_reject|sleep")
_TABLE = re.compile(r"[a-z0-9_-]+:.+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Restriction:
    """One restriction of a list."""

    name: str
    argument: str = ""
    only_warns: bool = False
    """Whether ``warn_if_reject`` precedes it."""
    in_class: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.argument}".strip()

    @property
    def rejects(self) -> bool:
        """Whether the restriction can reject mail."""
        return self.name.startswith(("reject", "defer")) and not self.only_warns

    @property
    def is_known(self) -> bool:
        """Whether smtpd has a restriction of this name."""
        return bool(_KNOWN.fullmatch(self.name)) or self.name == "check_map"


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


def split_words(text: str) -> list[str]:
    """Split a list into its words; a pair of braces with its content is one word.

    A word that begins with an unclosed brace extends to the end of the text.
    """
    found: list[str] = []
    word, depth = "", 0
    for each in text:
        if not depth and (each.isspace() or each == ","):
            found.append(word)
            word = ""
            continue
        depth += (each == "{") - (each == "}" and depth > 0)
        word += each
    return [each for each in (*found, word) if each]


def has_unbalanced_brace(text: str) -> bool:
    """Whether a list has an unmatched brace."""
    return text.count("{") != text.count("}")


def parse_restrictions(text: str, classes: Mapping[str, str]) -> list[Restriction]:
    """Return the restrictions of a list, with class names replaced by the classes' content."""
    return list(islice(_restrictions(text, classes, ()), MAX_RESTRICTIONS))


def _restrictions(
    text: str, classes: Mapping[str, str], inside: Sequence[str]
) -> Iterator[Restriction]:
    class_name = inside[-1] if inside else ""
    left = iter(split_words(text))
    only_warns = False
    for word in left:
        name = word.lower()
        if name == "warn_if_reject":
            only_warns = True
            continue
        if word in classes and word not in inside:
            for each in _restrictions(classes[word], classes, (*inside, word)):
                yield replace(each, only_warns=each.only_warns or only_warns)
        elif _WITH_ARGUMENT.fullmatch(name):
            yield Restriction(name, next(left, ""), only_warns, class_name)
        elif _TABLE.fullmatch(word):
            # A bare lookup table is an access table for the list's subject, e.g. the client.
            yield Restriction("check_map", word, only_warns, class_name)
        else:
            yield Restriction(name, "", only_warns, class_name)
        only_warns = False


def reachable_count(restrictions: Sequence[Restriction]) -> int:
    """Return the number of restrictions that smtpd reaches, including one that ends the list."""
    for index, each in enumerate(restrictions):
        if each.name in FINAL and not each.only_warns:
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
        PolicyCall(name, index, *_parse_policy(restriction.argument))
        for name, listed in lists.items()
        for index, restriction in enumerate(listed)
        if restriction.name == "check_policy_service"
    ]


def _parse_policy(argument: str) -> tuple[str, dict[str, str]]:
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
