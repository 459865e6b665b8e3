"""Values of names from the store in JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.rules.networks import with_prefix_length

if TYPE_CHECKING:
    from greyd.config.settings import Settings


def json_text(data: bytes) -> str:
    """Return bytes from the network as text; ``json.dumps`` then escapes control characters."""
    return data.decode(errors="backslashreplace")


def client_network_field(name: bytes, settings: Settings) -> dict[str, Any]:
    """Return the field with a client network in CIDR notation; empty for any other name."""
    text = with_prefix_length(name, settings)
    return {} if text == name else {"client_network": json_text(text)}
