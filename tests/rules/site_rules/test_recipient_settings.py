"""The settings for a recipient: those of its domain, of one above it, or those of the server."""

from __future__ import annotations

import pytest

from greyd.config.errors import SettingsError
from greyd.config.recipient_domains import RecipientDomain
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryState, interpret
from greyd.rules.keys import request_keys
from greyd.rules.site_rules.recipient_settings import (
    RecipientSettings,
    SettingsByRecipient,
    settings_to_release,
)
from greyd.rules.transaction import Record
from greyd.rules.triplets import ReleaseOutcome, release


def settings_with(*domains: str) -> Settings:
    options = [f"--recipient-domain={each}" for each in domains]
    return merge_settings(from_arguments(options)[0])


def delay_of(recipient: str, *domains: str) -> int:
    by_recipient = SettingsByRecipient(settings_with(*domains))
    return by_recipient.of(recipient.encode()).settings.delay_seconds


NOW = 1_700_000_000
ONE = "example.com;delay=60"
BELOW = "example.com;delay=60;subdomains=yes"


@pytest.mark.parametrize(
    ("recipient", "domains", "delay"),
    [
        ("bob@example.com", (ONE,), 60),
        ("Bob@EXAMPLE.Com", (ONE,), 60),
        ("bob@example.com.", (ONE,), 60),
        ('"a@b"@example.com', (ONE,), 60),
        ("bob@mail.example.com", (ONE,), 300),
        ("bob@notexample.com", (ONE,), 300),
        ("bob@example.com.evil.example", (ONE,), 300),
        ("bob@example.org", (ONE,), 300),
        ("postmaster", (ONE,), 300),
        ("", (ONE,), 300),
        ("example.com", (ONE,), 300),
        ("bob@mail.example.com", (BELOW,), 60),
        ("bob@a.b.example.com", (BELOW,), 60),
        ("bob@example.com", (BELOW,), 60),
        ("bob@notexample.com", (BELOW,), 300),
        ("bob@com", (BELOW,), 300),
        ("bob@a.example.com", (BELOW, "a.example.com;delay=5"), 5),
        ("bob@b.a.example.com", (BELOW, "a.example.com;delay=5"), 60),
        ("bob@b.a.example.com", (BELOW, "a.example.com;delay=5;subdomains=yes"), 5),
        ("bob@bücher.example", ("xn--bcher-kva.example;delay=60",), 60),
        ("bob@xn--bcher-kva.example", ("bücher.example;delay=60",), 60),
        ("bob@mail.bücher.example", ("bücher.example;delay=60;subdomains=1",), 60),
        ("bob@bucher.example", ("bücher.example;delay=60",), 300),
    ],
)
def test_the_own_domain_counts_first_and_then_the_closest_one_above(
    recipient: str, domains: tuple[str, ...], delay: int
) -> None:
    assert delay_of(recipient, *domains) == delay


@pytest.mark.parametrize(
    "domains",
    [
        ("bücher.example;delay=60", "xn--bcher-kva.example;delay=60"),
        ("xn--bcher-kva.example;delay=60", "bücher.example;mode=off"),
    ],
)
def test_a_domain_in_both_its_forms_is_set_twice(domains: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match="is the same domain as") as raised:
        SettingsByRecipient(settings_with(*domains))
    assert "\n" not in str(raised.value)


def test_what_a_domain_does_not_set_is_as_for_the_server() -> None:
    settings = merge_settings(
        from_arguments(
            [
                "--delay=0,30,90,900", "--greylist=suspicious", "--max-age=3",
                "--recipient-domain=a.example;delay=60",
                "--recipient-domain=b.example;greylist=all",
                "--recipient-domain=c.example;delay=1,2,3,4",
            ]
        )[0]
    )  # fmt: skip
    of = SettingsByRecipient(settings).of
    server, a, b, c = (
        of(b"x@" + name).settings for name in (b"-", b"a.example", b"b.example", b"c.example")
    )
    assert (a.delay_seconds, a.delays, a.greylist) == (60, (), "suspicious")
    assert (b.delays, b.greylist) == (server.delays, "all")
    assert (c.delay_seconds, c.delays) == (2, (1, 2, 3, 4))
    assert {each.max_age_seconds for each in (server, a, b, c)} == {settings.max_age_seconds}


