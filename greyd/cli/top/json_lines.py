"""Writes what ``greyd top`` would show as lines of JSON, for programs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.cli.top.live_data import LiveData

_NAME_COUNT = 10
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def write_lines(data: LiveData, count: int) -> None:
    """Write one line per refresh until a signal arrives, or ``count`` lines; 0: unlimited.

    Raises:
        UnusableStoreError: the file or database is not a store of greyd's.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in _STOPS:
        loop.add_signal_handler(number, stop.set)
    scanning = asyncio.create_task(data.scan_store())
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(data.scanned_once.wait(), data.pause)
        written = 0
        while not stop.is_set():
            await data.fetch_servers()
            sys.stdout.write(json.dumps(data.view.dump(_NAME_COUNT)) + "\n")
            sys.stdout.flush()
            written += 1
            if written == count:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), data.pause)
    finally:
        scanning.cancel()
        await asyncio.wait([scanning])
        for number in _STOPS:
            loop.remove_signal_handler(number)
    if not scanning.cancelled():
        scanning.result()
