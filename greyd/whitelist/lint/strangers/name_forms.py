"""Defines the names that whitelists are compared with: host names and mail addresses."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.rules.hostnames import MAX_NAME_BYTES, registered_domain
from greyd.rules.names.internationalised import ascii_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS = (string.ascii_lowercase + string.digits).encode()
_LOCAL_PART_ONLY = b"+=!#$%&'*/?^`{|}~\" "
_OTHERS = b"-._" + string.ascii_uppercase.encode()


@dataclass(frozen=True, slots=True)
class NameForm:
    """A form of names; the search builds them from right to left."""

    characters: bytes
    """The characters of such names, the most usual ones first."""
    beginnings: Sequence[bytes]
    """Usual texts before a domain."""
    is_address: bool

    def may_precede(self, byte: int, name: bytes) -> bool:
        """Whether a character may stand before the right part of a name."""
        first = name[:1]
        if byte in _LOCAL_PART_ONLY:
            return self.is_address and b"@" in name
        if byte == ord("@"):
            return self.is_address and b"@" not in name and _is_letter(first)
        if byte == ord("."):
            return _is_letter(first)
        return not (byte == ord("-") and first in (b"", b".", b"@"))

    def distinction(self, name: bytes) -> object:
        """Return what ``may_precede`` and ``is_whole`` need to know about the part of a name."""
        return name[:1] if name[:1] in b".-@" else b"", self.is_address and b"@" in name

    def is_whole(self, name: bytes) -> bool:
        """Whether a name is complete at its left end."""
        if self.is_address and b"@" not in name[1:]:
            return False
        begins_well = _is_letter(name[:1]) or (self.is_address and name[:1] in b'"')
        return begins_well and len(name) <= MAX_NAME_BYTES

    def domain_of(self, name: bytes) -> bytes:
        """Return the domain of a name, in lower case."""
        return name.rpartition(b"@")[2].lower()

    def owner_of(self, name: bytes) -> bytes:
        """Return the registered domain of a name; see ``registered_domain``."""
        return owner(self.domain_of(name))


def owner(name: bytes) -> bytes:
    """Return the registered domain of a name, in the encoding of the name: ASCII or UTF-8."""
    domain = registered_domain(ascii_domain(name))
    label_count = domain.count(b".") + 1
    return domain if name.isascii() else b".".join(name.split(b".")[-label_count:])


def _is_letter(character: bytes) -> bool:
    return character.isalnum() or character == b"_" or character >= b"\x80"


@dataclass(frozen=True, slots=True)
class LabelForm(NameForm):
    """The form of one label before a public suffix."""

    tail: bytes
    """The suffix, with the dot before it."""
    labels: Sequence[bytes]
    """Labels that are distinguished from all others while they are built."""

    def may_precede(self, byte: int, name: bytes) -> bool:
        """Whether a character may stand before the right part of the label."""
        return byte not in b".@" + _LOCAL_PART_ONLY and not (byte == ord("-") and name == self.tail)

    def distinction(self, name: bytes) -> object:
        """Return the label if it may become one of ``labels``; otherwise None."""
        label = name.removesuffix(self.tail)
        return label if any(each.endswith(label) for each in self.labels) else None


@dataclass(frozen=True, slots=True)
class FullNameForm(NameForm):
    """The form of host names with a domain."""

    def distinction(self, name: bytes) -> object:
        """Return what ``may_precede`` and ``is_whole`` need to know about the part of a name."""
        last = name.rpartition(b".")[2]
        return NameForm.distinction(self, name), b"." in name, last.isdigit()

    def is_whole(self, name: bytes) -> bool:
        """Whether a name is complete at its left end, and has a domain."""
        _, dot, last = name.rpartition(b".")
        return bool(dot) and not last.isdigit() and NameForm.is_whole(self, name)


HOST_NAMES = NameForm(_LETTERS + _OTHERS, (b"", b"mail.", b"mx1."), is_address=False)
FULL_HOST_NAMES = FullNameForm(HOST_NAMES.characters, (), is_address=False)
ADDRESSES = NameForm(
    _LETTERS + _OTHERS + b"@" + _LOCAL_PART_ONLY, (b"news@", b"news@mail."), is_address=True
)


def domain_in(tail: bytes) -> bytes:
    """Return the registered domain in a literal right end; its first label may be incomplete."""
    found = re.search(rb"[a-z0-9_\x80-\xff-]+(?:\.[a-z0-9_\x80-\xff-]+)+\Z", tail)
    return owner(found[0]) if found else b""
