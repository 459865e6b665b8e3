"""Finds a name that a pattern matches, but that belongs to someone its author did not name.

The registered domains that the author spelled out are the intended ones. A stranger can register
any other domain, so a pattern must not match names in it. The search covers three kinds of
strangers:

- a domain of its own below a top-level domain or another public suffix: ``mail.spammer.example``;
- a domain that ends with the intended one: ``spammer-example.com``;
- the intended domain with another letter, digit or suffix: ``example7.com``, ``example.co``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, cached_property
from typing import TYPE_CHECKING

from greyd.rules.hostnames import is_public_suffix, organisation_of
from greyd.rules.names.internationalised import ascii_domain
from greyd.rules.public_suffixes import suffix_list_in_force
from greyd.whitelist.lint.strangers.host_labels import HOST_LABELS
from greyd.whitelist.lint.strangers.name_forms import LabelForm, domain_in
from greyd.whitelist.lint.strangers.reverse_matcher import ReverseMatcher, TooLargeError
from greyd.whitelist.lint.strangers.spelled_ends import BEGIN, spelled_ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.whitelist.lint.strangers.name_forms import NameForm
    from greyd.whitelist.perl_regex.syntax import Node

_OTHER_SUFFIXES = b"""
example xyz top online cloud info biz software photography co.nz co.za co.jp co.in co.il co.kr
com.br com.au com.cn com.tr com.mx com.pl org.uk co.uk co cc tk me io tv ws eu us ru cn in de
fr it nl pl es se ch at be cz dk fi hu no pt ro ca jp br museum net org com
"""
OTHER_SUFFIXES = tuple(_OTHER_SUFFIXES.split())
"""Public suffixes below which a stranger may have registered a domain; the reserved one first."""

_STRANGERS = (b"spammer", b"stranger", b"somebody-else")
"""The labels of strangers' domains, in order of preference."""

_MAX_TRIED = 3000
"""Maximum number of names to try in one search."""


class StrangerKind(Enum):
    """How a stranger's domain differs from the intended ones."""

    ANY_DOMAIN = "any domain"
    BELOW_SUFFIX = "any domain below a public suffix"
    LONGER_LABEL = "a domain that ends with the intended one"
    OTHER_DOMAIN = "another domain"


@dataclass(frozen=True, slots=True)
class Stranger:
    """A name that a pattern matches, but that does not belong to an owner its author named."""

    kind: StrangerKind
    name: str
    suffix: str
    """The public suffix that the name ends with."""
    intended: str = ""
    """The domain that the author named, if the stranger's resembles it."""
    other_name: str = ""
    """A name in one more domain that matches, where the author spelled none to its end."""


def matches_no_name(root: Node, form: NameForm) -> bool:
    """Whether a pattern matches no valid name of a form.

    Raises:
        TooLargeError: the pattern is too large to analyse.
    """
    matcher = ReverseMatcher(root)
    return not any(
        form.is_whole(name) and matcher.accepts_end(state)
        for state, name in matcher.explore(b"", form)
    )


def find_stranger(root: Node, form: NameForm) -> Stranger | None:
    """Return a stranger who matches a pattern; None if there is none.

    Raises:
        TooLargeError: the pattern is too large to analyse.
    """
    return _StrangerSearch(root, form).find()


