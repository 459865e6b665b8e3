"""Separates the keys of DNS lists from the names of their zones.

A list's registered user queries a zone that contains a secret key: ``KEY.zen.dq.spamhaus.net``. The
settings name such a zone ``{key}.zen.dq.spamhaus.net`` and keep the key separately, so no log line,
metric or page can show it, even if the administrator wrote the key into the zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.redaction import has_list_key

if TYPE_CHECKING:
    from greyd.config.vocabulary import Zone

LIST_OPTIONS = ("dnsbl", "rhsbl", "dnswl")

PLACEHOLDER = "{key}"
"""The placeholder for the key in a zone's name."""


def separate_list_keys(zones: tuple[Zone, ...]) -> tuple[tuple[Zone, ...], dict[str, str]]:
    """Replace each key in the zones with a placeholder; return the zones, and the keys by zone."""
    keys: dict[str, str] = {}
    return tuple(_without_key(zone, keys) for zone in zones), keys


def _without_key(zone: Zone, keys: dict[str, str]) -> Zone:
    """Return a zone with a placeholder for its key, which is added to ``keys``."""
    if not has_list_key(zone.name):
        return zone
    key, _, rest = zone.name.partition(".")
    name = f"{PLACEHOLDER}.{rest}"
    keys[name] = key
    return zone._replace(name=name)
