"""Chooses the transport for the URL of a Redis: a single server, Sentinel or Cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from greyd.store.redis.cluster import ClusterTransport
from greyd.store.redis.node import RedisNode
from greyd.store.redis.redis_py import connection_options, open_connection
from greyd.store.redis.sentinel import SentinelClient
from greyd.store.redis.single_server import SingleServerTransport
from greyd.store.url import parse_redis_url

if TYPE_CHECKING:
    from redis.asyncio import Connection

    from greyd.config.settings import Settings
    from greyd.store.redis.transport import RedisTransport
    from greyd.store.url import RedisUrl


def open_transport(url: str, settings: Settings) -> RedisTransport:
    """Return the transport to the Redis at ``url``, which connects on its first use.

    Raises:
        StoreError: the URL is invalid. The text shows no secret.
    """
    parsed = parse_redis_url(url)
    options = connection_options(parsed, settings)
    if parsed.topology == "cluster":
        del options["db"]
        timeout_seconds = settings.store_connect_timeout_seconds
        return ClusterTransport(parsed.hosts, partial(_node_at, options), timeout_seconds)
    if parsed.topology == "sentinel":
        client = SentinelClient(parsed, settings)
        connect = partial(_open_connection_to_master, client, options)
        return SingleServerTransport(RedisNode(f"redis+sentinel {parsed.service}", connect))
    return SingleServerTransport(RedisNode(_name_of(parsed), partial(open_connection, options)))


def _node_at(options: dict[str, Any], host: str, port: int) -> RedisNode:
    connect = partial(open_connection, {**options, "host": host, "port": port})
    return RedisNode(f"{host}:{port}", connect)


def _name_of(url: RedisUrl) -> str:
    return f"unix:{url.path}" if url.connection == "unix" else str(url.hosts[0])


async def _open_connection_to_master(
    sentinels: SentinelClient, options: dict[str, Any]
) -> Connection:
    host, port = await sentinels.master(options["socket_timeout"])
    return await open_connection({**options, "host": host, "port": port})
