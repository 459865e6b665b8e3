"""The interface for sending commands to one Redis server, a Cluster, or the store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Argument = bytes | str | int
    Send = Callable[..., Awaitable[Any]]
    ReplyCheck = Callable[[Any], bool]
    """Returns whether a reply has the form and the types that its command returns."""


class RedisTransport(Protocol):
    """Sends commands to Redis. Raises ``StoreError`` if Redis fails or replies with an error."""

    is_divided: bool
    """Whether keys may be in several slots."""

    def send(
        self, key: bytes, *command: Argument, is_valid: ReplyCheck | None = None
    ) -> Awaitable[Any]:
        """Send a command to the node that holds ``key``.

        A reply that ``is_valid`` rejects raises ``InvalidReplyError`` and closes the connection.
        """

    def slot(self, key: bytes) -> int:
        """Return the slot of a key; a script can only take keys of one slot."""

    async def nodes(self) -> Sequence[Send]:
        """Return a function for each node that holds keys, which sends commands to that node."""

    async def connect(self) -> None:
        """Open the connections that commands will need."""

    def abandon(self) -> None:
        """Give up all requests, but not a connection that is being opened."""

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return why replies may take longer than ``timeout_seconds``; empty if unknown."""

    async def close(self) -> None:
        """Close all connections."""
