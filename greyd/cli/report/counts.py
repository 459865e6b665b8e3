"""What a log's decisions add up to: the figures of a report.

A log may be of any size, so what is remembered while it is read is bounded. Totals are exact.
Where a bound was reached, what follows from it is an approximation, and ``Report.approximations``
names it.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from greyd.cli.report.kinds import EARNED, GREYLISTED, DecisionKind, kind_of, no_counts
from greyd.rules.address import parse_address
from greyd.rules.entries import GIVEN_UP_SECONDS
from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, is_or_is_below, normal_name, organisation_of
from greyd.rules.keys import normalise_sender, request_keys
from greyd.rules.reasons import GREYLIST, PASS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.maillog.decisions import LoggedDecision

MAX_OPEN = 200_000
"""Triplets whose retry is awaited, at a time."""
MAX_GROUPS = 50_000
"""Domains and networks that are told apart in one table."""
MAX_NAMES = 200_000
"""Domains that are remembered as having passed, and names whose domain is."""
MAX_SLOTS = 200_000
"""Quarters of an hour that are told apart: five years and a half."""

SLOT_SECONDS = 900
PERCENTS = (50, 75, 90, 95, 99)
DELAY_BORDERS = (60, 300, 600, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 86400)
"""Seconds: classes of how long mail waited; what is beyond the last counts too."""

_UNKNOWN = (b"", b"unknown")


# What a report tells ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """How many different ones there were."""

    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Delays:
    """How long mail waited that passed for the first time, in seconds."""

    count: int
    mean: float
    percentiles: Mapping[int, int]
    """By the per cent of the mail that waited no longer."""
    longest: int
    classes: Sequence[int]
    """How many waited up to each of ``DELAY_BORDERS`` and longer than the one before."""


@dataclass(frozen=True, slots=True)
class FirstContacts:
    """What became of the triplets that were greylisted for the first time within the log."""

    count: int
    waited: int
    """Passed after their wait."""
    otherwise: int
    """Passed from another network, or because client, sender or recipient is on a list."""
    never: int
    """Had time enough to come back, and did not."""
    too_young: int
    """Too young at the log's end to tell."""


class Lost(NamedTuple):
    """Mail that never came back."""

    first: float
    last: float
    tries: int
    networks: int
    """Networks that it came from."""
    client_name: bytes
    client_address: bytes
    sender: bytes
    recipient: bytes
    identity: bytes
    is_verified: bool
    """The client has a name that DNS verifies and that is not a line's."""
    hints: tuple[str, ...]
    """Why it may have been wanted."""


@dataclass(frozen=True, slots=True)
class Group:
    """Mail of one domain or network that waited, or came back too early."""

    name: bytes
    """The registered domain of the clients' names; else a network."""
    count: int
    seconds: int
    """All their waiting together."""
    longest: int


class Pool(NamedTuple):
    """A sender that tries again from other networks, so that each of them waits anew."""

    name: bytes
    """The registered domain that all clients' names are in."""
    mails: int
    """Sender and recipient that came from several networks."""
    most_networks: int
    passed: int
    """Of these mails."""
    longest: int
    """Seconds from the first attempt to the pass; 0 where none passed."""


class Slot(NamedTuple):
    """A stretch of time."""

    start: float
    """Epoch seconds."""
    counts: Sequence[int]
    """By ``DecisionKind``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in a log."""

    first: float
    """Time of the first decision that has one; 0 where none has."""
    last: float
    requests: int
    undated: int
    outcomes: Sequence[tuple[tuple[str, str], int]]
    """Action and reason, and how often; the most frequent first."""
    clients: Number
    senders: Number
    recipients: Number
    first_contacts: FirstContacts
    delays: Delays | None
    due_seconds: int
    """How long after its first attempt a mail is taken for lost."""
    lost: Sequence[Lost]
    """The most likely to have been wanted first."""
    lost_verified: int
    """Of all that never came back."""
    lost_domains: Sequence[tuple[bytes, int]]
    lost_recipients: Sequence[tuple[bytes, int]]
    waits: Sequence[Group]
    early: Sequence[Group]
    pools: Sequence[Pool]
    slots: Sequence[Slot]
    """Quarters of an hour in which there was something."""
    approximations: Sequence[str]

    def greylisted(self) -> int:
        """Return how many requests were told to come back."""
        return sum(count for (action, _), count in self.outcomes if action == GREYLIST)

    def count(self, reason: str) -> int:
        """Return how many requests ended with a reason."""
        return sum(count for (_, each), count in self.outcomes if each == reason)

    def by_hour(self) -> list[list[int]]:
        """Return the counts by ``DecisionKind`` of each hour of the day, local time."""
        hours = [no_counts() for _ in range(24)]
        for slot in self.slots:
            _add(hours[time.localtime(slot.start).tm_hour], slot.counts)
        return hours

    def over_time(self, most: int, steps: Iterable[int]) -> tuple[int, list[Slot]]:
        """Return the first step that gives at most so many stretches, and all of them, in order.

        They begin at local midnight, and at whole steps after that; a week's with Monday.
        """
        for step in steps:
            stretches = _stretches(self.slots, step)
            if len(stretches) <= most:
                break
        return step, stretches


