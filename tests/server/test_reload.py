"""Each SIGHUP reloads the whitelists once more, at whatever moment it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from greyd.config.settings import Settings
from greyd.monitoring.log import Log
from greyd.monitoring.metrics import Metrics
from greyd.policy.observers import Observers
from greyd.policy.policy import Policy
from greyd.runtime.supervision import TaskSupervisor
from greyd.server.context import ServerContext
from greyd.server.reload import Reloader
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.opening import open_store
from greyd.whitelist.files import load_whitelists

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.monitoring.log import Line


class NoSink:
    """Writes nothing."""

    def write(self, lines: Sequence[Line]) -> None:
        """Drop the lines."""


def test_a_signal_at_the_very_end_of_a_reload_starts_another(tmp_path: Path) -> None:
    file = tmp_path / "clients"
    file.write_text("first.example\n")
    settings = Settings(whitelist_clients=(file,), whitelist_recipients=(file,), store="memory://")

    async def reload() -> int:
        loop = asyncio.get_running_loop()
        reloads, done = 0, asyncio.Event()

        def ready() -> None:
            nonlocal reloads
            reloads += 1
            if reloads == 1:
                # Runs when the reload's coroutine has returned, and before its task is over.
                loop.call_soon(reloader.request)
            else:
                done.set()

        context = ServerContext([], [], tmp_path, False, None, ready, lambda: None, lambda: None)
        observers, log, metrics = Observers(), Log(NoSink()), Metrics()
        breaker = CircuitBreaker(open_store(settings, tmp_path), 5, observers.store_changed)
        policy = Policy(settings, load_whitelists(settings)[0], breaker, observers)
        supervisor = TaskSupervisor(observers.internal_error, lambda: None)
        reloader = Reloader(settings, context, policy, observers, metrics, log, supervisor)
        reloader.request()
        try:
            async with asyncio.timeout(20):
                await done.wait()
        finally:
            await supervisor.stop()
            await breaker.close()
            log.close(10)
        return reloads

    assert asyncio.run(reload()) == 2
