"""Which sources of evidence the log and the metrics show, of a server and of its shadow."""

from __future__ import annotations

import asyncio

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import RESOLVER, Endpoint, Zone
from greyd.server.evidence.collectors import collect_evidence
from tests.dns_server import dns_server
from tests.policy.test_shadow import SimulatedSite
from tests.stores import FakeStore

BOTH, OWN, SHADOWS = "both.example", "own.example", "shadow.example"
ERROR = ["60 A 127.255.255.254"]


@pytest.mark.parametrize(
    ("own", "shadows", "shown"),
    [
        ((OWN,), (), {OWN}),
        ((), (SHADOWS,), {SHADOWS}),
        ((BOTH,), (BOTH,), {BOTH}),
        ((BOTH, OWN), (BOTH, SHADOWS), {BOTH, OWN, SHADOWS}),
    ],
)
def test_a_list_that_is_out_of_order_is_shown_once_whether_the_server_or_the_shadow_has_it(
    own: tuple[str, ...], shadows: tuple[str, ...], shown: set[str]
) -> None:
    async def do(resolver: Endpoint) -> None:
        settings = Settings(resolvers=(resolver,), dnsbl=tuple(map(Zone, own)), identity=("spf",))
        shadow = Settings(resolvers=(resolver,), dnsbl=tuple(map(Zone, shadows)), identity=("spf",))
        site = SimulatedSite(FakeStore(), settings, shadow)
        assert site.shadow is not None
        sources = list(
            collect_evidence(site.policy, site.shadow, settings, site.observers, site.metrics)
        )
        for each in sources:
            await each.monitor.probe_all()
        for name in (RESOLVER, *shown):
            value = site.metrics.registry.get_sample_value("greyd_dns_source_up", {"zone": name})
            assert value == (name == RESOLVER), name
        lines = [line for line in await site.close() if "out of order" in line]
        assert sorted(line.split()[4] for line in lines) == sorted(shown)
        for each in sources:
            await each.close()

    with dns_server({f"*.{zone}": ERROR for zone in (BOTH, OWN, SHADOWS)}) as server:
        asyncio.run(do(Endpoint("127.0.0.1", server.port)))
