"""Finds waiting mail that comes from several networks, as that of large providers does.

Each network is greylisted separately, so such a mail may wait for hours. The store has no host
names: a pool is named by its sender, and its whitelist entries are its networks. ``greyd report``
reads the names in the log.
"""

from __future__ import annotations

import heapq
import shlex
from typing import TYPE_CHECKING

from greyd.escaping import printable
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.hostnames import domain_of, registered_domain
from greyd.rules.networks import with_prefix_length
from greyd.whitelist.list_names import CLIENTS
from greyd.whitelist.local.addition import is_safe_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
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

    def lines(self) -> Iterator[str]:
        """Yield what to print: each pool, and the commands that let its mail pass."""
        pools = [
            (mail, list(networks))
            for mail, networks in self._networks.items()
            if len(networks) > 1 and mail not in self._identified
        ]
        if not pools:
            return
        yield "Waiting from several networks, each of which is greylisted separately:"
        for mail, networks in heapq.nlargest(MAX_SHOWN_POOLS, pools, key=lambda each: len(each[1])):
            yield from _pool_lines(mail, networks)
        if len(pools) > MAX_SHOWN_POOLS:
            yield f"… and {len(pools) - MAX_SHOWN_POOLS} more mails"


def _pool_lines(mail: Mail, networks: list[bytes]) -> Iterator[str]:
    sender, recipient = map(printable, mail)
    yield f"{sender} to {recipient}, from {len(networks)} networks"
    command = ["greyd", "release", "--sender", sender, "--recipient", recipient]
    yield f"  now: {shlex.join(command)}"
    if (line := _whitelist_line(mail, networks)) is not None:
        yield f"  always, if you know the sender: {line}"


def _whitelist_line(mail: Mail, networks: list[bytes]) -> str | None:
    """Return the command that whitelists the networks; None if they are too many or not safe."""
    texts = list(map(printable, networks))
    if len(texts) > MAX_PROPOSED_NETWORKS:
        return None
    if not all(is_safe_entry(each, CLIENTS) for each in texts):
        return None
    domain = domain_of(mail[0])
    organisation = printable(registered_domain(domain) or domain)
    return shlex.join(["greyd", "whitelist", "add", *texts, "--reason", f"mail of {organisation}"])
