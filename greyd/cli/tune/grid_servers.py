"""Many simulated servers that differ only in delay, retry window, auto-whitelist and network.

They run the server's own rules on records that they share as far as possible:

- A request that no server has records of gets the same decision from all servers that use the same
  keys, and leaves the same records, so the rules run once.
- Servers with the same records decide alike if all comparisons of these with their settings have
  the same results, so the rules run once for all of them.

Everything that depends on no setting of the grid (exemptions, evidence) is found once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from greyd.cli.replay.simulated_server import SimulatedServer, known_records, passing_keys
from greyd.cli.tune.grid_records import GridRecords
from greyd.rules.address import parse_address
from greyd.rules.evidence import NO_EVIDENCE
from greyd.rules.greylist import (
    decide,
    decide_from_memory,
    decide_from_memory_with_unset_clock,
    decide_with_unset_clock,
)
from greyd.rules.keys import is_triplet, keys_to_read, keys_to_remember, request_keys
from greyd.rules.reasons import Reason
from greyd.rules.records import Client, RememberedRecords, Triplet
from greyd.rules.transaction import Change
from greyd.runtime.clock import EARLIEST_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.keys import Keys
    from greyd.rules.request import Request
    from greyd.whitelist.matcher import Whitelists

_parse = lru_cache(50_000)(parse_address)

_load_triplet = lru_cache(5_000)(Triplet.load)
_load_client = lru_cache(5_000)(Client.load)


@dataclass(frozen=True, slots=True)
class GridDecision:
    """The decision of the servers at some places of the grid."""

    places: Sequence[int]
    reason: Reason


class _Family:
    """Servers that use the same keys, and that treat a first contact alike."""

    def __init__(self, members: Sequence[tuple[int, Settings]]) -> None:
        """Create the servers, each with its place in the grid."""
        self.places = [place for place, _ in members]
        self.settings = [settings for _, settings in members]
        self.records = GridRecords(len(members))
        settings = self.settings[0]
        self.key_form = _key_form(settings), bool(settings.auto_whitelist_clients)
        """What a request's keys depend on."""
        self.longest_window = max(each.retry_window_seconds for each in self.settings)


@dataclass(frozen=True, slots=True)
class _Question:
    """A request to one family, with the keys that its rules use."""

    keys: Keys
    wanted: Sequence[bytes]
    memory_keys: Keys | None
    """The keys without evidence, if memory comes before evidence; otherwise None."""
    memory_wanted: Sequence[bytes]
    evidence: Evidence
    now: int

    @property
    def all_keys(self) -> Sequence[bytes]:
        """All keys that the rules read."""
        return tuple(dict.fromkeys((*self.wanted, *self.memory_wanted)))


