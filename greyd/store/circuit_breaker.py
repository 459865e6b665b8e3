"""A store that never makes mail wait: a deadline for each request, and a circuit breaker.

While the store answers, a request's work there may take ``--store-timeout`` in all. The first
failure opens the circuit: from then on every request fails at once, and a probe in the background
asks the store a few times a second until it both reads and writes again.

The breaker itself answers each request exactly once: with what the store says in time, else with
an error at the deadline. An answer that the store gives later belongs to nobody.

The deadline measures the store, not this process. Only time in which the event loop ran counts:
while anything waits, a timer ticks a few times per deadline, and where a tick comes late (SIGSTOP,
a virtual machine's pause, a CPU quota, a long computation), the requests get the lost time back.
Before the circuit opens, the loop polls its sockets once more and handles what lies in them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

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
"""The circuit stays open so long at least: a store that comes and goes must not flood the log."""

MAX_STARTUP_WAIT_SECONDS = 3.0
"""How long a start waits for a connection that is being made, before mail passes meanwhile."""

MAX_MAINTENANCE_SECONDS = 60.0
"""After which the store's small tasks of one second are given up, and begun again."""

MAX_LOGGED_REASONS = 3
"""Of one time in which the store is away, that are told."""
_PROBE_TTL_SECONDS = 60

_TICKS_PER_TIMEOUT = 5
"""In a deadline. A tick that is later than half of the time between two was held up."""

_FINAL_LOOP_TURNS = 6
"""Of the loop, before the circuit opens: the first polls the sockets, the others let the callbacks
run that what was read leads to."""


class CircuitOpenError(StoreError):
    """The store was not asked, because it is known not to answer."""


class StoreTimeoutError(StoreError):
    """The store did not answer in time."""

    def __init__(self, timeout_seconds: float, cause: str) -> None:
        super().__init__(f"no answer within {timeout_seconds:g} s{cause and f' ({cause})'}")
        self.cause = cause
        """What is known of why; may be empty."""


class _PendingRequest(NamedTuple):
    """A request that the store has not answered yet."""

    since: float
    """On the monotonic clock, moved forward by the time in which the loop did not run."""
    on_done: DoneCallback


