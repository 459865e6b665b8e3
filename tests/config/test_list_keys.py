"""A key that is written into a DNS list's zone shows up nowhere but in the queries."""

from __future__ import annotations

import pytest

from greyd.config.loading import read_settings
from greyd.config.secrets import read_secrets
from greyd.dns.lists.zones import list_zones, queried_name

KEY = "abcdefghij0123456789"


@pytest.mark.parametrize(
    ("option", "zone", "shown"),
    [
        ("dnsbl", f"{KEY}.zen.dq.spamhaus.net=3600", "{key}.zen.dq.spamhaus.net"),
        ("dnsbl", f"{KEY.upper()}.zen.dq.spamhaus.net;weight=0.5", "{key}.zen.dq.spamhaus.net"),
        ("rhsbl", f"{KEY}.dbl.dq.spamhaus.net", "{key}.dbl.dq.spamhaus.net"),
        ("dnsbl", f"{KEY}.combined.mail.abusix.zone", "{key}.combined.mail.abusix.zone"),
        ("dnswl", f"{KEY}.white.mail.abusix.zone=none,support", "{key}.white.mail.abusix.zone"),
    ],
)
@pytest.mark.parametrize("is_of_shadow", [False, True])
def test_a_key_in_a_zone_is_kept_separately(
    option: str, zone: str, shown: str, is_of_shadow: bool
) -> None:
    words = [f"--shadow={option}={zone}"] if is_of_shadow else [f"--{option}={zone}"]
    server = read_secrets(read_settings(words, {}))
    settings = server.shadow_settings if is_of_shadow else server
    assert settings is not None
    settings = read_secrets(settings)
    (found,) = getattr(settings, option)
    assert found.name == shown
    assert KEY not in repr(settings).lower()
    if not is_of_shadow:
        (warning,) = server.warnings
        assert warning.startswith(f"--{option}: the zone's name contains a registered key")
    question = b"2.0.0.127." + shown.encode()
    zones = list_zones(settings)
    queried = queried_name(question, zones.zone_of(question))
    assert queried == question.replace(b"{key}", KEY.encode())


@pytest.mark.parametrize("zone", ["zen.spamhaus.org", "bl.example.net", "a.b.c.spamhaus.net"])
def test_a_zone_without_a_key_stays_as_it_is(zone: str) -> None:
    settings = read_settings([f"--dnsbl={zone}"], {})
    assert [each.name for each in settings.dnsbl] == [zone]
    assert settings.list_keys == ()
    assert settings.warnings == ()
