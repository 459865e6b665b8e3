"""Opens connections with redis-py, and takes over their transports.

redis-py resolves names, connects, does TLS, authenticates (ACL users too) and selects the database.
That takes two to four round trips, with TLS one or two more, and each step may take
``--store-connect-timeout``.

``greyd.store.redis.pipelined_connection`` then uses the open connection's transport itself, for
speed. redis-py's public API does not expose the transport: ``take_transport`` and ``release`` are
the only code in greyd that uses redis-py's private fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from greyd.store.errors import StoreError
from greyd.store.url import StoreUrlError

if TYPE_CHECKING:
    import asyncio

    from greyd.config.settings import Settings
    from greyd.store.url import RedisUrl


def connection_options(url: RedisUrl, settings: Settings) -> dict[str, Any]:
    """Return redis-py's arguments for a connection.

    Raises:
        StoreError: two passwords are given, or redis-py rejects an option of the URL.
    """
    seconds = settings.store_connect_timeout_seconds
    password = url.password
    if settings.store_password is not None:
        if password is not None:
            raise StoreError("--store and --store-password-file: two passwords; give one")
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
            # redis-py knows the type of each option.
            **parse_url(f"redis://?{urlencode(url.options)}"),
            **named,
            # Sending it would cost another round trip.
            "driver_info": None,
            # PipelinedConnection reads version 2 of the protocol.
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
        }
        _new_connection(options)
    except (ValueError, TypeError, RedisError):
        # redis-py's own message may show a misplaced secret.
        raise StoreUrlError(
            f"--store={url.scheme}://…: unknown option or invalid value after ?; the options are"
            " redis-py's, such as ?ssl_ca_certs=FILE"
        ) from None
    return options


def _new_connection(options: dict[str, Any]) -> Connection:
    options = dict(options)
    connection: Connection = options.pop("connection_class", Connection)(**options)
    return connection


async def open_connection(options: dict[str, Any]) -> Connection:
    """Connect and authenticate. Raises redis-py's errors, which have no common base."""
    connection = _new_connection(options)
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


def take_transport(
    connection: Connection, protocol: asyncio.Protocol
) -> asyncio.WriteTransport | None:
    """Make ``protocol`` the reader of an open connection.

    Returns:
        The transport to write to; None if the server has closed the connection.
    """
    reader, writer = connection._reader, connection._writer  # noqa: SLF001 - see the module
    if reader is None or writer is None or writer.transport.is_closing() or reader.at_eof():
        return None
    writer.transport.set_protocol(protocol)
    return writer.transport


def release(connection: Connection) -> None:
    """Free redis-py's resources of a connection whose transport has been aborted."""
    # The public way, disconnect(), is a coroutine and waits for the peer.
    connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001 - see the module
