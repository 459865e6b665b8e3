"""Collects the host names of each provider, and the domain that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.rules.address import parse_address
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.hostnames import normal_name

if TYPE_CHECKING:
    from greyd.cli.report.clients import ClientGroups

MAX_PROVIDERS = 50_000


@dataclass(slots=True)
class ProviderNames:
    """The host names of a provider's clients."""

    shared: bytes
    """The narrowest domain that all names share."""
    has_generic_name: bool = False
    """Whether a name is one that providers give to customers' lines and to rented servers."""


class ProviderNameCollector:
    """Collects the names of the clients whose mail passed, by their registered domain."""

    def __init__(self, clients: ClientGroups) -> None:
        self._clients = clients
        self._providers: dict[bytes, ProviderNames] = {}

    def add(self, client_name: bytes, client_address: bytes) -> None:
        """Add a client; one without a confirmed name has no effect."""
        domain = self._clients.organisation(client_name)
        address = parse_address(client_address) if domain else None
        if address is None:
            return
        name = normal_name(client_name)
        found = self._providers.get(domain)
        if found is None:
            if len(self._providers) >= MAX_PROVIDERS:
                return
            found = self._providers[domain] = ProviderNames(name)
        if name != found.shared:
            found.shared = shared_domain(found.shared, name)
        if not found.has_generic_name:
            found.has_generic_name = is_generic(name, address)

    def get(self, domain: bytes) -> ProviderNames | None:
        """Return the names of a provider; None if none of its clients has a name."""
        return self._providers.get(domain)


def shared_domain(one: bytes, other: bytes) -> bytes:
    """Return the labels that two names have in common at their ends."""
    labels = []
    for left, right in zip(reversed(one.split(b".")), reversed(other.split(b".")), strict=False):
        if left != right:
            break
        labels.append(left)
    return b".".join(reversed(labels))
