"""Connections to Redis: redis-py makes them, a queue of commands and answers uses them.

redis-py resolves, connects, speaks TLS, authenticates (ACL users too), selects the database, and
knows Sentinel and Cluster. Once a connection stands, its transport is given to ``Link``, which
writes commands as they come and reads their answers in order. That is twice as fast as a pool of
connections with a command each, and it is all that a store needs.

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

import asyncio
from collections import deque
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import hiredis
from redis.asyncio import Connection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from greyd.settings import shown
from greyd.store import StoreError
from greyd.store.redis import ConnectionLost, KeysApart, ScriptMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from greyd.settings import Settings
    from greyd.store.redis import Argument, Carrier, Send

    Connect = Callable[[], Awaitable[Connection]]

_SENTINEL_PORT = 26379
_REDIS_PORT = 6379
_REDIRECTIONS = 5
_NO_RETRY = Retry(NoBackoff(), 0)

_NEW_MASTER = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED")
"""Errors after which it is worth to ask anew who the master is."""


class Redirected(StoreError):
    """A Cluster's node says that another one has the key (MOVED, ASK)."""

    def __init__(self, text: str) -> None:
        kind, _slot, address = text.split(" ", 2)
        host, _, port = address.rpartition(":")
        super().__init__(text)
        self.ask = kind == "ASK"
        self.host = host
        self.port = int(port)


