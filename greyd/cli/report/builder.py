"""Builds a report from a log's decisions.

Memory is bounded, as a log may be of any size. Totals are exact. Figures that have reached a bound
are approximate, and ``LogReport.approximations`` names them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from greyd.cli.report import lost_mail, triplets
from greyd.cli.report.candidates.proposals import whitelist_candidates
from greyd.cli.report.candidates.provider_names import ProviderNameCollector
from greyd.cli.report.clients import UNKNOWN_GROUP, ClientGroups
from greyd.cli.report.kinds import EARNED, DecisionKind, kind_of
from greyd.cli.report.log_report import DelayStatistics, LogReport
from greyd.cli.report.lost_mail import LostMailRanking
from greyd.cli.report.pools import PoolCounter
from greyd.cli.report.times.time_slots import SlotCounter
from greyd.cli.report.triplets import TripletTracker
from greyd.cli.sketches import DistinctCounter, LargestTotals
from greyd.maillog.decisions import LoggedDecision
from greyd.monitoring.percentiles import percentiles
from greyd.plurals import counted, noun
from greyd.rules.entries import gives_up_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.config.settings import Settings
    from greyd.maillog.shadow_lines import LoggedShadowDecision

PERCENTS = (50, 75, 90, 95, 99)
DELAY_BORDERS = (60, 300, 600, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 86400)
"""Upper limits of the classes of delays, in seconds; one more class is above the last."""

_EXACT_SECONDS = 200_000
"""Delays below this, more than two days, are exact; longer ones are rounded."""

_BATCH = 2000


class ReportBuilder:
    """Takes the decisions of a log, ordered by time, and builds the report."""

    def __init__(self, settings: Settings, top: int = 10, notes: Sequence[str] = ()) -> None:
        """Use the networks and delays of the settings.

        Args:
            settings: the server's settings.
            top: the number of rows per table.
            notes: reasons why the whole report is an approximation.
        """
        self._notes = notes
        # A log contains names, even if the store contains only hashes.
        settings = replace(settings, privacy=False, privacy_key=None)
        self._due_seconds = int(gives_up_at(0, settings))
        self._top = top

        self.requests = 0
        self._undated = 0
        self._first = self._last = 0.0
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._slots = SlotCounter()
        self._distinct = {
            "clients": DistinctCounter(),
            "senders": DistinctCounter(),
            "recipients": DistinctCounter(),
        }

        self._delays: Counter[int] = Counter()
        self._waits, self._early = LargestTotals(), LargestTotals()

        self._clients = ClientGroups(settings)
        self._names = ProviderNameCollector(self._clients)
        self._lost = LostMailRanking(self._clients, top)
        self._pools = PoolCounter(self._clients, self._names, settings.retry_window_seconds)
        self._triplets = TripletTracker(self._clients, self._lost, self._pools, self._due_seconds)

    def add_all(self, decisions: Iterable[LoggedDecision | LoggedShadowDecision]) -> None:
        """Add decisions, in batches for speed."""
        left = iter(decisions)
        while both := list(islice(left, _BATCH)):
            batch = [each for each in both if isinstance(each, LoggedDecision)]
            self.requests += len(batch)
            self._outcomes.update([(each.action, each.reason) for each in batch])
            self._distinct["clients"].add_all(each.client_address for each in batch)
            self._distinct["senders"].add_all(each.sender for each in batch)
            self._distinct["recipients"].add_all(each.recipient for each in batch)
            for each in both:
                if isinstance(each, LoggedDecision):
                    self._add(each)
                else:
                    self._triplets.add_shadow(each)

    def _add(self, decision: LoggedDecision) -> None:
        kind = kind_of(decision.action, decision.reason, decision.delay_seconds)
        self._add_time(decision.when, kind)
        if kind is DecisionKind.WAITED:
            delay = max(decision.delay_seconds or 0, 0)
            self._delays[_rounded(delay)] += 1
            self._waits.add(self._clients.group(decision), seconds=delay)
            self._names.add(decision.client_name, decision.client_address)
        elif kind is DecisionKind.EARLY:
            self._early.add(self._clients.group(decision))
        if kind in EARNED:
            self._lost.note_passed(decision.sender)
        self._triplets.add(decision, kind, self._last)

    def _add_time(self, when: float, kind: DecisionKind) -> None:
        if not when:
            self._undated += 1
            return
        self._last = max(self._last, when)
        if not self._first or when < self._first:
            self._first = when
        self._slots.add(when, kind)

    def report(self) -> LogReport:
        """Return the report. Call it once, after the last decision."""
        first_contacts = self._triplets.finish(self._first, self._last)
        # "unknown" in a whitelist would let all clients without a name pass.
        waits = [each for each in self._waits.largest(self._top + 1) if each.name != UNKNOWN_GROUP]
        waits, early = waits[: self._top], self._early.largest(self._top)
        pools = self._pools.largest(self._top)
        distinct = {name: counter.result() for name, counter in self._distinct.items()}
        return LogReport(
            first=self._first,
            last=self._last,
            requests=self.requests,
            undated=self._undated,
            outcomes=self._outcomes.most_common(),
            clients=distinct["clients"],
            senders=distinct["senders"],
            recipients=distinct["recipients"],
            first_contacts=first_contacts,
            delays=_statistics(self._delays),
            due_seconds=self._due_seconds,
            lost=self._lost.top(),
            lost_verified=self._lost.verified,
            lost_domains=self._lost.domains.largest(self._top),
            lost_recipients=self._lost.recipients.largest(self._top),
            waits=waits,
            early=early,
            networks=self._clients.in_cidr(each.name for each in (*waits, *early)),
            pools=pools,
            candidates=whitelist_candidates(pools, waits, self._names),
            slots=self._slots.slots(),
            shadow=self._triplets.shadow if self._triplets.shadow.decided else None,
            approximations=list(self._approximations()),
        )

    def _approximations(self) -> Iterator[str]:
        """Yield a line for each inexact figure, with the reason."""
        yield from self._notes
        if not self._first:
            yield "without dates, every triplet without a retry counts as never returned"
        elif self._undated:
            undated = counted(self._undated, "request has", "requests have")
            yield f"{undated} no date, and {noun(self._undated, 'is', 'are')} missing over time"
        for what, counter in self._distinct.items():
            if not counter.result().is_exact:
                yield f"the number of different {what} is estimated, within about 1 %"
        for what, is_exact in (
            ("longest waits", self._waits.is_exact),
            ("early retries", self._early.is_exact),
            ("client domains of mail that never came back", self._lost.domains.is_exact),
            ("recipients of mail that never came back", self._lost.recipients.is_exact),
            ("pools", self._pools.is_exact),
        ):
            if not is_exact:
                yield f"{what}: too many names to count each of them completely"
        if early := self._triplets.evicted_early:
            yield (
                f"{counted(early, 'mail was', 'mails were')} given up early because more than"
                f" {triplets.MAX_PENDING:,} were waiting at once; some may have come back"
            )
        if self._lost.is_full:
            yield f"only {lost_mail.MAX_DOMAINS:,} domains are remembered as having passed"
        if self._slots.is_full:
            yield "only the first years are shown over time"


def _rounded(delay: int) -> int:
    if delay < _EXACT_SECONDS:
        return delay
    return int(float(f"{delay:.3g}"))


def _statistics(delays: Counter[int]) -> DelayStatistics | None:
    """Return the statistics of delays, given the count of each delay; None if there are none."""
    total = delays.total()
    if not total:
        return None
    classes = [0] * (len(DELAY_BORDERS) + 1)
    for seconds, count in delays.items():
        place = next((i for i, border in enumerate(DELAY_BORDERS) if seconds <= border), -1)
        classes[place] += count
    return DelayStatistics(
        count=total,
        mean=sum(seconds * count for seconds, count in delays.items()) / total,
        percentiles=percentiles(delays, PERCENTS),
        longest=max(delays),
        classes=classes,
    )
