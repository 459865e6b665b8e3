"""Which ``Host`` a request to the metrics port may name.

A web page of a stranger's can have its own name lead to an address of this machine (DNS rebinding).
The browser then takes the metrics port for the stranger's server, and lets the page read what it
answers. But it tells the name that it was asked for.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from greyd.config.vocabulary import ALL_INTERFACES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.config.vocabulary import Endpoint

_AUTHORITY = re.compile(r"(?:\[(?P<v6>[^][]*)\]|(?P<name>[^][:]*))(?::[0-9]*)?", re.ASCII)
"""Host and port (RFC 9110, 7.2). The port does not matter: a tunnel has one of its own."""


class HostCheck:
    """Knows the names and addresses of a metrics port.

    These are ``localhost``, every loopback address, the address that a connection has reached, the
    host of ``--metrics``, and ``--metrics-host``. Where it does not listen on loopback alone, the
    machine's own name too, which no stranger can give it. Where it listens on all interfaces, every
    address: a container is reached by addresses that it does not know, and no page of a stranger's
    can have an address for its name.
    """

    def __init__(self, endpoint: Endpoint, others: Iterable[str] = (), own_name: str = "") -> None:
        """Allow what belongs to ``endpoint``, and ``others``: names and addresses."""
        self._any_address = endpoint.host in ALL_INTERFACES
        names = {"localhost", endpoint.host, *others}
        if self._any_address or not _is_loopback(endpoint.host):
            names.add(own_name)
        self._names = {_normal(name) for name in names if name}

    def allows(self, authority: str, reached: str) -> bool:
        """Return whether ``Host: authority`` is allowed on a connection to an address of ours."""
        parts = _AUTHORITY.fullmatch(authority.strip())
        if parts is None:
            return False
        host = _normal(parts["v6"] if parts["v6"] is not None else parts["name"])
        if host in self._names:
            return True
        address = _address(host)
        if address is None:
            return False
        return self._any_address or address.is_loopback or host == _normal(reached)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _normal(host: str) -> str:
    """Return a name or an address in the one spelling in which it is compared."""
    address = _address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        # A link-local address may have its interface behind it.
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
