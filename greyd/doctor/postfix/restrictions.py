"""Postfix's restriction lists as smtpd reads them (postconf(5), SMTPD_ACCESS_README).

A list is words with white space or commas between them; ``{ … }`` is one word. Some words take the
next one as their argument. A restriction class is a list of its own that stands for its name.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


AT_RCPT = ("client", "helo", "sender", "relay", "recipient")
"""Lists that count for a recipient, in their order; before Postfix 3.6 relay came last."""

AFTER_RCPT = ("data", "end_of_data")

MAX_RESTRICTIONS = 1000
"""That are looked at of one list: classes within classes can make it endless."""

_WITH_ARGUMENT = re.compile(
    r"check_\w+_access|check_policy_service|reject_rbl(_client)?|reject_rhsbl_\w+|"
    r"permit_(dnswl|rhswl)_client|sleep"
)
_KNOWN = re.compile(r"(permit|reject|defer|check)(_\w+)?|warn_if_reject|sleep")
_MAP = re.compile(r"[a-z0-9_-]+:.+", re.IGNORECASE)

FINAL = ("permit", "reject", "defer")
"""Restrictions after which nothing of the list is asked."""


class Restriction(NamedTuple):
    """One restriction."""

    name: str
    argument: str = ""
    only_warns: bool = False
    in_class: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.argument}".strip()

    @property
    def rejects(self) -> bool:
        """Whether it can turn mail away."""
        return self.name.startswith(("reject", "defer")) and not self.only_warns

    @property
    def is_known(self) -> bool:
        """Whether smtpd knows it."""
        return bool(_KNOWN.fullmatch(self.name)) or self.name == "check_map"


def split_words(text: str) -> list[str]:
    """Split a list into its words; what stands in braces is one.

    An opening brace without its end takes the rest.
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


def has_open_brace(text: str) -> bool:
    """Whether a list has an opening brace without its end, or the reverse."""
    return text.count("{") != text.count("}")


def parse_restrictions(text: str, classes: Mapping[str, str]) -> list[Restriction]:
    """Return the restrictions of a list, with those of its classes in their places."""
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
            for step in _restrictions(classes[word], classes, (*inside, word)):
                yield step._replace(only_warns=step.only_warns or only_warns)
        elif _WITH_ARGUMENT.fullmatch(name):
            yield Restriction(name, next(left, ""), only_warns, class_name)
        elif _MAP.fullmatch(word):
            # A table alone is an access table for the list's own subject.
            yield Restriction("check_map", word, only_warns, class_name)
        else:
            yield Restriction(name, "", only_warns, class_name)
        only_warns = False


def reachable_count(listed: Sequence[Restriction]) -> int:
    """Return how many steps of a list can be reached, the one that ends it with them."""
    for place, step in enumerate(listed):
        if step.name in FINAL and not step.only_warns:
            return place + 1
    return len(listed)


class PolicyCall(NamedTuple):
    """A ``check_policy_service`` and where it stands."""

    list_name: str
    place: int
    endpoint: str
    options: Mapping[str, str]
    """Those in its braces."""

    @property
    def context(self) -> str:
        """Its ``policy_context``, where it has one of its own."""
        return self.options.get("policy_context", "")


def policy_calls(lists: Mapping[str, Sequence[Restriction]]) -> list[PolicyCall]:
    """Return all policy services that are asked, in their order."""
    return [
        PolicyCall(name, place, *_policy(step.argument))
        for name, listed in lists.items()
        for place, step in enumerate(listed)
        if step.name == "check_policy_service"
    ]


def _policy(argument: str) -> tuple[str, dict[str, str]]:
    """Read ``inet:HOST:PORT`` or ``{ inet:HOST:PORT, name=value, { name = value } }``."""
    if not argument.startswith("{"):
        return argument, {}
    parts = split_words(_inner(argument)) or [""]
    options = {}
    for part in parts[1:]:
        name, _, value = _inner(part).partition("=")
        options[name.strip()] = _inner(value.strip())
    return parts[0], options


def _inner(text: str) -> str:
    return text.removeprefix("{").removesuffix("}").strip() if text.startswith("{") else text


_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_time(text: str) -> int | None:
    """Read one of Postfix's times; None where it is none."""
    parts = re.fullmatch(r"(\d{1,9})([smhdw]?)", text.strip().lower())
    return int(parts[1]) * _SECONDS[parts[2]] if parts else None
