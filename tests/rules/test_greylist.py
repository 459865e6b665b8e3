"""The rules: whose mail is remembered under which key, and what is decided of it."""

from __future__ import annotations

import ipaddress
from hashlib import sha1
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.rules.address import network_of, parse_address
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.greylist import Decision, decide
from greyd.rules.keys import Keys, request_keys
from greyd.rules.reasons import Reason
from greyd.rules.records import Client, RememberedRecords, Triplet
from tests.corpus import cases

T = 1_700_000_000

ADDRESS = b"192.0.2.10"
SENDER = b"alice@example.com"
RECIPIENT = b"bob@example.org"


def keys_of(
    address: bytes = ADDRESS,
    sender: bytes = SENDER,
    recipient: bytes = RECIPIENT,
    **options: Any,
) -> Keys:
    """Return the keys of a request under default settings but for ``options``."""
    parsed = parse_address(address)
    assert parsed is not None
    return request_keys(parsed, sender, recipient, Settings(**options))


def sha1_hex(text: str) -> bytes:
    return sha1(text.encode(), usedforsecurity=False).hexdigest().encode()


# Addresses and networks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (b"192.0.2.10", b"192.0.2.10"),
        (b"2001:db8::1", b"2001:db8::1"),
        (b"2001:0DB8:0:0:0:0:0:1", b"2001:db8::1"),
        (b"::1", b"::1"),
        (b"::ffff:192.0.2.10", b"192.0.2.10"),
        (b"::FFFF:C000:20A", b"192.0.2.10"),
        (b"64:ff9b::192.0.2.10", b"192.0.2.10"),
        (b"64:FF9B:0:0:0:0:C000:20A", b"192.0.2.10"),
        (b"::192.0.2.10", b"::192.0.2.10"),
    ],
)
def test_an_address_has_one_form(text: bytes, canonical: bytes) -> None:
    address = parse_address(text)
    assert address is not None
    assert address.text == canonical


@pytest.mark.parametrize(
    "text",
    [
        b"", b"localhost", b"unknown", b"192.0.2.300", b"192.0.2.10 ", b" 192.0.2.10", b"1.2.3",
        b"0xC0.0.2.1", b"fe80::1%eth0", b"1:2:3", b"2001:db8::1::2", b"192.0.2.10\0",
        b"192.0.2.10\n", b"\xff", b"3221225985", b"192.0.2.010", b"192.0.2.10/24", b"::/0",
        b"1" * 512, b":" * 512,
    ],
)  # fmt: skip
def test_what_is_no_address_is_none_and_never_resolved(text: bytes) -> None:
    assert parse_address(text) is None


@given(st.binary(max_size=60))
def test_no_bytes_for_an_address_raise(text: bytes) -> None:
    parse_address(text)


SHARED = [ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32")]
ordinary_addresses = st.ip_addresses().filter(lambda each: not any(each in net for net in SHARED))


@given(ordinary_addresses)
def test_every_address_is_read(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    parsed = parse_address(str(address).encode())
    assert parsed is not None
    plain = getattr(address, "ipv4_mapped", None) or address
    assert parsed.number == int(plain)
    assert parsed.bits == plain.max_prefixlen


@pytest.mark.parametrize(
    ("address", "same", "others"),
    [
        # NAT64: the IPv4 client, with its network's neighbours.
        ("64:ff9b::192.0.2.7", "64:ff9b::192.0.2.200 192.0.2.7", "64:ff9b::192.0.3.7 64:ff9b::1"),
        ("64:ff9b::192.0.2.7", "::ffff:192.0.2.7", "64:ff9b:0:0:0:1:c000:207 64:ff9c::c000:207"),
        ("64:ff9b::8.8.8.8", "8.8.8.8", "8.8.9.8 64:ff9b::8.8.9.8"),
        # But nobody comes from a private network, or from this machine, by that.
        ("64:ff9b::10.0.0.7", "64:ff9b::10.0.0.8", "10.0.0.7 64:ff9b::10.0.1.7 64:ff9b::11.0.0.7"),
        ("64:ff9b::127.0.0.1", "64:ff9b::127.0.0.2", "127.0.0.1 64:ff9b::192.168.0.1"),
        ("64:ff9b::172.31.255.1", "64:ff9b::172.31.255.2", "172.31.255.1 64:ff9b::172.16.0.1"),
        ("64:ff9b::172.32.0.1", "172.32.0.1", "64:ff9b::172.31.0.1"),
        ("64:ff9b::100.127.0.1", "64:ff9b::100.127.0.2", "100.127.0.1 64:ff9b::100.128.0.1"),
        ("64:ff9b::", "64:ff9b::0.0.0.7", "0.0.0.0 :: 64:ff9b::0.0.1.0"),
        # A translator of a site's own: whichever form it has, hosts are told apart.
        ("64:ff9b:1::192.0.2.7", "64:ff9b:1::192.0.2.8", "64:ff9b:1::192.0.3.7 192.0.2.7"),
        ("64:ff9b:1:c000:2:700::", "64:ff9b:1:c000:2:700::1", "64:ff9b:1:c000:2:800::"),
        ("64:ff9b:1:fffe::192.0.2.7", "64:ff9b:1:fffe::192.0.2.9", "64:ff9b:1:fffe::198.51.100.7"),
        ("64:ff9b:2::192.0.2.7", "64:ff9b:2::198.51.100.7", "64:ff9b:2:1::192.0.2.7"),
        # 6to4: each site has a /48 of its own, as any other site of IPv6.
        ("2002:c000:207::1", "2002:c000:207::2", "2002:c000:208::1 2002:c000:207:1::1 192.0.2.7"),
        # Teredo: everybody at one server shares a /64.
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "", "2001:0:4136:e378:8000:63bf:3fff:fdd3"),
        ("2001:1:4136:e378:8000:63bf:3fff:fdd2", "2001:1:4136:e378:8000:63bf:3fff:fdd3", ""),
        # What is no translator's prefix is IPv6 as any other.
        ("::192.0.2.7", "::198.51.100.7", "192.0.2.7"),
        ("::ffff:0:192.0.2.7", "::ffff:0:198.51.100.7", "192.0.2.7"),
        ("2001:db8:1:2::192.0.2.7", "2001:db8:1:2::198.51.100.7", "2001:db8:1:3::192.0.2.7"),
    ],
)
def test_hosts_behind_a_translator_are_not_one_client_network(
    address: str, same: str, others: str
) -> None:
    triplet = keys_of(address.encode()).triplet
    for each in same.split():
        assert keys_of(each.encode()).triplet == triplet
    for each in others.split():
        assert keys_of(each.encode()).triplet != triplet


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({}, 120), ({"ipv4cidr": 32}, 128), ({"ipv4cidr": 16}, 112), ({"ipv6cidr": 124}, 124),
        ({"ipv6cidr": 48}, 120), ({"lookup_by_host": True}, 128),
    ],
)  # fmt: skip
def test_a_translator_s_hosts_have_networks_as_wide_as_those_of_ipv4(
    options: dict[str, Any], prefix: int
) -> None:
    address = ipaddress.ip_address("64:ff9b:1::192.0.2.93")
    parsed = parse_address(str(address).encode())
    assert parsed is not None
    expected = ipaddress.ip_network((address, prefix), strict=False).network_address
    assert network_of(parsed, Settings(**options)) == int(expected)


