"""Checks by SPF whether a client may use the sender of expected mail (``greyd expect --from``)."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from greyd.dns.spf.check_host import check_host
from greyd.rules.hostnames import domain_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address
    from greyd.rules.request import Request


class SpfSenderCheck:
    """Denies a sender if SPF's result is ``fail``; any other result denies nothing."""

    def __init__(
        self, lookup: Lookup, timeout_seconds: float, on_error: Callable[[BaseException], None]
    ) -> None:
        """Create a check.

        Args:
            lookup: queries the DNS.
            timeout_seconds: the time that a request waits; then the sender is not denied.
            on_error: called with each exception that only a fault in greyd explains.
        """
        self._lookup = lookup
        self._timeout_seconds = timeout_seconds
        self._on_error = on_error
        self._tasks: set[asyncio.Task[bool]] = set()
        self._closed = False

    def check(
        self, request: Request, address: Address, domain: bytes, on_result: Callable[[bool], None]
    ) -> None:
        """Call ``on_result`` once, with whether SPF denies the sender; never with an error."""
        if self._closed:
            on_result(False)
            return
        task = asyncio.ensure_future(self.is_denied(request, address, domain))
        self._tasks.add(task)
        task.add_done_callback(partial(self._deliver, on_result))

    def _deliver(self, on_result: Callable[[bool], None], task: asyncio.Task[bool]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            on_result(False)
        elif (error := task.exception()) is not None:
            self._on_error(error)
            on_result(False)
        else:
            on_result(task.result())

    async def is_denied(self, request: Request, address: Address, domain: bytes) -> bool:
        """Whether SPF's result is ``fail`` for a sender in ``domain`` or below it.

        Names below ``domain`` that its owner does not use have no record (``none``), so the record
        of ``domain`` itself decides on them. Otherwise anybody could pass under an invented name.
        """
        lookup, sender = self._lookup.for_client(address), request.sender or b""
        local = sender.rpartition(b"@")[0]
        helo = (request.helo_name or b"").lower()
        result = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                for each in dict.fromkeys((domain_of(sender), domain)):
                    spf = await check_host(lookup, address, local + b"@" + each, helo)
                    result = spf.result
                    if result != "none":
                        break
        return result == "fail"

    def close(self) -> None:
        """Stop checking: pending and later checks deny nothing."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