class GridServers:
    """Simulated servers with different settings; each has a place in the grid."""

    def __init__(self, all_settings: Sequence[Settings], whitelists: Whitelists) -> None:
        """Start with empty stores. The settings differ only in the four that the grid varies."""
        # As in SimulatedServer: plain keys give the same decisions as hashed keys, but faster.
        plain = [
            replace(each, test_time=True, privacy=False, privacy_key=None) for each in all_settings
        ]
        self.whitelists = whitelists
        members: dict[object, list[tuple[int, Settings]]] = {}
        for place, settings in enumerate(plain):
            members.setdefault(_family_key(settings), []).append((place, settings))
        self._families = [_Family(each) for each in members.values()]
        self._by_place = {
            place: (family, number)
            for family in self._families
            for number, place in enumerate(family.places)
        }
        self._outbound = SimulatedServer(plain[0], whitelists)

    def decide(
        self, places: Sequence[int], request: Request, now: int, evidence: Evidence
    ) -> list[GridDecision]:
        """Send a request to the servers at some places, in ascending order; return the decisions.

        Args:
            places: the servers, each by its place in the grid.
            request: the request.
            now: the simulated Unix time.
            evidence: the evidence about the client.
        """
        address = _parse(request.client_address or b"")
        if (reason := self._exemption(request, address)) is not None:
            return [GridDecision(places, reason)]
        if address is None:
            return [GridDecision(places, Reason.CLIENT_ADDRESS)]
        is_asked = set(places) if len(places) < len(self._by_place) else None
        questions: dict[object, _Question] = {}
        decisions = []
        for family in self._families:
            numbers: Sequence[int] = range(len(family.places))
            if is_asked is not None:
                numbers = [each for each in numbers if family.places[each] in is_asked]
                if not numbers:
                    continue
            if (question := questions.get(family.key_form)) is None:
                question = self._question(family.settings[0], request, address, now, evidence)
                questions[family.key_form] = question
            is_fresh = not any(key in family.records for key in question.all_keys)
            if is_fresh and len(numbers) == len(family.places):
                decisions.append(_first_contact(family, question))
            else:
                decisions += _decide_each(family, question, numbers)
        return decisions

    def learn_outbound(self, request: Request, now: int) -> None:
        """Store the correspondence of a local user's outbound mail on all servers."""
        # No setting of the grid changes what outbound mail stores.
        for change in self._outbound.changes_of_outbound(request, now):
            for family in self._families:
                family.records.store_for_all([change], now)

    # Entries from before the log ----------------------------------------------------------------

    def remembers(self, request: Request, reason: Reason, evidence: Evidence) -> bool:
        """Whether today's server has the entry with which a request can pass for ``reason``."""
        family, number = self._by_place[0]
        address = _parse(request.client_address or b"")
        if address is None:
            return True
        keys = _keys(request, address, family.settings[0], evidence)
        wanted = passing_keys(keys, reason)
        value = family.records.value
        return not wanted or any(value(key, number) is not None for key in wanted)

    def assume_known(self, request: Request, reason: Reason, now: int, evidence: Evidence) -> None:
        """Store the entry that a server must have had to let a request pass for ``reason``."""
        address = _parse(request.client_address or b"")
        if address is None:
            return
        for family in self._families:
            keys = _keys(request, address, family.settings[0], evidence)
            ttl_seconds = family.settings[0].max_age_seconds
            changes = [
                (number, Change(key, value, ttl_seconds))
                for number, settings in enumerate(family.settings)
                for key, value in known_records(settings, keys, reason, now).items()
                if family.records.value(key, number) is None
            ]
            family.records.store(changes, now)

    # The path of a request ----------------------------------------------------------------------

    def _exemption(self, request: Request, address: Address | None) -> Reason | None:
        if self.whitelists.match_client(request.client_name or b"", address):
            return Reason.CLIENT_WHITELIST
        if self.whitelists.match_recipient(request.recipient or b""):
            return Reason.RECIPIENT_WHITELIST
        return None

    def _question(
        self, settings: Settings, request: Request, address: Address, now: int, evidence: Evidence
    ) -> _Question:
        collects = settings.needs_evidence
        if not collects and settings.whitelist_senders:
            collects = self.whitelists.match_sender(request.sender or b"") is not None
        if not collects:
            keys = _keys(request, address, settings, NO_EVIDENCE)
            return _Question(keys, keys_to_read(keys, settings), None, (), NO_EVIDENCE, now)
        keys = _keys(request, address, settings, evidence)
        memory_keys = _keys(request, address, settings, NO_EVIDENCE)
        wanted, memory_wanted = (
            keys_to_read(keys, settings),
            keys_to_remember(memory_keys, settings),
        )
        return _Question(keys, wanted, memory_keys, memory_wanted, evidence, now)


def _family_key(settings: Settings) -> object:
    """Return what servers with the same keys and the same treatment of first contacts share."""
    return (
        _key_form(settings),
        bool(settings.auto_whitelist_clients),
        settings.delays or settings.delay_seconds <= 0,
    )


