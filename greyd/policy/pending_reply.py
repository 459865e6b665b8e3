"""The reply that one request waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class PendingReply:
    """A request's reply, which can be sent once: whatever comes after it has no effect.

    Several parties may try to answer, e.g. the policy and, after a fault, its caller. The first
    one wins, so that a connection never sends two replies to one request.
    """

    __slots__ = ("_send",)

    def __init__(self, send: Callable[[bytes | None], object]) -> None:
        """Hand the action to ``send`` when it is known."""
        self._send: Callable[[bytes | None], object] | None = send

    def send(self, action: bytes | None) -> None:
        """Send the action of access(5) and its text; None closes the request without a reply."""
        send, self._send = self._send, None
        if send is not None:
            send(action)
