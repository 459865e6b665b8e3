"""Reads the whitelists again on SIGHUP."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING

from greyd.runtime.daemon_thread import run_in_daemon_thread
from greyd.server.evidence.shadow import has_own_whitelists
from greyd.whitelist.files import reload_whitelists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.settings import Settings
    from greyd.monitoring.log import Log
    from greyd.monitoring.metrics import Metrics
    from greyd.policy.observers import Observers
    from greyd.policy.policy import Policy
    from greyd.policy.shadow.runner import ShadowRunner
    from greyd.runtime.supervision import TaskSupervisor
    from greyd.server.context import ServerContext
    from greyd.whitelist.files import LoadMessages
    from greyd.whitelist.matcher import Whitelists


SWITCH_INTERVAL_SECONDS = 0.0002
"""How long parsing a whitelist keeps the interpreter lock while a request waits for it."""


class Reloader:
    """Reloads the whitelists, one reload at a time, while requests are answered.

    A daemon thread reads the files; all other code runs on the event loop's thread.
    """

    def __init__(
        self,
        settings: Settings,
        context: ServerContext,
        policy: Policy,
        observers: Observers,
        metrics: Metrics,
        log: Log,
        supervisor: TaskSupervisor,
        shadow: ShadowRunner | None = None,
    ) -> None:
        self._settings = settings
        self._context = context
        self._policy = policy
        self._observers = observers
        self._metrics = metrics
        self._log = log
        self._supervisor = supervisor
        self._shadow = shadow
        self._is_running = False
        self._again = False

    def request(self) -> None:
        """Start a reload; if one is running, start another after it."""
        self._again = True
        if not self._is_running:
            self._is_running = True
            self._supervisor.run("reload", self._reload)

    async def _reload(self) -> None:
        while self._again:
            self._again = False
            self._context.reloading()
            self._log.notice("HUP received: reading the whitelists again")
            try:
                whitelists, messages = await run_in_daemon_thread(
                    "reload", partial(self._read, self._settings)
                )
                messages.log_to(self._log)
            except Exception as error:  # noqa: BLE001 - any failure: the old whitelists stay
                outcome = "the old whitelists stay in force"
                self._observers.internal_error("reload", error, outcome)
                whitelists = None
            self._put_in_force(whitelists)
            if self._shadow is not None and has_own_whitelists(self._settings):
                await self._reload_shadow(self._shadow)
            self._context.ready()
        # Here, not when the task ends: a request in between would be lost.
        self._is_running = False

    async def _reload_shadow(self, shadow: ShadowRunner) -> None:
        """Reload whitelists that only the shadow uses; after a failure keep the old ones."""
        try:
            read = partial(self._read, shadow.settings)
            whitelists, messages = await run_in_daemon_thread("reload", read)
            messages.log_to(self._log)
        except Exception as error:  # noqa: BLE001 - any failure: the old whitelists stay
            shadow.internal_error_of_shadow(error)
        else:
            shadow.own_whitelists = whitelists or shadow.own_whitelists

    def _read(self, settings: Settings) -> tuple[Whitelists | None, LoadMessages]:
        with _short_switch_interval():
            return reload_whitelists(settings)

    def _put_in_force(self, whitelists: Whitelists | None) -> None:
        """Use the new whitelists; after a failure (None) keep the old ones."""
        metrics = self._metrics
        metrics.reloads["failure" if whitelists is None else "success"].inc()
        metrics.whitelists_read.set(whitelists is not None)
        if whitelists is not None:
            self._policy.whitelists = whitelists
            set_entry_counts(metrics, whitelists)


@contextlib.contextmanager
def _short_switch_interval() -> Iterator[None]:
    """Shorten the interval at which Python switches threads.

    A request needs the interpreter lock several times; by default each wait can take 5 ms.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def set_entry_counts(metrics: Metrics, whitelists: Whitelists) -> None:
    """Set the metrics that count the whitelists' entries."""
    for which, entries in whitelists.by_name().items():
        metrics.whitelist_entries[which].set(len(entries))
