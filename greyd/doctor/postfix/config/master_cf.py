"""The services of ``master.cf``, as ``postconf -M`` and ``postconf -P`` print them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.restrictions import split_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUBMISSION_PORTS = frozenset({"submission", "submissions", "smtps", "587", "465"})

_COLUMN_COUNT = 8


@dataclass(frozen=True, slots=True)
class MasterService:
    """A service of ``master.cf``."""

    name: str
    """The first column: a port, an address and a port, or the name of a socket."""
    kind: str = "inet"
    """The second column: inet, unix, fifo, pass or unix-dgram."""
    program: str = "smtpd"
    chroot: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    """The parameters that ``-o`` sets."""
    arguments: Sequence[str] = ()
    """The words after the program; braces with their content are one word."""

    @property
    def port(self) -> str:
        """The service's port, as a number or a name."""
        return self.name.rpartition(":")[2]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        host = self.name.rpartition(":")[0].strip("[]")
        return host == "localhost" or host.startswith("127.") or host == "::1"


def parse_services(
    lines: str, overrides: Mapping[str, str], *, chroot_is_default: bool
) -> list[MasterService]:
    """Parse the output of ``postconf -M``; ``overrides`` is that of ``postconf -P``, by name."""
    found = []
    for line in lines.split("\n"):
        columns = line.split(None, _COLUMN_COUNT)
        if len(columns) < _COLUMN_COUNT:
            continue
        name, kind, _, _, chroot = columns[:5]
        own = f"{name}/{kind}/"
        found.append(
            MasterService(
                name,
                kind,
                columns[7],
                chroot == "y" or (chroot == "-" and chroot_is_default),
                {key[len(own) :]: value for key, value in overrides.items() if key.startswith(own)},
                tuple(_words("".join(columns[8:]))),
            )
        )
    return found


def _words(text: str) -> list[str]:
    # Unlike in a restriction list, a comma does not separate words here.
    return [each.replace("\0", ",") for each in split_words(text.replace(",", "\0"))]


def stray_arguments(service: MasterService) -> Iterator[str]:
    """Yield the words of an smtpd service that are not options: smtpd dies on each connection."""
    words = iter(service.arguments)
    for word in words:
        if word == "-o":
            setting = next(words, "")
            if "=" not in setting:
                yield f"-o {setting}".strip()
        elif not word.startswith("-"):
            yield word
