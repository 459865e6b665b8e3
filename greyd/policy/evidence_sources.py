"""Interfaces to the evidence about a client and its sender, which ``greyd.dns`` implements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.rules.address import Address
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request
    from greyd.rules.site_rules.sender_proof import SenderProof


class EvidenceCollector(Protocol):
    """Collects evidence about a client, e.g. from DNS."""

    def collect(
        self, request: Request, address: Address, found: Callable[[Evidence], None]
    ) -> None:
        """Call ``found`` once, by the deadline at the latest, with the evidence; never an error."""

    def close(self) -> None:
        """Stop collecting: call pending and later ``found`` at once, with unsure evidence."""


class SenderCheck(Protocol):
    """Checks whether a client may use the sender that a window for expected mail names."""

    def check(
        self, request: Request, address: Address, domain: bytes, on_result: Callable[[bool], None]
    ) -> None:
        """Call ``on_result`` once, with whether the owner of the sender's domain denies the client.

        Args:
            request: the request; its sender is in ``domain`` or below.
            address: the client's address.
            domain: the domain that the window names.
            on_result: called with False if the check is impossible or too slow; never with an
                error.
        """

    def prove(
        self, request: Request, address: Address, on_result: Callable[[SenderProof], None]
    ) -> None:
        """Call ``on_result`` once, with whether the client is proven to send for the sender.

        It is called by the deadline at the latest, and never with an error.
        """

    def close(self) -> None:
        """Stop checking: call the pending and later ``on_result`` at once, with no SPF result."""


class ExchangerFinder(Protocol):
    """Finds the mail exchangers of the domains that local users write to."""

    def find(self, recipient: bytes, on_result: Callable[[Sequence[bytes]], None]) -> None:
        """Call ``on_result`` once, with their host names; with none instead of an error."""

    def close(self) -> None:
        """Stop: call the pending and later ``on_result`` at once, with no names."""
