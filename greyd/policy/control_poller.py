"""Polls the record with which an administrator controls all servers on a store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from greyd.rules.control import Control, ExpectedMail
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.policy.observers import Observers
    from greyd.policy.policy import Policy
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.contract import TransactionalStore

POLL_SECONDS = 1.0


class ControlPoller:
    """Reads the record again and again, and does what it says."""

    def __init__(
        self, settings: Settings, store: TransactionalStore, policy: Policy, observers: Observers
    ) -> None:
        self._settings = settings
        self._store = store
        self._policy = policy
        self._observers = observers
        self.control = Control()
        """What was read last."""
        self._told_of: int | None = None
        """The last act that the log has; None before the first look."""

    async def poll_at_start(self) -> None:
        """Read the record before the first request; whatever goes wrong, mail is answered."""
        try:
            await self.poll()
        except Exception as error:  # noqa: BLE001 - a record that nobody expects must not end it
            outcome = f"mode {self._policy.mode} until it can be read"
            self._observers.internal_error("control polling", error, outcome)

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.poll()

    async def poll(self) -> None:
        """Read the record once; where the store is away, what was read before stays in force."""
        # What fails here the guard tells of, as of all that fails.
        with contextlib.suppress(StoreError):
            self.control = await self._store.transact([CONTROL_KEY], _read)
        self._obey(int(self._policy.clock.now()))

    def _obey(self, now: int) -> None:
        control = self.control
        self._policy.expected = ExpectedMail(control.windows, self._settings)
        self._tell_acts()
        mode = control.mode_at(now, self._settings.mode)
        if mode != self._policy.mode:
            self._policy.mode = mode
            self._observers.mode_changed(mode, self._reason(now))

    def _reason(self, now: int) -> str:
        mode = self.control.mode
        if mode is None or not mode.holds(now):
            return ", as it is set here"
        until = f" until {_clock(mode.until)}" if mode.until else ""
        return f"{until}, by {mode.by} at {_clock(mode.at)}"

    def _tell_acts(self) -> None:
        """Log what commands have done since the last look; what is older is in older logs."""
        if self._told_of is not None:
            for act in self.control.acts:
                if act.number > self._told_of:
                    self._observers.administered(f"{act.what}, by {act.by} at {_clock(act.at)}")
        self._told_of = max(self.control.last_number, self._told_of or 0)


def _read(remembered: Remembered) -> tuple[Control, Sequence[Change]]:
    # By a rule, as requests ask: so it needs no more rights in Redis than they do.
    return Control.load(remembered[0]), ()


def _clock(when: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))
