"""The zones of DNS lists: their names as shown, and as queried.

A zone for registered users contains their key (``KEY.zen.dq.spamhaus.net``). greyd writes such a
zone with a placeholder everywhere (``{key}.zen.dq.spamhaus.net``): in settings, questions, cache,
messages and metrics. Only the resolver puts the key in, into the queries that it sends. So no
output can show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.config.list_keys import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class ListZone:
    """The zone of a DNS list."""

    name: str
    """The name as shown, perhaps with the placeholder of a key."""
    suffix: bytes
    """The end of a question's name in this zone: a dot, and the name as shown."""
    queried_suffix: bytes
    """The end of the name that is queried: a dot, and the name with the key."""

    def __repr__(self) -> str:
        """Return the name as shown; the queried one may contain a secret."""
        return f"ListZone({self.name!r})"


class ListZones:
    """The zones that questions may belong to."""

    def __init__(self, names: Iterable[str] = (), keys: Mapping[str, str] | None = None) -> None:
        """Create the zones.

        Args:
            names: the names as shown.
            keys: the keys of those names that contain the placeholder ``{key}``.
        """
        self._zones = [_list_zone(name, (keys or {}).get(name, "")) for name in names]

    def zone_of(self, name: bytes) -> ListZone | None:
        """Return the zone that a question's name is in, or None."""
        for zone in self._zones:
            if name.endswith(zone.suffix):
                return zone
        return None


NO_LIST_ZONES = ListZones()


def list_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all lists of the settings as shown, each once."""
    lists = (*settings.dnsbl, *settings.rhsbl, *settings.dnswl)
    return tuple(dict.fromkeys(each.name for each in lists))


def list_zones(settings: Settings) -> ListZones:
    """Return the zones of all lists of the settings."""
    return ListZones(list_names(settings), dict(settings.list_keys))


def _list_zone(name: str, key: str) -> ListZone:
    queried = name.replace(PLACEHOLDER, key) if key else name
    return ListZone(name, b"." + name.encode(), b"." + queried.encode())


def queried_name(name: bytes, zone: ListZone | None) -> bytes:
    """Return the name to query for a question's name in ``zone``; it may contain a secret."""
    if zone is None:
        return name
    return name[: len(name) - len(zone.suffix)] + zone.queried_suffix