@given(ordinary_addresses, st.integers(1, 32), st.integers(1, 128))
def test_a_network_is_the_address_s_first_bits(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, ipv4cidr: int, ipv6cidr: int
) -> None:
    parsed = parse_address(str(address).encode())
    assert parsed is not None
    prefix = ipv4cidr if parsed.bits == 32 else ipv6cidr
    plain = getattr(address, "ipv4_mapped", None) or address
    expected = ipaddress.ip_network((plain, prefix), strict=False).network_address
    assert network_of(parsed, Settings(ipv4cidr=ipv4cidr, ipv6cidr=ipv6cidr)) == int(expected)
    by_host = Settings(lookup_by_host=True, ipv4cidr=8, ipv6cidr=8)
    assert network_of(parsed, by_host) == int(plain)


# Senders: what postgrey makes of them -------------------------------------------------------------

SENDERS: list[tuple[bytes, bytes]] = [
    (b"prvs=0123456789=user@ex.org", b"user@ex.org"),
    (b"prvs=user=0123456789@ex.org", b"user@ex.org"),
    (b"prvs=012345678=user@ex.org", b"user@ex.org"),
    (b"prvs=0123456789=user=@ex.org", b"user@ex.org"),
    (b"prvs=user=0123456789=@ex.org", b"user@ex.org"),
    (b"prvs=0123456789=user+x=@ex.org", b"user@ex.org"),
    (b"prvs=0123456789=user=x@ex.org", b"prvs=#=user=x@ex.org"),
    (b"prvs=0123456789=user==@ex.org", b"prvs=#=user==@ex.org"),
    (b"prvs=user=@ex.org", b"prvs=user=@ex.org"),
    (b"prvs=user=012345678@ex.org", b"#@ex.org"),
    (b"prvs=0123456789a=user@ex.org", b"user@ex.org"),
    (b"prvs=user=0123456789a@ex.org", b"user@ex.org"),
    (b"prvs=ABCDEFGHIJ=user@ex.org", b"user@ex.org"),
    (b"prvs=user=ABCDEFGHIJ@ex.org", b"abcdefghij@ex.org"),
    (b"prvs=longusername=0123456789@ex.org", b"#@ex.org"),
    (b"prvs=0123456789=longusername@ex.org", b"longusername@ex.org"),
    (b"prvs=abcdefghij=short@ex.org", b"short@ex.org"),
    (b"prvs=short=abcdefghij.x@ex.org", b"short@ex.org"),
    (b"prvs=short=abcdefghij-x@ex.org", b"short@ex.org"),
    (b"prvs=abcdefghij.x=short@ex.org", b"short@ex.org"),
    (b"prvs=0123456789=a=b@ex.org", b"prvs=#=a=b@ex.org"),
    (b"prvs=a=b=c@ex.org", b"prvs=a=b=c@ex.org"),
    (b"prvs=a=0123456789=c@ex.org", b"prvs=a=#=c@ex.org"),
    (b"prvs=a=b=0123456789@ex.org", b"prvs=a=b=#@ex.org"),
    (b"prvs=user@ex.org", b"prvs=user@ex.org"),
    (b"prvs==user@ex.org", b"user@ex.org"),
    (b"prvs==0123456789@ex.org", b"@ex.org"),
    (b"prvs=user=@ex.org", b"prvs=user=@ex.org"),
    (b"prvs==@ex.org", b"prvs==@ex.org"),
    (b"prvs=0123456789=@ex.org", b"prvs=#=@ex.org"),
    (b"PRVS=0123456789=user@ex.org", b"prvs=#=user@ex.org"),
    (b"Prvs=user=0123456789@ex.org", b"prvs=user=#@ex.org"),
    (b"xprvs=0123456789=user@ex.org", b"xprvs=#=user@ex.org"),
    (b"prvs=0123456789=user+ext@ex.org", b"user@ex.org"),
    (b"prvs=0123456789=user-12@ex.org", b"user-#@ex.org"),
    (b"prvs=us+er=0123456789@ex.org", b"us@ex.org"),
    (b"prvs=0123456789+x=user@ex.org", b"user@ex.org"),
    (b"prvs=0123456789=us/er@ex.org", b"us/er@ex.org"),
    (b"prvs=0123456789/user@ex.org", b"prvs=#/user@ex.org"),
    (b"btv1==0123456789==user@ex.org", b"btv1==#==user@ex.org"),
    (b"+ext@ex.org", b"@ex.org"),
    (b"user+@ex.org", b"user@ex.org"),
    (b"user+a+b@ex.org", b"user@ex.org"),
    (b"user+a@ex+b.org", b"user@ex+b.org"),
    (b"a-123-b@ex.org", b"a-#-b@ex.org"),
    (b"a.123@ex.org", b"a.#@ex.org"),
    (b"123@ex.org", b"#@ex.org"),
    (b"a=1=b@ex.org", b"a=#=b@ex.org"),
    (b"a/1/b@ex.org", b"a/#/b@ex.org"),
    (b"<a-1@ex.org", b"<a-#@ex.org"),
    (b"-5@ex.org", b"-#@ex.org"),
    (b"00@ex.org", b"#@ex.org"),
    (b"1.2.3@ex.org", b"#.#.#@ex.org"),
    (b"a1-1a-1@ex.org", b"a1-1a-#@ex.org"),
    (b"1,000@ex.org", b"#,#@ex.org"),
    (b'"12 34"@ex.org', b'"# #"@ex.org'),
    (b"a_123_b@ex.org", b"a_123_b@ex.org"),
    (b"a_123@ex.org", b"a_123@ex.org"),
    (b"_123_@ex.org", b"_123_@ex.org"),
    (b"a123@ex.org", b"a123@ex.org"),
    (b"123a@ex.org", b"123a@ex.org"),
    (b"1a@ex.org", b"1a@ex.org"),
    (b"12@34.ex.org", b"#@34.ex.org"),
    (b"u@12.example", b"u@12.example"),
    (b"u@mail-12.ex9.org", b"u@mail-12.ex9.org"),
    (b"u@a@b.org", b"u@a@b.org"),
    (b"12@34@56.org", b"#@34@56.org"),
    (b"u+x@12@b+c.org", b"u@12@b+c.org"),
    (b"12", b"12"),
    (b"no-at-12-sign+x", b"no-at-12-sign+x"),
    (b"prvs=0123456789=user", b"prvs=0123456789=user"),
    (b"@ex.org", b"@ex.org"),
    (b"@", b"@"),
    (b"@12", b"@12"),
    (b"u@", b"u@"),
    (b"12@", b"#@"),
    (b"", b""),
    (b"SRS0=HHH=TT=orig.org=u1@ex.org", b"srs0=hhh=tt=orig.org=u1@ex.org"),
    (b"SRS0=AbC4=12=orig.org=user@ex.org", b"srs0=abc4=#=orig.org=user@ex.org"),
    (b"SRS0+HHH=TT=orig.org=user@ex.org", b"srs0@ex.org"),
    (b"\xe9123@ex.org", b"\xe9#@ex.org"),
    (b"123\xe9@ex.org", b"#\xe9@ex.org"),
    (b"a\xe9-1@ex.org", b"a\xe9-#@ex.org"),
    ("é123@ex.org".encode(), "é#@ex.org".encode()),
    ("a½1@ex.org".encode(), "a½#@ex.org".encode()),
    (b"\xc9@ex.org", b"\xc9@ex.org"),
    ("É@ex.org".encode(), "É@ex.org".encode()),
    ("٣@ex.org".encode(), "٣@ex.org".encode()),
    ("１２@ex.org".encode(), "１２@ex.org".encode()),
]


