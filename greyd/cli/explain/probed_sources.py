"""Collects evidence as the server does, after probes of the resolver and the lists.

A server watches its sources all the time; the command probes them before it asks for the client.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from greyd.cli.explain.dns_trace import RecordingLookup, SilentLookup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.dns.collector import DnsEvidenceCollector
    from greyd.dns.sources.monitor import SourceMonitor
    from greyd.rules.address import Address
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request


@contextlib.asynccontextmanager
async def open_sources(
    settings: Settings, on_error: Callable[[BaseException], None], *, is_wanted: bool
) -> AsyncIterator[tuple[RecordingLookup, SourceMonitor | None]]:
    """Open the server's resolver, and the monitor of its sources if the settings need evidence.

    Without ``is_wanted``, no query is sent or recorded, and there is no monitor.
    """
    if not is_wanted:
        yield SilentLookup(), None
        return
    from greyd.dns.lists.zones import list_zones
    from greyd.dns.resolver import Resolver
    from greyd.dns.sources.monitor import SourceMonitor

    zones = list_zones(settings)
    resolver = Resolver(settings.resolvers, settings.dns_timeout_seconds, zones=zones)
    monitor = None
    if settings.needs_evidence:
        monitor = SourceMonitor(settings, resolver, lambda _name, _fault: None, on_error)
    try:
        yield RecordingLookup(resolver), monitor
    finally:
        if monitor is not None:
            monitor.close()
        await resolver.close()


class ProbingCollector:
    """Probes the sources before the first request, then collects evidence."""

    def __init__(self, collector: DnsEvidenceCollector, monitor: SourceMonitor) -> None:
        self._collector = collector
        self._monitor = monitor
        self._probe: asyncio.Task[None] | None = None

    def collect(
        self,
        request: Request,
        address: Address,
        found: Callable[[Evidence], None],
        known_signals: Sequence[str] = (),
    ) -> None:
        """Call ``found`` once, with the evidence."""
        if self._probe is None:
            self._probe = asyncio.ensure_future(self._monitor.probe_all())
        self._probe.add_done_callback(
            lambda _: self._collector.collect(request, address, found, known_signals)
        )

    def close(self) -> None:
        """Stop collecting."""
        self._collector.close()
