"""Shows and checks the sender groups and the recipient domains of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

from greyd.rules.hostnames import is_or_is_below
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.recipient_domains import RecipientDomain
    from greyd.config.sender_groups import SenderGroup
    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class TableFinding:
    """A part of a table that has no effect, and the remedy."""

    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: note: {self.problem}; {self.remedy}"


def table_findings(settings: Settings) -> list[TableFinding]:
    """Return the findings for all sender groups and recipient domains."""
    findings = [each for group in settings.sender_groups for each in _redundant_members(group)]
    for domain in settings.recipient_domains:
        findings += _domain_findings(domain, settings)
    return findings


def _redundant_members(group: SenderGroup) -> Iterator[TableFinding]:
    covered = {
        member: other
        for member, other in permutations(group.names, 2)
        if is_or_is_below(member.encode(), other.encode())
    } | {
        member: other
        for member, other in permutations(group.networks, 2)
        if _is_within(member, other)
    }
    for member, other in covered.items():
        yield TableFinding(group.where, f"{member} is covered by {other}", f"remove {member}")


def _is_within(text: str, other_text: str) -> bool:
    network, other = parse_network(text.encode()), parse_network(other_text.encode())
    if network is None or other is None or network.bits != other.bits:
        return False
    free = other.bits - other.prefix
    return other.prefix <= network.prefix and network.number >> free == other.number >> free


def _domain_findings(domain: RecipientDomain, settings: Settings) -> Iterator[TableFinding]:
    has_rules = domain.delay_seconds is not None or domain.greylist
    if domain.mode == "off" and has_rules:
        yield TableFinding(
            domain.where,
            f"{domain.domain}: with mode off, delay and greylist have no effect",
            "remove them",
        )
    delays = domain.delays or domain.delay_seconds
    unset = (None, "", settings.delays or settings.delay_seconds)
    if (
        delays in unset
        and domain.mode in ("", settings.mode)
        and domain.greylist in ("", settings.greylist)
    ):
        yield TableFinding(
            domain.where,
            f"{domain.domain}: sets only what the server has anyway",
            "remove it, or change it",
        )


def tables_as_json(settings: Settings) -> dict[str, Any]:
    """Return the sender groups and recipient domains as parts of a JSON object."""
    return {
        "sender_groups": [
            {"name": each.name, "networks": list(each.networks), "names": list(each.names)}
            for each in settings.sender_groups
        ],
        "recipient_domains": [
            {
                "domain": each.domain,
                "subdomains": each.subdomains,
                "delay": list(each.delays) or each.delay_seconds,
                "mode": each.mode or None,
                "greylist": each.greylist or None,
            }
            for each in settings.recipient_domains
        ],
    }
