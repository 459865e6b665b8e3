"""Checks senders of expected mail and whitelisted ones; loads DNS for the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.site_rules.sender_proof import prove_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.config.settings import Settings
    from greyd.dns.resolver import Resolver
    from greyd.dns.sender_check import SpfSenderCheck
    from greyd.policy.observers import Observers
    from greyd.rules.address import Address
    from greyd.rules.request import Request
    from greyd.rules.site_rules.sender_proof import SenderProof


class LazySenderCheck:
    """Creates the check, and a resolver if no option needs one, at the first use.

    A server without an option for DNS loads nothing of it, until ``greyd expect --from`` has opened
    a window and mail from its domain arrives, or mail of a whitelisted sender
    (``--whitelist-senders``).
    """

    def __init__(
        self, settings: Settings, observers: Observers, resolver: Resolver | None = None
    ) -> None:
        """Create the check; it uses ``resolver``, or creates its own one."""
        self._settings = settings
        self._observers = observers
        self._resolver = resolver
        self._own_resolver: Resolver | None = None
        self._check: SpfSenderCheck | None = None
        self._is_closed = False

    def check(
        self, request: Request, address: Address, domain: bytes, on_result: Callable[[bool], None]
    ) -> None:
        """Call ``on_result`` once, with whether SPF denies the sender; see ``SenderCheck``."""
        try:
            check = self._check or self._start()
        except Exception as error:  # noqa: BLE001 - without DNS, expected mail passes unchecked
            self._on_error(error)
            on_result(False)
            return
        check.check(request, address, domain, on_result)

    def prove(
        self, request: Request, address: Address, on_result: Callable[[SenderProof], None]
    ) -> None:
        """Call ``on_result`` once, with whether the sender is proven; see ``SenderCheck``."""
        try:
            check = self._check or self._start()
        except Exception as error:  # noqa: BLE001 - without DNS, only a name can prove a sender
            self._on_error(error)
            on_result(prove_sender(request, address, "", is_specific=False))
            return
        check.prove(request, address, on_result)

    def _start(self) -> SpfSenderCheck:
        from greyd.dns.resolver import Resolver
        from greyd.dns.sender_check import SpfSenderCheck

        settings, resolver = self._settings, self._resolver
        if resolver is None:
            resolver = Resolver(settings.resolvers, settings.dns_timeout_seconds)
            self._own_resolver = resolver
        self._check = SpfSenderCheck(resolver, settings.dns_timeout_seconds, self._on_error)
        if self._is_closed:
            self._check.close()
        return self._check

    def _on_error(self, error: BaseException) -> None:
        self._observers.internal_error(
            "DNS", error, "expected mail passes unchecked, and SPF proves no sender"
        )

    def close(self) -> None:
        """Stop checking: pending and later checks deny nothing, and prove nothing by SPF."""
        self._is_closed = True
        if self._check is not None:
            self._check.close()

    async def close_resolver(self) -> None:
        """Close the resolver that the check has created, if it has."""
        if self._own_resolver is not None:
            await self._own_resolver.close()
