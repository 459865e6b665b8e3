"""The servers of a grid that use the same keys: they share records, and mostly decide alike.

The rules run once for all servers with the same records for which each comparison of these with
their settings has the same result. A set of servers is a bit mask: bit N is the server at place N
of the grid.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from greyd.cli.replay.servers.known_before import is_in_use
from greyd.cli.tune.grid_records import GridRecords, PlacedChange
from greyd.rules.greylist import (
    decide,
    decide_from_memory,
    decide_from_memory_with_unset_clock,
    decide_with_unset_clock,
)
from greyd.rules.records import Client, RememberedRecords, Triplet
from greyd.runtime.clock import EARLIEST_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.keys import Keys
    from greyd.rules.reasons import Reason
    from greyd.rules.transaction import Change

_MAX_CASES = 10_000

_load_triplet = lru_cache(5_000)(Triplet.load)
_load_client = lru_cache(5_000)(Client.load)


class GridDecision(NamedTuple):
    """The decision of some servers of the grid. A tuple, because each request creates some."""

    servers: int
    reason: Reason


class RulesOutcome(NamedTuple):
    """What the rules decide, and the records that they change. A tuple, as ``GridDecision``."""

    reason: Reason
    changes: Sequence[PlacedChange]


KnownOutcomes = dict[tuple[int, tuple[bytes | None, ...]], RulesOutcome]
"""The outcomes for a request without evidence, by the settings apart from the network, and by the
records: they are the same for all networks."""


@dataclass(frozen=True, slots=True)
class RequestKeys:
    """The keys that a request has on the servers of a family."""

    keys: Keys
    wanted: Sequence[bytes]
    memory_keys: Keys | None
    """The keys without evidence, if memory comes before evidence; otherwise None."""
    memory_wanted: Sequence[bytes]
    all_keys: Sequence[bytes]
    """All keys that the rules read."""
    triplet_places: Sequence[int]
    """The places of the triplets' keys in ``all_keys``."""
    client_place: int | None
    """The place of the client's key in ``all_keys``."""


class _Limits:
    """The servers by the value of one of their settings, e.g. the delay in seconds."""

    def __init__(self, values: Mapping[int, int]) -> None:
        """Take the value of each server, by its place in the grid."""
        self.values = sorted(set(values.values()))
        self._servers = [
            sum(1 << place for place, value in values.items() if value <= each)
            for each in self.values
        ]

    def first(self, count: int) -> int:
        """Return the servers with one of the ``count`` lowest values."""
        return self._servers[count - 1] if count else 0


class _TripletComparisons(NamedTuple):
    """How many values of each setting a triplet has reached. A tuple, as a key of a cache."""

    over_count: int
    """Retry windows that are over."""
    due_count: int
    """Delays that are over."""
    passed_count: int
    """Delays that were over when the triplet was last seen."""
    longest_count: int
    """Longest delays that were over then."""


