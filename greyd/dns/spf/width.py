"""How many addresses a domain's records let pass: a record of nearly all addresses proves nothing.

All bounds are by the bits of an address, 32 or 128.
"""

from __future__ import annotations

MIN_PREFIX = {32: 8, 128: 16}
"""Minimum prefix length of a network that identifies its client."""

MANY_ADDRESSES = {32: 1 << 22, 128: 1 << 104}
"""If records let more addresses pass than this, the terms after the match are counted too.

All great providers together need fewer, by their records of 2025 with all includes: Microsoft 365
459,000 addresses, Google 329,000, Amazon SES 170,000, SendGrid 154,000, Zendesk 26,000, Mailchimp
23,000; in IPv6 at most six networks /36 (Google).
"""

MAX_PROVEN_ADDRESSES = {
    bits: (1 << (bits - MIN_PREFIX[bits])) + MANY_ADDRESSES[bits] for bits in (32, 128)
}
"""Maximum number of addresses that a domain may let pass for a pass to be proof.

That is one network of ``MIN_PREFIX``, and ``MANY_ADDRESSES`` for the providers that send for the
domain. Few organisations own a whole IPv4 network /8 and list it (Apple's ``ip4:17.0.0.0/8``); none
owns two.
"""


class PassedAddresses:
    """Counts the addresses that the records read so far let pass; overlapping ones count again."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._count = 0

    def add(self, count: int) -> None:
        """Count addresses of the client's family."""
        self._count += count

    def add_networks(self, prefix: int, count: int = 1) -> None:
        """Count networks of this prefix length."""
        self._count += count << (self.bits - prefix)

    @property
    def are_many(self) -> bool:
        """Whether the terms after a match matter: the count is many, but not too many yet."""
        return MANY_ADDRESSES[self.bits] < self._count <= MAX_PROVEN_ADDRESSES[self.bits]

    @property
    def are_too_many(self) -> bool:
        """Whether a pass is no proof."""
        return self._count > MAX_PROVEN_ADDRESSES[self.bits]