@pytest.mark.parametrize(("sender", "expected"), SENDERS)
def test_a_sender_is_normalised_as_postgrey_does(sender: bytes, expected: bytes) -> None:
    assert normalise_sender(sender).lower() == expected
    assert keys_of(sender=sender).triplet == b"{192.0.2.0}/%b/%b" % (
        expected.replace(b"/", b"%2f"),
        RECIPIENT,
    )


def test_a_recipient_is_only_lower_cased() -> None:
    recipient = b"prvs=0123456789=R.x+Ext-99@Example.com"
    key = keys_of(recipient=recipient).triplet
    assert key.endswith(b"/" + recipient.lower())


# Keys ---------------------------------------------------------------------------------------------


def test_keys_can_be_read_by_a_person() -> None:
    found = keys_of(b"192.0.2.10", b"Bob+x@Example.ORG", b"R@Example.com")
    assert found.triplet == b"{192.0.2.0}/bob@example.org/r@example.com"
    assert found.client == b"{192.0.2.0}:192.0.2.10"


def test_the_keys_of_a_request_share_a_hash_tag() -> None:
    found = keys_of(b"2001:db8:1:2:3:4:5:6")
    assert found.triplet.startswith(b"{2001:db8:1:2::}/")
    assert found.client == b"{2001:db8:1:2::}:2001:db8:1:2:3:4:5:6"


