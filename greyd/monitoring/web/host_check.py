"""Checks the header ``Host`` of requests to the metrics port, against DNS rebinding.

An attacker can make the name of his web page resolve to an address of this machine. The browser
then takes the metrics port for the attacker's server, and lets the page read the responses. But the
header ``Host`` of these requests still has the attacker's name.
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
"""Host and port (RFC 9110, section 7.2). Any port is allowed: a tunnel may use another one."""


class HostCheck:
    """The hosts that a request to the metrics port may name.

    Always allowed are ``localhost``, every loopback address, the address that the client has
    connected to, the host of ``--metrics``, and each ``--metrics-host``. If the port listens on
    other addresses than loopback, the machine's own name is allowed too; an attacker cannot choose
    it. If the port listens on all interfaces, every IP address is allowed: a container does not
    know its addresses outside, and the name of an attacker's page cannot be an IP address.
    """

    def __init__(self, endpoint: Endpoint, others: Iterable[str] = (), own_name: str = "") -> None:
        """Create a check that allows the host of ``endpoint``, and the hosts ``others``."""
        self._any_address = endpoint.host in ALL_INTERFACES
        names = {"localhost", endpoint.host, *others}
        if self._any_address or not _is_loopback(endpoint.host):
            names.add(own_name)
        self._names = {_normal(name) for name in names if name}

    def allows(self, authority: str, reached: str) -> bool:
        """Return whether a request to the local address ``reached`` may have this ``Host``."""
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
    """Return the canonical form of a name or an address, for comparison."""
    address = _address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        # A link-local address may be followed by % and its interface.
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
