"""The store: whether it answers, whether it keeps what it is given, and who else can read it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.rules.reserved_keys import PROBE_KEY
from greyd.store.circuit_breaker import write_probe
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.store.opening import is_sqlite_url
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from greyd.config.settings import Settings
    from greyd.store.contract import Store


class StoreAccess(Protocol):
    """Opens the store that is checked."""

    @property
    def settings(self) -> Settings:
        """Return the server's settings."""

    @property
    def store_url(self) -> str:
        """Return the URL of the store."""

    def store(self, *, writes: bool = False) -> AbstractAsyncContextManager[Store]:
        """Open it; read-only unless ``writes``."""


SLOW_SECONDS = 0.1
"""A third of what a request waits for the store, unless it is told otherwise."""

PROBE_COUNT = 5


async def check_store_access(access: StoreAccess, *, thorough: bool) -> list[Finding]:
    """Look at the server's store; nothing of what it keeps is touched.

    Raises:
        UnusableStoreError: it is not greyd's.
    """
    url = access.store_url
    if url.startswith("memory:"):
        return [
            hint(
                "store: answers",
                "memory:// is within the server: it forgets all at each start",
                'greyd.toml: store = "sqlite:/var/lib/greyd/greyd.db", or a Redis',
            )
        ]
    made = [await _finding_of_answers(access)]
    if is_sqlite_url(url):
        from greyd.doctor.sqlite import check_sqlite

        return made + await asyncio.to_thread(check_sqlite, url, thorough=thorough)
    from greyd.doctor.redis import check_redis

    return made + await check_redis(url, access.settings)


async def _finding_of_answers(access: StoreAccess) -> Finding:
    check = "store: answers"
    name = redact_url(access.store_url)
    try:
        async with asyncio.timeout(access.settings.store_timeout_seconds):
            seconds = await _probe(access)
    except TimeoutError:
        return error(check, f"{name}: no answer in time", "see to that it runs")
    except UnusableStoreError:
        raise
    except StoreError as fault:
        return error(check, str(fault), "see to that it runs, and that --store names it")
    does = "reads" if _is_file(access) else "reads and writes"
    took = f"{name}: {does} in {seconds * 1000:.1f} ms"
    if seconds > SLOW_SECONDS:
        return warning(
            check,
            f"{took}; above --store-timeout (0.3 s) mail passes ungreylisted",
            "look at its machine's load and disk, and at the network between",
        )
    return ok(check, took)


async def _probe(access: StoreAccess) -> float:
    """Try the store as the server does; returns how long it mostly took.

    A file is only read: whether the server can write it, the server itself says.
    """
    took = []
    writes = not _is_file(access)
    async with access.store(writes=writes) as store:
        for _ in range(PROBE_COUNT):
            started = time.perf_counter()
            if writes:
                await store.transact([PROBE_KEY], write_probe)
            if await store.get(PROBE_KEY) is None and writes:
                raise StoreError("what is written can't be read again")
            took.append(time.perf_counter() - started)
    return sorted(took)[PROBE_COUNT // 2]


def _is_file(access: StoreAccess) -> bool:
    return is_sqlite_url(access.store_url)


def finding_of_server(up: float | None) -> Finding:
    """Say whether the server's own look at its store went well."""
    check = "store: as the server sees it"
    if up is None:
        return not_checked(check, "the server does not say")
    if not up:
        return error(
            check,
            "away: mail passes ungreylisted, or is deferred",
            "journalctl -u greyd (the reason stands after “store away”)",
        )
    return ok(check, "it answers")
