"""Proposes entries for the whitelist, each with the command that adds it.

A provider is proposed only if its mail has come back and passed, if all its names are those of mail
servers, and if the linter of ``greyd check-whitelist`` has no finding for the entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.report.log_report import WhitelistCandidate
from greyd.cli.whitelist.adding import line_to_paste
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable
from greyd.whitelist.list_names import CLIENTS
from greyd.whitelist.local.covering import covering_entry
from greyd.whitelist.local.errors import LocalListError
from greyd.whitelist.local.local_list import local_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.report.candidates.provider_names import ProviderNameCollector
    from greyd.cli.report.log_report import SenderPool
    from greyd.cli.sketches import Total
    from greyd.config.settings import Settings

MIN_WAITED_MAILS = 2
"""The number of mails that must have waited: a single mail is no evidence about a provider."""


def whitelist_candidates(
    pools: Sequence[SenderPool], waits: Sequence[Total], names: ProviderNameCollector
) -> list[WhitelistCandidate]:
    """Return the providers to whitelist: first those with several networks, then by their wait."""
    found: dict[bytes, WhitelistCandidate] = {}
    for pool in pools:
        if pool.passed:
            reason = f"retries from up to {pool.max_networks} networks"
            found.update(_candidate(pool.name, reason, names))
    for wait in waits:
        if wait.count >= MIN_WAITED_MAILS:
            total = format_breakable_duration(wait.seconds)
            reason = f"{wait.count} mails waited {total} in all"
            for client, candidate in _candidate(wait.name, reason, names):
                found.setdefault(client, candidate)
    return list(found.values())


def _candidate(
    client: bytes, reason: str, names: ProviderNameCollector
) -> Iterator[tuple[bytes, WhitelistCandidate]]:
    provider = names.get(client)
    if provider is None or provider.has_generic_name:
        return
    entry = provider.shared
    command = line_to_paste(printable(entry), CLIENTS, reason)
    if command is not None:
        yield client, WhitelistCandidate(client, entry, reason, command)


def not_whitelisted(
    candidates: Sequence[WhitelistCandidate], settings: Settings
) -> list[WhitelistCandidate]:
    """Return the candidates that the whitelist of the settings does not cover yet."""
    if not candidates:
        return []
    try:
        entries = local_list(settings, CLIENTS).entries()
    except LocalListError:
        # The command reports the reason itself.
        return list(candidates)
    return [each for each in candidates if covering_entry(each.entry, entries, CLIENTS) is None]
