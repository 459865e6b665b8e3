"""Where the server listens: what its settings say, or the sockets that systemd holds for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greyd.config.vocabulary import Endpoint
from greyd.doctor.programs import ProgramError
from greyd.doctor.systemd import unit_properties
from greyd.server.sockets import DEFAULT_ENDPOINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings


_ALL_INTERFACES = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class Tcp(NamedTuple):
    """An address to connect to; the host is empty for all of this machine's."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_any(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        return self.host in _ALL_INTERFACES

    def to_ask(self) -> list[Tcp]:
        """Return addresses on which it can be asked from here."""
        if self.host == "localhost" or not self.host:
            return [Tcp("127.0.0.1", self.port), Tcp("::1", self.port)]
        return [Tcp(*Endpoint(*self).to_ask())]


Listener = Tcp | Path


def configured_listeners(settings: Settings) -> list[Listener]:
    """Return where the settings let the server listen."""
    inet = settings.inet
    if not inet and not settings.unix:
        inet = (DEFAULT_ENDPOINT,)
    return [*(Tcp(*each) for each in inet), *settings.unix]


async def systemd_listeners() -> list[Listener]:
    """Return what systemd listens on for the server; empty where it does not."""
    try:
        unit = await unit_properties("greyd.socket", "ActiveState", "Listen")
    except ProgramError:
        return []
    return parse_listen_property(unit["Listen"]) if unit["ActiveState"] == ["active"] else []


def parse_listen_property(lines: Sequence[str]) -> list[Listener]:
    """Read systemd's ``Listen`` property: ``127.0.0.1:10023 (Stream)``."""
    found: list[Listener] = []
    for line in lines:
        place, _, kind = line.rpartition(" ")
        address = re.fullmatch(r"(?:\[(.+)\]|([^/:]*)):(\d+)", place)
        if kind != "(Stream)":
            continue
        if address:
            found.append(Tcp(address[1] or address[2] or "", int(address[3])))
        elif place.startswith("/"):
            found.append(Path(place))
    return found