class Cancellable(Protocol):
    """A task, or what supervises one."""

    def cancel(self) -> object:
        """End it."""


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
        """Guard ``store``.

        Args:
            store: what is asked.
            timeout_seconds: how long a request may wait for it.
            on_change: called with the reason when the circuit opens, with None when it closes.
            report: called with an error that only a fault of greyd's own explains; without it
                the event loop's exception handler is.
            run: runs the probing until it returns, see
            ``greyd.runtime.supervision.TaskSupervisor.run``;
                without it a plain task does.
            warn: called with what the store has to remark that no request noticed.
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
        """What somebody has to mend before the store takes anything; empty otherwise."""
        # Those that wait longest come first: the deadline is the same for all.
        self._waiting: dict[int, _PendingRequest] = {}
        self._number = 0
        self._watch: asyncio.Handle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open."""
        return self._probing is not None

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Decide and store, see ``greyd.store.contract.Transacting``, within the deadline.

        The error is a ``StoreError`` where it failed or took too long, ``StoreAway`` where it was
        not tried.
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
        except Exception as error:  # noqa: BLE001 - goes to who asked, as any other error
            self._complete(number, None, error)

    def _complete(self, number: int, answer: object, error: Exception | None) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            # It has been answered at its deadline, or when the circuit opened.
            return
        if isinstance(error, StoreError) and not isinstance(error, StoreFullError):
            self._open_circuit(error)
        waiting.on_done(answer, error)

    # The deadline -------------------------------------------------------------------------------

    def _tick_soon(self) -> None:
        due = time.monotonic() + self._tick_seconds
        self._watch = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick, due)

    def _tick(self, due: float) -> None:
        """See whether a request waits too long, not counting the time in which nothing ran."""
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
        for number, (since, on_done) in self._waiting.items():
            self._waiting[number] = _PendingRequest(min(since + seconds, now), on_done)

    def _overdue(self, now: float) -> bool:
        oldest = next(iter(self._waiting.values()), None)
        return oldest is not None and now - oldest.since >= self._timeout_seconds

    def _poll_before_giving_up(self, at: float, *, again: bool = False) -> None:
        """Let the loop poll, then give up on the requests that were overdue at a moment."""
        turns_left = _FINAL_LOOP_TURNS

        def turn() -> None:
            nonlocal turns_left
            turns_left -= 1
            if turns_left:
                self._watch = loop.call_soon(turn)
            elif not again and time.monotonic() - at > self._tick_seconds / 2:
                self._poll_before_giving_up(at, again=True)  # held up just now, of all times
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
        # At the start nothing has come and gone yet: it may just be connecting.
        rest_seconds = 0 if self._starting else MIN_OPEN_SECONDS
        self._probing = self._run(partial(self._probe, rest_seconds, fault))
        self._note_whether_writable(fault)
        self._call_safely(partial(self._on_change, _describe(fault)))
        self._fail_all(fault)

    def _note_whether_writable(self, fault: Exception) -> None:
        self.unwritable = _describe(fault) if isinstance(fault, UnwritableStoreError) else ""

    def _fail_all(self, fault: Exception) -> None:
        """Answer all who wait, then let the store forget them."""
        waiting, self._waiting = self._waiting, {}
        error = fault if isinstance(fault, StoreError) else StoreError(_describe(fault))
        for each in waiting.values():
            self._call_safely(partial(each.on_done, None, error))
        self._call_safely(self.store.abandon)

    def _call_safely(self, call: Callable[[], None]) -> None:
        """Call something whose failure must not keep the others from their answers."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - reported as greyd's own fault
            self._report(error)

    async def _probe(self, rest_seconds: float, first: Exception) -> None:
        logged = {"", _actionable_reason(first)}
        await asyncio.sleep(rest_seconds)
        # Of another program there is no event to wait for.
        while fault := await self._probe_once():
            self._note_whether_writable(fault)
            if _actionable_reason(fault) not in logged and len(logged) <= MAX_LOGGED_REASONS:
                # What came first has hidden what somebody can do something about.
                logged.add(_actionable_reason(fault))
                self._call_safely(partial(self._on_change, _describe(fault)))
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        self._probing = None
        self.unwritable = ""
        self._call_safely(partial(self._on_change, None))

    async def _probe_once(self) -> Exception | None:
        """Read and write once; returns what is wrong, None where nothing is."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begin([PROBE_KEY], write_probe, partial(complete, answered))
        try:
            await answered
        except Exception as error:  # noqa: BLE001 - whatever it is, the probing must go on
            self._call_safely(self.store.abandon)
            return error
        return None

    async def run(self) -> None:
        """Do the store's small tasks every second, until cancelled.

        Raises:
            Exception: what only a fault of greyd's own explains; it is to be started again.
        """
        while True:
            await asyncio.sleep(1)
            if pop_warning := self.store.pop_warning():
                self._warn(pop_warning)
            if self._probing is None:
                try:
                    async with asyncio.timeout(MAX_MAINTENANCE_SECONDS):
                        await self.store.maintain()
                except StoreError as error:
                    self._open_circuit(error)

    async def check(self) -> None:
        """Try the store once at the start, so that the first request need not find out."""
        self._starting = True
        try:
            # What fails here fails again below, and is told there.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(MAX_STARTUP_WAIT_SECONDS):
                    await self.store.connect()
        except Exception as error:  # noqa: BLE001 - whatever it is, mail is answered
            self._report(error)
        if fault := await self._probe_once():
            self._open_circuit(fault)
        self._starting = False

    async def close(self) -> None:
        """Stop probing, answer who still waits, and close the store."""
        if self._probing is not None:
            self._probing.cancel()
        self._fail_all(CircuitOpenError("closing"))
        if self._watch is not None:
            self._watch.cancel()
        await self.store.close()


def _describe(fault: Exception) -> str:
    return str(fault) or type(fault).__name__


def _actionable_reason(fault: Exception) -> str:
    """Return what of a fault somebody can do something about; empty for the others."""
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
    """Write the time under ``PROBE_KEY``: a rule that tells whether the store takes it."""
    # A write, not only a look: a full disk and a read-only replica answer to looks.
    now = b"%d" % time.time()
    return None, [Change(PROBE_KEY, now, _PROBE_TTL_SECONDS)]
