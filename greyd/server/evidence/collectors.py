"""Makes a server's policy, and its shadow, collect evidence from DNS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from greyd.config.settings import Settings
    from greyd.dns.resolver import LookupObserver, Resolver
    from greyd.dns.sources.faults import SourceFault
    from greyd.dns.sources.monitor import SourceMonitor
    from greyd.monitoring.metrics import Metrics
    from greyd.policy.observers import Observers
    from greyd.policy.policy import Policy
    from greyd.policy.shadow.runner import ShadowRunner


@dataclass(frozen=True, slots=True)
class EvidenceSources:
    """The DNS sources of a policy: the resolver, and the states of the resolver and the lists."""

    resolver: Resolver
    monitor: SourceMonitor

    async def close(self) -> None:
        """Stop probing and querying."""
        self.monitor.close()
        await self.resolver.close()


def collect_evidence(
    policy: Policy,
    shadow: ShadowRunner | None,
    settings: Settings,
    observers: Observers,
    metrics: Metrics,
) -> Iterator[EvidenceSources]:
    """Make the policy and its shadow collect DNS evidence if they need it; yield the sources.

    Each has its own resolver, so that the shadow's lookups never take the place of the server's.
    Observers and metrics get the sources of the server, those lists of the shadow that the server
    does not have, and the shadow's resolver if only the shadow has one.
    """
    own_zones = _list_names(settings) if settings.needs_evidence else ()
    shadow_zones = _list_names(shadow.settings) if shadow is not None else ()
    zones = tuple(dict.fromkeys((*own_zones, *shadow_zones)))
    lookups = metrics.watch_dns(zones) if settings.reads_evidence_attributes else None
    on_change: Callable[[str, SourceFault | None], None] = observers.dns_source_changed
    if settings.needs_evidence:
        on_error = partial(observers.internal_error, "DNS", outcome="continuing without DNS")
        yield _collect_for(policy, settings, on_error, lookups, on_change)
        lookups = None
        new_zones = set(shadow_zones) - set(own_zones)
        on_change = partial(_observe_new_zones, observers, new_zones)
    if shadow is not None and shadow.settings.needs_evidence:
        on_shadow_error = shadow.internal_error_of_shadow
        yield _collect_for(shadow.policy, shadow.settings, on_shadow_error, lookups, on_change)


def _list_names(settings: Settings) -> tuple[str, ...]:
    from greyd.dns.lists.zones import list_names

    return list_names(settings)


def _observe_new_zones(
    observers: Observers, zones: Collection[str], name: str, fault: SourceFault | None
) -> None:
    """Observe the change of a source of the shadow if the server does not have it itself."""
    if name in zones:
        observers.dns_source_changed(name, fault)


def _collect_for(
    policy: Policy,
    settings: Settings,
    on_error: Callable[[BaseException], None],
    lookups: LookupObserver | None,
    on_change: Callable[[str, SourceFault | None], None],
) -> EvidenceSources:
    """Make a policy collect DNS evidence; return the sources that it uses."""
    from greyd.dns.collector import DnsEvidenceCollector
    from greyd.dns.lists.zones import list_zones
    from greyd.dns.mail_exchangers import MailExchangers
    from greyd.dns.resolver import Resolver
    from greyd.dns.sources.monitor import SourceMonitor

    resolver = Resolver(
        settings.resolvers, settings.dns_timeout_seconds, lookups, zones=list_zones(settings)
    )
    monitor = SourceMonitor(settings, resolver, on_change, on_error)
    resolver.on_lookup_ended = monitor.lookup_ended
    if settings.learn_outbound:
        seconds = settings.dns_timeout_seconds
        policy.outbound.exchangers = MailExchangers(resolver, seconds, on_error)
    policy.collector = DnsEvidenceCollector(
        settings, resolver, lambda: policy.whitelists.override, on_error, monitor
    )
    monitor.start()
    return EvidenceSources(resolver, monitor)
