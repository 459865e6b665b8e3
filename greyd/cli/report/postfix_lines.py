"""Reports greylisting from Postfix's lines, for a log without decisions of greyd or postgrey.

Postfix logs rejections and accepted mail, but no reasons. So the first rejection of a triplet is a
first contact, further ones are early retries, and the first accepted mail is its pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.report.builder import ReportBuilder
from greyd.cli.report.clients import ClientGroups
from greyd.lru import LruCache
from greyd.maillog.attempts import AttemptCollector, AttemptStatistics
from greyd.maillog.decisions import LoggedDecision
from greyd.maillog.heads import LogLine
from greyd.maillog.reader import PostfixSwitch
from greyd.rules.reasons import GREYLIST, PASS, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greyd.cli.report.times.time_span import TimeSpan
    from greyd.config.settings import Settings
    from greyd.maillog.attempts import Attempt
    from greyd.maillog.shadow_lines import LoggedShadowDecision

    Logged = LoggedDecision | LoggedShadowDecision

MAX_WAITING = 200_000
"""Triplets whose first rejection is stored."""

ACCEPTED = "accepted"
"""The reason of mail that passed without a rejection in the log."""

APPROXIMATION = (
    "the log has no decision of greyd or postgrey; the figures come from Postfix's lines about"
    " greylisted and accepted mail, which name no reasons"
)

NO_REJECTION = (
    "no rejection in these lines has a word such as greylisted in its text: mail may have been"
    " greylisted with another text"
)


class PostfixReport:
    """Builds a report from Postfix's lines until a decision shows that it is not needed."""

    def __init__(self, settings: Settings, top: int, span: TimeSpan) -> None:
        """Count attempts within ``span``; ``top`` is the number of rows per table."""
        self.switch = PostfixSwitch()
        self.outside = 0
        """Attempts before ``--since`` or after ``--until``."""
        self._span = span
        self._has_rejections = False
        self._clients = ClientGroups(settings)
        self._statistics = AttemptStatistics()
        self._collector = AttemptCollector(self._statistics)
        self._notes = [APPROXIMATION]
        self._builder = ReportBuilder(settings, top, notes=self._notes)
        self._first_rejections: LruCache[int] = LruCache(MAX_WAITING)

    @property
    def undated_count(self) -> int:
        """Lines of Postfix without a date."""
        return self._statistics.undated_count

    def take_lines(self, entries: Iterable[Logged | LogLine]) -> Iterator[Logged]:
        """Yield the decisions; use Postfix's lines before the first one."""
        for each in entries:
            if isinstance(each, LogLine):
                if self.switch.is_on:
                    self._collector.add(each)
                    self._add_all(self._collector.due(each.when))
            else:
                self.switch.is_on = False
                yield each

    def has_mail(self) -> bool:
        """Whether the lines so far contain attempts; ends the collection."""
        self._add_all(self._collector.finish())
        return self._builder.requests > 0

    def finish(self) -> ReportBuilder:
        """Return the builder of the report from Postfix's lines."""
        if not self._has_rejections:
            self._notes.append(NO_REJECTION)
        return self._builder

    def _add_all(self, attempts: Iterable[Attempt]) -> None:
        self._builder.add_all(filter(None, map(self._decision, attempts)))

    def _decision(self, attempt: Attempt) -> LoggedDecision | None:
        """Return an attempt as a decision; None if it is outside the period."""
        if self._span and attempt.when not in self._span:
            self.outside += 1
            return None
        network = self._clients.network(attempt.client_address)
        key = b"\0".join((network, attempt.sender.lower(), attempt.recipient.lower()))
        first = self._first_rejections.get(key)
        delay = None
        if not attempt.passed:
            self._has_rejections = True
            reason = Reason.EARLY_RETRY.text if first else Reason.NEW.text
            if first is None:
                self._first_rejections.put(key, attempt.when)
        elif first is not None:
            self._first_rejections.pop(key)
            reason, delay = Reason.TRIPLET_FOUND.text, attempt.when - first
        else:
            reason = attempt.reason or ACCEPTED
        return LoggedDecision(
            attempt.when,
            PASS if attempt.passed else GREYLIST,
            reason,
            "",
            delay,
            attempt.client_name,
            attempt.client_address,
            attempt.sender,
            attempt.recipient,
            b"",
            b"",
            b"",
        )
