"""Checks by SPF whether a client may use the envelope sender.

Two options need this: ``greyd expect --from`` (is the sender denied?) and ``--whitelist-senders``
(is the sender proven?).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from greyd.dns.callback_tasks import CallbackTasks
from greyd.dns.spf.check_host import check_host
from greyd.rules.hostnames import domain_of
from greyd.rules.site_rules.sender_proof import SenderProof, prove_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.dns.lookup import Lookup
    from greyd.dns.spf.check_host import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.request import Request


class SpfSenderCheck:
    """Denies a sender if SPF's result is ``fail``; proves one as ``prove_sender`` defines."""

    def __init__(
        self, lookup: Lookup, timeout_seconds: float, on_error: Callable[[BaseException], None]
    ) -> None:
        """Create a check.

        Args:
            lookup: queries the DNS.
            timeout_seconds: the time that a request waits; then SPF has no result.
            on_error: called with each exception that only a fault in greyd explains.
        """
        self._lookup = lookup
        self._timeout_seconds = timeout_seconds
        self._tasks = CallbackTasks(on_error)

    def check(
        self, request: Request, address: Address, domain: bytes, on_result: Callable[[bool], None]
    ) -> None:
        """Call ``on_result`` once, with whether SPF denies the sender; never with an error."""
        self._tasks.run(
            self.is_denied(request, address, domain), default=False, on_result=on_result
        )

    def prove(
        self, request: Request, address: Address, on_result: Callable[[SenderProof], None]
    ) -> None:
        """Call ``on_result`` once, with whether the sender is proven; never with an error."""
        unknown = prove_sender(request, address, "", is_specific=False)
        self._tasks.run(self.proof(request, address), default=unknown, on_result=on_result)

    async def is_denied(self, request: Request, address: Address, domain: bytes) -> bool:
        """Whether SPF's result is ``fail`` for a sender in ``domain`` or below it.

        Names below ``domain`` that its owner does not use have no record (``none``), so the record
        of ``domain`` itself decides on them. Otherwise anybody could pass under an invented name.
        """
        names = (domain_of(request.sender or b""), domain)
        spf = await self._evaluate(request, address, *dict.fromkeys(names))
        return spf is not None and spf.result == "fail"

    async def proof(self, request: Request, address: Address) -> SenderProof:
        """Return whether the client may send for the sender's domain."""
        domain = domain_of(request.sender or b"")
        spf = await self._evaluate(request, address, domain) if domain else None
        result, proves = (spf.result, spf.proves) if spf else ("", False)
        return prove_sender(request, address, result, is_specific=proves)

    async def _evaluate(
        self, request: Request, address: Address, *domains: bytes
    ) -> SpfResult | None:
        """Return the first result other than ``none``, else the last; None after the timeout."""
        lookup = self._lookup.for_client(address)
        local = (request.sender or b"").rpartition(b"@")[0]
        helo = (request.helo_name or b"").lower()
        spf: SpfResult | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                for domain in domains:
                    spf = await check_host(lookup, address, local + b"@" + domain, helo)
                    if spf.result != "none":
                        return spf
                return spf
        return None

    def close(self) -> None:
        """Stop checking: pending and later checks deny nothing, and prove nothing by SPF."""
        self._tasks.close()
