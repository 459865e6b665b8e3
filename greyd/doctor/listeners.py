"""Finds the sockets that the server listens on: systemd's for it, else those of its settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.vocabulary import ALL_INTERFACES, Endpoint
from greyd.doctor.programs import ProgramError
from greyd.doctor.systemd import unit_properties
from greyd.server.sockets import configured_endpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class TcpListener:
    """A TCP address and port; an empty host stands for all interfaces."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_on_all_interfaces(self) -> bool:
        """Whether the listener accepts connections on every address of this machine."""
        return self.host in ALL_INTERFACES

    def local_addresses(self) -> list[TcpListener]:
        """Return the addresses at which this machine reaches the listener."""
        if self.host == "localhost" or not self.host:
            return [TcpListener("127.0.0.1", self.port), TcpListener("::1", self.port)]
        address = Endpoint(self.host, self.port).connectable()
        return [TcpListener(address.host, address.port)]


Listener = TcpListener | Path
"""A TCP socket, or the path of a Unix socket."""


async def active_listeners(settings: Settings) -> list[Listener]:
    """Return the sockets that systemd opened for the server, else those of its settings."""
    return await systemd_listeners() or configured_listeners(settings)


def configured_listeners(settings: Settings) -> list[Listener]:
    """Return the TCP addresses and Unix sockets in the settings."""
    endpoints = configured_endpoints(settings)
    return [*(TcpListener(each.host, each.port) for each in endpoints), *settings.unix]


async def systemd_listeners() -> list[Listener]:
    """Return the sockets of the unit ``greyd.socket``; empty if systemd does not run it."""
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

    Listeners on port 0 are left out: the kernel chooses their port, so it is unknown here.
    """
    addresses: list[Listener] = []
    for listener in listeners:
        if isinstance(listener, Path):
            addresses.append(listener)
        elif listener.port:
            addresses += listener.local_addresses()
    return list(dict.fromkeys(addresses))
