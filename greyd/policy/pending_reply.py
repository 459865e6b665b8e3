"""The pending reply to a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class PendingReply:
    """A reply that can be sent only once: further calls of ``send`` have no effect.

    After a fault both the policy and its caller may send a reply. A connection must never send two
    replies to one request.
    """

    __slots__ = ("_send",)

    def __init__(self, send: Callable[[bytes | None], object]) -> None:
        """Create a pending reply; ``send`` is called once, with the action or None."""
        self._send: Callable[[bytes | None], object] | None = send

    def send(self, action: bytes | None) -> None:
        """Send the action of access(5) with its text; None ends the request without a reply."""
        send, self._send = self._send, None
        if send is not None:
            send(action)
