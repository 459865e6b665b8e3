"""Compares the network prefixes in postgrey's database with this server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.importing.items import SourceWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.settings import Settings
    from greyd.rules.address import Address

_MIN_NETWORKS = 32
"""The number of networks needed for a warning: a few may end in zero bits by chance."""


class NetworkPrefixes:
    """Finds the longest prefix of the added networks, and compares it with the server's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._all_bits = {32: 0, 128: 0}
        """The addresses by family (bits of an address), combined by OR."""
        self._samples: dict[int, set[int]] = {32: set(), 128: set()}

    def add(self, network: Address) -> None:
        """Add a network's address."""
        self._all_bits[network.bits] |= network.number
        samples = self._samples[network.bits]
        if len(samples) < _MIN_NETWORKS:
            samples.add(network.number)

    def warnings(self) -> Iterator[SourceWarning]:
        """Yield a warning for each address family whose prefix differs from the server's."""
        for bits, option in ((32, "ipv4cidr"), (128, "ipv6cidr")):
            all_bits = self._all_bits[bits]
            longest = bits - (all_bits & -all_bits).bit_length() + 1 if all_bits else 0
            prefix = bits if self._settings.lookup_by_host else getattr(self._settings, option)
            if longest > prefix:
                yield SourceWarning(
                    f"the database has networks of /{longest} (--lookup-by-host, --{option}): they"
                    f" were cut to /{prefix}, as this server uses them",
                    is_problem=False,
                )
            elif len(self._samples[bits]) == _MIN_NETWORKS and longest < prefix:
                yield SourceWarning(
                    f"the database was made with --{option}={longest}, and this server looks for"
                    f" /{prefix}: it will not find the triplets; set --{option}={longest} here too,"
                    " and import again",
                    is_problem=True,
                )