def test_a_neighbour_in_the_same_24_has_the_same_triplet_and_is_another_client() -> None:
    one, other = keys_of(b"192.0.2.10"), keys_of(b"192.0.2.11")
    assert one.triplet == other.triplet
    assert one.client != other.client
    assert keys_of(b"192.0.3.10").triplet != one.triplet


@pytest.mark.parametrize("options", [{"lookup_by_host": True}, {"ipv4cidr": 32}])
def test_by_host_a_neighbour_has_a_triplet_of_its_own(options: dict[str, Any]) -> None:
    assert keys_of(b"192.0.2.10", **options).triplet != keys_of(b"192.0.2.11", **options).triplet


@pytest.mark.parametrize(
    "address", [b"::ffff:192.0.2.10", b"::FFFF:C000:20A", b"64:ff9b::c000:20a"]
)
def test_a_mapped_or_translated_address_is_the_ipv4_client(address: bytes) -> None:
    assert keys_of(address) == keys_of(b"192.0.2.10")


def test_ipv4_and_ipv6_of_the_same_bytes_are_different_clients() -> None:
    assert keys_of(b"0.0.0.0").triplet != keys_of(b"::").triplet


parts = st.binary(max_size=8) | st.text("ab/@+%:{}=2fF", max_size=8).map(str.encode)
networks = st.sampled_from([b"192.0.2.1", b"192.0.3.1", b"2001:db8::1", b"::1"])


def same_place(one: tuple[bytes, bytes, bytes], other: tuple[bytes, bytes, bytes]) -> bool:
    """Whether two requests are meant to share a triplet under default settings."""

    def place(request: tuple[bytes, bytes, bytes]) -> tuple[tuple[int, int], bytes, bytes]:
        address = parse_address(request[0])
        assert address is not None
        network = (address.bits, network_of(address, Settings()))
        return network, normalise_sender(request[1]).lower(), request[2].lower()

    return place(one) == place(other)


@pytest.mark.parametrize(
    "options",
    [{}, {"privacy": True, "privacy_key": b"secret"}],
    ids=["clear", "HMAC"],
)
@given(st.tuples(networks, parts, parts), st.tuples(networks, parts, parts))
@example((b"192.0.2.1", b"a/b", b"c"), (b"192.0.2.1", b"a", b"b/c"))
@example((b"192.0.2.1", b"a%2fb", b"c"), (b"192.0.2.1", b"a/b", b"c"))
@example((b"192.0.2.1", b"", b"/c"), (b"192.0.2.1", b"/", b"c"))
def test_requests_share_a_triplet_only_if_network_sender_and_recipient_are_the_same(
    options: dict[str, Any], one: tuple[bytes, bytes, bytes], other: tuple[bytes, bytes, bytes]
) -> None:
    same = keys_of(*one, **options).triplet == keys_of(*other, **options).triplet
    assert same == same_place(one, other)


@given(networks, parts, parts, networks)
def test_a_triplet_s_key_is_never_a_client_s(
    address: bytes, sender: bytes, recipient: bytes, client: bytes
) -> None:
    for options in ({}, {"privacy": True}):
        assert (
            keys_of(address, sender, recipient, **options).triplet
            != keys_of(client, **options).client
        )


# Private keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "options", "digest"),
    [
        (b"192.0.2.10", {}, b"d794e3ce3aa72101161be2d7a87aeedd2191452d"),
        (b"2001:db8::1", {}, b"184a71154ca52a558893bc7bf97e58d961133105"),
        (b"192.0.2.10", {"lookup_by_host": True}, b"ed2c2cc41002161a98002fd1a3eef69208a6ee98"),
        (b"2001:db8::1", {"lookup_by_host": True}, b"f3699cef33d2be197078a1ce475b0ce610df6b95"),
    ],
)
def test_private_triplets_are_postgrey_s_sha1(
    address: bytes, options: dict[str, Any], digest: bytes
) -> None:
    found = keys_of(address, b"Bob+x@Example.ORG", b"R@Example.com", privacy=True, **options)
    assert found.triplet == b"/" + digest


@pytest.mark.parametrize(
    ("address", "clear"),
    [
        (b"192.0.2.10", "192.0.2.10"),
        (b"2001:db8::1", "2001:DB8:0:0:0:0:0:1"),
        (b"2001:0db8:0001:0002:0003:0004:0005:0006", "2001:DB8:1:2:3:4:5:6"),
    ],
)
def test_private_clients_are_postgrey_s_sha1(address: bytes, clear: str) -> None:
    assert keys_of(address, privacy=True).client == b":" + sha1_hex(clear)


def test_the_digests_are_those_that_postgrey_has_written() -> None:
    assert (
        keys_of(b"2001:db8::1", privacy=True).client == b":2b65cb35b0c0dbaa8151cbe85ee3ec24d8cc21a8"
    )
    assert keys_of(b"192.0.2.10", privacy=True).client.startswith(b":56adbd71")


def test_with_a_secret_the_keys_are_another_hash() -> None:
    plain = keys_of(privacy=True)
    one = keys_of(privacy=True, privacy_key=b"one")
    other = keys_of(privacy=True, privacy_key=b"other")
    assert len({plain, one, other}) == 3
    assert len(one.triplet) == len(one.client) == 1 + 64
    assert one == keys_of(b"192.0.2.10", SENDER.upper(), RECIPIENT.upper(), privacy=True,
                          privacy_key=b"one")  # fmt: skip


