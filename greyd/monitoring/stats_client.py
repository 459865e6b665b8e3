"""Fetches the statistics of servers from ``/stats.json`` of their metrics ports.

The requests run in parallel. If one fails, its result has the fault; the other results are not
affected.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from greyd.escaping import printable
from greyd.monitoring.errors import MonitoringError
from greyd.monitoring.http_client import HttpClientError, get
from greyd.monitoring.stats import InvalidStats, ServerStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.vocabulary import Endpoint

TIMEOUT_SECONDS = 5.0
"""Maximum time for a server's complete response."""

MAX_BODY_BYTES = 1024 * 1024
MAX_SERVERS = 100

PATH = "/stats.json"


class StatsUrlError(MonitoringError):
    """A URL is not that of a metrics port, or there are too many URLs."""


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """The address of a server's metrics port."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        """The URL of the port, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class FetchedStats:
    """The statistics of a server, or the fault that occurred."""

    address: MetricsAddress
    stats: ServerStats | None = None
    fault: str = ""

    def dump(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        if self.stats is None:
            return {"url": self.address.url, "answers": False, "fault": self.fault}
        return {"url": self.address.url, "answers": True, **self.stats.dump()}


def metrics_addresses(urls: Sequence[str], metrics: Endpoint | None) -> list[MetricsAddress]:
    """Return the addresses of the servers to fetch from.

    Args:
        urls: the values of ``--server``.
        metrics: the value of ``--metrics``, which is used if ``urls`` is empty.

    Raises:
        StatsUrlError: a URL is not that of a metrics port, or there are too many URLs.
    """
    if len(urls) > MAX_SERVERS:
        raise StatsUrlError(f"--server: {MAX_SERVERS} at most")
    if urls:
        return [_parse_url(url) for url in urls]
    if metrics is None:
        return []
    local = metrics.connectable()
    return [MetricsAddress(local.host, local.port)]


def _parse_url(url: str) -> MetricsAddress:
    wrong = (
        f"--server={printable(url.encode(errors='surrogateescape'))[:100]}: write http://HOST:PORT"
    )
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise StatsUrlError(wrong) from None
    odd = parts.username or parts.password or parts.query or parts.path not in ("", "/", PATH)
    if parts.scheme not in ("http", "https") or odd:
        raise StatsUrlError(wrong)
    if not host or not re.fullmatch(r"[!-~]{1,253}", host):
        raise StatsUrlError(wrong)
    tls = parts.scheme == "https"
    return MetricsAddress(host, port or (443 if tls else 9923), tls)


async def fetch_all_stats(addresses: Sequence[MetricsAddress]) -> list[FetchedStats]:
    """Fetch the statistics of all servers in parallel; a fault is part of the result."""
    return list(await asyncio.gather(*map(_fetch_stats, addresses)))


async def _fetch_stats(address: MetricsAddress) -> FetchedStats:
    try:
        response = await get(
            address.url + PATH, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_BODY_BYTES
        )
        if response.status != 200:
            raise InvalidStats(f"HTTP status {response.status} for {PATH}")
        return FetchedStats(address, ServerStats.load(response.body))
    except HttpClientError as error:
        return FetchedStats(address, fault=str(error))
    except InvalidStats as error:
        return FetchedStats(address, fault=f"{error}; is it a greyd of this version?")
