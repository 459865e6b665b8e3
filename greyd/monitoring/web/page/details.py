"""The sections of the status page that name clients, senders and recipients.

They exist only with ``--status-details``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.durations import format_duration
from greyd.escaping import percent_encode
from greyd.monitoring.store.summary import MAX_WAITING
from greyd.monitoring.web.html import Column, format_number, paragraph, section
from greyd.monitoring.web.page.elements import named_rows, stacked_rows
from greyd.rules.entries import GIVEN_UP_SECONDS
from greyd.rules.networks import with_prefix_length
from greyd.terminal import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markupsafe import Markup

    from greyd.monitoring.store.summary import StoreSummary
    from greyd.monitoring.web.page.view import StatusView
    from greyd.policy.events import DecisionEvent

MAX_NETWORKS = 20
"""Maximum number of networks without a retry that the page names."""

_MAX_NAME_BYTES = 300


def details(view: StatusView) -> Iterator[Markup]:
    """Yield the last decisions, the waiting triplets, and the networks that never returned."""
    if view.settings.privacy:
        yield from section("Details", paragraph("With --privacy, the page shows no names."))
        return
    yield from _decisions(view)
    if view.summary is not None:
        yield from _waiting(view, view.summary)
        yield from _never_returned(view, view.summary)


def _decisions(view: StatusView) -> Iterator[Markup]:
    rows = [_decision(when, event) for when, event in view.decisions]
    of_worker = ", of one of the workers" if view.settings.workers > 1 else ""
    head = ["time", "decision", "client", "sender", "recipient"]
    yield from section(
        "Last decisions",
        stacked_rows(f"The last {len(rows)}{of_worker}, the newest first", head, rows,
                     [Column.NUMBER, *[Column.NAME] * 4])
        if rows
        else paragraph("No requests yet."),
    )  # fmt: skip


def _decision(when: float, event: DecisionEvent) -> Sequence[str]:
    request, reason = event.request, event.reason
    name = _text(request.client_name or b"")
    address = _text(request.client_address or b"")
    return [
        format_time("%H:%M:%S", when),
        f"{reason.in_words}{event.detail}",
        f"{name}[{address}]",
        _text(request.sender or b""),
        _text(request.recipient or b""),
    ]


def _waiting(view: StatusView, summary: StoreSummary) -> Iterator[Markup]:
    rows = [
        [
            _text(with_prefix_length(each.names.network, view.settings)),
            _text(each.names.sender),
            _text(each.names.recipient),
            _minute(each.first_seen),
            _minute(each.last_seen),
            _minute(each.passes_at),
        ]
        for each in sorted(summary.named, reverse=True)
    ]
    head = ["client network", "sender", "recipient", "first seen", "last seen", "passes from"]
    columns = (*[Column.NAME] * 3, *[Column.NUMBER] * 3)
    most = f"The newest {MAX_WAITING} of {summary.waiting:,}" if len(rows) == MAX_WAITING else "All"
    yield from section(
        "Waiting triplets",
        stacked_rows(most, head, rows, columns) if rows else paragraph("No mail is waiting."),
    )


def _never_returned(view: StatusView, summary: StoreSummary) -> Iterator[Markup]:
    rows = [
        [_text(with_prefix_length(network, view.settings)), format_number(count)]
        for network, count in summary.given_up.most_common(MAX_NETWORKS)
    ]
    if not rows:
        return
    caption = (
        "Networks with the most triplets that did not return within"
        f" {format_duration(GIVEN_UP_SECONDS)} after the delay"
    )
    yield from section(
        "Never returned",
        named_rows(caption, ["client network", "triplets"], rows, (Column.NAME, Column.NUMBER)),
    )


def _text(data: bytes) -> str:
    return percent_encode(data[:_MAX_NAME_BYTES]).decode() or "<>"


def _minute(when: int) -> str:
    return format_time("%m-%d %H:%M", when)