@given(parts, parts)
def test_private_keys_hold_nothing_of_the_request(sender: bytes, recipient: bytes) -> None:
    keys = keys_of(ADDRESS, sender, recipient, privacy=True)
    for found in (keys.triplet, keys.client):
        assert set(found[1:]) <= set(b"0123456789abcdef")


# Decisions ----------------------------------------------------------------------------------------


class Memory:
    """What is remembered of several requests, as a store would."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}

    def ask(
        self,
        now: int,
        settings: Settings,
        address: bytes = ADDRESS,
        sender: bytes = SENDER,
        recipient: bytes = RECIPIENT,
    ) -> Decision:
        """Decide on a request, and remember it."""
        parsed = parse_address(address)
        assert parsed is not None
        wanted = request_keys(parsed, sender, recipient, settings)
        remembered = [self.records.get(key) for key in (wanted.triplet, wanted.client)]
        decision, changes = decide(wanted, RememberedRecords(*remembered), T + now, settings)
        for change in changes:
            assert change.ttl_seconds > 0
            self.records[change.key] = change.value
        return decision

    def triplet(self) -> tuple[int, int]:
        """Return first-seen and last-seen of the one triplet."""
        (text,) = [text for key, text in self.records.items() if b"}/" in key]
        triplet = Triplet.load(text)
        assert triplet is not None
        return triplet.first_seen - T, triplet.last_seen - T

    def client(self) -> tuple[int, int] | None:
        """Return count and last-counted of the one client."""
        texts = [text for key, text in self.records.items() if b"}:" in key]
        client = Client.load(texts[0]) if texts else None
        return (client.successes, client.last_counted - T) if client else None


def told(decision: Decision) -> str:
    """Return what postgrey would tell of a decision."""
    if not decision.passes:
        waited = f" ({decision.missing_seconds}s missing)" if decision.waited_seconds else ""
        return decision.reason.text + waited
    if decision.first_pass:
        return f"PREPEND {decision.waited_seconds}"
    return "AWL" if decision.reason == Reason.CLIENT_AWL else "DUNNO"


SEQUENCES: list[tuple[dict[str, Any], list[tuple[int, str]]]] = [
    (
        {},
        [(0, "new"), (299, "early-retry (1s missing)"), (300, "PREPEND 300"), (301, "DUNNO")],
    ),
    ({}, [(0, "new"), (0, "new")]),
    ({}, [(0, "new"), (172800, "PREPEND 172800"), (172801, "DUNNO")]),
    ({}, [(0, "new"), (172801, "new"), (173100, "early-retry (1s missing)")]),
    ({}, [(0, "new"), (200, "early-retry (100s missing)"), (172801, "new")]),
    ({}, [(0, "new"), (-100, "new"), (199, "early-retry (1s missing)"), (200, "PREPEND 300")]),
    (
        {},
        [
            (0, "new"),
            (300, "PREPEND 300"),
            (-100, "new"),
            (0, "early-retry (200s missing)"),
            (200, "PREPEND 300"),
            (600, "DUNNO"),
        ],
    ),
    (
        {},
        [
            (0, "new"),
            (300, "PREPEND 300"),
            (100, "early-retry (200s missing)"),
            (299, "early-retry (1s missing)"),
            (300, "PREPEND 300"),
        ],
    ),
    (
        {},
        [
            (0, "new"),
            (1000, "PREPEND 1000"),
            (100, "early-retry (200s missing)"),
            (350, "PREPEND 350"),
        ],
    ),
    ({}, [(0, "new"), (300, "PREPEND 300"), (300 + 20 * DAY, "DUNNO")]),
    (
        {"retry_window_seconds": HOUR, "delay_seconds": 5000},
        [(0, "new"), (301, "early-retry (4699s missing)"), (3601, "new"), (7203, "new")],
    ),
    (
        {"retry_window_seconds": 0, "delay_seconds": 5},
        [(0, "new"), (1, "new"), (6, "new"), (12, "new")],
    ),
    ({"delay_seconds": -5}, [(0, "PREPEND 0"), (0, "DUNNO"), (1, "DUNNO")]),
    ({"delay_seconds": -5}, [(0, "PREPEND 0"), (-100, "DUNNO")]),
    ({"delay_seconds": 1}, [(0, "new"), (1, "PREPEND 1")]),
]


@pytest.mark.parametrize(("options", "sequence"), SEQUENCES)
def test_a_sequence_is_decided_as_postgrey_does(
    options: dict[str, Any], sequence: list[tuple[int, str]]
) -> None:
    memory = Memory()
    settings = Settings(**options)
    assert [(now, told(memory.ask(now, settings))) for now, _ in sequence] == sequence


def test_the_times_remembered_are_postgrey_s() -> None:
    memory = Memory()
    settings = Settings()
    seen = []
    for now in (0, 299, 300, 100, -50, 172750, 172751):
        memory.ask(now, settings)
        seen.append(memory.triplet())
    assert seen == [
        (0, 0), (0, 299), (0, 300), (0, 100), (-50, -50), (-50, 172750), (-50, 172751),
    ]  # fmt: skip


CHANGED_DELAYS: list[list[tuple[int, int, str]]] = [
    # delay, seconds, what is told
    [(300, 0, "new"), (300, 200, "early-retry (100s missing)"), (100, 201, "DUNNO")],
    [(300, 0, "new"), (300, 200, "early-retry (100s missing)"), (100, 172801, "DUNNO")],
    [
        (100, 0, "new"),
        (100, 100, "PREPEND 100"),
        (300, 101, "early-retry (199s missing)"),
        (300, 300, "PREPEND 300"),
    ],
    [(100, 0, "new"), (100, 100, "PREPEND 100"), (300, 172801, "new")],
]


@pytest.mark.parametrize("sequence", CHANGED_DELAYS)
def test_a_delay_changed_between_two_starts_counts_at_once(
    sequence: list[tuple[int, int, str]],
) -> None:
    memory = Memory()
    for delay, now, expected in sequence:
        assert told(memory.ask(now, Settings(delay_seconds=delay))) == expected


def test_a_triplet_that_passed_by_a_shorter_delay_does_not_count_its_client() -> None:
    memory = Memory()
    memory.ask(0, Settings())
    memory.ask(200, Settings())
    memory.ask(201, Settings(delay_seconds=100))
    assert memory.client() is None


def test_a_neighbour_in_the_same_24_inherits_the_wait() -> None:
    memory = Memory()
    memory.ask(0, Settings(), b"192.0.2.10")
    assert told(memory.ask(300, Settings(), b"192.0.2.99")) == "PREPEND 300"
    assert told(memory.ask(300, Settings(), b"192.0.3.10")) == "new"


@pytest.mark.parametrize(
    ("sender", "recipient"), [(b"other@example.com", RECIPIENT), (SENDER, b"other@example.org")]
)
def test_another_sender_or_recipient_waits_for_itself(sender: bytes, recipient: bytes) -> None:
    memory = Memory()
    memory.ask(0, Settings())
    assert told(memory.ask(300, Settings(), ADDRESS, sender, recipient)) == "new"


@pytest.mark.parametrize("behind", range(1, 6))
def test_a_server_whose_clock_is_seconds_behind_does_not_let_a_message_pass_twice(
    behind: int,
) -> None:
    memory = Memory()
    memory.ask(0, Settings())
    assert told(memory.ask(300, Settings())) == "PREPEND 300"
    assert told(memory.ask(300 - behind, Settings())) == "DUNNO"
    assert memory.triplet() == (0, 300)
    assert told(memory.ask(301, Settings())) == "DUNNO"


def test_a_clock_further_behind_is_decided_as_postgrey_does() -> None:
    memory = Memory()
    for now in (0, 300):
        memory.ask(now, Settings())
    assert told(memory.ask(294, Settings())) == "early-retry (6s missing)"


def test_a_clock_seconds_behind_does_not_shorten_a_wait() -> None:
    memory = Memory()
    memory.ask(0, Settings())
    memory.ask(299, Settings())
    assert told(memory.ask(298, Settings())) == "early-retry (2s missing)"


# Auto-whitelisted clients -------------------------------------------------------------------------


def pass_once(memory: Memory, now: int, settings: Settings, number: int) -> Decision:
    """Let a fresh triplet of the same client pass at ``now``."""
    sender = b"s%s@example.com" % bytes([97 + number])
    memory.ask(now - settings.delay_seconds, settings, sender=sender)
    return memory.ask(now, settings, sender=sender)


def counts_after(passes: list[int], settings: Settings) -> list[tuple[int, int] | None]:
    """Return the client's record after each of its first passes."""
    memory = Memory()
    counts = []
    for number, now in enumerate(passes):
        assert told(pass_once(memory, now, settings, number)).startswith("PREPEND")
        counts.append(memory.client())
    return counts


