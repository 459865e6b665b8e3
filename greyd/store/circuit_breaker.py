"""Protects mail from a failing store: a deadline for each request, and a circuit breaker.

A request may wait ``--store-timeout`` for the store. The first failure opens the circuit: from then
on every request fails at once, and a background probe tries the store until it can both read and
write.

The breaker completes each request exactly once: with the store's result, or with an error at the
deadline. It ignores a result that comes later.

The deadline measures the store, not this process, so only the time in which the event loop runs
counts. While a request waits, a timer ticks a few times per timeout; if a tick is late (SIGSTOP, a
paused virtual machine, a CPU quota, a long computation), the requests get the lost time back.
Before the circuit opens, the loop polls its sockets once more, and handles the received data.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from greyd.rules.reserved_keys import PROBE_KEY
from greyd.rules.transaction import Answer, Change
from greyd.store.contract import TransactionalStore, complete
from greyd.store.errors import StoreError, StoreFullError, UnwritableStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.rules.transaction import Remembered, Rule
    from greyd.runtime.supervision import Work
    from greyd.store.contract import DoneCallback, Store


PROBE_INTERVAL_SECONDS = 0.5

MIN_OPEN_SECONDS = 2.0
"""How long the circuit stays open at least, so that repeated failures do not flood the log."""

MAX_STARTUP_WAIT_SECONDS = 3.0
"""How long the server's start waits for the store to connect; then greyd serves without it."""

MAX_MAINTENANCE_SECONDS = 60.0
"""The time limit of one call of ``maintain``, which is then cancelled and repeated later."""

MAX_LOGGED_REASONS = 3
"""The maximum number of different reasons to log while the circuit stays open."""

_PROBE_TTL_SECONDS = 60

_TICKS_PER_TIMEOUT = 5
"""Timer ticks per timeout. If one is late by half an interval, the loop has not been running."""

_FINAL_LOOP_TURNS = 6
"""Turns of the loop before the circuit opens: the first polls the sockets, the others run the
callbacks for the received data."""


class CircuitOpenError(StoreError):
    """The circuit is open, so the store was not tried."""


class StoreTimeoutError(StoreError):
    """The store did not answer within the timeout."""

    def __init__(self, timeout_seconds: float, cause: str) -> None:
        super().__init__(f"no answer within {timeout_seconds:g} s{cause and f' ({cause})'}")
        self.cause = cause
        """The reason, if the store knows it; else empty."""


@dataclass(slots=True)
class _PendingRequest:
    """A request that the store has not completed yet."""

    since: float
    """Its start on the monotonic clock, plus the time in which the loop did not run."""
    on_done: DoneCallback


class Cancellable(Protocol):
    """An asyncio task or a supervised task."""

    def cancel(self) -> object:
        """Cancel the task."""