class GridFamily:
    """Servers that use the same keys, with their records."""

    def __init__(self, members: Mapping[int, Settings], rules: Mapping[int, int]) -> None:
        """Create the servers.

        Args:
            members: their settings, by their places in the grid.
            rules: by place, a number that servers with the same other settings have in common.
        """
        self._rules = rules
        self.servers = sum(1 << place for place in members)
        self.settings = members
        window = max(each.retry_window_seconds for each in members.values())
        self.records = GridRecords(self.servers, window)
        thresholds = {place: each.auto_whitelist_clients for place, each in members.items()}
        self._counting = sum(1 << place for place, number in thresholds.items() if number)
        """The servers that auto-whitelist clients."""
        self.key_settings = next(
            (each for each in members.values() if each.auto_whitelist_clients),
            next(iter(members.values())),
        )
        """Settings whose keys to read include those of all servers."""
        self._thresholds = _Limits(thresholds)
        self._delays = _Limits({place: each.delay_seconds for place, each in members.items()})
        self._longest = _Limits(
            {place: each.longest_delay_seconds for place, each in members.items()}
        )
        self._windows = _Limits(
            {place: each.retry_window_seconds for place, each in members.items()}
        )
        self._cases: dict[object, Sequence[int]] = {}
        """The servers that decide alike, by the results of the comparisons."""
        self._kinds = [self._delays.first(bisect_right(self._delays.values, 0))]
        """Sets of servers that treat a first contact in another way than the others do."""
        for kind in {each.delays for each in members.values()}:
            self._kinds.append(
                sum(1 << place for place, each in members.items() if each.delays == kind)
            )

    def decide(
        self, servers: int, keys: RequestKeys, evidence: Evidence, now: int, known: KnownOutcomes
    ) -> list[GridDecision]:
        """Send a request to some servers; return the decisions, and store the records.

        Args:
            servers: the servers.
            keys: the request's keys on these servers.
            evidence: the evidence about the client.
            now: the simulated Unix time.
            known: the outcomes of other families, which gets those of this one.
        """
        decisions = []
        changed: dict[bytes, list[tuple[int, PlacedChange]]] = {}
        for members, texts in self.records.groups(keys.all_keys, servers):
            for each in self._alike(keys, texts, now):
                if not (alike := each & members):
                    continue
                place = (alike & -alike).bit_length() - 1
                case = self._rules[place], texts
                if (outcome := known.get(case)) is None:
                    outcome = _run_rules(keys, texts, self.settings[place], evidence, now)
                    if keys.memory_keys is None:
                        known[case] = outcome
                decisions.append(GridDecision(alike, outcome.reason))
                for change in outcome.changes:
                    changed.setdefault(keys.all_keys[change.place], []).append((alike, change))
        for key, key_changes in changed.items():
            self.records.store(key, key_changes, now)
        return decisions

    def has(self, place: int, key: bytes, keys: Keys, now: int) -> bool:
        """Whether one server has a record under a key that its rules still use."""
        text = self.records.parts(key, 1 << place)[0].text
        return text is not None and is_in_use(key, text, keys, self.settings[place], now)

    def _alike(self, keys: RequestKeys, texts: Sequence[bytes | None], now: int) -> Sequence[int]:
        """Divide servers with the same records into sets that decide alike, and store the same."""
        triplets: list[_TripletComparisons] = []
        for place in keys.triplet_places:
            text = texts[place]
            if text is None or (triplet := _load_triplet(text)) is None:
                continue
            if triplet.last_seen > now:
                # The clock went back: the rules compare with other times.
                return [1 << each for each in self.settings]
            age, seen_for = now - triplet.first_seen, triplet.last_seen - triplet.first_seen
            delays = self._delays.values
            triplets.append(_TripletComparisons(
                bisect_left(self._windows.values, age),
                bisect_right(delays, age),
                bisect_right(delays, seen_for),
                bisect_right(self._longest.values, seen_for),
            ))  # fmt: skip
        threshold_count = -1
        text = None if keys.client_place is None else texts[keys.client_place]
        if text is not None and (client := _load_client(text)) is not None:
            threshold_count = bisect_right(self._thresholds.values, client.successes)
        is_plain = keys.memory_keys is None and text is None
        case = is_plain, threshold_count, *triplets
        if (found := self._cases.get(case)) is None:
            if len(self._cases) >= _MAX_CASES:
                self._cases.clear()
            found = self._divided(self._comparisons(triplets, threshold_count, is_plain=is_plain))
            self._cases[case] = found
        return found

    def _divided(self, comparisons: Iterable[int]) -> Sequence[int]:
        """Divide the servers into sets for which all comparisons have the same results.

        Each comparison is the set of servers for which it is true.
        """
        found = [self.servers]
        for true in comparisons:
            found = [part for each in found for part in (each & true, each & ~true) if part]
        return found

    def _comparisons(
        self, triplets: Sequence[_TripletComparisons], threshold_count: int, *, is_plain: bool
    ) -> Iterator[int]:
        """Yield, for each comparison that the rules make, the servers for which it is true.

        Args:
            triplets: the results of the comparisons with the triplets' records.
            threshold_count: how many of the auto-whitelist's thresholds the client has reached; -1
                without a record.
            is_plain: whether the rules neither have a record of the client nor use evidence.
        """
        yield from self._kinds
        passing = self._kinds[0]
        for each in triplets:
            due = self._delays.first(each.due_count)
            passed = self._delays.first(each.passed_count)
            yield from (self._windows.first(each.over_count), due, passed)
            yield self._longest.first(each.longest_count)
            passing |= due | passed
        if is_plain:
            # Without a client's record, the auto-whitelist only counts what passes.
            yield passing & self._counting
            return
        yield self._counting
        if threshold_count >= 0:
            yield self._thresholds.first(threshold_count) & self._counting


def _run_rules(
    keys: RequestKeys,
    texts: Sequence[bytes | None],
    settings: Settings,
    evidence: Evidence,
    now: int,
) -> RulesOutcome:
    decision, changes = _decide(keys, texts, settings, evidence, now)
    place_of = keys.all_keys.index
    return RulesOutcome(
        decision.reason,
        [PlacedChange(place_of(key), text, ttl_seconds) for key, text, ttl_seconds in changes],
    )


def _decide(
    keys: RequestKeys,
    texts: Sequence[bytes | None],
    settings: Settings,
    evidence: Evidence,
    now: int,
) -> tuple[Decision, Sequence[Change]]:
    """Decide as the server's policy does: first from memory, if evidence counts, then by all."""
    is_clock_set = now >= EARLIEST_TIME
    if keys.memory_keys is None:
        # ``all_keys`` are the triplet's and the client's.
        decide_now = decide if is_clock_set else decide_with_unset_clock
        return decide_now(keys.keys, RememberedRecords(*texts), now, settings, evidence)  # type: ignore[arg-type] # at most two
    records = dict(zip(keys.all_keys, texts, strict=True))
    found = [records[key] for key in keys.memory_wanted]
    remembered = RememberedRecords.under(keys.memory_wanted, found)
    recall = decide_from_memory if is_clock_set else decide_from_memory_with_unset_clock
    decision, changes = recall(keys.memory_keys, remembered, now, settings)
    if decision is not None:
        return decision, changes
    found = [records[key] for key in keys.wanted]
    if keys.keys.identities:
        remembered = RememberedRecords.under(keys.wanted, found)
    else:
        remembered = RememberedRecords(*found)  # type: ignore[arg-type] # at most two
    decide_now = decide if is_clock_set else decide_with_unset_clock
    return decide_now(keys.keys, remembered, now, settings, evidence)
