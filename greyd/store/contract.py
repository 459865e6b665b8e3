"""The contract of a store, which remembers triplets and clients.

A store holds short values under short keys, each with a time to live. The rules use one operation,
``transact``: a rule gets the values of some keys and returns changes; the store makes all changes
or none, and only if no value has changed meanwhile. Otherwise the rule runs again with the current
values. So every store runs the same rules, and servers that share a store neither lose an update
nor count twice. ``begin`` is ``transact`` with a callback instead of a coroutine: a task for each
request would cost as much as all its rules.

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
"""The maximum number of runs of a rule while other servers keep changing its values."""

CONTENTION = "too much contention: other servers change the same entries all the time"


class AccessMode(Enum):
    """The purpose for which a store is opened."""

    SERVE = "serve"
    """For the server, which creates, upgrades and repairs the store."""
    WRITE = "write"
    """For a command that changes entries."""
    READ = "read"
    """For any other command, which changes nothing."""


@dataclass(frozen=True, slots=True)
class StoreSize:
    """The size of a store, as far as it is known without a scan."""

    entries: int | None
    """An upper bound: may include expired entries and other programs' keys; None if unknown."""
    size_bytes: int | None
    """The size of the file, or of all memory that Redis uses; None if unknown."""


@dataclass(frozen=True, slots=True)
class StoreMemory:
    """The memory use of a store that keeps its entries in memory."""

    used_bytes: int
    max_bytes: int
    """The limit; 0 for none."""
    evicted_key_count: int
    """The keys that the store has dropped since its start, to stay below the limit."""


class TransactionalStore(Protocol):
    """A store, or a wrapper of a store, that applies rules and stores their changes."""

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
            StoreError: the store failed; the changes may or may not have been stored.
            Exception: the rule raised it.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.begin(keys, rule, partial(complete, future))
        return await future


def complete(future: asyncio.Future[Answer], answer: Answer, error: Exception | None) -> None:
    """Complete a future with an answer or an error, unless it is done; see ``DoneCallback``."""
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
        """Connect in advance, if that takes time; all other methods connect if needed."""
        await asyncio.sleep(0)

    max_bytes: float = math.inf
    """The limit of ``bytes_in_use``; a store that has reached it rejects new triplets."""
    bytes_in_use: int = 0
    """The bytes in use at the last ``maintain``; 0 in a store without a limit."""

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``; None if it does not exist."""

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete the entries under ``keys``; return how many existed."""

    async def count(self) -> int:
        """Return the number of entries."""

    async def size(self) -> StoreSize:
        """Return the approximate size, without a scan."""

    async def memory(self) -> StoreMemory | None:
        """Return the memory in use; None if the store is a file, or does not allow the query."""
        return None

    async def other_contents(self) -> Sequence[str]:
        """Describe what else the database contains, for a store without entries."""
        return ()

    def records(self, containing: Sequence[bytes] = ()) -> AsyncIterator[Sequence[Record]]:
        """Yield all entries in small groups, so that no request waits for long.

        With ``containing``, the store leaves out entries whose key has none of these texts, which
        is many times faster. It may yield others, so the caller checks each entry as in a scan of
        all, and it always yields keys with a character of UTF-8 outside ASCII.

        Entries that are stored during the scan may be missing. All others come once; only Redis
        may yield an entry twice.
        """

    def index_position(self, key: bytes) -> int:  # noqa: ARG002 - the same for all keys
        """Return the position of a key in the store's index.

        Entries with similar positions are stored close together, so a command that changes many
        entries is quicker in this order.
        """
        return 0

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """The threads that the store needs; empty until it has started them."""
        return ()

    async def maintain(self) -> None:
        """Do periodic work, such as deleting expired entries; called every second."""

    def abandon(self) -> None:
        """Give up all requests, because they take too long or the store has failed.

        The store drops requests that it has not sent, and ignores the answers to all others. The
        circuit breaker completes its own requests before it calls this; all others, such as a
        scan, get a ``StoreError``.
        """

    def pop_warning(self) -> str:
        """Return the latest warning for the log, and forget it; empty if there is none."""
        return ""

    def explain_delay(self, timeout_seconds: float) -> str:  # noqa: ARG002 - only Redis knows
        """Return why requests may take longer than the timeout; empty if unknown."""
        return ""

    def set_problem_handlers(
        self,
        warn: Callable[[str], object],  # noqa: ARG002 - only SQLite has threads that work for no request
        internal_error: Callable[[Exception], object],  # noqa: ARG002 - the same
    ) -> None:
        """Set the handlers of problems outside of requests; they run on the event loop's thread.

        Args:
            warn: called with a warning for the log.
            internal_error: called with an internal error.
        """
        return

    async def close(self) -> None:
        """Close the store; no request may be in progress."""


async def scan(
    store: Store, share: float = 0.5, containing: Sequence[bytes] = ()
) -> AsyncIterator[Sequence[Record]]:
    """Yield all entries; pause after each group, so that the scan works ``share`` of the time.

    With ``containing``, entries whose key has none of these texts are left out, see
    ``Store.records``; without entries to process there is no pause.
    """
    started = time.perf_counter()
    async for group in store.records(containing):
        yield group
        worked = time.perf_counter() - started
        if group or not containing:
            await asyncio.sleep(min(worked * (1 / share - 1), 1.0))
        started = time.perf_counter()
