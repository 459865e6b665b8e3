"""Finds the mail exchangers of the domains that local users write to.

Large providers handle the mail of other domains, and send those domains' bounces.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from greyd.dns.callback_tasks import CallbackTasks
from greyd.dns.lookup import DnsError, RecordType
from greyd.rules.hostnames import domain_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.dns.lookup import Lookup


class MailExchangers:
    """Finds mail exchangers by MX records. Without an answer in time there are none."""

    def __init__(
        self, lookup: Lookup, timeout_seconds: float, on_error: Callable[[BaseException], None]
    ) -> None:
        """Create a finder.

        Args:
            lookup: queries the DNS.
            timeout_seconds: the time that outbound mail waits.
            on_error: called with each exception that only a fault in greyd explains.
        """
        self._lookup = lookup
        self._timeout_seconds = timeout_seconds
        self._tasks = CallbackTasks(on_error)

    def find(self, recipient: bytes, on_result: Callable[[Sequence[bytes]], None]) -> None:
        """Call ``on_result`` once, with the host names in the order of preference."""
        self._tasks.run(self.exchangers_for(recipient), (), on_result)

    async def exchangers_for(self, recipient: bytes) -> Sequence[bytes]:
        """Return the host names of a recipient's mail exchangers; empty if they are unknown."""
        with contextlib.suppress(TimeoutError, DnsError):
            async with asyncio.timeout(self._timeout_seconds):
                return (await self._lookup.query(domain_of(recipient), RecordType.MX)).values
        return ()

    def close(self) -> None:
        """Stop: pending and later callbacks get no host names."""
        self._tasks.close()