class CircuitBreaker(TransactionalStore):
    """Wraps a store with a deadline and a circuit breaker."""

    def __init__(
        self,
        store: Store,
        timeout_seconds: float,
        on_change: Callable[[str | None], None],
        report: Callable[[Exception], None] | None = None,
        run: Callable[[Work], Cancellable] | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Wrap ``store``.

        Args:
            store: the store to wrap.
            timeout_seconds: how long a request may wait for the store.
            on_change: called with the reason when the circuit opens, with None when it closes.
            report: called with an internal error; by default, the event loop's exception handler.
            run: starts the probe, e.g. ``greyd.runtime.supervision.TaskSupervisor.run``; by default
                starts a plain task.
            warn: called with the store's warnings, which belong to no request.
        """
        self.store = store
        self._timeout_seconds = timeout_seconds
        self._tick_seconds = timeout_seconds / _TICKS_PER_TIMEOUT
        self._on_change = on_change
        self._report = report or _report_to_loop
        self._run = run or _run_as_task
        self._warn = warn
        self._starting = False
        self._probing: Cancellable | None = None
        self.unwritable = ""
        """Why nothing can be stored until an administrator acts; empty otherwise."""
        # In the order of their deadlines, because all have the same timeout.
        self._waiting: dict[int, _PendingRequest] = {}
        self._number = 0
        self._watch: asyncio.Handle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open."""
        return self._probing is not None

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Apply ``rule`` within the timeout; see ``greyd.store.contract.TransactionalStore``.

        While the circuit is open, ``on_done`` gets a ``CircuitOpenError`` at once.
        """
        if self._probing is not None:
            on_done(None, CircuitOpenError("the store is away"))
        else:
            self._begin(keys, rule, on_done)

    def _begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        self._number = number = self._number + 1
        self._waiting[number] = _PendingRequest(time.monotonic(), on_done)
        if self._watch is None:
            self._tick_soon()
        try:
            self.store.begin(keys, rule, partial(self._complete, number))
        except Exception as error:  # noqa: BLE001 - goes to the caller, as any other error
            self._complete(number, None, error)

    def _complete(self, number: int, answer: object, error: Exception | None) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            # Completed at its deadline, or when the circuit opened.
            return
        if isinstance(error, StoreError) and not isinstance(error, StoreFullError):
            self._open_circuit(error)
        waiting.on_done(answer, error)

    # The deadline -------------------------------------------------------------------------------

    def _tick_soon(self) -> None:
        due = time.monotonic() + self._tick_seconds
        self._watch = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick, due)

    def _tick(self, due: float) -> None:
        """Extend deadlines by the time in which the loop did not run, then check them."""
        self._watch = None
        if not self._waiting:
            return
        now = time.monotonic()
        if now - due > self._tick_seconds / 2:
            self._exclude_pause(now - due, now)
        if self._overdue(now):
            self._poll_before_giving_up(now)
        else:
            self._tick_soon()

    def _exclude_pause(self, seconds: float, now: float) -> None:
        for request in self._waiting.values():
            request.since = min(request.since + seconds, now)

    def _overdue(self, now: float) -> bool:
        oldest = next(iter(self._waiting.values()), None)
        return oldest is not None and now - oldest.since >= self._timeout_seconds

    def _poll_before_giving_up(self, at: float, *, again: bool = False) -> None:
        """Let the loop poll its sockets, then fail if a request was overdue at the time ``at``."""
        turns_left = _FINAL_LOOP_TURNS

        def turn() -> None:
            nonlocal turns_left
            turns_left -= 1
            if turns_left:
                self._watch = loop.call_soon(turn)
            elif not again and time.monotonic() - at > self._tick_seconds / 2:
                self._poll_before_giving_up(at, again=True)  # the loop was paused just now
            else:
                self._watch = None
                self._give_up(at)

        loop = asyncio.get_running_loop()
        self._watch = loop.call_soon(turn)

    def _give_up(self, at: float) -> None:
        if self._overdue(at):
            self._fail_overdue()
        if self._waiting:
            self._tick_soon()

    def _fail_overdue(self) -> None:
        seconds = self._timeout_seconds
        fault = StoreTimeoutError(seconds, self.store.explain_delay(seconds))
        if self._probing is None:
            self._open_circuit(fault)
        else:
            self._fail_all(fault)

    # The circuit --------------------------------------------------------------------------------

    def _open_circuit(self, fault: Exception) -> None:
        if self._probing is not None:
            return
        # At the start the store may still be connecting, so the probe begins at once.
        rest_seconds = 0 if self._starting else MIN_OPEN_SECONDS
        self._probing = self._run(partial(self._probe, rest_seconds, fault))
        self._note_whether_writable(fault)
        self._call_safely(partial(self._on_change, _describe(fault)))
        self._fail_all(fault)

    def _note_whether_writable(self, fault: Exception) -> None:
        self.unwritable = _describe(fault) if isinstance(fault, UnwritableStoreError) else ""

    def _fail_all(self, fault: Exception) -> None:
        """Fail all requests, then let the store abandon them."""
        waiting, self._waiting = self._waiting, {}
        error = fault if isinstance(fault, StoreError) else StoreError(_describe(fault))
        for each in waiting.values():
            self._call_safely(partial(each.on_done, None, error))
        self._call_safely(self.store.abandon)

    def _call_safely(self, call: Callable[[], None]) -> None:
        """Call ``call``; report its failure, which must not affect other requests."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - reported as greyd's own fault
            self._report(error)

    async def _probe(self, rest_seconds: float, first: Exception) -> None:
        logged = {"", _actionable_reason(first)}
        await asyncio.sleep(rest_seconds)
        # Poll, because a store does not notify greyd when it works again.
        while fault := await self._probe_once():
            self._note_whether_writable(fault)
            if _actionable_reason(fault) not in logged and len(logged) <= MAX_LOGGED_REASONS:
                # Only now the store gives a reason that an administrator can act on.
                logged.add(_actionable_reason(fault))
                self._call_safely(partial(self._on_change, _describe(fault)))
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        self._probing = None
        self.unwritable = ""
        self._call_safely(partial(self._on_change, None))

    async def _probe_once(self) -> Exception | None:
        """Read and write once; return the error, or None if both worked."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begin([PROBE_KEY], write_probe, partial(complete, future))
        try:
            await future
        except Exception as error:  # noqa: BLE001 - after any failure the probe must continue
            self._call_safely(self.store.abandon)
            return error
        return None

    async def run(self) -> None:
        """Log the store's warnings and maintain it every second, until cancelled.

        Raises:
            Exception: an internal error; the supervisor then restarts this.
        """
        while True:
            await asyncio.sleep(1)
            if warning := self.store.pop_warning():
                self._warn(warning)
            if self._probing is None:
                try:
                    async with asyncio.timeout(MAX_MAINTENANCE_SECONDS):
                        await self.store.maintain()
                except StoreError as error:
                    self._open_circuit(error)

    async def check(self) -> None:
        """Try the store at the server's start; open the circuit if it fails."""
        self._starting = True
        try:
            # The probe below meets the same error, and logs it.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(MAX_STARTUP_WAIT_SECONDS):
                    await self.store.connect()
        except Exception as error:  # noqa: BLE001 - after any failure greyd must still answer
            self._report(error)
        if fault := await self._probe_once():
            self._open_circuit(fault)
        self._starting = False

    async def close(self) -> None:
        """Stop the probe, fail all requests, and close the store."""
        if self._probing is not None:
            self._probing.cancel()
        self._fail_all(CircuitOpenError("closing"))
        if self._watch is not None:
            self._watch.cancel()
        await self.store.close()


def _describe(fault: Exception) -> str:
    return str(fault) or type(fault).__name__


def _actionable_reason(fault: Exception) -> str:
    """Return the reason if an administrator can act on it; empty for other errors."""
    if isinstance(fault, StoreTimeoutError):
        return fault.cause
    if isinstance(fault, UnwritableStoreError) or not isinstance(fault, StoreError):
        return _describe(fault)
    return ""


def _run_as_task(work: Work) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work())


def _report_to_loop(error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {"message": "internal error, store", "exception": error}
    )


def write_probe(_remembered: Remembered) -> tuple[None, Sequence[Change]]:
    """Write the time to ``PROBE_KEY``: a rule that tests whether the store can write."""
    # A read alone proves little: a read-only replica, or a store on a full disk, still reads.
    now = b"%d" % time.time()
    return None, [Change(PROBE_KEY, now, _PROBE_TTL_SECONDS)]
