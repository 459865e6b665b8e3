"""Where triplets and clients are remembered: the contract of a store, and how one is opened.

A store keeps short texts under short keys, each for a time. It has one verb for the rules,
``transact``: the rule sees what is remembered, says what is to change, and the store makes the
changes, all or none, and only where nothing that the rule saw has changed meanwhile. Else the rule
is asked again. So the rules are written once, run the same on every store, and no two servers can
lose an update or count twice. ``begin`` is the same for who goes on by a call: a task for each
request would cost as much as all its rules.

The rest is for administration.
"""

from __future__ import annotations

import asyncio
import math
import time
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from greyd.store.errors import StoreError

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from greyd.rules.transaction import Answer, Record, Rule

    DoneCallback = Callable[[Any, Exception | None], None]


MAX_ATTEMPTS = 1000
"""How often a rule is asked again because others were faster, before the store gives up."""

CONTENTION = "others change the same entries all the time"


class AccessMode(Enum):
    """What a store is opened for."""

    SERVE = "serve"
    """By the server, which makes it, brings it up to date and repairs it."""
    WRITE = "write"
    """By a command whose purpose is to change what is stored."""
    READ = "read"
    """By any other command: nothing is changed."""


class StoreSize(NamedTuple):
    """How large a store is, as far as it can tell at once."""

    entries: int | None
    """So many at most: expired ones and other programs' may be among them."""
    size_bytes: int | None
    """In the file, or in all of Redis's memory."""


class TransactionalStore(Protocol):
    """What decides by a rule."""

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Decide by ``rule`` on what is remembered under ``keys``, and store its changes.

        Calls ``on_done`` once, now or later: with the rule's answer and None once its changes are
        stored, or with None and the error. After ``abandon`` it may call ``on_done`` late or never;
        the circuit breaker has then answered and ignores it.
        """

    async def transact(self, keys: Sequence[bytes], rule: Rule[Answer]) -> Answer:
        """Decide by ``rule`` on what is remembered under ``keys``, and store its changes.

        Returns:
            The rule's answer, once its changes are stored.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.begin(keys, rule, partial(complete, future))
        return await future


def complete(future: asyncio.Future[Answer], answer: Answer, error: Exception | None) -> None:
    """Give who waits an answer or an error, unless it has left: a ``Done``."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)


def call_when_done(answer: Awaitable[Answer], on_done: DoneCallback) -> None:
    """Call ``on_done`` with what will come, or with the error that comes instead."""
    asyncio.ensure_future(answer).add_done_callback(partial(_pass_result, on_done))


def _pass_result(on_done: DoneCallback, answered: asyncio.Future[Answer]) -> None:
    try:
        answer = answered.result()
    except asyncio.CancelledError:
        on_done(None, StoreError("given up"))
    except Exception as error:  # noqa: BLE001 - goes to who asked
        on_done(None, error)
    else:
        on_done(answer, None)


class Store(TransactionalStore, Protocol):
    """What greyd needs of a store. All methods raise ``StoreError``."""

    async def connect(self) -> None:
        """Connect, where that takes time; everything else connects by itself where it must."""
        await asyncio.sleep(0)

    max_bytes: float = math.inf
    """With so many bytes in use no new triplet is stored."""
    bytes_in_use: int = 0
    """As of the last ``maintain``; 0 where greyd sets no limit."""

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``."""

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Forget what is under ``keys``; returns how many of them were there."""

    async def count(self) -> int:
        """Return the number of entries."""

    async def size(self) -> StoreSize:
        """Return how large it is, roughly; nobody waits for it."""

    def records(self) -> AsyncIterator[Sequence[Record]]:
        """Go through all entries in small groups, so that nobody waits for it.

        What is stored meanwhile may be missed; what stays is seen, on Redis perhaps twice.
        """

    def index_position(self, key: bytes) -> int:  # noqa: ARG002 - where all places are alike
        """Return a number; entries of near numbers are stored near each other.

        So it pays to change those together, where there are many.
        """
        return 0

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """Return the threads without which nothing is answered, once there is something to do."""
        return ()

    async def maintain(self) -> None:
        """Do a small piece of what the store needs from time to time; called every second."""

    def abandon(self) -> None:
        """Give up what is under way, because it takes too long or the store has failed.

        What is only waiting to be sent is dropped, and nobody's answer is kept. The circuit
        breaker has answered all requests before it calls this; others, as a walk through the
        store, get ``StoreError``.
        """

    def pop_warning(self) -> str:
        """Return, once, what is worth a line in the log though nobody noticed; mostly empty."""
        return ""

    def explain_delay(self, timeout_seconds: float) -> str:  # noqa: ARG002 - see RedisStore
        """Return why answers may take longer than that, for the log; empty where it can't say."""
        return ""

    def set_problem_handlers(
        self,
        warn: Callable[[str], object],  # noqa: ARG002 - most stores tell each request
        internal_error: Callable[[Exception], object],  # noqa: ARG002 - the same
    ) -> None:
        """Tell the server what no request is told; called on the loop's thread.

        Args:
            warn: gets a line for the log.
            internal_error: gets an error that nothing but a fault of greyd's own explains.
        """
        return

    async def close(self) -> None:
        """End all; nothing is under way any more."""


async def scan(store: Store, share: float = 0.5) -> AsyncIterator[Sequence[Record]]:
    """Go through all entries; of the time only a share is spent at work, the rest is a rest."""
    started = time.perf_counter()
    async for group in store.records():
        yield group
        worked = time.perf_counter() - started
        await asyncio.sleep(min(worked * (1 / share - 1), 1.0))
        started = time.perf_counter()
