"""A report as a JSON document. Its keys are an interface."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from greyd.cli.report.builder import DELAY_BORDERS
from greyd.cli.report.kinds import DecisionKind
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.not_read import NotRead
    from greyd.cli.report.log_report import DelayStatistics, LogReport, LostMail
    from greyd.cli.sketches import Total


def as_json(report: LogReport) -> dict[str, Any]:
    """Return the complete report as a JSON object."""
    contacts = report.first_contacts
    return {
        "first": report.first or None,
        "last": report.last or None,
        "requests": report.requests,
        "undated": report.undated,
        "greylisted": report.greylisted(),
        "passed": report.requests - report.greylisted(),
        "clients": report.clients.count,
        "senders": report.senders.count,
        "recipients": report.recipients.count,
        "decisions": [
            {"action": action, "reason": reason, "requests": count}
            for (action, reason), count in report.outcomes
        ],
        "first_contacts": {
            "triplets": contacts.count,
            "waited": contacts.waited,
            "passed_otherwise": contacts.passed_otherwise,
            "never_returned": contacts.never_returned,
            "never_returned_verified": report.lost_verified,
            "too_young": contacts.too_young,
            "due_seconds": report.due_seconds,
        },
        "delays": report.delays and _delays(report.delays),
        "never_returned": [_lost(each) for each in report.lost],
        "never_returned_by_client_domain": _counts("domain", report.lost_domains),
        "never_returned_by_recipient": _counts("recipient", report.lost_recipients),
        "waited_longest": [
            {
                "client": printable(each.name),
                "mails": each.count,
                "seconds": each.seconds,
                "longest_seconds": each.longest_seconds,
                **_network(report, each),
            }
            for each in report.waits
        ],
        "early_retries": [
            {
                "client": printable(each.name),
                "retries": each.count,
                **_network(report, each),
            }
            for each in report.early
        ],
        "pools": [
            {
                "client": printable(each.name),
                "mails": each.mails,
                "most_networks": each.max_networks,
                "passed": each.passed,
                "longest_seconds": each.longest_seconds,
            }
            for each in report.pools
        ],
        "whitelist_candidates": [each.dump() for each in report.candidates],
        "by_day": [
            {
                "day": time.strftime("%Y-%m-%d", time.localtime(each.start)),
                **_by_kind(each.counts),
            }
            for each in report.over_time(0, (86400,))[1]
        ],
        "by_hour": [
            {"hour": hour, **_by_kind(each.counts)} for hour, each in enumerate(report.by_hour())
        ],
        "shadow": report.shadow and report.shadow.dump(),
        "approximations": list(report.approximations),
        "not_read": report.not_read.dump(),
    }


def empty_document(not_read: NotRead) -> dict[str, Any]:
    """Return the JSON object of a report that found nothing."""
    return {"requests": 0, "not_read": not_read.dump()}


def _delays(delays: DelayStatistics) -> dict[str, Any]:
    return {
        "mails": delays.count,
        "mean_seconds": round(delays.mean, 1),
        **{f"p{percent}_seconds": value for percent, value in delays.percentiles.items()},
        "longest_seconds": delays.longest,
        "classes": [
            {"up_to_seconds": border, "mails": count}
            for border, count in zip((*DELAY_BORDERS, None), delays.classes, strict=True)
        ],
    }


def _network(report: LogReport, client: Total) -> dict[str, str]:
    """Return the field with a client network in CIDR notation; empty for a domain."""
    network = report.networks.get(client.name)
    return {} if network is None else {"client_network": printable(network)}


def _lost(mail: LostMail) -> dict[str, Any]:
    return {
        "first": mail.first or None,
        "last": mail.last or None,
        "tries": mail.tries,
        "networks": mail.networks,
        "client_name": printable(mail.client_name),
        "client_address": printable(mail.client_address),
        "sender": printable(mail.sender),
        "recipient": printable(mail.recipient),
        "identity": printable(mail.identity),
        "verified_name": mail.is_verified,
        "hints": list(mail.hints),
    }


def _counts(name: str, totals: Sequence[Total]) -> list[dict[str, Any]]:
    return [{name: printable(each.name), "triplets": each.count} for each in totals]


def _by_kind(counts: Sequence[int]) -> dict[str, int]:
    return {kind.key: counts[kind] for kind in DecisionKind}
