"""Finds waiting mail that comes from several networks, as that of large providers does.

Each network is greylisted separately, so such a mail may wait for hours. Its whitelist entry is the
domain of the networks' organisation. If that is unknown, the entries are the networks themselves:
the store has no host names. ``greyd report`` reads the names in the log. Mail that also has a
triplet of an identity (SPF or a host name) is no pool: a retry from any network passes.
"""

from __future__ import annotations

import heapq
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.entries.pools.organisations import UnknownReason
from greyd.escaping import printable
from greyd.plurals import counted
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.hostnames import domain_of, registered_domain
from greyd.rules.networks import with_prefix_length
from greyd.whitelist.list_names import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.cli.entries.pools.organisations import NetworkOrganisations
    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry

MAX_MAILS = 20_000
"""The maximum number of different mails that are compared; further ones are in no pool."""

MAX_SHOWN_POOLS = 3
MAX_PROPOSED_NETWORKS = 6
"""A pool with more networks gets no proposal, because its next mail will come from another one."""

Mail = tuple[bytes, bytes]
"""Sender and recipient."""


class MailPools:
    """Collects the networks of each waiting mail."""

    def __init__(self, settings: Settings, organisations: NetworkOrganisations) -> None:
        """Collect the networks of triplets that were written with ``settings``."""
        self._settings = settings
        self._organisations = organisations
        self._networks: dict[Mail, dict[bytes, None]] = {}
        self._identified: set[Mail] = set()

    def add(self, entries: Iterable[StoredEntry]) -> None:
        """Add entries; all but waiting triplets have no effect."""
        for entry in entries:
            if entry.is_hidden or entry.is_expired or entry.state is not EntryState.WAITING:
                continue
            network, sender, recipient = entry.names
            mail = (sender, recipient)
            if entry.kind is EntryKind.IDENTITY_TRIPLET:
                # A retry from any network of the identity passes.
                self._identified.add(mail)
            elif sender and (mail in self._networks or len(self._networks) < MAX_MAILS):
                shown = with_prefix_length(network, self._settings)
                self._networks.setdefault(mail, {})[shown] = None

    async def lines(self) -> Sequence[str]:
        """Return what to print: each pool, and the commands that let its mail pass."""
        pools = [
            MailPool(mail, list(networks))
            for mail, networks in self._networks.items()
            if len(networks) > 1 and mail not in self._identified
        ]
        if not pools:
            return []
        shown = heapq.nlargest(MAX_SHOWN_POOLS, pools, key=lambda each: len(each.networks))
        found = await self._organisations.find([each.networks for each in shown])
        lines = ["Waiting from several networks, each of which is greylisted separately:"]
        groups: dict[bytes, list[MailPool]] = {}
        others: list[str] = []
        for pool, organisation in zip(shown, found, strict=True):
            if isinstance(organisation, UnknownReason):
                others += pool.lines_without_organisation(organisation)
            else:
                groups.setdefault(organisation, []).append(pool)
        for organisation, of_organisation in groups.items():
            lines += _lines_of_organisation(organisation, of_organisation)
        lines += others
        if len(pools) > MAX_SHOWN_POOLS:
            lines.append(f"… and {counted(len(pools) - MAX_SHOWN_POOLS, 'more mail')}")
        return lines


@dataclass(frozen=True, slots=True)
class MailPool:
    """A mail that waits from several networks."""

    mail: Mail
    networks: Sequence[bytes]
    """In CIDR notation."""

    @property
    def head(self) -> str:
        """The mail, and the number of its networks."""
        sender, recipient = map(printable, self.mail)
        return f"{sender} to {recipient}, from {len(self.networks)} networks"

    @property
    def release_line(self) -> str:
        """The line with the command that lets the mail pass now."""
        sender, recipient = map(printable, self.mail)
        command = ["greyd", "release", "--sender", sender, "--recipient", recipient]
        return f"  now: {shlex.join(command)}"

    def lines_without_organisation(self, reason: UnknownReason) -> Iterator[str]:
        """Yield the lines of a pool whose organisation is unknown."""
        yield self.head
        yield f"  organisation unknown: {reason.value}"
        yield self.release_line
        if reason is not UnknownReason.GENERIC and (line := self._networks_line()) is not None:
            yield f"  always, if you know the sender: {line}"

    def _networks_line(self) -> str | None:
        """Return the command that whitelists the networks; None if too many or not safe."""
        texts = list(map(printable, self.networks))
        if len(texts) > MAX_PROPOSED_NETWORKS:
            return None
        # The linter takes long to import, and most listings have no pools.
        from greyd.whitelist.local.addition import is_safe_entry

        if not all(is_safe_entry(each, CLIENTS) for each in texts):
            return None
        domain = domain_of(self.mail[0])
        organisation = printable(registered_domain(domain) or domain)
        return _whitelist_command(texts, f"mail of {organisation}")


def _lines_of_organisation(organisation: bytes, pools: Sequence[MailPool]) -> Iterator[str]:
    """Yield the lines of all pools of an organisation, whose whitelist entry is the same."""
    from greyd.whitelist.local.addition import entry_findings, is_safe_entry

    domain = printable(organisation)
    for pool in pools:
        yield f"{pool.head} of {domain}"
        yield pool.release_line
    network_count = max(len(pool.networks) for pool in pools)
    if is_safe_entry(domain, CLIENTS):
        command = _whitelist_command([domain], f"retries from {network_count} networks")
        yield f"  always, if you trust {domain}: {command}"
    else:
        # The linter's first finding is the reason, e.g. that customers have names below the domain.
        yield f"  no whitelist entry: {domain} {entry_findings(domain, CLIENTS)[0].problem}"


def _whitelist_command(entries: Sequence[str], reason: str) -> str:
    return shlex.join(["greyd", "whitelist", "add", *entries, "--reason", reason])
