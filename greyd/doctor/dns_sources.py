"""Checks the DNS lists and the resolver with the probes of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.vocabulary import RESOLVER
from greyd.doctor.findings import Finding, not_checked, ok, warning

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.dns.sources.source import Source
    from greyd.doctor.server_metrics import ServerMetrics


async def check_dns_sources(settings: Settings, metrics: ServerMetrics | None) -> list[Finding]:
    """Query the test entries of each list of the settings, through the server's resolver.

    Args:
        settings: name the lists and the resolver.
        metrics: the metrics of the running server, which may see another state; or None.
    """
    if not settings.needs_evidence:
        return []
    from greyd.dns.lists.zones import list_zones
    from greyd.dns.resolver import Resolver
    from greyd.dns.sources.monitor import SourceMonitor

    errors: list[BaseException] = []
    resolver = Resolver(
        settings.resolvers, settings.dns_timeout_seconds, zones=list_zones(settings)
    )
    monitor = SourceMonitor(settings, resolver, lambda _name, _fault: None, errors.append)
    try:
        await monitor.probe_all()
        is_resolver_up = monitor.is_resolver_up
        findings = [
            finding_of_source(source, metrics, is_resolver_up=is_resolver_up)
            for source in monitor.sources()
        ]
    finally:
        monitor.close()
        await resolver.close()
    if errors:
        raise errors[0]
    return findings


def finding_of_source(
    source: Source, metrics: ServerMetrics | None, *, is_resolver_up: bool
) -> Finding:
    """Rate the result of a source's probe, and the state in the running server."""
    check = "DNS: resolver" if source.name == RESOLVER else f"DNS: list {source.name}"
    if source.fault is not None:
        return warning(check, source.fault.text, source.fault.remedy)
    if not is_resolver_up:
        return not_checked(check, "the resolver does not answer")
    if metrics is not None and metrics.value("greyd_dns_source_up", source.name) == 0:
        return warning(
            check,
            "in order here, but out of order for the running server",
            "journalctl -u greyd (the line “out of order” has the reason)",
        )
    return ok(check, "it answers" if source.name == RESOLVER else "its test entries are right")
