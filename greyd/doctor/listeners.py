"""Where the server listens: the sockets that systemd holds for it, else those of its settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.vocabulary import Endpoint
from greyd.doctor.programs import ProgramError
from greyd.doctor.systemd import unit_properties
from greyd.server.sockets import configured_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.config.settings import Settings

_ALL_INTERFACES = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class TcpListener:
    """A TCP address and port; an empty host stands for all interfaces."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_on_all_interfaces(self) -> bool:
        """Whether it accepts connections on every address of this machine."""
        return self.host in _ALL_INTERFACES

    def local_addresses(self) -> list[TcpListener]:
        """Return the addresses at which this machine reaches it."""
        if self.host == "localhost" or not self.host:
            return [TcpListener("127.0.0.1", self.port), TcpListener("::1", self.port)]
        address = Endpoint(self.host, self.port).to_ask()
        return [TcpListener(address.host, address.port)]


Listener = TcpListener | Path
"""A TCP socket, or the path of a Unix socket."""


async def active_listeners(settings: Settings) -> list[Listener]:
    """Return what systemd listens on for the server, else what the settings name."""
    return await systemd_listeners() or configured_listeners(settings)


def configured_listeners(settings: Settings) -> list[Listener]:
    """Return what the settings let the server listen on."""
    endpoints = configured_endpoints(settings)
    return [*(TcpListener(each.host, each.port) for each in endpoints), *settings.unix]


async def systemd_listeners() -> list[Listener]:
    """Return what ``greyd.socket`` listens on; empty where systemd does not run that unit."""
    try:
        unit = await unit_properties("greyd.socket", "ActiveState", "Listen")
    except ProgramError:
        return []
    return parse_listen_property(unit["Listen"]) if unit["ActiveState"] == ["active"] else []


def parse_listen_property(lines: Iterable[str]) -> list[Listener]:
    """Parse the values of systemd's ``Listen`` property, such as ``127.0.0.1:10023 (Stream)``."""
    listeners: list[Listener] = []
    for line in lines:
        address, _, kind = line.rpartition(" ")
        tcp = re.fullmatch(r"(?:\[(.+)\]|([^/:]*)):(\d+)", address)
        if kind != "(Stream)":
            continue
        if tcp:
            listeners.append(TcpListener(tcp[1] or tcp[2] or "", int(tcp[3])))
        elif address.startswith("/"):
            listeners.append(Path(address))
    return listeners


def connectable(listeners: Sequence[Listener]) -> list[Listener]:
    """Return the addresses and sockets to connect to, each once.

    Port 0 lets the kernel choose a port, which nobody knows: such a listener is left out.
    """
    addresses: list[Listener] = []
    for listener in listeners:
        if isinstance(listener, Path):
            addresses.append(listener)
        elif listener.port:
            addresses += listener.local_addresses()
    return list(dict.fromkeys(addresses))
