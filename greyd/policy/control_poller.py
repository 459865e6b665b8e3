"""Polls the control record, an administrator's settings for all servers that share a store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from greyd.rules.control import Control, ExpectedMail, claim_warning
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.policy.observers import Observers
    from greyd.policy.policy import Policy
    from greyd.rules.control import ModeOverride
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.contract import TransactionalStore

POLL_SECONDS = 1.0


class ControlPoller:
    """Reads the control record every ``POLL_SECONDS``, and applies it to the policy."""

    def __init__(
        self, settings: Settings, store: TransactionalStore, policy: Policy, observers: Observers
    ) -> None:
        self._settings = settings
        self._store = store
        self._policy = policy
        self._observers = observers
        self.control = Control()
        """The record from the last successful poll."""
        self.mode_override: ModeOverride | None = None
        """The mode of ``greyd mode`` if it is in force; None if the configured one is."""
        self._last_observed: int | None = None
        """The number of the last action passed to the observers; None before the first poll."""

    async def poll_at_start(self) -> None:
        """Poll once before the first request. Observes an error instead of raising it."""
        try:
            await self.poll()
        except Exception as error:  # noqa: BLE001 - whatever the record holds, mail is answered
            outcome = f"mode {self._policy.mode} until it can be read"
            self._observers.internal_error("control polling", error, outcome)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.poll()

    async def poll(self) -> None:
        """Read and apply the record; if the store does not answer, the last one stays in force."""
        # The circuit breaker reports all errors of the store.
        with contextlib.suppress(StoreError):
            self.control = await self._store.transact([CONTROL_KEY], _read)
        now = int(self._policy.clock.now())
        self._put_in_force(now)
        mode = self.control.mode
        if mode is not None and mode.needs_warning(now):
            with contextlib.suppress(StoreError):
                if await self._store.transact([CONTROL_KEY], claim_warning(now)):
                    self._observers.mode_without_end(mode.mode, self._reason(now))

    def _put_in_force(self, now: int) -> None:
        control = self.control
        self._policy.expected = ExpectedMail(control.windows, self._settings)
        self._observe_acts()
        mode = control.mode_at(now, self._settings.mode)
        self.mode_override = control.mode if control.mode and control.mode.holds(now) else None
        self._policy.mode_is_overridden = self.mode_override is not None
        if mode != self._policy.mode:
            self._policy.mode = mode
            self._observers.mode_changed(mode, self._reason(now))

    def _reason(self, now: int) -> str:
        mode = self.control.mode
        if mode is None or not mode.holds(now):
            return ", as it is set here"
        until = f" until {_format_time(mode.until)}" if mode.until else ""
        return f"{until}, by {mode.by} at {_format_time(mode.at)}"

    def _observe_acts(self) -> None:
        """Pass the actions since the last poll to the observers; at the first poll, pass none."""
        if self._last_observed is not None:
            for act in self.control.acts:
                if act.number > self._last_observed:
                    self._observers.administered(
                        f"{act.what}, by {act.by} at {_format_time(act.at)}"
                    )
        self._last_observed = max(self.control.last_number, self._last_observed or 0)


def _read(remembered: Remembered) -> tuple[Control, Sequence[Change]]:
    # A rule, as for requests, because a read by another command could need a permission in Redis.
    (text,) = remembered
    return Control.load(text), ()


def _format_time(when: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))
