"""Groups of senders: which clients belong to which."""

from __future__ import annotations

import pytest

from greyd.config.errors import SettingsError
from greyd.config.settings import merge_settings
from greyd.config.sources import from_arguments
from greyd.rules.address import parse_address
from greyd.rules.site_rules.sender_groups import SenderGroups


def groups_of(*groups: str) -> SenderGroups:
    return SenderGroups(merge_settings(from_arguments([f"--sender-group={g}" for g in groups])[0]))


BIG = "big=192.0.2.0/24,2001:db8::/32,out.example.com"
SMALL = "small=192.0.2.128/25,a.out.example.com,198.51.100.7"


@pytest.mark.parametrize(
    ("name", "address", "group"),
    [
        ("unknown", "192.0.2.7", "big"),
        ("mail.example.net", "192.0.2.7", "big"),
        ("unknown", "192.0.2.200", "small"),
        ("unknown", "198.51.100.7", "small"),
        ("unknown", "198.51.100.8", ""),
        ("unknown", "2001:db8:1::5", "big"),
        ("unknown", "2001:db9::5", ""),
        ("unknown", "::ffff:192.0.2.7", "big"),
        ("unknown", "64:ff9b::192.0.2.7", "big"),
        ("out.example.com", "203.0.113.1", "big"),
        ("OUT.Example.com", "203.0.113.1", "big"),
        ("mx1.out.example.com", "203.0.113.1", "big"),
        ("a.out.example.com", "203.0.113.1", "small"),
        ("x.a.out.example.com", "203.0.113.1", "small"),
        ("about.example.com", "203.0.113.1", ""),
        ("example.com", "203.0.113.1", ""),
        ("out.example.com.evil.example", "203.0.113.1", ""),
        ("unknown", "203.0.113.1", ""),
        ("", "203.0.113.1", ""),
        ("a.out.example.com", "192.0.2.7", "big"),
    ],
)
def test_a_client_belongs_to_the_narrowest_network_or_else_to_the_longest_name(
    name: str, address: str, group: str
) -> None:
    parsed = parse_address(address.encode())
    assert parsed
    found = groups_of(BIG, SMALL).of(name.encode(), parsed)
    assert (found.name if found else "") == group


def test_without_groups_nobody_belongs_to_one() -> None:
    groups = groups_of()
    parsed = parse_address(b"192.0.2.7")
    assert parsed
    assert not groups
    assert groups.of(b"mail.example.com", parsed) is None
    assert groups_of("a=b.example")
    assert groups_of("a=192.0.2.0/24")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (("a=co.uk",), "a.*co.uk: all names below .co.uk, whoever owns them, would be one sender"),
        (("a=xn--bcher-kva.example", "b=bücher.example"), "bücher.example is also a member of a"),
        (("a=192.0.2.0/24", "b=::ffff:192.0.2.0/120"), "is also a member of a"),
    ],
)
def test_groups_that_contradict_each_other_or_mean_everybody_are_refused(
    groups: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SettingsError, match=message.removeprefix("a.*")) as raised:
        groups_of(*groups)
    assert str(raised.value).startswith("--sender-group: ")
    assert "\n" not in str(raised.value)
