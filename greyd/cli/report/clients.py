"""Groups clients: by the organisation of their name or their identity, else by network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.address import parse_address
from greyd.rules.hostnames import normal_name, registered_domain
from greyd.rules.keys import request_keys
from greyd.rules.networks import with_prefix_length

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.config.settings import Settings
    from greyd.maillog.decisions import LoggedDecision

MAX_NAMES = 200_000
"""The maximum number of cached names, and of cached addresses."""

UNKNOWN_NAMES = (b"", b"unknown")
"""The names that Postfix logs for a client whose name DNS does not verify."""


UNKNOWN_GROUP = b"unknown"
"""The group of clients without a name and a valid address."""


class ClientGroups:
    """Finds the organisations and networks of clients, and caches them: logs repeat clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._organisations: dict[bytes, bytes] = {}
        self._networks: dict[bytes, bytes] = {}

    def organisation(self, name: bytes) -> bytes:
        """Return the registered domain of a name; empty if it has none.

        Under a top-level domain without registrations, e.g. ``.example``, ``.test`` or a site's own
        ``.lan``, it is the last two labels.
        """
        domain = self._organisations.get(name)
        if domain is None:
            if len(self._organisations) >= MAX_NAMES:
                self._organisations.clear()
            domain = self._organisations[name] = registered_domain(normal_name(name))
        return domain

    def network(self, address: bytes) -> bytes:
        """Return the network of an address as in triplets' keys; empty for an invalid address."""
        network = self._networks.get(address)
        if network is None:
            if len(self._networks) >= MAX_NAMES:
                self._networks.clear()
            parsed = parse_address(address)
            key = request_keys(parsed, b"", b"", self._settings).triplet if parsed else b""
            network = self._networks[address] = key[1:].partition(b"}")[0]
        return network

    def group(self, decision: LoggedDecision) -> bytes:
        """Return the client's group as tables show it.

        It is the organisation of its name, else the one that SPF proves, else its network.
        """
        if domain := self.organisation(decision.client_name) or decision.identity:
            return domain
        return self.network(decision.client_address) or UNKNOWN_GROUP

    def in_cidr(self, groups: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the groups that are networks, each in CIDR notation."""
        texts = {group: with_prefix_length(group, self._settings) for group in groups}
        return {group: text for group, text in texts.items() if text != group}
