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
from greyd.policy.shadow.store import ShadowStore
from greyd.policy.shadow_decision import ShadowDecision
from greyd.store.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.policy.events import DecisionEvent
    from greyd.runtime.supervision import Work
    from greyd.store.circuit_breaker import Cancellable
    from greyd.store.contract import Store
    from greyd.whitelist.matcher import Whitelists

MAX_WAITING = 1000
"""Maximum number of requests that wait for the shadow; further ones are skipped."""

MAX_RUNNING = 1000
"""Maximum number of requests for which the shadow awaits evidence or the store."""

TURN_SECONDS = 0.01
"""The interval at which the shadow starts requests: in groups they cost the store less."""

MIN_STARTS_PER_TURN = 10
"""Requests that the shadow may start in each turn, whatever the server does: 1,000 requests/s."""

MAX_STARTS_PER_TURN = 40
"""Maximum number of requests that the shadow starts in a turn: a real request waits for these."""

MAX_SHARE_OF_REQUESTS = 1 / 3
"""The share of the requests that a busier server's shadow decides, so that it costs a fourth of the
server's speed."""


class ShadowRunner(Observer):
    """Observes the server's decisions, and lets the shadow decide the same requests."""

    def __init__(
        self,
        settings: Settings,
        real: Policy,
        store: Store,
        observers: Observers,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Work], Cancellable] | None = None,
    ) -> None:
        """Create a runner, which has to be added to the observers of ``real``.

        Args:
            settings: the settings of the shadow.
            real: the server's policy; the shadow has its clock, and its windows for expected mail.
            store: the server's store without its circuit breaker.
            observers: get the shadow's decisions, and its internal errors.
            loop: the event loop that the server runs in.
            run: starts the probe of the shadow's circuit breaker, see ``CircuitBreaker``.
        """
        self.settings = settings
        """The settings of the shadow."""
        self._real = real
        self._observers = observers
        self._loop = loop
        self._store = ShadowStore(store)
        self._circuit_breaker = CircuitBreaker(
            self._store,
            settings.store_timeout_seconds,
            lambda _: None,  # the reasons of the shadow's decisions show its faults
            self.internal_error_of_shadow,
            run,
        )
        self._recorder = _LatestDecision(self.internal_error_of_shadow)
        self.policy = Policy(
            settings, real.whitelists, self._circuit_breaker, Observers(self._recorder)
        )
        """The shadow's policy."""
        self.policy.clock = real.clock
        self.own_whitelists: Whitelists | None = None
        """The whitelists of the shadow; None for those of the server."""
        self._is_closed = False
        self._waiting: deque[DecisionEvent] = deque()
        self._running_count = 0
        self._decisions: list[ShadowDecision] = []
        self._skipped_count = 0
        self._is_scheduled = False
        self._received_count = 0
        """Requests since the last turn."""

    @property
    def is_idle(self) -> bool:
        """Whether no request waits, runs or has a decision to pass on."""
        return not (self._waiting or self._running_count or self._is_scheduled)

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Queue the requests of the server's decisions; skip those for which there is no room."""
        if self._is_closed:
            return
        self._received_count += len(events)
        room = MAX_WAITING - len(self._waiting)
        self._waiting.extend(events[:room])
        self._skipped_count += max(len(events) - room, 0)
        self._schedule_turn()

    async def close(self) -> None:
        """Stop: discard all requests that wait, and end those that run."""
        self._is_closed = True
        self._waiting.clear()
        self.policy.stop_lookups()
        await self._circuit_breaker.close()

    def _schedule_turn(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_later(TURN_SECONDS, self._run_turn)

    def _run_turn(self) -> None:
        """Pass on the latest decisions, and start the next ones."""
        self._is_scheduled = False
        self._pass_on()
        # Commands and reloads may have changed these.
        self.policy.whitelists = self.own_whitelists or self._real.whitelists
        self.policy.expected = self._real.expected
        self.policy.sender_check = self._real.sender_check
        received_count, self._received_count = self._received_count, 0
        share = min(int(MAX_SHARE_OF_REQUESTS * received_count), MAX_STARTS_PER_TURN)
        for _ in range(max(MIN_STARTS_PER_TURN, share)):
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
            self.internal_error_of_shadow(error)

    def _finish(self, real: DecisionEvent, _reply: bytes | None) -> None:
        # The policy has passed the decision to the recorder just before its reply.
        self._running_count -= 1
        if (shadow := self._recorder.take()) is not None:
            self._decisions.append(ShadowDecision(real, shadow))
        self._schedule_turn()

    def _pass_on(self) -> None:
        decisions, self._decisions = self._decisions, []
        skipped_count, self._skipped_count = self._skipped_count, 0
        if self._is_closed:
            return
        if decisions:
            self._observers.shadow_decided(decisions)
        if skipped_count:
            self._observers.shadow_skipped(skipped_count)

    def internal_error_of_shadow(self, error: BaseException) -> None:
        """Log and count an internal error of the shadow."""
        self._observers.internal_error("shadow", error, "only the shadow is affected")


class _LatestDecision(Observer):
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
