"""A connection answers its requests once each and in order, whatever happens in whatever order."""

from __future__ import annotations

import itertools
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from greyd.config.settings import Settings
from greyd.server.connection import READ_BYTES, Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.policy.pending_reply import PendingReply
    from greyd.rules.request import Request

MODES = ("at once", "later", "no reply", "raise")


class Transport:
    """What a connection uses of an asyncio transport; the test decides when its buffer is full."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False
        self.reading = True

    def write(self, data: bytes) -> None:
        """Keep a reply."""
        self.written.append(data)

    def is_closing(self) -> bool:
        """Whether ``close`` or ``abort`` was called."""
        return self.closing

    def close(self) -> None:
        """Read no more, and close when the replies are sent."""
        self.closing = True

    abort = close

    def pause_reading(self) -> None:
        """Read no more for now."""
        self.reading = False

    def resume_reading(self) -> None:
        """Read again."""
        self.reading = True


class ServerOfOneConnection:
    """A connection's loop, policy and registry; the test decides how requests are answered."""

    def __init__(self) -> None:
        self.observers = SimpleNamespace(
            protocol_error=lambda *_: None, internal_error=self._internal_error
        )
        self.callbacks: deque[Callable[[], None]] = deque()
        self.modes: deque[str] = deque()
        self.asked: list[bytes] = []
        self.expected: list[bytes] = []
        self.pending: list[tuple[bytes, PendingReply]] = []
        self.errors: list[BaseException] = []
        self.open = 0

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run a callback in a later turn of the loop."""
        self.callbacks.append(callback)

    def _internal_error(self, _part: str, error: BaseException, _outcome: str) -> None:
        self.errors.append(error)

    def add(self, _connection: Connection) -> None:
        """Count the connection."""
        self.open += 1

    def remove(self, _connection: Connection) -> None:
        """Discount it."""
        self.open -= 1

    def answer(self, request: Request, reply: PendingReply) -> None:
        """Answer a request as the test has said before."""
        assert not self.pending, "a request was taken while another one waits for its reply"
        sender = request.sender or b""
        self.asked.append(sender)
        mode = self.modes.popleft() if self.modes else "at once"
        if mode == "raise":
            raise KeyError("odd")
        if mode == "later":
            self.pending.append((sender, reply))
            return
        self.send(sender, reply, replies=mode == "at once")

    def send(self, sender: bytes, reply: PendingReply, *, replies: bool = True) -> None:
        """Reply with the request's sender."""
        if replies:
            self.expected.append(b"action=%b\n\n" % sender)
        reply.send(sender if replies else None)


class Conversation(RuleBasedStateMachine):
    """Everything that the event loop, the client, the policy and the registry can do."""

    def __init__(self) -> None:
        super().__init__()
        self.server = ServerOfOneConnection()
        self.transport = Transport()
        self.connection = Connection(
            *(self.server, Settings(), self.server, self.server.observers, self.server)
        )
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.numbers = itertools.count()
        self.sent: list[bytes] = []
        self.outgoing = b""
        self.ended = self.lost = self.full = self.finished = False

    def _can_receive(self) -> bool:
        return self.transport.reading and not (self.ended or self.lost or self.transport.closing)

    @rule(modes=st.lists(st.sampled_from(MODES), max_size=5))
    def decide_how_to_answer(self, modes: list[str]) -> None:
        self.server.modes.extend(modes)

    @precondition(_can_receive)
    @rule(count=st.integers(0, 30), cut=st.integers(1, READ_BYTES))
    def receive(self, count: int, cut: int) -> None:
        for _ in range(count):
            sender = b"%d@example.org" % next(self.numbers)
            self.sent.append(sender)
            self.outgoing += (
                b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.1\n"
                b"client_name=host\nsender=%b\nrecipient=r@example.com\n\n" % sender
            )
        piece, self.outgoing = self.outgoing[:cut], self.outgoing[cut:]
        if piece:
            buffer = self.connection.get_buffer(-1)
            assert len(buffer) >= len(piece)
            buffer[: len(piece)] = piece
            self.connection.buffer_updated(len(piece))

    @precondition(lambda self: self.server.pending)
    @rule()
    def reply(self) -> None:
        sender, reply = self.server.pending.pop()
        if not self.transport.closing:
            self.server.expected.append(b"action=%b\n\n" % sender)
        reply.send(sender)
        reply.send(b"a second reply")

    @precondition(lambda self: self.server.callbacks)
    @rule()
    def turn(self) -> None:
        self.server.callbacks.popleft()()

    @precondition(lambda self: not (self.full or self.lost))
    @rule()
    def fill_the_buffer_of_replies(self) -> None:
        self.full = True
        self.connection.pause_writing()

    @precondition(lambda self: self.full and not self.lost)
    @rule()
    def empty_the_buffer_of_replies(self) -> None:
        self.full = False
        self.connection.resume_writing()

    @precondition(_can_receive)
    @rule()
    def end(self) -> None:
        self.ended = True
        if not self.connection.eof_received():
            self.transport.close()

    @precondition(lambda self: not self.lost)
    @rule()
    def finish(self) -> None:
        self.finished = True
        self.connection.finish()

    @precondition(lambda self: not self.lost)
    @rule()
    def lose(self) -> None:
        self.lost = self.transport.closing = True
        self.connection.connection_lost(None)

    @invariant()
    def requests_are_taken_in_their_order_and_once(self) -> None:
        assert self.server.asked == self.sent[: len(self.server.asked)]

    @invariant()
    def each_reply_is_sent_once_and_in_its_order(self) -> None:
        assert self.transport.written == self.server.expected[: len(self.transport.written)]

    @invariant()
    def nothing_is_taken_while_replies_can_not_be_written(self) -> None:
        if self.full:
            before = len(self.server.asked)
            for callback in list(self.server.callbacks):
                callback()
            assert len(self.server.asked) == before
            self.server.callbacks.clear()

    @invariant()
    def what_is_received_and_not_answered_is_bounded(self) -> None:
        assert sum(map(len, self.connection._unread)) <= 2 * READ_BYTES

    @invariant()
    def a_connection_counts_until_it_is_lost(self) -> None:
        assert self.server.open == (0 if self.lost else 1)

    @invariant()
    def only_an_error_of_the_policy_closes_it(self) -> None:
        assert all(type(error) is KeyError and "odd" in str(error) for error in self.server.errors)

    def teardown(self) -> None:
        """Let everything run to its end: then nothing waits that should not."""
        while not self.lost and (self.server.callbacks or self.server.pending or self.full):
            if self.full:
                self.empty_the_buffer_of_replies()
            if self.server.callbacks:
                self.turn()
            if self.server.pending:
                self.reply()
        if not self.lost and not self.server.errors:
            assert self.connection.is_idle()
            assert self.transport.written == self.server.expected
            assert self.transport.closing is (self.ended or self.finished)
            assert self.transport.reading or self.transport.closing


Conversation.TestCase.settings = settings(stateful_step_count=60)
TestConversation: Any = Conversation.TestCase
