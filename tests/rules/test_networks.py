"""The networks of triplets, as tools show them and as a whitelist reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.rules.keys import names_in, request_keys
from greyd.rules.networks import parse_network, with_prefix_length
from greyd.whitelist.files import load_whitelists
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

SETTINGS = Settings()


def shown(client: str, **changes: Any) -> str:
    """Return the network in the key of a client's triplet as it is shown."""
    settings = replace(SETTINGS, **changes)
    names = names_in(request_keys(address_of(client), b"a@b.example", b"c@d.example", settings)[0])
    assert names is not None
    return with_prefix_length(names.network, settings).decode()


@pytest.mark.parametrize(
    ("client", "changes", "network"),
    [
        ("198.51.100.7", {}, "198.51.100.0/24"),
        ("198.51.100.0", {}, "198.51.100.0/24"),
        ("198.51.100.7", {"ipv4cidr": 16}, "198.51.0.0/16"),
        ("198.51.100.7", {"ipv4cidr": 26}, "198.51.100.0/26"),
        ("198.51.100.7", {"ipv4cidr": 32}, "198.51.100.7"),
        ("198.51.100.7", {"lookup_by_host": True}, "198.51.100.7"),
        ("198.51.100.0", {"lookup_by_host": True}, "198.51.100.0"),
        ("2001:db8:1:2::7", {}, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", {"ipv6cidr": 48}, "2001:db8:1::/48"),
        ("2001:db8:1:2::7", {"lookup_by_host": True}, "2001:db8:1:2::7"),
        ("::ffff:198.51.100.7", {}, "198.51.100.0/24"),
        ("64:ff9b::198.51.100.7", {}, "198.51.100.0/24"),
        # Teredo: each address is another host.
        ("2001:0:1:2::7", {}, "2001:0:1:2::7"),
        ("64:ff9b:1::198.51.100.7", {}, "64:ff9b:1::c633:6400/120"),
    ],
)
def test_a_network_is_shown_with_its_prefix_length(
    client: str, changes: dict[str, Any], network: str
) -> None:
    assert shown(client, **changes) == network
    parsed = parse_network(network.encode())
    assert parsed is not None
    assert parsed.contains(address_of(client))


@pytest.mark.parametrize(
    "name",
    [
        # Written by a server with other settings: no /24, so its size is unknown.
        b"198.51.100.7", b"2001:db8::7",
        # Identities, groups and hashes.
        b"example.com", b"group:partner", b"", b"198.51.100.0/24", b"rubbish/",
    ],
)  # fmt: skip
def test_any_other_name_is_unchanged(name: bytes) -> None:
    assert with_prefix_length(name, SETTINGS) == name


@pytest.mark.parametrize("client", ["198.51.100.7", "2001:db8:1:2::7", "2001:0:1:2::7"])
def test_a_shown_network_in_a_whitelist_matches_its_clients(tmp_path: Path, client: str) -> None:
    (file := tmp_path / "whitelist_clients").write_text(f"{shown(client)}\n")
    settings = replace(SETTINGS, whitelist_clients=(file,), whitelist_recipients=())
    whitelists, messages = load_whitelists(settings)
    assert whitelists.match_client(b"unknown", address_of(client)) is not None, messages
    assert whitelists.match_client(b"unknown", address_of("203.0.113.1")) is None
