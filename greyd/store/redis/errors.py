"""The errors of the Redis store."""

from __future__ import annotations

from typing import Any

from greyd.redaction import excerpt
from greyd.store.errors import StoreError

_MAX_SLOT = 16383
_MAX_PORT = 65535


class ConnectionLostError(StoreError):
    """The connection ended before the reply; Redis may or may not have run the command."""


class InvalidReplyError(ConnectionLostError):
    """The reply does not fit the command; the connection has been closed."""

    def __init__(self, text: str, reply: Any) -> None:
        super().__init__(text)
        self.reply = reply


class AbandonedError(StoreError):
    """greyd abandoned the request before the reply came."""


class ScriptNotLoadedError(StoreError):
    """Redis does not have the script (NOSCRIPT), e.g. after a restart."""


class SlotMigrationError(StoreError):
    """A Cluster is moving a slot, and its keys are on two nodes (TRYAGAIN)."""


class RedirectionError(StoreError):
    """Another node of the Cluster has the key (MOVED, ASK)."""

    def __init__(self, name: str, text: str) -> None:
        """Parse the redirection that server ``name`` sent: ``MOVED SLOT HOST:PORT``.

        Raises:
            ValueError: ``text`` is not a redirection.
        """
        kind, slot, address = text.split(" ")
        host, _, port = address.rpartition(":")
        if not (0 <= int(slot) <= _MAX_SLOT and 0 < int(port) <= _MAX_PORT):
            raise ValueError(text)
        super().__init__(f"{name}: {excerpt(text)}; this is a Cluster, write redis+cluster://")
        self.ask = kind == "ASK"
        self.host = host
        """The host of that node; empty if it is the host that sent the redirection."""
        self.port = int(port)
