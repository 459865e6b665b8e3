"""Connections to Redis: redis-py makes them, a queue of commands and answers uses them.

redis-py resolves, connects, speaks TLS, authenticates (ACL users too), selects the database, and
knows Sentinel. Once a connection stands, its transport is given to ``greyd.store.link``, which
writes commands as they come and reads their answers in order. That is twice as fast as a pool of
connections with a command each, and it is all that a store needs.

Connecting takes four to six round trips, with TLS one or two more. Each of its steps has
``--store-connect-timeout``, and requests that give up on it do not end it.

==============================  ====================================================
``redis://[[USER]:PASS@]H[:P]/DB``  one server; ``rediss://`` with TLS
``unix://[[USER]:PASS@]/PATH?db=0``  the same over a Unix socket
``redis+sentinel://…@A,B,C/NAME/DB``  the master that Sentinel names; port 26379
``redis+cluster://…@A,B,C``     a Cluster
==============================  ====================================================

``rediss+sentinel`` and ``rediss+cluster`` are the same with TLS. Options of redis-py's URLs
(``?ssl_ca_certs=…``) are taken as they are.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from redis.asyncio import Connection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from greyd.store import StoreError
from greyd.store.cluster import Cluster
from greyd.store.link import Node, reason_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from greyd.settings import Settings
    from greyd.store.redis import Argument, Carrier, Fits, Send

_SENTINEL_PORT = 26379
_REDIS_PORT = 6379
_NO_RETRY = Retry(NoBackoff(), 0)


class _Single:
    """Carries commands to one server: the one named, or the master that Sentinel names."""

    divided = False

    def __init__(self, node: Node) -> None:
        self._node = node

    def send(
        self,
        key: bytes,  # noqa: ARG002 - all keys are in one place
        *command: Argument,
        fits: Fits | None = None,
    ) -> Awaitable[Any]:
        return self._node.send(*command, fits=fits)

    def place(self, key: bytes) -> int:  # noqa: ARG002 - all keys are in one place
        return 0

    async def nodes(self) -> Sequence[Send]:
        return [self._node.send]

    def abandon(self) -> None:
        self._node.abandon()

    def explain_delay(self, timeout_seconds: float) -> str:
        return self._node.explain_delay(timeout_seconds)

    async def close(self) -> None:
        self._node.close()


class _Host(NamedTuple):
    host: str
    port: int


def carrier(url: str, settings: Settings) -> Carrier:
    """Return what carries commands to the Redis at ``url``. Nothing is connected yet.

    Raises:
        StoreError: the URL can't be understood. It is not shown, since it may hold a password.
    """
    scheme, _, rest = url.partition("://")
    kind, plus, way = scheme.partition("+")
    if kind not in ("redis", "rediss", "unix") or (plus and way not in ("sentinel", "cluster")):
        raise StoreError(
            "--store: unknown scheme; write sqlite:PATH, redis://HOST/0, rediss://,"
            " unix://, redis+sentinel://, redis+cluster:// or memory://"
        )
    try:
        if not plus:
            options = _options(url, settings)
            return _Single(Node(_name(options), partial(_connected, options)))
        # Now, not at the first use: then the rights to read it may be gone.
        import_module(f"redis.asyncio.{way}")
        login, hosts, path, query = _parts(rest)
        if way == "cluster":
            options = _options(f"{kind}://{login}cluster{query}", settings)
            del options["host"]
            return Cluster(
                _hosts(hosts, _REDIS_PORT),
                partial(_node_at, options),
                settings.store_connect_timeout_seconds,
            )
        service, _, database = path.partition("/")
        if not service:
            raise ValueError
        options = _options(f"{kind}://{login}master/{database}{query}", settings)
        locate = partial(_sentinel_connected, _hosts(hosts, _SENTINEL_PORT), service, options)
        return _Single(Node(f"redis+sentinel {service}", locate))
    except (ValueError, TypeError):
        # What they say of the URL may be a part of its password.
        raise StoreError(
            f"--store={kind}{plus}{way}://…: this can't be understood; hosts are HOST:PORT,"
            " Sentinel needs /NAME/DB, options are redis-py's, and / ? # @ in a password are"
            " written %2F %3F %23 %40"
        ) from None


def _node_at(options: dict[str, Any], host: str, port: int) -> Node:
    return Node(f"{host}:{port}", partial(_connected, {**options, "host": host, "port": port}))


def _options(url: str, settings: Settings) -> dict[str, Any]:
    """Return redis-py's arguments for a connection."""
    seconds = settings.store_connect_timeout_seconds
    named = parse_url(url)
    if settings.store_password is not None:
        if "password" in named:
            raise StoreError("--store and --store-password-file: two passwords; name one")
        named["password"] = settings.store_password
    options = {
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
        **named,
        # It would cost another round trip, and nobody needs to know.
        "driver_info": None,
        # Answers are read here, not there.
        "protocol": 2,
        "retry": _NO_RETRY,
    }
    _unconnected(options)
    return options


def _unconnected(options: dict[str, Any]) -> Connection:
    options = dict(options)
    connection: Connection = options.pop("connection_class", Connection)(**options)
    return connection


def _name(options: dict[str, Any]) -> str:
    if "path" in options:
        return f"unix:{options['path']}"
    return f"{options.get('host', 'localhost')}:{options.get('port', _REDIS_PORT)}"


def _parts(rest: str) -> tuple[str, str, str, str]:
    """Split what follows ``://`` into login, hosts, path and query."""
    before, mark, query = rest.partition("?")
    authority, _, path = before.partition("/")
    login, at, hosts = authority.rpartition("@")
    return login + at, hosts, unquote(path), mark + query


def _hosts(text: str, default_port: int) -> list[_Host]:
    hosts = []
    for each in text.split(","):
        host, colon, port = each.rpartition(":")
        if not colon or "]" in port:
            host, port = each, str(default_port)
        if not host or not port.isdigit():
            raise ValueError
        hosts.append(_Host(host.strip("[]"), int(port)))
    return hosts


async def sentinels(url: str, settings: Settings) -> dict[str, str]:
    """Ask each Sentinel of a URL for the master: ``master HOST:PORT``, or why it does not say."""
    from redis.asyncio.sentinel import Sentinel

    _, _, rest = url.partition("://")
    _, hosts, path, _ = _parts(rest)
    service = path.partition("/")[0]
    seconds = settings.store_timeout_seconds
    patience = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": _NO_RETRY}
    said = {}
    for each in _hosts(hosts, _SENTINEL_PORT):
        sentinel = Sentinel([each], sentinel_kwargs=patience)  # type: ignore[no-untyped-call]
        try:
            host, port = await sentinel.discover_master(service)
            said[f"{each.host}:{each.port}"] = f"master {host}:{port}"
        except Exception as error:  # noqa: BLE001 - redis-py's have no common base
            said[f"{each.host}:{each.port}"] = reason_of(error)
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
    return said


async def _connected(options: dict[str, Any]) -> Connection:
    connection = _unconnected(options)
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


async def _sentinel_connected(
    hosts: Sequence[_Host], service: str, options: dict[str, Any]
) -> Connection:
    from redis.asyncio.sentinel import Sentinel

    # One that is down must leave the others time to answer.
    seconds = options["socket_timeout"] / (len(hosts) + 1)
    patience = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": _NO_RETRY}
    sentinel = Sentinel(hosts, sentinel_kwargs=patience)  # type: ignore[no-untyped-call]
    try:
        host, port = await sentinel.discover_master(service)
    finally:
        for each in sentinel.sentinels:
            await each.aclose()
    return await _connected({**options, "host": host, "port": port})