def _stretches(slots: Sequence[Slot], step: int) -> list[Slot]:
    found: dict[int, list[int]] = {}
    for slot in slots:
        _add(found.setdefault(_local(slot.start) // step, no_counts()), slot.counts)
    if not found:
        return []
    nothing = no_counts()
    # Where years lie between two of them, nobody wants to see each of their hours.
    first, last = min(found), max(found)
    places = range(first, last + 1) if last - first < MAX_SLOTS else sorted(found)
    return [Slot(_moment(place * step), found.get(place, nothing)) for place in places]


_MONDAY = 4 * 86400
"""The first one after the epoch began, a Thursday."""


def _local(when: float) -> int:
    return int(when) + time.localtime(when).tm_gmtoff - _MONDAY


def _moment(local: int) -> float:
    """Return when it is so late in this machine's zone."""
    local += _MONDAY
    guess = local - time.localtime(local).tm_gmtoff
    return local - time.localtime(guess).tm_gmtoff


def _add(sums: list[int], counts: Sequence[int]) -> None:
    for place, count in enumerate(counts):
        sums[place] += count


# Counting -----------------------------------------------------------------------------------------


class _Different:
    """Counts different things: exactly as long as they are few, then by a sample of them.

    The sample are those whose hash ends with some zeros; one more whenever it gets too large.
    """

    MOST = 100_000

    def __init__(self) -> None:
        self._mask = 0
        self._sample: set[int] = set()

    def add_all(self, all_bytes: Iterable[bytes]) -> None:
        hashes = set(map(hash, all_bytes))
        self._sample |= self._thin(hashes) if self._mask else hashes
        while len(self._sample) > self.MOST:
            self._mask = self._mask * 2 + 1
            self._sample = self._thin(self._sample)

    def _thin(self, hashes: set[int]) -> set[int]:
        mask = self._mask
        return {each for each in hashes if not each & mask}

    def number(self) -> Number:
        return Number(len(self._sample) * (self._mask + 1), exact=not self._mask)


@dataclass(slots=True)
class _Sums:
    """Of one group."""

    count: int = 0
    seconds: int = 0
    longest: int = 0


class _Groups:
    """Sums by name; where there are too many names, the smaller half is dropped."""

    def __init__(self) -> None:
        self._sums: dict[bytes, _Sums] = {}
        self.dropped = False

    def add(self, name: bytes, seconds: int = 0, number: int = 1) -> None:
        sums = self._sums.get(name)
        if sums is None:
            if len(self._sums) >= MAX_GROUPS:
                self._sums = dict(self._largest(MAX_GROUPS // 2))
                self.dropped = True
            sums = self._sums[name] = _Sums()
        sums.count += number
        sums.seconds += seconds
        sums.longest = max(sums.longest, seconds)

    def top(self, number: int) -> list[Group]:
        return [
            Group(name, sums.count, sums.seconds, sums.longest)
            for name, sums in self._largest(number)
        ]

    def _largest(self, number: int) -> list[tuple[bytes, _Sums]]:
        return heapq.nlargest(
            number, self._sums.items(), key=lambda each: (each[1].seconds, each[1].count, each[0])
        )


@dataclass(slots=True)
class _Open:
    """A triplet that waits, and those of the same mail from other networks."""

    network: bytes
    first: float
    last: float
    tries: int
    client_name: bytes
    client_address: bytes
    sender: bytes
    recipient: bytes
    identity: bytes
    other: _Open | None = None

    def all(self) -> Iterator[_Open]:
        each: _Open | None = self
        while each is not None:
            yield each
            each = each.other


@dataclass(slots=True)
class _PoolSums:
    mails: int = 0
    most_networks: int = 0
    passed: int = 0
    longest: int = 0


_FOR_NAME, _FOR_RETRY, _FOR_DOMAIN, _FOR_OWN_HOST, _FOR_IDENTITY = 2, 3, 4, 6, 8
"""How much speaks for a mail that never came back."""

_BATCH = 2000
_MAX_NETWORKS = 100
"""That are told apart of one mail."""


class Counts:
    """Takes the decisions of a log in their order, and adds them up."""

    def __init__(self, settings: Settings, top: int = 10) -> None:
        """Count by the networks and delays of these settings, for tables of ``top`` rows."""
        # A log names names whatever is stored.
        self._settings = replace(settings, privacy=False, privacy_key=None)
        self._due_seconds = settings.delay_seconds + GIVEN_UP_SECONDS
        self._top = top
        self._organisations: dict[bytes, bytes] = {}
        self._networks: dict[bytes, bytes] = {}

        self.requests = 0
        self._undated = 0
        self._first = self._last = 0.0
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._slots: dict[int, list[int]] = {}
        self._clients, self._senders, self._recipients = _Different(), _Different(), _Different()

        self._delays: Counter[int] = Counter()
        self._waits, self._early = _Groups(), _Groups()

        self._open: dict[bytes, _Open] = {}
        self._contacts = self._waited = self._otherwise = self._never = 0
        self._evicted_young = 0
        self._passed_domains: set[bytes] = set()
        self._lost: list[tuple[int, float, int, Lost]] = []
        self._lost_verified = 0
        self._lost_domains, self._lost_recipients = _Groups(), _Groups()
        self._pools: dict[bytes, _PoolSums] = {}
        self._pools_dropped = False

    def add_all(self, decisions: Iterable[LoggedDecision]) -> None:
        """Add decisions; what is alike in all of them is added up many at a time."""
        left = iter(decisions)
        while batch := list(islice(left, _BATCH)):
            self.requests += len(batch)
            self._outcomes.update([(each.action, each.reason) for each in batch])
            self._clients.add_all(each.client_address for each in batch)
            self._senders.add_all(each.sender for each in batch)
            self._recipients.add_all(each.recipient for each in batch)
            for decision in batch:
                self._add(decision)

    def _add(self, decision: LoggedDecision) -> None:
        kind = kind_of(decision.action, decision.reason, decision.delay_seconds)
        self._date(decision.when, kind)
        if kind == DecisionKind.WAITED:
            self._add_delay(decision)
        elif kind == DecisionKind.EARLY:
            self._early.add(self._group(decision))
        if kind in EARNED and len(self._passed_domains) < MAX_NAMES:
            self._passed_domains.add(decision.sender.rpartition(b"@")[2].lower())
        self._follow(decision, kind)

    def _date(self, when: float, kind: DecisionKind) -> None:
        if not when:
            self._undated += 1
            return
        self._last = max(self._last, when)
        if not self._first or when < self._first:
            self._first = when
        number = int(when) // SLOT_SECONDS
        slot = self._slots.get(number)
        if slot is None:
            if len(self._slots) >= MAX_SLOTS:
                return
            slot = self._slots[number] = no_counts()
        slot[kind] += 1

    def _add_delay(self, decision: LoggedDecision) -> None:
        delay = max(decision.delay_seconds or 0, 0)
        self._delays[_rounded(delay)] += 1
        self._waits.add(self._group(decision), delay)

    # Triplets -------------------------------------------------------------------------------------

    def _follow(self, decision: LoggedDecision, kind: DecisionKind) -> None:
        """Follow a mail from its first attempt to its pass."""
        mail = b"%b\0%b" % (normalise_sender(decision.sender), decision.recipient)
        mail = mail.lower()
        known = self._open.get(mail)
        if kind in GREYLISTED:
            if network := self._network(decision.client_address):
                self._begin(decision, kind, network, mail, known)
        elif known is not None and decision.action == PASS:
            del self._open[mail]
            self._end(known, decision, kind)

    def _begin(
        self,
        decision: LoggedDecision,
        kind: DecisionKind,
        network: bytes,
        mail: bytes,
        known: _Open | None,
    ) -> None:
        number = 0
        each = known
        while each is not None:
            if each.network == network:
                each.last = decision.when
                each.tries += 1
                return
            last, each, number = each, each.other, number + 1
        # The first attempt of one that is too early now lies before the log.
        if kind != DecisionKind.NEW or number >= _MAX_NETWORKS:
            return
        self._contacts += 1
        opened = _Open(network, decision.when, decision.when, 1, *decision[5:9], decision.identity)
        if known is not None:
            last.other = opened
            return
        if len(self._open) >= MAX_OPEN:
            self._evict()
        self._open[mail] = opened

    def _evict(self) -> None:
        """Give up on the oldest; a quarter at once, for each costs a walk past those gone."""
        for mail in list(islice(self._open, MAX_OPEN // 4)):
            opened = self._open.pop(mail)
            self._evicted_young += self._last - opened.first < self._due_seconds
            self._give_up(opened)

    def _end(self, opened: _Open, decision: LoggedDecision, kind: DecisionKind) -> None:
        """Tell what became of a mail that has passed."""
        network, number = self._network(decision.client_address), 0
        for each in opened.all():
            waited = each.network == network and kind in {DecisionKind.WAITED, DecisionKind.KNOWN}
            self._waited += waited
            self._otherwise += not waited
            number += 1
        if number > 1:
            self._add_pool(opened, number, int(decision.when - opened.first), passed=True)

    def _give_up(self, opened: _Open) -> None:
        """Tell of a mail that has not come back."""
        networks = sum(1 for _ in opened.all()) if opened.other else 1
        self._never += networks
        name = opened.client_name
        self._lost_verified += networks if name not in _UNKNOWN else 0
        self._lost_domains.add(self._organisation(name) or b"unknown", number=networks)
        self._lost_recipients.add(opened.recipient.lower(), number=networks)
        if networks > 1:
            self._add_pool(opened, networks, 0, passed=False)
        self._remember(opened, networks)

    def _remember(self, opened: _Open, networks: int) -> None:
        """Keep a mail where there are none, or too few, that are likelier to have been wanted."""
        score, hints = self._judge(opened, networks)
        last = max(each.last for each in opened.all())
        full = len(self._lost) >= self._top
        if full and (score, last) <= self._lost[0][:2]:
            return
        name, address = normal_name(opened.client_name), parse_address(opened.client_address)
        verified = name not in _UNKNOWN and address is not None and not is_generic(name, address)
        if name not in _UNKNOWN and not verified:
            score -= _FOR_NAME
        lost = Lost(
            opened.first, last, sum(each.tries for each in opened.all()), networks,
            opened.client_name, opened.client_address, opened.sender, opened.recipient,
            opened.identity, verified, hints,
        )  # fmt: skip
        # The number keeps the order of those that are alike, and mail itself uncompared.
        place = (score, last, self._never, lost)
        if full:
            heapq.heappushpop(self._lost, place)
        else:
            heapq.heappush(self._lost, place)

    def _judge(self, opened: _Open, networks: int) -> tuple[int, tuple[str, ...]]:
        """Return how much speaks for a mail's having been wanted, and what."""
        hints = []
        score = _FOR_NAME if opened.client_name not in _UNKNOWN else 0
        domain = domain_of(opened.sender)
        if opened.identity:
            hints.append(f"identity {opened.identity.decode('ascii', 'replace')}")
            score += _FOR_IDENTITY
        own = self._organisation(domain)
        if own and is_or_is_below(normal_name(opened.client_name), own):
            hints.append("the sender's own host")
            score += _FOR_OWN_HOST
        if domain in self._passed_domains:
            hints.append("other mail of the domain passed")
            score += _FOR_DOMAIN
        if networks > 1 or opened.tries > 1:
            hints.append("came from several networks" if networks > 1 else "tried again")
            score += _FOR_RETRY
        return score, tuple(hints)

    def _add_pool(self, opened: _Open, networks: int, seconds: int, *, passed: bool) -> None:
        if seconds > self._settings.retry_window_seconds:
            # What has passed is a later mail.
            return
        domains = {self._organisation(each.client_name) for each in opened.all()}
        if len(domains) > 1 or domains == {b""}:
            # Spam comes from anywhere; a provider's servers have names in its domain.
            return
        domain = domains.pop()
        if domain not in self._pools and len(self._pools) >= MAX_GROUPS:
            self._pools_dropped = True
            return
        pool = self._pools.setdefault(domain, _PoolSums())
        pool.mails += 1
        pool.most_networks = max(pool.most_networks, networks)
        pool.passed += passed
        pool.longest = max(pool.longest, seconds)

    # Names ----------------------------------------------------------------------------------------

    def _organisation(self, client_name: bytes) -> bytes:
        domain = self._organisations.get(client_name)
        if domain is None:
            if len(self._organisations) >= MAX_NAMES:
                self._organisations.clear()
            domain = self._organisations[client_name] = organisation_of(normal_name(client_name))
        return domain

    def _group(self, decision: LoggedDecision) -> bytes:
        """Return whose client it is: the domain of its name, else its network."""
        if domain := self._organisation(decision.client_name):
            return domain
        return self._network(decision.client_address) or b"unknown"

    def _network(self, address: bytes) -> bytes:
        """Return the network that a triplet has for an address; empty where it is none."""
        network = self._networks.get(address)
        if network is None:
            if len(self._networks) >= MAX_NAMES:
                self._networks.clear()
            parsed = parse_address(address)
            key = request_keys(parsed, b"", b"", self._settings).triplet if parsed else b""
            network = self._networks[address] = key[1:].partition(b"}")[0]
        return network

    # The end --------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Return what all of it adds up to; to be asked once, at the log's end."""
        too_young = 0
        for opened in self._open.values():
            if self._first and self._last - opened.first < self._due_seconds:
                too_young += sum(1 for _ in opened.all())
            else:
                self._give_up(opened)
        self._open.clear()
        slots = [Slot(number * SLOT_SECONDS, counts) for number, counts in self._slots.items()]
        return Report(
            first=self._first,
            last=self._last,
            requests=self.requests,
            undated=self._undated,
            outcomes=self._outcomes.most_common(),
            clients=self._clients.number(),
            senders=self._senders.number(),
            recipients=self._recipients.number(),
            first_contacts=FirstContacts(
                self._contacts, self._waited, self._otherwise, self._never, too_young
            ),
            delays=_delays(self._delays),
            due_seconds=self._due_seconds,
            lost=[lost for *_, lost in sorted(self._lost, reverse=True)],
            lost_verified=self._lost_verified,
            lost_domains=[(each.name, each.count) for each in self._lost_domains.top(self._top)],
            lost_recipients=[
                (each.name, each.count) for each in self._lost_recipients.top(self._top)
            ],
            waits=self._waits.top(self._top),
            early=self._early.top(self._top),
            pools=self._top_pools(),
            slots=sorted(slots),
            approximations=list(self._approximations()),
        )

    def _top_pools(self) -> list[Pool]:
        pools = [
            Pool(name, sums.mails, sums.most_networks, sums.passed, sums.longest)
            for name, sums in self._pools.items()
        ]
        return heapq.nlargest(self._top, pools, key=lambda each: (each.mails, each.name))

    def _approximations(self) -> Iterator[str]:
        """Say what is not exact, and why."""
        if not self._first:
            yield (
                "without dates nobody can tell what may still come back: it counts as never come"
                " back"
            )
        elif self._undated:
            yield f"{self._undated:,} requests have no date, and are not shown over time"
        yield from self._estimates()
        if self._evicted_young:
            yield (
                f"{self._evicted_young:,} mails were given up before their time, for more than"
                f" {MAX_OPEN:,} were awaited at once: some may have come back"
            )
        if len(self._passed_domains) >= MAX_NAMES:
            yield f"only {MAX_NAMES:,} domains are remembered as having passed"
        if len(self._slots) >= MAX_SLOTS:
            yield "only the first years are shown over time"

    def _estimates(self) -> Iterator[str]:
        for what, different in (
            ("clients", self._clients),
            ("senders", self._senders),
            ("recipients", self._recipients),
        ):
            if not different.number().exact:
                yield f"the number of different {what} is estimated, within about 1 %"
        for what, dropped in (
            ("who waited longest", self._waits.dropped),
            ("who came back too early", self._early.dropped),
            ("whose mail never came back", self._lost_domains.dropped),
            ("to whom mail never came back", self._lost_recipients.dropped),
            ("pools", self._pools_dropped),
        ):
            if dropped:
                yield f"{what}: of more than {MAX_GROUPS:,} some are counted in part"


_EXACT_SECONDS = 200_000
"""Delays up to here, more than two days, are counted by the second."""


def _rounded(delay: int) -> int:
    if delay < _EXACT_SECONDS:
        return delay
    return int(float(f"{delay:.3g}"))


def _delays(counts: Counter[int]) -> Delays | None:
    total = counts.total()
    if not total:
        return None
    ordered = sorted(counts.items())
    percentiles = {}
    classes = [0] * (len(DELAY_BORDERS) + 1)
    seen = 0
    wanted = list(PERCENTS)
    for seconds, count in ordered:
        seen += count
        while wanted and seen * 100 >= wanted[0] * total:
            percentiles[wanted.pop(0)] = seconds
        place = next((i for i, border in enumerate(DELAY_BORDERS) if seconds <= border), -1)
        classes[place] += count
    mean = sum(seconds * count for seconds, count in ordered) / total
    return Delays(total, mean, percentiles, ordered[-1][0], classes)
