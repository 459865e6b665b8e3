"""Many simulated servers that differ only in delay, retry window, auto-whitelist and network.

They run the server's own rules on records that they share as far as possible (see
``grid_family``). Everything that depends on no setting of the grid (exemptions, evidence) is found
once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from greyd.cli.replay.servers.known_before import known_records, lifetime_seconds, passing_keys
from greyd.cli.replay.servers.simulated_server import SimulatedServer
from greyd.cli.tune.grid_family import (
    GridDecision,
    GridFamily,
    KnownOutcomes,
    RequestKeys,
)
from greyd.cli.tune.grid_records import PlacedChange
from greyd.rules.address import parse_address
from greyd.rules.evidence import NO_EVIDENCE
from greyd.rules.keys import is_triplet, keys_to_read, keys_to_remember, request_keys
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.rules.evidence import Evidence
    from greyd.rules.keys import Keys
    from greyd.rules.request import Request
    from greyd.whitelist.matcher import Whitelists

_MAX_CACHED = 20_000

_parse = lru_cache(_MAX_CACHED)(parse_address)


class GridServers:
    """Simulated servers with different settings; each has a place in the grid.

    A set of servers is a bit mask: bit N is the server at place N.
    """

    def __init__(self, all_settings: Sequence[Settings], whitelists: Whitelists) -> None:
        """Start with empty stores. The settings differ only in the four that the grid varies."""
        # As in SimulatedServer: plain keys give the same decisions as hashed keys, but faster.
        plain = [
            replace(each, test_time=True, privacy=False, privacy_key=None) for each in all_settings
        ]
        self.whitelists = whitelists
        members: dict[object, dict[int, Settings]] = {}
        for place, settings in enumerate(plain):
            members.setdefault(_key_form(settings), {})[place] = settings
        numbers: dict[object, int] = {}
        rules = {
            place: numbers.setdefault(_without_network(settings), len(numbers))
            for place, settings in enumerate(plain)
        }
        self._families = [GridFamily(each, rules) for each in members.values()]
        self._outbound = SimulatedServer(plain[0], whitelists)
        # The retries of a mail have the keys of its first attempt.
        self._plain_keys = lru_cache(_MAX_CACHED)(self._keys_without_evidence)

    def decide(
        self, servers: int, request: Request, now: int, evidence: Evidence
    ) -> list[GridDecision]:
        """Send a request to some servers; return the decisions.

        Args:
            servers: the servers.
            request: the request.
            now: the simulated Unix time.
            evidence: the evidence about the client.
        """
        address = _parse(request.client_address or b"")
        if (reason := self._exemption(request, address)) is not None:
            return [GridDecision(servers, reason)]
        if address is None:
            return [GridDecision(servers, Reason.CLIENT_ADDRESS)]
        sender, recipient = request.sender or b"", request.recipient or b""
        decisions: list[GridDecision] = []
        known: KnownOutcomes = {}
        for number, family in enumerate(self._families):
            if not (asked := servers & family.servers):
                continue
            if self._collects_evidence(family.key_settings, sender):
                keys = _keys_with_evidence(family, address, sender, recipient, evidence)
                decisions += family.decide(asked, keys, evidence, now, known)
            else:
                keys = self._plain_keys(number, address, sender, recipient)
                decisions += family.decide(asked, keys, NO_EVIDENCE, now, known)
        return decisions

    def learn_outbound(self, request: Request, now: int) -> None:
        """Store the correspondence of a local user's outbound mail on all servers."""
        # No setting of the grid changes what outbound mail stores.
        for key, text, ttl_seconds in self._outbound.changes_of_outbound(request, now):
            for family in self._families:
                change = PlacedChange(0, text, ttl_seconds)
                family.records.store(key, [(family.servers, change)], now)

    # Entries from before the log ----------------------------------------------------------------

    def remembers(self, request: Request, reason: Reason, now: int, evidence: Evidence) -> bool:
        """Whether today's server has the entry with which a request can pass for ``reason``."""
        family = next(each for each in self._families if each.servers & 1)
        address = _parse(request.client_address or b"")
        if address is None:
            return True
        keys = _keys(request, address, family.settings[0], evidence)
        wanted = passing_keys(keys, reason)
        return not wanted or any(family.has(0, key, keys, now) for key in wanted)

    def assume_known(
        self, request: Request, reason: Reason, first: int, now: int, evidence: Evidence
    ) -> None:
        """Store the entry that a server must have had to let a request pass for ``reason``.

        The arguments are those of ``SimulatedServer.assume_known``.
        """
        address = _parse(request.client_address or b"")
        if address is None:
            return
        for family in self._families:
            keys = _keys(request, address, family.key_settings, evidence)
            ttl_seconds = lifetime_seconds(keys, family.key_settings)
            changes: dict[tuple[bytes, bytes], int] = {}
            for place, settings in family.settings.items():
                for key, value in known_records(settings, keys, reason, first).items():
                    if not family.has(place, key, keys, now):
                        changes[key, value] = changes.get((key, value), 0) | 1 << place
            for (key, value), servers in changes.items():
                change = PlacedChange(0, value, ttl_seconds)
                family.records.store(key, [(servers, change)], now)

    # The path of a request ----------------------------------------------------------------------

    def _exemption(self, request: Request, address: Address | None) -> Reason | None:
        if self.whitelists.match_client(request.client_name or b"", address):
            return Reason.CLIENT_WHITELIST
        if self.whitelists.match_recipient(request.recipient or b""):
            return Reason.RECIPIENT_WHITELIST
        return None

    def _collects_evidence(self, settings: Settings, sender: bytes) -> bool:
        if settings.needs_evidence or not settings.whitelist_senders:
            return settings.needs_evidence
        return self.whitelists.match_sender(sender) is not None

    def _keys_without_evidence(
        self, number: int, address: Address, sender: bytes, recipient: bytes
    ) -> RequestKeys:
        settings = self._families[number].key_settings
        keys = request_keys(address, sender, recipient, settings, NO_EVIDENCE)
        wanted = keys_to_read(keys, settings)
        client_place = 1 if len(wanted) > 1 else None
        return RequestKeys(keys, wanted, None, (), wanted, (0,), client_place)


def _keys_with_evidence(
    family: GridFamily, address: Address, sender: bytes, recipient: bytes, evidence: Evidence
) -> RequestKeys:
    settings = family.key_settings
    keys = request_keys(address, sender, recipient, settings, evidence)
    memory_keys = request_keys(address, sender, recipient, settings, NO_EVIDENCE)
    wanted, memory_wanted = keys_to_read(keys, settings), keys_to_remember(memory_keys, settings)
    all_keys = tuple(dict.fromkeys((*wanted, *memory_wanted)))
    return RequestKeys(
        keys,
        wanted,
        memory_keys,
        memory_wanted,
        all_keys,
        [place for place, key in enumerate(all_keys) if is_triplet(key)],
        all_keys.index(keys.client) if keys.client in all_keys else None,
    )


def _key_form(settings: Settings) -> object:
    """Return what a request's keys depend on."""
    return settings.lookup_by_host, settings.ipv4cidr, settings.ipv6cidr


def _without_network(settings: Settings) -> Settings:
    return replace(settings, ipv4cidr=32, ipv6cidr=128, lookup_by_host=False)


def _keys(request: Request, address: Address, settings: Settings, evidence: Evidence) -> Keys:
    return request_keys(
        address, request.sender or b"", request.recipient or b"", settings, evidence
    )
