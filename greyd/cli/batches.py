"""Change many entries in batches that leave the mail its share of the store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from greyd.store.contract import complete
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from greyd.cli.context import Question
    from greyd.rules.transaction import Answer
    from greyd.store.contract import Store


class AdaptiveBatchSize:
    """How much is done at a time, so that the server's requests come in between."""

    SECONDS = 0.015
    """That one batch is to take; the server waits no longer for it."""
    REST_SECONDS = 0.015
    """Between two. Who waits for SQLite's lock looks again after so long at the most, at first."""
    MOST = 5000

    def __init__(self) -> None:
        self.size = 50
        self._rested_at = 0.0

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Do one batch, some time after the one before, and choose the size of the next."""
        await asyncio.sleep(max(self._rested_at - time.perf_counter(), 0))
        started = time.perf_counter()
        yield
        ended = time.perf_counter()
        self._rested_at = ended + self.REST_SECONDS
        # The size follows the time that one of them takes, but not each hiccup of a busy machine.
        fits = self.size * self.SECONDS / max(ended - started, 1e-6)
        self.size = round(min(max(fits, self.size / 2, 1), self.size * 2, self.MOST))


def lower_cpu_priority() -> None:
    """Let the servers have the processor first, from now on.

    Not for who writes: while it waits for the processor, it may hold what they wait for.
    """
    with contextlib.suppress(OSError):
        os.nice(10)


_NEAR = 50_000


def near_together(store: Store, questions: Iterable[Question]) -> Iterator[Question]:
    """Put many questions into an order in which their answers are cheap to store."""
    left = iter(questions)
    while some := list(islice(left, _NEAR)):
        yield from sorted(some, key=lambda question: store.index_position(question[0][0]))


async def decide_all(store: Store, questions: Iterable[Question]) -> AsyncIterator[list[Any]]:
    """Decide by many rules, a batch at a time; yields the answers of each batch in order.

    Raises:
        StoreError: the store has failed several times in a row.
    """
    pace, left = AdaptiveBatchSize(), iter(questions)
    while batch := list(islice(left, pace.size)):
        async with pace.batch():
            answers = await _patiently(partial(_decide, store, batch))
        yield answers


async def delete_all(store: Store, keys: Iterable[bytes]) -> int:
    """Forget many entries, a batch at a time; returns how many there were.

    Raises:
        StoreError: the store has failed several times in a row.
    """
    pace, left, gone = AdaptiveBatchSize(), iter(keys), 0
    while batch := list(islice(left, pace.size)):
        async with pace.batch():
            gone += await _patiently(partial(store.delete, batch))
    return gone


_ATTEMPTS = 5


async def _patiently(do: Callable[[], Awaitable[Answer]]) -> Answer:
    """Try again where the store is busy: rules can be asked again, and forgetting too."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return await do()
        except StoreError:
            await asyncio.sleep(0.1 * attempt)
    return await do()


async def _decide(store: Store, batch: Sequence[Question]) -> list[Any]:
    """Ask all rules in one turn of the loop, so that they travel together."""
    answers: list[Any] = [None] * len(batch)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(batch)

    def done(place: int, answer: Any, error: Exception | None) -> None:
        nonlocal left
        left -= 1
        answers[place] = answer
        if error is not None or not left:
            complete(ended, None, error)

    for place, (keys, rule) in enumerate(batch):
        store.begin(keys, rule, partial(done, place))
    await ended
    return answers
