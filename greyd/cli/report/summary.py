"""Sums a report up in a few lines: how much waited, what may be lost, and what to type first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.durations import format_duration
from greyd.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.report.log_report import LogReport, WhitelistCandidate


def summary_lines(report: LogReport, candidates: Sequence[WhitelistCandidate]) -> Iterator[str]:
    """Yield the summary; ``candidates`` are the providers that are not whitelisted yet."""
    contacts = report.first_contacts
    waited = f"{counted(contacts.waited, 'mail')} waited and passed"
    if report.delays:
        waited += f" (median {format_duration(report.delays.percentiles[50])})"
    yield f"{counted(report.requests, 'request')}; {waited}."
    never = contacts.never_returned
    if not never:
        yield "No mail failed to come back."
    elif report.lost_verified:
        yield (
            f"{never:,} never came back; {report.lost_verified:,} of them came from clients with a"
            ' verified name and may be wanted mail, lost: see "Never came back".'
        )
    else:
        yield f"{never:,} never came back, none from a client with a verified name: probably spam."
    if candidates:
        yield "If you know these senders, the first command to type:"
