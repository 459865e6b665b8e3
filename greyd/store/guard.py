"""A store that never makes mail wait: a deadline for each request, and a circuit breaker.

While the store answers, a request's work there may take ``--store-timeout`` in all. The first
failure opens the circuit: from then on every request fails at once, and a probe in the background
asks the store a few times a second until it both reads and writes again.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from greyd.greylist import Change
from greyd.store import Answer, StoreError, StoreUnwritable, Transacting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.store import Done, Remembered, Rule, Store

PROBE_SECONDS = 0.5

REST_SECONDS = 2.0
"""The circuit stays open so long at least: a store that comes and goes must not flood the log."""

PROBE_KEY = b"probe"
_PROBE_TTL_SECONDS = 60


class StoreAway(StoreError):
    """The store was not asked, because it is known not to answer."""


class Guard(Transacting):
    """Stands before a store and keeps its faults from the mail."""

    def __init__(
        self, store: Store, timeout_seconds: float, changed: Callable[[str | None], None]
    ) -> None:
        """Guard ``store``; ``changed`` is told why it is away, and with None that it is back."""
        self.store = store
        self._timeout_seconds = timeout_seconds
        self._changed = changed
        self._probing: asyncio.Task[None] | None = None
        self.unwritable = ""
        """What somebody has to mend before the store takes anything; empty otherwise."""
        # Since when each request waits, the longest first: the deadline is the same for all.
        self._since: dict[int, float] = {}
        self._number = 0
        self._watch: asyncio.TimerHandle | None = None

    @property
    def away(self) -> bool:
        """Whether the circuit is open."""
        return self._probing is not None

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: Done) -> None:
        """Decide and store, see ``greyd.store.Transacting``, within the deadline.

        The error is a ``StoreError`` where it failed or took too long, ``StoreAway`` where it was
        not tried.
        """
        if self._probing is not None:
            done(None, StoreAway("the store is away"))
            return
        self._number = number = self._number + 1
        self._since[number] = time.monotonic()
        if self._watch is None:
            self._watch_for(self._timeout_seconds)
        self.store.begin(keys, rule, partial(self._ended, number, done))

    def _ended(self, number: int, done: Done, answer: object, error: Exception | None) -> None:
        del self._since[number]
        if isinstance(error, StoreError):
            self._open_circuit(error)
        done(answer, error)

    def _watch_for(self, seconds: float) -> None:
        self._watch = asyncio.get_running_loop().call_later(seconds, self._check_deadline)

    def _check_deadline(self) -> None:
        """Give up on the store where one waits too long: then nobody waits any longer."""
        self._watch = None
        if not self._since:
            return
        left = next(iter(self._since.values())) + self._timeout_seconds - time.monotonic()
        if left <= 0:
            self._open_circuit(StoreError(self._too_slow()))
        else:
            self._watch_for(left)

    def _too_slow(self) -> str:
        return f"no answer within {self._timeout_seconds:g} s"

    def _open_circuit(self, fault: Exception) -> None:
        if self._probing is None:
            self._probing = asyncio.get_running_loop().create_task(self._probe())
            self._note(fault)
            self._changed(_words(fault))
            self.store.abandon()

    def _note(self, fault: Exception) -> None:
        self.unwritable = _words(fault) if isinstance(fault, StoreUnwritable) else ""

    async def _probe(self) -> None:
        told = bool(self.unwritable)
        await asyncio.sleep(REST_SECONDS)
        # Of another program there is no event to wait for.
        while fault := await self._fault():
            self._note(fault)
            if self.unwritable and not told:
                # A slow disk has hidden at first that somebody has to mend something.
                told = True
                self._changed(self.unwritable)
            await asyncio.sleep(PROBE_SECONDS)
        self._probing = None
        self.unwritable = ""
        self._changed(None)

    async def _fault(self) -> Exception | None:
        """Read and write once; returns what is wrong, None where nothing is."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self.store.transact([PROBE_KEY], note_the_time)
        except TimeoutError:
            fault: Exception = StoreError(self._too_slow())
        except Exception as error:  # noqa: BLE001 - whatever it is, the probing must go on
            fault = error
        else:
            return None
        self.store.abandon()
        return fault

    async def run(self) -> None:
        """Do the store's small tasks every second, until cancelled."""
        while True:
            await asyncio.sleep(1)
            if self._probing is None:
                try:
                    await self.store.maintain()
                except Exception as error:  # noqa: BLE001 - whatever it is, the care must go on
                    self._open_circuit(error)

    async def check(self) -> None:
        """Try the store once at the start, so that the first request need not find out."""
        if fault := await self._fault():
            self._open_circuit(fault)

    async def close(self) -> None:
        """Stop probing, and close the store."""
        if self._watch is not None:
            self._watch.cancel()
        if self._probing is not None:
            self._probing.cancel()
        await self.store.close()


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def note_the_time(_remembered: Remembered) -> tuple[None, Sequence[Change]]:
    """Write the time under ``PROBE_KEY``: a rule that tells whether the store takes it."""
    # A write, not only a look: a full disk and a read-only replica answer to looks.
    now = b"%d" % time.time()
    return None, [Change(PROBE_KEY, now, _PROBE_TTL_SECONDS)]
