"""Fetches listings that count: from lists that are up, and do not list everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from greyd.dns.lists.listings import DnsListError
from greyd.dns.lookup import DnsError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from greyd.dns.lists.listings import DnsListing


class SourceStates(Protocol):
    """The states of the sources of evidence. Those of this class are always up."""

    @property
    def is_resolver_up(self) -> bool:
        """Whether the resolver is up; without it no query is useful."""
        return True

    def is_up(self, zone: str) -> bool:  # noqa: ARG002 - the states of this class are constant
        """Whether a list is queried for clients; a list that is out of order is not."""
        return True

    async def is_listing_valid(self, zone: str, *, ipv6: bool = False) -> bool:  # noqa: ARG002 - constant
        """Whether a listing in a zone counts, because the list does not list everything.

        Args:
            zone: the list.
            ipv6: whether an IPv6 address is listed.
        """
        return True

    async def check_error_answer(self, zone: str) -> None:  # noqa: ARG002 - constant
        """Note that a list has given an error answer."""
        return


class AssumedUp(SourceStates):
    """The states of sources without a monitor: always up."""


async def valid_listing(
    states: SourceStates, zone: str, query: Awaitable[DnsListing | None], *, ipv6: bool = False
) -> DnsListing | None:
    """Return the listing that a query finds, or None if there is none that counts.

    An error answer is ignored, and so is a list that goes out of order meanwhile.

    Args:
        states: the states of the lists.
        zone: the list.
        query: the query; one of ``greyd.dns.lists.listings.fetch_…``.
        ipv6: whether it asks about an IPv6 address.

    Raises:
        DnsError: the query failed although the list is up.
    """
    try:
        listing = await query
    except DnsListError:
        await states.check_error_answer(zone)
        return None
    except DnsError:
        if not states.is_up(zone):
            return None
        raise
    if listing is None or not await states.is_listing_valid(zone, ipv6=ipv6):
        return None
    return listing