class Link(asyncio.Protocol):
    """One connection: commands go out at once, answers come back in order."""

    def __init__(self, name: str, lost: Callable[[Link], None]) -> None:
        self._name = name
        self._lost = lost
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._transport: asyncio.WriteTransport | None = None

    def take(self, connection: Connection) -> None:
        """Take over a connection that redis-py has made."""
        writer = connection._writer  # noqa: SLF001 - redis-py has no public name for it
        assert writer is not None  # noqa: S101 - it has just been connected
        self._connection = connection
        self._transport = writer.transport
        writer.transport.set_protocol(self)

    def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command with the others of this turn of the loop; returns its answer."""
        future = self._loop.create_future()
        if self._transport is None:
            future.set_exception(ConnectionLost(f"{self._name}: connection lost"))
            return future
        self._waiting.append(future)
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]
        return future

    def data_received(self, data: bytes) -> None:
        """Hand each answer to the one who waits longest."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                future = self._waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    self._refused(future, str(reply))
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.close("does not speak Redis's protocol")

    def _refused(self, future: asyncio.Future[Any], text: str) -> None:
        code = text.partition(" ")[0]
        if code == "NOSCRIPT":
            future.set_exception(ScriptMissing(text))
        elif code == "TRYAGAIN":
            future.set_exception(KeysApart(text))
        elif code in ("MOVED", "ASK"):
            future.set_exception(Redirected(text))
        else:
            future.set_exception(StoreError(f"{self._name}: {text}"))
        if code in _NEW_MASTER:
            self.close(text)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.close(str(exc) if exc else "connection closed", ConnectionLost)

    def close(self, reason: str, error: type[StoreError] = StoreError) -> None:
        """Give the connection up; all who wait get ``error``."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        if self._connection is not None:
            # Its public way is a coroutine.
            self._connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001
            self._connection = None
        self._lost(self)
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error(f"{self._name}: {reason}"))


class _Node:
    """One server: its link, made when it is needed."""

    def __init__(self, name: str, connect: Connect) -> None:
        self._name = name
        self._connect = connect
        self._link: Link | None = None
        self._linking: asyncio.Task[Link] | None = None

    def send(self, *command: Argument) -> Awaitable[Any]:
        """Send a command, connecting first where there is no connection."""
        if self._link is not None:
            return self._link.send(*command)
        return self._link_and_send(*command)

    async def send_asking(self, *command: Argument) -> Any:
        """Send a command for a key that is on its way here; ``ASKING`` holds for the next alone."""
        link = self._link or await self._linked_soon()
        asking = link.send("ASKING")
        asking.add_done_callback(_forget_error)
        return await link.send(*command)

    async def _link_and_send(self, *command: Argument) -> Any:
        return await (await self._linked_soon()).send(*command)

    async def _linked_soon(self) -> Link:
        if self._linking is None:
            self._linking = asyncio.create_task(self._make_link())
            self._linking.add_done_callback(self._linked)
        linking = self._linking
        try:
            return await asyncio.shield(linking)
        except asyncio.CancelledError:
            if linking.cancelled():
                raise StoreError(f"{self._name}: connecting was given up") from None
            raise

    async def _make_link(self) -> Link:
        link = Link(self._name, self._forget)
        try:
            link.take(await self._connect())
        except Exception as error:  # redis-py's have no common base
            raise StoreError(f"{self._name}: {_reason(error)}") from error
        self._link = link
        return link

    def _linked(self, task: asyncio.Task[Link]) -> None:
        self._linking = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have waited long enough

    def _forget(self, link: Link) -> None:
        if self._link is link:
            self._link = None

    def close(self, reason: str) -> None:
        if self._linking is not None:
            self._linking.cancel()
        if self._link is not None:
            self._link.close(reason)


def _forget_error(future: asyncio.Future[Any]) -> None:
    # The command that follows fails for the same reason, and is waited for.
    if not future.cancelled():
        future.exception()


class _Single:
    """Carries commands to one server: the one named, or the master that Sentinel names."""

    divided = False

    def __init__(self, node: _Node) -> None:
        self._node = node

    def send(self, key: bytes, *command: Argument) -> Awaitable[Any]:  # noqa: ARG002
        return self._node.send(*command)

    def place(self, key: bytes) -> int:  # noqa: ARG002 - all keys are in one place
        return 0

    async def nodes(self) -> Sequence[Send]:
        return [self._node.send]

    def abandon(self) -> None:
        self._node.close("too slow")

    async def close(self) -> None:
        self._node.close("closing")


class _Cluster:
    """Carries commands to the nodes of a Cluster; redis-py knows which has what."""

    divided = True

    def __init__(self, hosts: Sequence[_Host], options: dict[str, Any]) -> None:
        self._hosts = hosts
        self._options = options
        self._nodes: dict[tuple[str, int], _Node] = {}
        self._topology: Any = None
        self._learning: asyncio.Task[None] | None = None

    async def send(self, key: bytes, *command: Argument) -> Any:
        if self._topology is None:
            await self._learn()
        node = self._topology.get_node_from_key(key)
        target = self._node(node.host, node.port)
        for _ in range(_REDIRECTIONS):
            try:
                return await target.send(*command)
            except Redirected as moved:
                target = self._node(moved.host or node.host, moved.port)
                if moved.ask:
                    return await target.send_asking(*command)
                self._learn_soon()
            except (ScriptMissing, KeysApart):
                raise
            except StoreError:
                # The node may be gone: next time look who has its keys now.
                self._learn_soon()
                raise
        raise StoreError("the Cluster sends us round in a circle")

    def place(self, key: bytes) -> int:
        return int(key_slot(key))

    async def nodes(self) -> Sequence[Send]:
        if self._topology is None:
            await self._learn()
        return [self._node(node.host, node.port).send for node in self._topology.get_primaries()]

    def _node(self, host: str, port: int) -> _Node:
        if (host, port) not in self._nodes:
            options = {**self._options, "host": host, "port": port}
            self._nodes[host, port] = _Node(f"{host}:{port}", partial(_connected, options))
        return self._nodes[host, port]

    def _learn_soon(self) -> None:
        if self._learning is None:
            self._learning = asyncio.create_task(self._learn_quietly())

    async def _learn_quietly(self) -> None:
        try:
            await self._learn()
        except StoreError:
            self._topology = None  # to be learnt by the next request
        finally:
            self._learning = None

    async def _learn(self) -> None:
        from redis.asyncio.cluster import ClusterNode, RedisCluster

        options = {key: value for key, value in self._options.items() if key != "connection_class"}
        if "connection_class" in self._options:
            options["ssl"] = True
        cluster = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self._hosts],
            require_full_coverage=False,
            **options,
        )
        try:
            await cluster.initialize()
            self._topology = cluster
        except Exception as error:  # redis-py's have no common base
            raise StoreError(f"redis+cluster: {_reason(error)}") from error
        finally:
            await cluster.aclose()

    def abandon(self) -> None:
        for node in self._nodes.values():
            node.close("too slow")
        self._learn_soon()

    async def close(self) -> None:
        if self._learning is not None:
            self._learning.cancel()
        for node in self._nodes.values():
            node.close("closing")


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
            return _Single(_Node(_name(options), partial(_connected, options)))
        # Now, not at the first use: then the rights to read it may be gone.
        import_module(f"redis.asyncio.{way}")
        login, hosts, path, query = _parts(rest)
        if way == "cluster":
            options = _options(f"{kind}://{login}cluster{query}", settings)
            del options["host"]
            return _Cluster(_hosts(hosts, _REDIS_PORT), options)
        service, _, database = path.partition("/")
        if not service:
            raise ValueError
        options = _options(f"{kind}://{login}master/{database}{query}", settings)
        locate = partial(_sentinel_connected, _hosts(hosts, _SENTINEL_PORT), service, options)
        return _Single(_Node(f"redis+sentinel {service}", locate))
    except (ValueError, TypeError):
        # What they say of the URL may be a part of its password.
        raise StoreError(
            f"--store={kind}{plus}{way}://…: this can't be understood; hosts are HOST:PORT,"
            " Sentinel needs /NAME/DB, options are redis-py's, and / ? # @ in a password are"
            " written %2F %3F %23 %40"
        ) from None


def _options(url: str, settings: Settings) -> dict[str, Any]:
    """Return redis-py's arguments for a connection."""
    seconds = settings.store_timeout_seconds
    named = parse_url(url)
    if settings.store_password is not None:
        if "password" in named:
            raise StoreError("--store and --store-password-file: two passwords; name one")
        named["password"] = settings.store_password
    options = {
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
        "client_name": "greyd",
        **named,
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
            said[f"{each.host}:{each.port}"] = _reason(error)
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


def _reason(error: Exception) -> str:
    """Return what went wrong in a few words."""
    if isinstance(error, TimeoutError) or not str(error):
        return "no answer in time"
    return shown(str(error).partition(" : ")[0])
