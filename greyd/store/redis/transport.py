"""Connections to Redis: redis-py makes them, a queue of commands and answers uses them.

redis-py resolves, connects, speaks TLS, authenticates (ACL users too), selects the database, and
knows Sentinel. Once a connection stands, its transport is given to ``greyd.store.redis.link``,
which
writes commands as they come and reads their answers in order. That is twice as fast as a pool of
connections with a command each, and it is all that a store needs.

Connecting takes two to four round trips, with TLS one or two more. Each of its steps has
``--store-connect-timeout``, and requests that give up on it do not end it.

Which URL names what is told in ``greyd.store.url``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from greyd.store.errors import StoreError
from greyd.store.redis.cluster import ClusterTransport
from greyd.store.redis.node import RedisNode
from greyd.store.redis.sentinel import SentinelClient
from greyd.store.url import RedisUrl, parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from greyd.config.settings import Settings
    from greyd.store.redis.store import Argument, RedisTransport, ReplyCheck, Send


_NO_RETRY = Retry(NoBackoff(), 0)


class _SingleServerTransport:
    """Carries commands to one server: the one named, or the master that Sentinel names."""

    is_divided = False

    def __init__(self, node: RedisNode) -> None:
        self._node = node

    def send(
        self,
        key: bytes,  # noqa: ARG002 - all keys are in one place
        *command: Argument,
        is_valid: ReplyCheck | None = None,
    ) -> Awaitable[Any]:
        return self._node.send(*command, is_valid=is_valid)

    def slot(self, key: bytes) -> int:  # noqa: ARG002 - all keys are in one place
        return 0

    async def nodes(self) -> Sequence[Send]:
        return [self._node.send]

    async def connect(self) -> None:
        await self._node.connect()

    def abandon(self) -> None:
        self._node.abandon()

    def explain_delay(self, timeout_seconds: float) -> str:
        return self._node.explain_delay(timeout_seconds)

    async def close(self) -> None:
        self._node.close()


def open_transport(url: str, settings: Settings) -> RedisTransport:
    """Return what carries commands to the Redis at ``url``. Nothing is connected yet.

    Raises:
        StoreError: the URL can't be understood. It is not shown, since it may hold a password.
    """
    named = parse_redis_url(url)
    options = _connection_options(named, settings)
    if named.topology == "cluster":
        del options["db"]
        patience_seconds = settings.store_connect_timeout_seconds
        return ClusterTransport(named.hosts, partial(_node_at, options), patience_seconds)
    if named.topology == "sentinel":
        locate = partial(_connect_through_sentinel, SentinelClient(named, settings), options)
        return _SingleServerTransport(RedisNode(f"redis+sentinel {named.service}", locate))
    return _SingleServerTransport(RedisNode(_name(named), partial(_connect, options)))


def _node_at(options: dict[str, Any], host: str, port: int) -> RedisNode:
    return RedisNode(f"{host}:{port}", partial(_connect, {**options, "host": host, "port": port}))


def _connection_options(url: RedisUrl, settings: Settings) -> dict[str, Any]:
    """Return redis-py's arguments for a connection.

    Raises:
        StoreError: there are two passwords, or an option means nothing.
    """
    seconds = settings.store_connect_timeout_seconds
    password = url.password
    if settings.store_password is not None:
        if password is not None:
            raise StoreError("--store and --store-password-file: two passwords; name one")
        password = settings.store_password
    named: dict[str, Any] = {"username": url.username, "password": password, "db": url.database}
    if url.connection == "unix":
        named |= {"connection_class": UnixDomainSocketConnection, "path": url.path}
    elif url.connection == "rediss":
        named["connection_class"] = SSLConnection
    if url.hosts and not url.topology:
        named |= {"host": url.hosts[0].name, "port": url.hosts[0].port}
    try:
        options = {
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,
            # redis-py knows of what type each option is.
            **parse_url(f"redis://?{urlencode(url.options)}"),
            **named,
            # It would cost another round trip, and nobody needs to know.
            "driver_info": None,
            # Answers are read here, not there.
            "protocol": 2,
            "retry": _NO_RETRY,
        }
        _new_connection(options)
    except (ValueError, TypeError, RedisError):
        # What they say may show a secret that stands in the wrong place.
        raise StoreError(
            f"--store={url.scheme}://…: an option after ? is not understood; they are redis-py's,"
            " such as ?ssl_ca_certs=FILE"
        ) from None
    return options


def _new_connection(options: dict[str, Any]) -> Connection:
    options = dict(options)
    connection: Connection = options.pop("connection_class", Connection)(**options)
    return connection


def _name(url: RedisUrl) -> str:
    return f"unix:{url.path}" if url.connection == "unix" else str(url.hosts[0])


async def _connect(options: dict[str, Any]) -> Connection:
    connection = _new_connection(options)
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


async def _connect_through_sentinel(
    sentinels: SentinelClient, options: dict[str, Any]
) -> Connection:
    host, port = await sentinels.master(options["socket_timeout"])
    return await _connect({**options, "host": host, "port": port})