def _key_form(settings: Settings) -> object:
    return settings.lookup_by_host, settings.ipv4cidr, settings.ipv6cidr


def _keys(request: Request, address: Address, settings: Settings, evidence: Evidence) -> Keys:
    return request_keys(
        address, request.sender or b"", request.recipient or b"", settings, evidence
    )


def _first_contact(family: _Family, question: _Question) -> GridDecision:
    records = dict.fromkeys(question.all_keys)
    decision, changes = _run_rules(question, records, family.settings[0])
    family.records.store_for_all(changes, question.now, family.longest_window)
    return GridDecision(family.places, decision.reason)


def _decide_each(
    family: _Family, question: _Question, numbers: Sequence[int]
) -> list[GridDecision]:
    """Run the rules for some servers of a family, once for those that must decide alike."""
    keys = question.all_keys
    columns = [family.records.column(key) for key in keys]
    is_triplet_column = [is_triplet(key) for key in keys]
    client_column = keys.index(question.keys.client) if question.keys.client in keys else None
    groups: dict[object, list[int]] = {}
    for number in numbers:
        texts = tuple([column[number] for column in columns])
        group = _comparisons(
            family.settings[number], texts, is_triplet_column, client_column, question.now
        )
        groups.setdefault((texts, group), []).append(number)
    decisions, all_changes = [], []
    for members in groups.values():
        first = members[0]
        records = {key: column[first] for key, column in zip(keys, columns, strict=True)}
        decision, changes = _run_rules(question, records, family.settings[first])
        all_changes += [(number, change) for change in changes for number in members]
        decisions.append(GridDecision([family.places[each] for each in members], decision.reason))
    family.records.store(all_changes, question.now)
    return decisions


def _comparisons(
    settings: Settings,
    texts: Sequence[bytes | None],
    is_triplet_column: Sequence[bool],
    client_column: int | None,
    now: int,
) -> object:
    """Return the results of all comparisons of records with settings that the rules make.

    Servers with the same records for which these are equal decide alike, and store the same.
    """
    found: list[bool] = []
    if client_column is not None and settings.auto_whitelist_clients:
        text = texts[client_column]
        client = None if text is None else _load_client(text)
        if client is not None:
            found.append(client.successes >= settings.auto_whitelist_clients)
    delay, longest = settings.delay_seconds, settings.longest_delay_seconds
    for text, is_of_triplet in zip(texts, is_triplet_column, strict=True):
        if text is None or not is_of_triplet or (triplet := _load_triplet(text)) is None:
            continue
        if triplet.last_seen > now:
            # The clock went back: the rules compare with other times.
            return id(settings)
        age, seen_for = now - triplet.first_seen, triplet.last_seen - triplet.first_seen
        found += (
            age > settings.retry_window_seconds,
            age >= delay,
            seen_for >= delay,
            seen_for >= longest,
        )
    return tuple(found)


def _run_rules(
    question: _Question, records: Mapping[bytes, bytes | None], settings: Settings
) -> tuple[Decision, Sequence[Change]]:
    """Decide as the server's policy does: first from memory, if evidence counts, then by all."""
    now, is_clock_set = question.now, question.now >= EARLIEST_TIME
    if question.memory_keys is not None:
        texts = [records[key] for key in question.memory_wanted]
        remembered = RememberedRecords.under(question.memory_wanted, texts)
        recall = decide_from_memory if is_clock_set else decide_from_memory_with_unset_clock
        decision, changes = recall(question.memory_keys, remembered, now, settings)
        if decision is not None:
            return decision, changes
    texts = [records[key] for key in question.wanted]
    if question.keys.identities:
        remembered = RememberedRecords.under(question.wanted, texts)
    else:
        remembered = RememberedRecords(*texts)  # type: ignore[arg-type] # at most two
    decide_now = decide if is_clock_set else decide_with_unset_clock
    return decide_now(question.keys, remembered, now, settings, question.evidence)