def test_another_domain_s_delay_does_not_change_the_rules_for_the_rest() -> None:
    settings = settings_with("slow.example;delay=3600")
    of = SettingsByRecipient(settings).of
    assert settings.delay_varies
    assert settings.longest_delay_seconds == 3600
    for recipient, longest in ((b"bob@example.org", 300), (b"bob@slow.example", 3600)):
        own = of(recipient).settings
        assert not own.delay_varies
        assert own.longest_delay_seconds == longest


MODES = [
    # the domain's mode, the server's mode, whether greyd mode set it, the mode in force
    ("", "on", False, "on"),
    ("", "learn", False, "learn"),
    ("", "off", True, "off"),
    ("learn", "on", False, "learn"),
    ("off", "on", False, "off"),
    ("on", "learn", False, "on"),
    ("on", "off", False, "on"),
    ("learn", "on", True, "learn"),
    ("off", "on", True, "off"),
    ("on", "learn", True, "learn"),
    ("on", "off", True, "off"),
    ("off", "learn", True, "learn"),
    ("learn", "off", True, "off"),
]


@pytest.mark.parametrize(("own", "server", "is_overridden", "in_force"), MODES)
def test_off_and_learn_of_an_administrator_apply_to_all_and_else_the_domain_s_own(
    own: str, server: str, *, is_overridden: bool, in_force: str
) -> None:
    found = RecipientSettings(Settings(), RecipientDomain("example.com", 5, mode=own))
    assert found.mode(server, is_overridden=is_overridden) == in_force
    without = RecipientSettings(Settings())
    assert without.mode(server, is_overridden=is_overridden) == server


def test_a_stored_key_has_the_settings_of_its_recipient() -> None:
    settings = settings_with(ONE)
    by_recipient = SettingsByRecipient(settings)
    address = parse_address(b"192.0.2.7")
    assert address
    for recipient, delay in ((b"bob@example.com", 60), (b"bob@example.org", 300)):
        keys = request_keys(address, b"a/b%@c.example", recipient, settings)
        assert by_recipient.of_key(keys.triplet).delay_seconds == delay
        assert by_recipient.of_key(keys.client).delay_seconds == 300
    assert by_recipient.of_key(b"/" + b"0" * 40).delay_seconds == 300


def test_entries_show_when_they_pass_by_the_delay_of_their_domain() -> None:
    settings = settings_with(ONE, "slow.example;delay=3600")
    delays = {b"bob@example.com": 60, b"bob@slow.example": 3600, b"bob@example.org": 300}
    for recipient, delay in delays.items():
        key = b"{192.0.2.0}/a@b.example/" + recipient
        entry = interpret(Record(key, b"%d" % NOW, 10**6), NOW + 100, settings)
        assert entry
        assert entry.passes_at == NOW + delay
        seen_again = Record(key, b"%d,%d" % (NOW, NOW + 100), 10**6)
        entry = interpret(seen_again, NOW + 100, settings)
        assert entry
        assert (entry.state is EntryState.PASSED) == (delay <= 100)


@pytest.mark.parametrize("key", [b"{192.0.2.0}/a@b.example/bob@slow.example", b"/" + b"0" * 40])
def test_a_triplet_is_released_unless_it_has_waited_for_the_delay_of_its_domain(
    key: bytes,
) -> None:
    # The recipient of a hash is unknown, so it may be one with the longest delay.
    settings = settings_with(ONE, "slow.example;delay=3600")
    own = settings_to_release(key, settings)
    assert release(key, b"%d" % NOW, NOW + 400, own)[0] is ReleaseOutcome.RELEASED
    assert release(key, b"%d" % NOW, NOW + 3700, own)[0] is ReleaseOutcome.DELAY_OVER
