"""The contract of a store, which remembers triplets and clients.

A store holds short values under short keys, each with a time to live. The rules use one operation,
``transact``: a rule gets the values of some keys and returns changes; the store makes all of them
or none, and only if none of the values has changed meanwhile. Otherwise the rule decides again
on the current values. So every store runs the same rules, and servers that share a store neither
lose an update nor count twice. ``begin`` is ``transact`` with a callback: a task for each request
would cost as much as all its rules.

All other methods are for administration.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from greyd.store.errors import StoreError

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from greyd.rules.transaction import Answer, Record, Rule

    DoneCallback = Callable[[Any, Exception | None], None]


MAX_ATTEMPTS = 1000
"""Of one rule, whose values other servers change each time, before the store gives up."""

CONTENTION = "too much contention: other servers change the same entries all the time"


class AccessMode(Enum):
    """Who opens a store, and for what."""

    SERVE = "serve"
    """The server, which creates, upgrades and repairs it."""
    WRITE = "write"
    """A command that changes entries."""
    READ = "read"
    """Any other command; it changes nothing."""


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How large a store is, as far as it can tell without a scan."""

    entries: int | None
    """An upper bound, which may include expired entries and those of other programs."""
    size_bytes: int | None
    """Of the file, or all of Redis's memory."""


class TransactionalStore(Protocol):
    """Something that applies a rule and stores its changes."""

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Apply ``rule`` to the values of ``keys``, and store its changes.

        Calls ``on_done`` once, now or later: with the rule's answer and None once its changes are
        stored, or with None and the error. After ``abandon`` it may call ``on_done`` late or never;
        the circuit breaker has then answered and ignores it.
        """

    async def transact(self, keys: Sequence[bytes], rule: Rule[Answer]) -> Answer:
        """Apply ``rule`` to the values of ``keys``, and store its changes.

        Returns:
            The rule's answer, once its changes are stored.

        Raises:
            StoreError: the changes may or may not have been stored.
            Exception: what the rule raised.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.begin(keys, rule, partial(complete, future))
        return await future


def complete(future: asyncio.Future[Answer], answer: Answer, error: Exception | None) -> None:
    """Set a future's result or exception, unless it is done: a ``DoneCallback``."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)


def call_when_done(answer: Awaitable[Answer], on_done: DoneCallback) -> None:
    """Call ``on_done`` with the result of an awaitable, or with its error."""
    asyncio.ensure_future(answer).add_done_callback(partial(_pass_result, on_done))


def _pass_result(on_done: DoneCallback, future: asyncio.Future[Answer]) -> None:
    try:
        answer = future.result()
    except asyncio.CancelledError:
        on_done(None, StoreError("cancelled"))
    except Exception as error:  # noqa: BLE001 - goes to the caller
        on_done(None, error)
    else:
        on_done(answer, None)


class Store(TransactionalStore, Protocol):
    """A store. All methods raise ``StoreError``."""

    async def connect(self) -> None:
        """Connect in advance, where that takes time; all other methods connect when they must."""
        await asyncio.sleep(0)

    max_bytes: float = math.inf
    """With more bytes in use, the store rejects new triplets."""
    bytes_in_use: int = 0
    """As of the last ``maintain``; 0 where greyd sets no limit."""

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``."""

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete the entries under ``keys``; return how many existed."""

    async def count(self) -> int:
        """Return the number of entries."""

    async def size(self) -> StoreSize:
        """Return the size, roughly; this is quick."""

    def records(self) -> AsyncIterator[Sequence[Record]]:
        """Yield all entries in small groups, so that no request waits for long.

        Entries that are stored meanwhile may be missing; others come once, from Redis perhaps
        twice.
        """

    def index_position(self, key: bytes) -> int:  # noqa: ARG002 - the same for all keys
        """Return the position of a key in the store's index.

        Entries with similar positions are stored close together, so a command that changes many
        entries is quicker in this order.
        """
        return 0

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """The threads that the store cannot work without, once it has started them."""
        return ()

    async def maintain(self) -> None:
        """Do some regular work, such as deleting expired entries; called every second."""

    def abandon(self) -> None:
        """Give up all requests, because they take too long or the store has failed.

        Requests that have not been sent are dropped, and no answer is kept. The circuit breaker
        has completed its own requests before it calls this; all others, such as a scan, get a
        ``StoreError``.
        """

    def pop_warning(self) -> str:
        """Return a warning for the log that no request has seen, once; mostly empty."""
        return ""

    def explain_delay(self, timeout_seconds: float) -> str:  # noqa: ARG002 - only Redis can tell
        """Return why requests may take longer than the timeout; empty where unknown."""
        return ""

    def set_problem_handlers(
        self,
        warn: Callable[[str], object],  # noqa: ARG002 - only SQLite has threads that work for no request
        internal_error: Callable[[Exception], object],  # noqa: ARG002 - the same
    ) -> None:
        """Set the handlers of problems that no request sees, called on the event loop's thread.

        Args:
            warn: gets a line for the log.
            internal_error: gets an error that is a fault of greyd's own.
        """
        return

    async def close(self) -> None:
        """Close the store, when no request is in progress."""


async def scan(store: Store, share: float = 0.5) -> AsyncIterator[Sequence[Record]]:
    """Yield all entries, and pause after each group, so that ``share`` of the time is work."""
    started = time.perf_counter()
    async for group in store.records():
        yield group
        worked = time.perf_counter() - started
        await asyncio.sleep(min(worked * (1 / share - 1), 1.0))
        started = time.perf_counter()
