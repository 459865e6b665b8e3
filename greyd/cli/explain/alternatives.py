"""Finds out whether a decision depends on attributes that the input does not have.

A log line of an older version has no HELO name, and without DNS a client's name is unknown. The
policy then decides once for each kind of name that the client may have had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.config.vocabulary import STRONG_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from greyd.config.settings import Settings
    from greyd.policy.dry_run import DryRun
    from greyd.rules.evidence import Evidence
    from greyd.rules.reasons import Reason

DNS_ANSWERS = "answers from DNS"
"""Stands for the evidence that ``--no-dns`` leaves out, among the missing attributes."""

_HELO = "helo_name"

_SIGNALS = {
    _HELO: (
        "helo_own_domain", "helo_wrong_literal", "helo_not_fqdn", "helo_no_address",
        "helo_other_address", "helo_private_literal",
    ),
    "client_name": ("no_ptr", "ptr_mismatch", "generic_name"),
    "reverse_client_name": ("no_ptr", "ptr_mismatch"),
    DNS_ANSWERS: (
        "spf_fail", "sender_no_mx", "dnsbl", "rhsbl", "helo_no_address", "helo_other_address",
    ),
}  # fmt: skip
"""The signals that each attribute may show."""

_NAMES = {
    _HELO: "a HELO name",
    "client_name": "a client name",
    "reverse_client_name": "a reverse client name",
    DNS_ANSWERS: DNS_ANSWERS,
}


@dataclass(frozen=True, slots=True)
class Alternative:
    """The decision if the missing attributes are of one kind."""

    assumption: str
    reason: Reason
    detail: str

    def as_json(self) -> dict[str, str]:
        """Return the alternative as a JSON object."""
        return {
            "if": self.assumption, "action": self.reason.action, "reason": self.reason.text,
            "detail": self.detail.strip(" ()"),
        }  # fmt: skip


async def find_alternatives(
    missing: Sequence[str],
    settings: Settings,
    variants: Sequence[tuple[str, Evidence]],
    decide: Callable[[Evidence], Awaitable[DryRun]],
) -> tuple[Alternative, ...]:
    """Return the decisions for all kinds of the missing attributes; empty if they are all equal.

    Args:
        missing: the names of the missing attributes.
        settings: the server's settings.
        variants: the evidence without the missing attributes, and evidence with a likely value,
            each with a description.
        decide: decides with given evidence.
    """
    found: list[Alternative] = []
    for assumption, evidence in variants:
        await _add(found, assumption, await decide(evidence))
    _, evidence = variants[0]
    for name in missing:
        for signal, strength in _possible_signals(name, settings, evidence):
            shown = replace(evidence, signals=(*evidence.signals, signal))
            what = f"{_NAMES[name]} with a {strength} signal, e.g. {signal}"
            await _add(found, what, await decide(shown))
    verdicts = {(each.reason, each.detail) for each in found}
    return tuple(found) if len(verdicts) > 1 else ()


async def _add(found: list[Alternative], assumption: str, result: DryRun) -> None:
    if result.reason is not None:
        found.append(Alternative(assumption, result.reason, result.detail))


def _possible_signals(
    name: str, settings: Settings, evidence: Evidence
) -> Iterator[tuple[str, str]]:
    """Yield one weak and one strong signal that the attribute may show, if they count."""
    if not settings.needs_signals:
        return
    strengths = set()
    for signal in _SIGNALS[name]:
        strength = "strong" if signal in STRONG_SIGNALS else "weak"
        is_possible = signal in settings.signals and signal not in evidence.signals
        if is_possible and strength not in strengths:
            strengths.add(strength)
            yield signal, strength
