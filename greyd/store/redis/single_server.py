"""Sends commands to a single Redis server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.store.redis.transport import RedisTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from greyd.store.redis.node import RedisNode
    from greyd.store.redis.transport import Argument, ReplyCheck, Send


class SingleServerTransport(RedisTransport):
    """Sends commands to one server: the one in the URL, or the master that Sentinel names."""

    is_divided = False

    def __init__(self, node: RedisNode) -> None:
        self._node = node

    def send(
        self,
        key: bytes,  # noqa: ARG002 - one server holds all keys
        *command: Argument,
        is_valid: ReplyCheck | None = None,
    ) -> Awaitable[Any]:
        """Send a command to the server."""
        return self._node.send(*command, is_valid=is_valid)

    def slot(self, key: bytes) -> int:  # noqa: ARG002 - one server holds all keys
        """Return 0: all keys are in one slot."""
        return 0

    async def nodes(self) -> Sequence[Send]:
        """Return one function, which sends commands to the server."""
        return [self._node.send]

    async def connect(self) -> None:
        """Connect to the server unless connected."""
        await self._node.connect()

    def abandon(self) -> None:
        """Give up all requests."""
        self._node.abandon()

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return why replies may take longer than ``timeout_seconds``; empty if unknown."""
        return self._node.explain_delay(timeout_seconds)

    async def close(self) -> None:
        """Close the connection."""
        self._node.close()
