"""Groups of clients that count as one sender (``--sender-group``).

A client belongs to a group if its address is in one of the group's networks, or if its confirmed
name is one of the group's names or below one. The narrowest network comes first, then the longest
name. The group is an identity: a retry from any of its clients is a retry of the same triplet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.rules.hostnames import is_fqdn, load_suffixes, normal_name
from greyd.rules.names.internationalised import ascii_domain
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from greyd.config.sender_groups import SenderGroup
    from greyd.config.settings import Settings
    from greyd.rules.address import Address


class SenderGroups:
    """The groups of the settings; false if there are none."""

    def __init__(self, settings: Settings) -> None:
        """Compile the groups.

        Raises:
            SettingsError: two groups have the same member in different notations, or a name is
                invalid or a public suffix.
        """
        self._names: dict[bytes, SenderGroup] = {}
        self._networks: dict[int, dict[int, dict[int, SenderGroup]]] = {32: {}, 128: {}}
        """By the bits of an address, the number of host bits in ascending order, and the network's
        number without the host bits.
        """
        for group in settings.sender_groups:
            for text in group.networks:
                self._add_network(text, group)
            for text in group.names:
                self._add_name(text, group)
        self._networks = {
            bits: dict(sorted(by_size.items())) for bits, by_size in self._networks.items()
        }

    def __bool__(self) -> bool:
        return bool(self._names) or any(self._networks.values())

    def of(self, client_name: bytes, address: Address) -> SenderGroup | None:
        """Return the group of a client; None if it belongs to none.

        Args:
            client_name: the confirmed name, or ``unknown``.
            address: the client's address.
        """
        for free, networks in self._networks[address.bits].items():
            if (group := networks.get(address.number >> free)) is not None:
                return group
        name = normal_name(client_name) if self._names else b""
        while name:
            if (group := self._names.get(name)) is not None:
                return group
            name = name.partition(b".")[2]
        return None

    def _add_network(self, text: str, group: SenderGroup) -> None:
        network = parse_network(text.encode())
        if network is None:
            raise SettingsError(f"{group.where}: {text}: no valid network; correct it")
        free = network.bits - network.prefix
        same = self._networks[network.bits].setdefault(free, {})
        _require_one_group(text, same.setdefault(network.number >> free, group), group)

    def _add_name(self, text: str, group: SenderGroup) -> None:
        name = ascii_domain(text.encode())
        if not is_fqdn(name):
            raise SettingsError(f"{group.where}: {text}: no valid host name; correct it")
        if load_suffixes().publicsuffix(name.decode()) == name.decode():
            raise SettingsError(
                f"{group.where}: {text}: all names below .{text}, whoever owns them, would be one"
                " sender; write the names you mean"
            )
        _require_one_group(text, self._names.setdefault(name, group), group)


def _require_one_group(member: str, owner: SenderGroup, group: SenderGroup) -> None:
    if owner is not group:
        raise SettingsError(
            f"{group.where}: {member} is also a member of {owner.name}; a client belongs to one"
            " group"
        )
