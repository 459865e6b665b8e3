"""Checks the store: whether it answers, its response time, and its SQLite file or Redis server."""

from __future__ import annotations

import asyncio
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from greyd.doctor.findings import Finding, error, hint, ok, warning
from greyd.doctor.store_failure import outcome_of_store_failure
from greyd.rules.reserved_keys import PROBE_KEY
from greyd.runtime.daemon_thread import run_in_daemon_thread
from greyd.store.circuit_breaker import write_probe
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.store.opening import is_sqlite_url
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from greyd.config.running.run_record import RunRecord
    from greyd.config.settings import Settings
    from greyd.store.contract import Store


class StoreAccess(Protocol):
    """Gives the server's settings, and opens its store."""

    @property
    def settings(self) -> Settings:
        """Return the server's settings."""

    @property
    def server(self) -> RunRecord | None:
        """Return the record of the running server; None if none uses the store."""

    @property
    def server_store_timeout_seconds(self) -> float:
        """Return the timeout of the store that applies to the server."""

    @property
    def store_url(self) -> str:
        """Return the URL of the store."""

    def open_store(self, *, writable: bool = False) -> AbstractAsyncContextManager[Store]:
        """Open the store; read-only unless ``writable``."""


SLOW_SHARE = 1 / 3
"""The share of ``--store-timeout`` above which the store is slow."""

PROBE_COUNT = 5


async def check_store(access: StoreAccess, *, thorough: bool) -> list[Finding]:
    """Check the server's store without changing an entry.

    Raises:
        UnusableStoreError: the store does not belong to greyd.
    """
    url = access.store_url
    if url.startswith("memory:"):
        return [
            hint(
                "store: answers",
                "memory:// is part of the server: a restart forgets everything",
                'greyd.toml: store = "sqlite:/var/lib/greyd/greyd.db", or a Redis',
            )
        ]
    made = [await _finding_of_answers(access)]
    if is_sqlite_url(url):
        from greyd.doctor.sqlite import check_sqlite

        work = partial(check_sqlite, url, thorough=thorough)
        return made + await run_in_daemon_thread("sqlite", work)
    from greyd.doctor.redis import check_redis

    return made + await check_redis(url, access.settings)


async def _finding_of_answers(access: StoreAccess) -> Finding:
    check = "store: answers"
    name = redact_url(access.store_url)
    try:
        async with asyncio.timeout(access.settings.store_timeout_seconds):
            seconds = await _median_probe_seconds(access)
    except TimeoutError:
        return error(check, f"{name}: no answer in time", "make sure the store is running")
    except UnusableStoreError:
        raise
    except StoreError as fault:
        return error(check, str(fault), "make sure the store is running, and that --store names it")
    verb = "reads" if _is_file(access) else "reads and writes"
    took = f"{name}: {verb} in {seconds * 1000:.1f} ms"
    timeout_seconds = access.server_store_timeout_seconds
    if seconds > timeout_seconds * SLOW_SHARE:
        return warning(
            check,
            f"{took}; above the server's --store-timeout of {timeout_seconds:g} s"
            f" {outcome_of_store_failure(access.settings)}",
            "check the load and the disk of its machine, and the network",
        )
    return ok(check, took)


async def _median_probe_seconds(access: StoreAccess) -> float:
    """Probe the store as the server does; return the median time in seconds.

    A SQLite file is only read: the server's metrics show whether the server can write to it.
    """
    took = []
    writes = not _is_file(access)
    async with access.open_store(writable=writes) as store:
        for _ in range(PROBE_COUNT):
            started = time.perf_counter()
            if writes:
                await store.transact([PROBE_KEY], write_probe)
            if await store.get(PROBE_KEY) is None and writes:
                raise StoreError("the store does not return what was written")
            took.append(time.perf_counter() - started)
    return statistics.median(took)


def _is_file(access: StoreAccess) -> bool:
    return is_sqlite_url(access.store_url)
