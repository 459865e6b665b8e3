"""Runs the shadow: decides each request a second time, after its reply.

The shadow is a policy with other settings. It reads and writes only its own keys of the store, and
has its own circuit breaker and its own evidence collector, so its faults do not concern the server.
Requests that it can't decide in time are skipped and counted.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from greyd.policy.observers import Observer, Observers
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.policy.shadow.decision import ShadowDecision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.policy.events import DecisionEvent
    from greyd.policy.shadow.store import ShadowStore
    from greyd.store.contract import TransactionalStore
    from greyd.whitelist.matcher import Whitelists

MAX_WAITING = 1000
"""Maximum number of requests that wait for the shadow; further ones are skipped."""

MAX_RUNNING = 1000
"""Maximum number of requests for which the shadow awaits evidence or the store."""

MAX_STARTS_PER_TURN = 10
"""Requests to start in one turn of the event loop: a real request waits for at most these."""


class ShadowRunner(Observer):
    """Observes the server's decisions, and lets the shadow decide the same requests."""

    def __init__(
        self,
        settings: Settings,
        real: Policy,
        store: ShadowStore,
        transactions: TransactionalStore,
        schedule: Callable[[Callable[[], None]], object],
    ) -> None:
        """Create a runner; it starts with ``report_to``.

        Args:
            settings: the settings of the shadow.
            real: the server's policy; the shadow has its clock, and its windows for expected mail.
            store: the shadow's store.
            transactions: the circuit breaker of ``store``.
            schedule: calls a function in the next turn of the event loop.
        """
        self._real = real
        self._store = store
        self._schedule = schedule
        self._recorder = _Recorder(self._internal_error)
        self.policy = Policy(settings, real.whitelists, transactions, Observers(self._recorder))
        """The shadow's policy."""
        self.policy.clock = real.clock
        self.own_whitelists: Whitelists | None = None
        """The whitelists of the shadow; None for those of the server."""
        self._observers: Observers | None = None
        self._waiting: deque[DecisionEvent] = deque()
        self._running_count = 0
        self._decisions: list[ShadowDecision] = []
        self._skipped_count = 0
        self._is_scheduled = False

    def report_to(self, observers: Observers) -> None:
        """Pass the shadow's decisions to ``observers`` from now on."""
        self._observers = observers

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Queue the requests of the server's decisions; skip those for which there is no room."""
        if self._observers is None:
            return
        room = MAX_WAITING - len(self._waiting)
        self._waiting.extend(events[:room])
        self._skipped_count += max(len(events) - room, 0)
        self._schedule_turn()

    def close(self) -> None:
        """Stop: discard all requests that wait."""
        self._observers = None
        self._waiting.clear()
        if self.policy.collector is not None:
            self.policy.collector.close()

    def _schedule_turn(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._run_turn)

    def _run_turn(self) -> None:
        """Pass on the latest decisions, and start the next ones."""
        self._is_scheduled = False
        self._pass_on()
        # Commands and reloads may have changed these.
        self.policy.whitelists = self.own_whitelists or self._real.whitelists
        self.policy.expected = self._real.expected
        for _ in range(MAX_STARTS_PER_TURN):
            if not self._waiting or self._running_count >= MAX_RUNNING:
                return
            self._start(self._waiting.popleft())
        if self._waiting:
            self._schedule_turn()

    def _start(self, real: DecisionEvent) -> None:
        self._running_count += 1
        try:
            if real.transaction is not None:
                self._store.remember(real.transaction.keys, real.transaction.remembered)
            self.policy.answer(real.request, PendingReply(partial(self._finish, real)))
        except Exception as error:  # noqa: BLE001 - a fault of the shadow concerns only the shadow
            self._running_count -= 1
            self._internal_error(error)

    def _finish(self, real: DecisionEvent, _reply: bytes | None) -> None:
        # The policy has passed the decision to the recorder just before its reply.
        self._running_count -= 1
        if (shadow := self._recorder.take()) is not None:
            self._decisions.append(ShadowDecision(real, shadow))
        self._schedule_turn()

    def _pass_on(self) -> None:
        decisions, self._decisions = self._decisions, []
        skipped_count, self._skipped_count = self._skipped_count, 0
        if self._observers is None:
            return
        if decisions:
            self._observers.shadow_decided(decisions)
        if skipped_count:
            self._observers.shadow_skipped(skipped_count)

    def _internal_error(self, error: BaseException) -> None:
        if self._observers is not None:
            self._observers.internal_error("shadow", error, "only the shadow is affected")


class _Recorder(Observer):
    """Records the shadow's latest decision, and passes on its internal errors."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._on_error = on_error
        self._event: DecisionEvent | None = None

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        (self._event,) = events

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - the part is the shadow
        self._on_error(error)

    def take(self) -> DecisionEvent | None:
        """Return the latest decision, once; None for a request without a reply."""
        event, self._event = self._event, None
        return event