def test_a_client_is_counted_once_an_hour() -> None:
    settings = Settings()
    assert counts_after([300, 3899, 3900], settings) == [(1, 300), (1, 300), (2, 3900)]


def test_later_passes_of_a_triplet_do_not_count() -> None:
    memory = Memory()
    settings = Settings()
    pass_once(memory, 300, settings, 0)
    for hour in range(2, 20):
        memory.ask(hour * HOUR, settings, sender=b"sa@example.com")
    assert memory.client() == (1, 300)


def test_a_client_counted_in_the_future_is_not_counted_again_until_an_hour_after() -> None:
    assert counts_after([10_000, 400, 13_599, 13_600], Settings()) == [
        (1, 10_000), (1, 10_000), (1, 10_000), (2, 13_600),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_client_that_came_back_often_enough_passes_from_the_next_request_on(count: int) -> None:
    memory = Memory()
    settings = Settings(auto_whitelist_clients=count)
    decisions = [pass_once(memory, 300 + n * HOUR, settings, n) for n in range(count)]
    assert [decision.whitelisted for decision in decisions] == [False] * (count - 1) + [True]
    assert told(decisions[-1]) == "PREPEND 300"
    assert told(memory.ask(300 + count * HOUR, settings, sender=b"new@example.net")) == "AWL"


def test_a_neighbour_of_an_auto_whitelisted_client_is_greylisted() -> None:
    memory = Memory()
    settings = Settings(auto_whitelist_clients=1)
    pass_once(memory, 300, settings, 0)
    other = memory.ask(301, settings, b"192.0.2.11", b"new@example.net")
    assert told(other) == "new"


def test_the_client_that_comes_back_is_counted_not_the_one_that_came_first() -> None:
    memory = Memory()
    memory.ask(0, Settings(), b"192.0.2.10")
    memory.ask(300, Settings(), b"192.0.2.11")
    assert [key for key in memory.records if b"}:" in key] == [b"{192.0.2.0}:192.0.2.11"]


def whitelisted_client() -> tuple[Memory, Settings]:
    """Return a client auto-whitelisted at 300."""
    memory = Memory()
    settings = Settings(auto_whitelist_clients=1)
    pass_once(memory, 300, settings, 0)
    return memory, settings


@pytest.mark.parametrize(
    ("now", "client"),
    [
        (301, (1, 300)),
        (3899, (1, 300)),
        (3900, (2, 3900)),
        (300 + 30 * DAY, (2, 300 + 30 * DAY)),
        (299, (2, 299)),
        (-5000, (2, -5000)),
    ],
)
def test_an_auto_whitelisted_client_is_counted_at_most_once_an_hour(
    now: int, client: tuple[int, int]
) -> None:
    memory, settings = whitelisted_client()
    before = {key: text for key, text in memory.records.items() if b"}/" in key}
    assert told(memory.ask(now, settings)) == "AWL"
    assert memory.client() == client
    assert {key: text for key, text in memory.records.items() if b"}/" in key} == before


def test_a_lower_threshold_counts_at_once_and_a_higher_one_needs_more() -> None:
    memory = Memory()
    for number in range(3):
        pass_once(memory, 300 + number * HOUR, Settings(), number)
    assert memory.client() == (3, 300 + 2 * HOUR)
    later = 300 + 3 * HOUR
    for threshold, expected in ((2, "AWL"), (3, "AWL")):
        fresh = Memory()
        fresh.records = dict(memory.records)
        settings = Settings(auto_whitelist_clients=threshold)
        assert told(fresh.ask(later, settings, sender=b"n@x.org")) == expected
    raised = Settings(auto_whitelist_clients=4)
    assert pass_once(memory, later, raised, 9).whitelisted
    assert told(memory.ask(later + 1, raised, sender=b"n@x.org")) == "AWL"


def test_without_auto_whitelisting_nothing_is_counted() -> None:
    memory = Memory()
    settings = Settings(auto_whitelist_clients=0)
    for number in range(8):
        assert told(pass_once(memory, 300 + number * HOUR, settings, number)) == "PREPEND 300"
    assert memory.client() is None


def test_a_negative_threshold_is_reached_by_one_pass() -> None:
    memory = Memory()
    settings = Settings(auto_whitelist_clients=-1)
    # postgrey tells of it only where the count is the threshold exactly.
    assert not pass_once(memory, 300, settings, 0).whitelisted
    assert told(memory.ask(301, settings, sender=b"n@x.org")) == "AWL"


# Age ----------------------------------------------------------------------------------------------


def test_a_triplet_that_passed_is_forgotten_after_max_age_without_sight() -> None:
    settings = Settings(auto_whitelist_clients=0)
    for later, expected in ((35 * DAY, "DUNNO"), (35 * DAY + 1, "new")):
        memory = Memory()
        memory.ask(0, settings)
        memory.ask(300, settings)
        assert told(memory.ask(300 + later, settings)) == expected


def test_each_sight_lets_a_triplet_live_longer() -> None:
    settings = Settings(auto_whitelist_clients=0)
    memory = Memory()
    memory.ask(0, settings)
    memory.ask(300, settings)
    for month in range(1, 12):
        assert told(memory.ask(month * 30 * DAY, settings)) == "DUNNO"


def test_an_auto_whitelisted_client_is_forgotten_after_max_age_without_sight() -> None:
    for later, expected in ((35 * DAY, "AWL"), (35 * DAY + 1, "new")):
        memory, settings = whitelisted_client()
        assert told(memory.ask(300 + later, settings, sender=b"n@x.org")) == expected


@pytest.mark.parametrize("ahead", [1, 300, DAY, 100 * DAY, 20_000 * DAY, 3 * 10**11])
def test_what_was_seen_first_by_a_clock_ahead_waits_no_longer_than_the_delay(ahead: int) -> None:
    memory = Memory()
    memory.ask(ahead, Settings())
    assert told(memory.ask(0, Settings())) == "new"
    assert told(memory.ask(300, Settings())) == "PREPEND 300"


@pytest.mark.parametrize("ahead", [DAY, 100 * DAY, 20_000 * DAY])
def test_what_passed_by_a_clock_ahead_does_not_pass_for_ever(ahead: int) -> None:
    memory = Memory()
    settings = Settings(auto_whitelist_clients=1)
    for now in (ahead, ahead + 300):
        memory.ask(now, settings)
    memory.ask(0, settings)
    memory.ask(300, settings)
    assert told(memory.ask(300 + 36 * DAY, settings, sender=b"n@x.org")) == "new"


@pytest.mark.parametrize("behind", [1, 300, DAY, 100 * DAY, 20_000 * DAY])
def test_what_was_seen_first_by_a_clock_behind_passes_after_the_delay_or_sooner(
    behind: int,
) -> None:
    memory = Memory()
    memory.ask(-behind, Settings())
    memory.ask(0, Settings())
    assert memory.ask(300, Settings()).passes


# Records ------------------------------------------------------------------------------------------

times = st.integers(-(10**14), 10**14)


@given(times, times, st.none() | times)
def test_a_triplet_s_record_is_read_as_it_was_written(
    first: int, last: int, passed: int | None
) -> None:
    triplet = Triplet(first, last, passed)
    assert Triplet.load(triplet.dump()) == triplet


@given(times, times)
def test_a_client_s_record_is_read_as_it_was_written(count: int, last: int) -> None:
    client = Client(count, last)
    assert Client.load(client.dump()) == client


@pytest.mark.parametrize(
    ("text", "triplet"),
    [
        (b"100", Triplet(100, 100)),
        (b"100,200", Triplet(100, 200)),
        (b"100,200,300", Triplet(100, 200, 300)),
        (b"100,200,300,400", Triplet(100, 200, 300)),
        (b"100,200,300,who knows", Triplet(100, 200, 300)),
        (b"100,200;more", Triplet(100, 200)),
        (b"-5,7", Triplet(-5, 7)),
        (b"", None),
        (b"junk", None),
        (b",1", None),
    ],
)
def test_older_and_longer_forms_of_a_triplet_are_read(text: bytes, triplet: Triplet | None) -> None:
    assert Triplet.load(text) == triplet


@pytest.mark.parametrize(
    ("text", "client"),
    [
        (b"3,100", Client(3, 100)),
        (b"3,100,more", Client(3, 100)),
        (b"3,100,7,8", Client(3, 100)),
        (b"3", None),
        (b"", None),
        (b"junk", None),
    ],
)
def test_older_and_longer_forms_of_a_client_are_read(text: bytes, client: Client | None) -> None:
    assert Client.load(text) == client


@pytest.mark.parametrize("record", [Triplet(T, T), Triplet(T, T + 9), Triplet(T, T + 9, T + 9),
                                    Client(5, T)])  # fmt: skip
def test_records_can_be_read_by_a_person(record: Triplet | Client) -> None:
    assert set(record.dump()) <= set(b"0123456789,")


def decide_on(triplet: bytes | None, client: bytes | None, now: int, settings: Settings) -> None:
    """Decide on records of any octets; what is written is readable and lives long enough."""
    wanted = keys_of()
    decision, changes = decide(wanted, RememberedRecords(*[triplet, client]), now, settings)
    assert decision.reason in {
        Reason.NEW, Reason.EARLY_RETRY, Reason.TRIPLET_FOUND, Reason.CLIENT_AWL,
    }  # fmt: skip
    for change in changes:
        assert change.key in wanted
        loaded = (Triplet if change.key == wanted.triplet else Client).load(change.value)
        assert loaded is not None
        assert loaded[1] == now
        assert change.ttl_seconds > 0


records = st.none() | st.binary(max_size=40) | st.text("0123456789,-x", max_size=40).map(str.encode)


@given(records, records, st.integers(0, 10**12))
def test_no_bytes_of_a_record_raise(triplet: bytes | None, client: bytes | None, now: int) -> None:
    decide_on(triplet, client, now, Settings())


@pytest.mark.parametrize("raw", cases("records"))
def test_what_was_found_once_stays_found(raw: bytes) -> None:
    decide_on(raw, raw, T, Settings())


# Time to live -------------------------------------------------------------------------------------


def ttls(sequence: list[int], settings: Settings) -> dict[bytes, int]:
    """Return the TTLs that the last request of a sequence sets, by the kind of record."""
    wanted = keys_of()
    remembered: dict[bytes, bytes] = {}
    changes: Any = ()
    for now in sequence:
        before = [remembered.get(key) for key in (wanted.triplet, wanted.client)]
        _, changes = decide(wanted, RememberedRecords(*before), T + now, settings)
        remembered |= {change.key: change.value for change in changes}
    kinds = {wanted.triplet: b"triplet", wanted.client: b"client"}
    return {kinds[change.key]: change.ttl_seconds for change in changes}


@pytest.mark.parametrize("sequence", [[0], [0, 10], [0, 172801]])
def test_what_waits_is_kept_for_the_retry_window_and_an_hour(sequence: list[int]) -> None:
    assert ttls(sequence, Settings()) == {b"triplet": 2 * DAY + HOUR}


def test_what_passed_is_kept_for_max_age_and_an_hour() -> None:
    assert ttls([0, 300], Settings()) == {
        b"triplet": 35 * DAY + HOUR, b"client": 35 * DAY + HOUR,
    }  # fmt: skip
    assert ttls([0, 300, 301], Settings()) == {b"triplet": 35 * DAY + HOUR}


def test_under_test_time_too_a_ttl_is_a_duration_not_an_instant() -> None:
    for now in (-T, 10**11):
        assert ttls([now], Settings()) == {b"triplet": 2 * DAY + HOUR}


@given(
    st.integers(-400, 10**6),
    st.integers(-10, 10**5).map(lambda days: days * DAY),
    st.integers(0, 10**6),
    st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=4),
)
@example(-1, -10 * DAY, 0, [0])
@example(1, -DAY, 100, [0, 1])
def test_a_ttl_is_never_nought_and_outlives_what_the_rules_still_look_at(
    delay: int, max_age: int, window: int, sequence: list[int]
) -> None:
    settings = Settings(delay_seconds=delay, max_age_seconds=max_age, retry_window_seconds=window)
    for seconds in ttls(sequence, settings).values():
        assert seconds >= HOUR
        assert seconds > min(max_age, window)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12), st.integers(1, 2000))
def test_nothing_passes_for_the_first_time_before_the_delay(gaps: list[int], delay: int) -> None:
    assume(delay > 0)
    memory = Memory()
    settings = Settings(delay_seconds=delay, auto_whitelist_clients=0)
    now = 0
    waiting_since: int | None = None
    for gap in gaps:
        now += gap
        decision = memory.ask(now, settings)
        if decision.reason == Reason.NEW:
            waiting_since = now
        assert waiting_since is not None
        assert decision.waited_seconds == now - waiting_since
        assert decision.passes == (now - waiting_since >= delay)
