"""The reply that one request waits for."""

from __future__ import annotations

import pytest

from greyd.policy.pending_reply import PendingReply


@pytest.mark.parametrize("first", [b"DUNNO", None])
@pytest.mark.parametrize("second", [b"DEFER", None])
def test_only_the_first_reply_to_a_request_is_sent(
    first: bytes | None, second: bytes | None
) -> None:
    sent: list[bytes | None] = []
    reply = PendingReply(sent.append)
    reply.send(first)
    reply.send(second)
    assert sent == [first]


def test_a_reply_sent_while_the_first_one_is_being_sent_has_no_effect() -> None:
    sent: list[bytes | None] = []

    def send(action: bytes | None) -> None:
        sent.append(action)
        reply.send(b"again")

    reply = PendingReply(send)
    reply.send(b"DUNNO")
    assert sent == [b"DUNNO"]


def test_a_reply_whose_sending_fails_is_not_sent_again() -> None:
    def send(_action: bytes | None) -> None:
        raise OSError("connection lost")

    reply = PendingReply(send)
    with pytest.raises(OSError, match="lost"):
        reply.send(b"DUNNO")
    reply.send(b"DUNNO")
