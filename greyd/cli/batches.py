"""Changes many entries in small batches, so that the server's requests run between them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from greyd.store.contract import complete
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from greyd.rules.transaction import Answer, Rule
    from greyd.store.contract import Store

_SORT_WINDOW = 50_000
_MAX_ATTEMPTS = 5


@dataclass(slots=True)
class StoreTransaction:
    """A rule, with the keys of the entries that the rule reads and may change."""

    keys: Sequence[bytes]
    rule: Rule[Any]


class AdaptiveBatchSize:
    """Chooses the number of entries per batch, and pauses between batches."""

    BATCH_SECONDS = 0.015
    """Target duration of a batch, which is how long a request of the server may wait for it."""
    PAUSE_SECONDS = 0.015
    """Pause between two batches: long enough for SQLite's first retries to get the lock."""
    MAX_ITEMS = 5000

    def __init__(self) -> None:
        self.size = 50
        self._next_start = 0.0

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Run one batch after the pause, then choose the size of the next one."""
        await asyncio.sleep(max(self._next_start - time.perf_counter(), 0))
        started = time.perf_counter()
        yield
        ended = time.perf_counter()
        self._next_start = ended + self.PAUSE_SECONDS
        # At most double or halve the size: one batch on a busy machine may be slow by chance.
        fitting = self.size * self.BATCH_SECONDS / max(ended - started, 1e-6)
        self.size = round(min(max(fitting, self.size / 2, 1), self.size * 2, self.MAX_ITEMS))


def in_index_order(
    store: Store, transactions: Iterable[StoreTransaction]
) -> Iterator[StoreTransaction]:
    """Sort transactions by key, 50,000 at a time, so that a batch changes neighbouring entries."""
    rest = iter(transactions)
    while window := list(islice(rest, _SORT_WINDOW)):
        yield from sorted(window, key=lambda each: store.index_position(each.keys[0]))


async def transact_all(
    store: Store, transactions: Iterable[StoreTransaction]
) -> AsyncIterator[list[Any]]:
    """Run many transactions in batches; yield the answers of each batch, in order.

    Raises:
        StoreError: the store failed several times in a row.
    """
    batch_size, rest = AdaptiveBatchSize(), iter(transactions)
    while batch := list(islice(rest, batch_size.size)):
        async with batch_size.batch():
            answers = await _retry(partial(_transact_batch, store, batch))
        yield answers


async def delete_all(store: Store, keys: Iterable[bytes]) -> int:
    """Delete many entries in batches; return how many existed.

    Raises:
        StoreError: the store failed several times in a row.
    """
    batch_size, rest, deleted_count = AdaptiveBatchSize(), iter(keys), 0
    while batch := list(islice(rest, batch_size.size)):
        async with batch_size.batch():
            deleted_count += await _retry(partial(store.delete, batch))
    return deleted_count


async def _retry(operation: Callable[[], Awaitable[Answer]]) -> Answer:
    """Repeat an operation while the store fails. Rules and deletions may safely run twice."""
    for attempt in range(1, _MAX_ATTEMPTS):
        try:
            return await operation()
        except StoreError:
            await asyncio.sleep(0.1 * attempt)
    return await operation()


async def _transact_batch(store: Store, batch: Sequence[StoreTransaction]) -> list[Any]:
    """Begin all transactions in one turn of the event loop, so the store sends them together."""
    answers: list[Any] = [None] * len(batch)
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pending_count = len(batch)

    def on_done(index: int, answer: Any, error: Exception | None) -> None:
        nonlocal pending_count
        pending_count -= 1
        answers[index] = answer
        if error is not None or not pending_count:
            complete(finished, None, error)

    for index, transaction in enumerate(batch):
        store.begin(transaction.keys, transaction.rule, partial(on_done, index))
    await finished
    return answers