class _StrangerSearch:
    """The search for a stranger in one pattern."""

    def __init__(self, root: Node, form: NameForm) -> None:
        self._matcher = ReverseMatcher(root)
        self._form = form
        self._root = root
        self._ends = spelled_ends(root)
        self._stranger = next(
            each for each in (*_STRANGERS, b"x" * 60) if not any(each in end for end in self._ends)
        )

    @cached_property
    def _intended(self) -> frozenset[bytes]:
        """The registered domains that the author spelled out."""
        return frozenset(filter(None, map(domain_in, self._ends)))

    @cached_property
    def _spelled_suffixes(self) -> list[bytes]:
        """The public suffixes that the author spelled out, the longest first."""
        found: set[bytes] = set()
        for end in self._ends:
            text = end.removeprefix(BEGIN)
            while text:
                found |= {text} if _has_domains_below(text) else set()
                text = text.partition(b".")[2]
        return sorted(found, key=lambda each: (-each.count(b"."), each))

    def _suffixes(self) -> Iterator[bytes]:
        """Yield the public suffixes that a matching name can have; the usual ones first."""
        matcher = self._matcher
        candidates = (*OTHER_SUFFIXES, *self._spelled_suffixes, *_top_level_domains())
        for suffix in dict.fromkeys(candidates):
            if not matcher.is_dead(matcher.read(matcher.start, b"." + suffix)):
                yield suffix

    def find(self) -> Stranger | None:
        """Return a stranger; None if there is none."""
        return (
            self._with_own_domain()
            or self._with_longer_label()
            or self._with_other_domain()
            or self._with_host_label_as_domain()
        )

    def _with_own_domain(self) -> Stranger | None:
        for suffix in self._suffixes():
            for name in self._names(self._stranger + b"." + suffix):
                if self._stranger in self._form.owner_of(name):
                    is_spelled = suffix in self._spelled_suffixes
                    kind = StrangerKind.BELOW_SUFFIX if is_spelled else StrangerKind.ANY_DOMAIN
                    return _stranger(kind, name, suffix)
        return None

    def _with_longer_label(self) -> Stranger | None:
        for intended in sorted(self._intended):
            for joint in (b"-", b""):
                domain = self._stranger + joint + intended
                for name in self._names(domain):
                    if self._form.owner_of(name) == domain:
                        suffix = intended.partition(b".")[2]
                        return _stranger(StrangerKind.LONGER_LABEL, name, suffix, intended)
        return None

    def _with_other_domain(self) -> Stranger | None:
        found = next(self._other_domains(self._intended), None)
        if found is None:
            return None
        domain, name, suffix = found
        stranger = _stranger(StrangerKind.OTHER_DOMAIN, name, suffix)
        if self._intended:
            return stranger
        # The author spelled no domain to its end, and may mean the one that was found.
        another = next(self._other_domains(frozenset((domain,))), None)
        return another and replace(stranger, other_name=_text(another[1]))

    def _other_domains(self, known: frozenset[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield matching unknown domains, each with a matching name and its suffix."""
        for suffix in self._suffixes():
            for domain in self._domains_below(suffix, known):
                for name in self._names(domain):
                    if self._form.owner_of(name) == domain:
                        yield domain, name, suffix
                        break

    def _with_host_label_as_domain(self) -> Stranger | None:
        """Return a domain such as ``mail.com``, where the intended continuation is optional."""
        ends = spelled_ends(self._root, with_optional_parts=True)
        for domain in sorted(self._intended - set(map(domain_in, ends))):
            label, _, suffix = domain.partition(b".")
            if label in HOST_LABELS and organisation_of(domain):
                for name in self._names(domain):
                    if self._form.domain_of(name) == domain:
                        return _stranger(StrangerKind.OTHER_DOMAIN, name, suffix)
        return None

    def _domains_below(self, suffix: bytes, known: frozenset[bytes]) -> Iterator[bytes]:
        """Yield domains directly below a suffix that are not known, and may match."""
        tail = b"." + suffix
        labels = [each.removesuffix(tail) for each in known if each.endswith(tail)]
        form = LabelForm(self._form.characters, (), False, tail, labels)
        for tried, (_, domain) in enumerate(self._matcher.explore(tail, form)):
            if tried > _MAX_TRIED:
                raise TooLargeError
            is_begun = domain[:1].isalnum() or domain[:1] >= b"\x80"
            if is_begun and domain not in known:
                yield domain
        if not self._intended:
            for label in labels:
                yield from (each + tail for each in self._similar_labels(label))

    def _similar_labels(self, label: bytes) -> Iterator[bytes]:
        """Yield labels with one other character, which a pattern may not tell apart."""
        for place in range(len(label)):
            for byte in self._form.characters:
                if byte != label[place] and bytes((byte,)).isalnum():
                    yield label[:place] + bytes((byte,)) + label[place + 1 :]

    def _names(self, domain: bytes) -> Iterator[bytes]:
        """Yield matching names whose right end is a domain, or a name below it."""
        form, matcher = self._form, self._matcher
        state = matcher.read(matcher.start, domain)
        if matcher.is_dead(state):
            return
        for beginning in form.beginnings:
            if matcher.accepts_end(matcher.read(state, beginning)):
                yield beginning + domain
        for border in (b".", b"@") if form.is_address else (b".",):
            for tried, (reached, name) in enumerate(matcher.explore(border + domain, form)):
                if tried > _MAX_TRIED:
                    raise TooLargeError
                if form.is_whole(name) and matcher.accepts_end(reached):
                    yield name


@cache
def _top_level_domains() -> tuple[bytes, ...]:
    """Return all top-level domains of the public suffix list, in ASCII and in UTF-8."""
    icann, _, _ = suffix_list_in_force().suffixes.text.partition("// ===BEGIN PRIVATE DOMAINS===")
    lines = [line.strip() for line in icann.splitlines()]
    names = [each.encode() for each in lines if re.fullmatch(r"[\w-]+", each)]
    # The list has internationalised domains in UTF-8 only; clients have them in ASCII.
    internationalised = [each for each in names if not each.isascii()]
    in_ascii = [each for each in names if each.isascii()] + [*map(ascii_domain, internationalised)]
    return (*in_ascii, *internationalised)


def _has_domains_below(name: bytes) -> bool:
    """Whether a name is a public suffix, or names directly below it are (``*.ck``)."""
    name = ascii_domain(name)
    return is_public_suffix(name) or is_public_suffix(_STRANGERS[0] + b"." + name)


def _stranger(kind: StrangerKind, name: bytes, suffix: bytes, intended: bytes = b"") -> Stranger:
    return Stranger(kind, _text(name), _text(suffix), _text(intended))


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
