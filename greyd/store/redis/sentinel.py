"""Queries Redis Sentinel for the address of the master: each Sentinel in turn, until one knows it.

Sentinel has its own user and password (``requirepass`` in sentinel.conf, or an ACL), not those of
the Redis servers that it monitors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from greyd.redaction import excerpt
from greyd.store.errors import StoreError
from greyd.store.redis.connection_errors import system_reason

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.store.url import RedisHost, RedisUrl


_OWN = "--sentinel-password-file and --sentinel-user are Sentinel's own login, not Redis's"


class SentinelError(StoreError):
    """A Sentinel did not return the master's address; the text gives the reason and what to do."""


class SentinelClient:
    """Queries the Sentinels of a URL."""

    def __init__(self, url: RedisUrl, settings: Settings) -> None:
        self._hosts = url.hosts
        self._service = url.service
        self._username = settings.sentinel_user or None
        self._password = settings.sentinel_password

    async def master(self, seconds: float) -> tuple[str, int]:
        """Return the master's host and port from the first Sentinel that knows it.

        Raises:
            SentinelError: no Sentinel returned the address within ``seconds``; the text gives the
                reason of each.
        """
        # A Sentinel that is down must leave time for the others and for the master.
        seconds /= len(self._hosts) + 1
        reasons: dict[str, None] = {}
        for host in self._hosts:
            try:
                return await self._ask(host, seconds)
            except SentinelError as error:
                reasons[str(error)] = None
        raise SentinelError("; ".join(reasons))

    async def all_answers(self, seconds: float) -> dict[str, str]:
        """Query all Sentinels; return for each its ``master HOST:PORT``, or why it failed."""
        answers = {}
        for host in self._hosts:
            try:
                name, port = await self._ask(host, seconds)
                answers[str(host)] = f"master {name}:{port}"
            except SentinelError as error:
                answers[str(host)] = str(error).removeprefix(f"Sentinel {host}: ")
        return answers

    async def _ask(self, host: RedisHost, seconds: float) -> tuple[str, int]:
        connection = Connection(
            host=host.name, port=host.port, username=self._username, password=self._password,
            socket_timeout=seconds, socket_connect_timeout=seconds, protocol=2, driver_info=None,
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's has no types
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            return self._address(host, await connection.read_response())
        except (RedisError, OSError, TimeoutError) as error:
            raise SentinelError(f"Sentinel {host}: {self._reason(host, error)}") from error
        finally:
            await connection.disconnect(nowait=True)

    def _address(self, host: RedisHost, answer: Any) -> tuple[str, int]:
        if answer is None:
            raise SentinelError(
                f"Sentinel {host}: knows no master named {self._service}; write its name in the"
                " URL, as redis-cli -p 26379 SENTINEL MASTERS shows it"
            )
        try:
            name, port = answer
            return name.decode(), int(port)
        except (ValueError, TypeError, AttributeError):
            raise SentinelError(f"Sentinel {host}: its reply is not an address") from None

    def _reason(self, host: RedisHost, error: Exception) -> str:
        """Return the reason of an error, and what to do."""
        text = str(error)
        if "unknown command" in text:
            return (
                "a Redis, not a Sentinel, listens there; use Sentinel's port (26379), or write"
                f" redis://{host}/0"
            )
        if isinstance(error, AuthenticationError):
            if "without any password configured" in text:
                return f"it needs no password, but one was given; remove it: {_OWN}"
            if self._password is None or "NOAUTH" in text or "Authentication required" in text:
                return f"it needs a password; {_OWN}"
            return f"wrong user or password; {_OWN}"
        if isinstance(error, ResponseError):
            return excerpt(text)
        if reason := system_reason(error):
            return f"{reason}; does a Sentinel run there?"
        if isinstance(error, TimeoutError) or not text or "Timeout" in text:
            return "no answer in time; is it Sentinel's port, and does a firewall let it through?"
        return f"{excerpt(text)}; does a Sentinel run there?"
