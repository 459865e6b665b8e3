"""Whitelists: what an entry matches, what it nearly matches, and what is said about odd ones."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.rules.address import parse_address
from greyd.rules.networks import parse_network
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, SenderWhitelist
from tests.corpus import cases

NOWHERE = parse_address(b"198.51.100.7")


def clients(*lines: str | bytes) -> ClientWhitelist:
    """Return a whitelist of clients with these lines."""
    texts = [line.encode() if isinstance(line, str) else line for line in lines]
    return ClientWhitelist([WhitelistFile("w", b"\n".join(texts) + b"\n")])


def recipients(*lines: str) -> RecipientWhitelist:
    """Return a whitelist of recipients with these lines."""
    return RecipientWhitelist([WhitelistFile("w", "\n".join(lines).encode() + b"\n")])


def names_matched(entry: str, names: str) -> str:
    whitelist = clients(entry)
    return " ".join(name for name in names.split() if whitelist.match(name.encode(), NOWHERE))


def addresses_matched(entry: str, addresses: str) -> str:
    whitelist = clients(entry)
    return " ".join(
        address
        for address in addresses.split()
        if whitelist.match(b"unknown", parse_address(address.encode()))
    )


# Clients by name ----------------------------------------------------------------------------------

NAMES = (
    "example.com mx.example.com MX.Example.COM notexample.com example.com. mx.example.com."
    " .example.com example.com.evil.org xexample.com mxzexamplezcom user@example.com"
    " mx-1_a.example.com example.comx"
)


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        (
            "example.com",
            "example.com mx.example.com MX.Example.COM .example.com mx-1_a.example.com",
        ),
        (
            "Example.COM",
            "example.com mx.example.com MX.Example.COM .example.com mx-1_a.example.com",
        ),
        (".example.com", ".example.com"),
        ("example.com.", "example.com. mx.example.com."),
        ("mx.example.com", "mx.example.com MX.Example.COM"),
        ("mx-1_a.example.com", "mx-1_a.example.com"),
        ("user@example.com", "user@example.com"),
        (
            "com",
            "example.com mx.example.com MX.Example.COM notexample.com .example.com xexample.com"
            " user@example.com mx-1_a.example.com",
        ),
        ("*.example.com", ""),
        ("example.com:25", ""),
        ("example.*", ""),
        ("exam", ""),
        ("[example.com]", ""),
        ("<example.com>", ""),
        ("@example.com", ""),
        ("!example.com", ""),
        ("example.com/24", ""),
    ],
)
def test_a_host_name_matches_itself_and_what_is_below_it(entry: str, matched: str) -> None:
    assert names_matched(entry, NAMES) == matched


def test_a_whitelist_without_entries_matches_nothing() -> None:
    whitelist = clients("", "# nothing", "   ")
    assert len(whitelist) == 0
    assert whitelist.match(b"", None) is None
    assert whitelist.match(b"a.b", NOWHERE) is None
    assert recipients("").match(b"") is None


def test_an_entry_tells_where_it_stands() -> None:
    whitelist = ClientWhitelist(
        [WhitelistFile("a", b"# c\na.example\n"), WhitelistFile("b", b"a.example\nb.example")]
    )
    first, second = whitelist.match(b"mx.a.example", None), whitelist.match(b"b.example", None)
    assert first is not None
    assert second is not None
    assert (first.file, first.line, first.text) == ("a", 2, b"a.example")
    assert (second.file, second.line) == ("b", 2)


# Clients by address -------------------------------------------------------------------------------

V4 = "192.0.2.10 192.0.2.11 192.0.3.10 192.1.2.10 10.0.0.1 10.9.9.9 1.2.3.4"
V6 = "2001:db8::1 2001:DB8:0:0:0:0:0:1 2001:db8:0:0::2 2001:db8:1::1 2001:db9::1 ::1 :: fe80::1"


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("192.0.2.10/32", "192.0.2.10"),
        ("192.0.2.10/31", "192.0.2.10 192.0.2.11"),
        ("192.0.2.10/24", "192.0.2.10 192.0.2.11"),
        ("192.0.2.0/24", "192.0.2.10 192.0.2.11"),
        ("192.0.2.10/16", "192.0.2.10 192.0.2.11 192.0.3.10"),
        ("192.0.2.10/0", V4),
        ("0.0.0.0/0", V4),
        ("192.0.2", "192.0.2.10 192.0.2.11"),
        (" 192.0.2.10 ", "192.0.2.10"),
        ("192.0.2.10#c", "192.0.2.10"),
        ("1.2.3.4/8", "1.2.3.4"),
        ("1.2", ""),
        ("192.0.2.", ""),
        ("192.0.", ""),
        ("192", ""),
        ("10", ""),
        ("10.", ""),
        ("1.2.3.4/33", ""),
        ("1.2.3.4/-1", ""),
        ("1.2.3.4/", ""),
        ("1.2.3.4/255.255.255.0", ""),
        ("1.2.3.4/24/8", ""),
        ("1.2.3.4/0032", ""),
        ("192.0.2.10.5", ""),
        ("192.0.2.300", ""),
        ("256.1.1.1", ""),
        ("192.0.2/24", ""),
        ("192.0/16", ""),
        ("10/8", ""),
        ("192.000.002.010", ""),
        ("192.0.2.10:25", ""),
        ("192.0.2.10-20", ""),
        ("192.0.2.*", ""),
        ("[192.0.2.10]", ""),
        ("::/0", ""),
    ],
)
def test_an_ipv4_entry_matches_its_network(entry: str, matched: str) -> None:
    assert addresses_matched(entry, V4) == matched


def test_two_bytes_are_read_as_postgrey_reads_them_and_remarked_upon() -> None:
    assert addresses_matched("1.2", "1.2.0.5 1.2.3.4 1.0.0.2") == "1.2.0.5"
    (diagnostic,) = clients("x.example", "1.2").diagnostics
    assert str(diagnostic).startswith(
        'w:2: "1.2" – read as 1.2.0.0/24, as postgrey does; write 1.2.0.0/16'
    )


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        ("2001:db8::/32", "2001:db8::1 2001:DB8:0:0:0:0:0:1 2001:db8:0:0::2 2001:db8:1::1"),
        ("2001:DB8::/32", "2001:db8::1 2001:DB8:0:0:0:0:0:1 2001:db8:0:0::2 2001:db8:1::1"),
        ("2001:0db8::/32", "2001:db8::1 2001:DB8:0:0:0:0:0:1 2001:db8:0:0::2 2001:db8:1::1"),
        ("2001:db8::1", "2001:db8::1 2001:DB8:0:0:0:0:0:1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1 2001:DB8:0:0:0:0:0:1"),
        ("2001:db8::1/128", "2001:db8::1 2001:DB8:0:0:0:0:0:1"),
        ("2001:db8::1/64", "2001:db8::1 2001:DB8:0:0:0:0:0:1 2001:db8:0:0::2"),
        ("[2001:db8::1]", "2001:db8::1 2001:DB8:0:0:0:0:0:1"),
        ("2001:db8::1 # c", "2001:db8::1 2001:DB8:0:0:0:0:0:1"),
        ("2001:db8::", ""),
        ("::1", "::1"),
        ("::", "::"),
        ("::/0", V6),
        ("0::0/0", V6),
        ("fe80::/10", "fe80::1"),
        ("2001:db8:", ""),
        ("2001:db8", ""),
        ("2001:db8:1", ""),
        ("::/129", ""),
        ("::g", ""),
        ("2001:db8::/", ""),
        ("2001:db8::1/200", ""),
        ("[2001:db8::]/32", ""),
        ("[IPv6:2001:db8::]/64", ""),
        ("IPv6:2001:db8::1", ""),
        ("ipv6:2001:db8::/64", ""),
        ("[IPv6:2001:db8::1]", ""),
        ("[2001:db8::/32]", ""),
        ("[2001:db8::]/129", ""),
        ("IPv6:", ""),
        ("IPv6:192.0.2.7", ""),
        ("IPv6:IPv6:2001:db8::1", ""),
        ("2001:db8::1%eth0", ""),
        ("fe80::%eth0/10", ""),
        ("a:b:c", ""),
        ("1::2::3", ""),
        ("2001:db8::*", ""),
        ("2001:db8:0:0:0:0:0:1:2", ""),
        ("0.0.0.0/0", ""),
    ],
)
def test_an_ipv6_entry_matches_its_network(entry: str, matched: str) -> None:
    assert addresses_matched(entry, V6) == matched


@pytest.mark.parametrize(
    "entry", ["192.0.2.10", "192.0.2.0/24", "::ffff:192.0.2.10", "::ffff:192.0.2.0/120"]
)
def test_a_mapped_address_is_ipv4_in_a_list_and_in_a_request(entry: str) -> None:
    addresses = "192.0.2.10 ::ffff:192.0.2.10 ::192.0.2.10 2001:db8::1"
    assert addresses_matched(entry, addresses) == "192.0.2.10 ::ffff:192.0.2.10"


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        ("192.0.2.10", "192.0.2.10 64:ff9b::192.0.2.10"),
        ("64:ff9b::192.0.2.10", "192.0.2.10 64:ff9b::192.0.2.10"),
        ("64:ff9b::192.0.2.0/120", "192.0.2.10 64:ff9b::192.0.2.10"),
        ("64:ff9b::c000:0/98", "192.0.2.10 64:ff9b::192.0.2.10"),
        # Private and loopback addresses are not the translator's to speak of.
        ("10.0.0.0/8", "10.0.0.7"), ("127.0.0.1", "127.0.0.1"),
        ("64:ff9b::10.0.0.0/104", "64:ff9b::10.0.0.7"),
        ("64:ff9b::/96", "64:ff9b::10.0.0.7 64:ff9b::127.0.0.1"),
        ("64:ff9b:1::192.0.2.0/120", "64:ff9b:1::192.0.2.10"),
    ],
)  # fmt: skip
def test_a_translated_address_is_ipv4_in_a_list_and_in_a_request(entry: str, matched: str) -> None:
    addresses = (
        "192.0.2.10 64:ff9b::192.0.2.10 64:ff9b:1::192.0.2.10 10.0.0.7 64:ff9b::10.0.0.7 127.0.0.1"
        " 64:ff9b::127.0.0.1"
    )
    assert addresses_matched(entry, addresses) == matched


@pytest.mark.parametrize(
    ("entry", "diagnostics"),
    [
        ("64:ff9b::/96", 1), ("64:ff9b::/64", 1), ("64:ff9b::/48", 1), ("64:ff9b::192.0.2.7", 0),
        ("64:ff9b:1::/48", 0), ("2001:db8::/64", 0), ("::/0", 0),
    ],
)  # fmt: skip
def test_an_entry_that_was_meant_for_all_behind_nat64_is_remarked_on(
    entry: str, diagnostics: int
) -> None:
    clients = ClientWhitelist([WhitelistFile("list", entry.encode())])
    assert len(clients.diagnostics) == diagnostics


@pytest.mark.parametrize(
    "entry",
    [
        "1.2.3.4/33", "1.2.3.300", "::g", "::/129", "a:b:c", "256.1.1", "1.2.3.4.5", "/unclosed",
        "10/8", "192.0.2.*", "2001:db8::*", "192.0.2/24",
    ],
)  # fmt: skip
def test_what_looks_like_an_address_but_is_none_is_told_with_its_line(entry: str) -> None:
    whitelist = clients("ok.example", entry, "192.0.2.10")
    (diagnostic,) = whitelist.diagnostics
    assert str(diagnostic).startswith(f'w:2: "{entry}" – ')
    assert whitelist.match(b"ok.example", NOWHERE)
    assert whitelist.match(b"x", parse_address(b"192.0.2.10"))
    assert not whitelist.match(b"x", parse_address(b"192.0.2.11"))


NEVER_NAMES = [
    "300.1.2.3", "1.2.3.999", "300.1.2", "256.1", "1.256.3", "300.1.2.3/24", "1.2.3.4/33",
    "192.000.002.010", "a:b:c", "1::2::3", "x:y:z/12", "::g", "2001:db8::/129", "2001:db8:",
    "fe80::1%eth0", "::1.2.3.300",
]  # fmt: skip
NAMES_THAT_LOOK_LIKE_ADDRESSES = [
    "1.2.3.4.5", "1.2.3.4/x", "1.2.3/24", "1.2/16", "10/8", "10", "1.2.3.", "1.2.3.4/123",
    "1.2.3.4/0032", "1.2.3.4/", "0300.1.2.3", "1234.1.2.3", "1.2.3.4567", ".1.2.3.4", "a:b",
    "300.1.2.3.example", "1.2.3.4a",
]  # fmt: skip


@pytest.mark.parametrize("entry", NEVER_NAMES)
def test_an_invalid_address_is_not_compared_with_names(entry: str) -> None:
    whitelist = clients(entry)
    for name in (entry, f"mx.{entry}", entry.partition("/")[0]):
        assert not whitelist.match(name.encode(), NOWHERE)
    assert len(whitelist) == 0
    assert len(whitelist.diagnostics) == 1


@pytest.mark.parametrize("entry", NAMES_THAT_LOOK_LIKE_ADDRESSES)
def test_text_that_is_not_quite_an_address_is_a_name_as_with_postgrey(entry: str) -> None:
    whitelist = clients(entry)
    assert whitelist.match(entry.encode(), NOWHERE)
    assert whitelist.match(f"mx.{entry}".encode(), NOWHERE)


def test_a_name_counts_though_there_is_no_address() -> None:
    assert clients("good.example").match(b"good.example", None)
    assert not clients("::/0", "0.0.0.0/0").match(b"good.example", None)


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_a_network_matches_what_shares_its_first_bits(
    entry: object, client: object, length: int
) -> None:
    one, other = parse_address(str(entry).encode()), parse_address(str(client).encode())
    assert one is not None
    assert other is not None
    prefix = min(length, one.bits)
    shared = one.bits == other.bits and one.number >> one.bits - prefix == other.number >> (
        one.bits - prefix
    )
    whitelist = clients(f"{one.text.decode()}/{prefix}")
    assert bool(whitelist.match(b"unknown", other)) == shared
    assert whitelist.match(b"unknown", one)


# Patterns -----------------------------------------------------------------------------------------

ALL_EXAMPLES = "example.com MX9.EXAMPLE.COM zexample#x.com /example x./example/i mx9.example"
PATTERN_NAMES = (
    "example.com MX9.EXAMPLE.COM zexample#x.com exampli.org unknown a/b x/xz /example"
    " x./example/i mx9.example"
)


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        ("/example/", ALL_EXAMPLES),
        ("/EXAMPLE/", ALL_EXAMPLES),
        (r"/^example\.com$/", "example.com"),
        ("/example/i", "x./example/i"),
        ("/example", "/example"),
        ("/example#x/", "/example"),
        (r"/^mx\d/", "MX9.EXAMPLE.COM mx9.example"),
        ("/^unknown$/", "unknown"),
        (r"/example\.com$/", "example.com MX9.EXAMPLE.COM"),
        (r"/example\.com\z/", "example.com MX9.EXAMPLE.COM"),
        (r"/example\.com\Z/", "example.com MX9.EXAMPLE.COM"),
        (r"/\Aexample/", "example.com"),
        ("//", ""),
        ("/./", PATTERN_NAMES),
        ("/$/", PATTERN_NAMES),
        (r"/\/x/", "x/xz"),
        ("/a/b/", "a/b"),
        (r"/exa\smple/", ""),
        (r"/exa\hmple/", ""),
        (r"/exam[\hp]le\.com/", "example.com MX9.EXAMPLE.COM"),
        (r"/m[x\h[:digit:]]\d/", "MX9.EXAMPLE.COM mx9.example"),
        (r"/m[[:alpha:]\h]\d/", "MX9.EXAMPLE.COM mx9.example"),
        (r"/\S+\.example/", "MX9.EXAMPLE.COM mx9.example"),
        ("/(?i)example.c/", "example.com MX9.EXAMPLE.COM"),
        ("/(?-i)example/", "example.com zexample#x.com /example x./example/i mx9.example"),
        ("/(?-i:example)/", "example.com zexample#x.com /example x./example/i mx9.example"),
        ("/@/", ""),
        ("/^$/", ""),
        ("/[/]/", "a/b x/xz /example x./example/i"),
        (r"/e{7}|a\/b/", "a/b"),
        (r"/\bexample\b/", "example.com MX9.EXAMPLE.COM /example x./example/i mx9.example"),
        (r"/exampl[ie]\./", "example.com MX9.EXAMPLE.COM exampli.org"),
        ("/$com/", ""),
        (r"/\x45xample\.c/", "example.com MX9.EXAMPLE.COM"),
        (r"/[[:digit:]]\.example/", "MX9.EXAMPLE.COM mx9.example"),
        ("/[[:alpha:]]{7}[.]com/", "example.com MX9.EXAMPLE.COM"),
        (r"/(?:example|unknown)(?:\.com)?$/", "example.com MX9.EXAMPLE.COM unknown /example"
                                              " mx9.example"),
        (r"/^(\w+)\.com$/", "example.com"),
        (r"/^mx\d+?\.example/", "MX9.EXAMPLE.COM mx9.example"),
    ],
)  # fmt: skip
def test_a_pattern_is_searched_in_the_name_case_blind(entry: str, matched: str) -> None:
    assert names_matched(entry, PATTERN_NAMES) == matched


def test_a_pattern_is_not_searched_in_the_address() -> None:
    assert not clients(r"/192\.0\.2/").match(b"unknown", parse_address(b"192.0.2.1"))


def test_letters_beyond_ascii_have_no_case() -> None:
    whitelist = clients(b"/^caf\xe9$/")
    assert whitelist.match(b"CAF\xe9", NOWHERE)
    assert not whitelist.match(b"caf\xc9", NOWHERE)


@pytest.mark.parametrize(
    "pattern",
    [
        "a++b", "a*+b", "a?+b", "(?>a+)b", "(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1",
        r"(?<x>a)\k<x>", "(unclosed", "[z", "*x", r"a\K", "(?{1})", "(?R)", "a{2,1}", "x**",
    ],
)  # fmt: skip
def test_a_pattern_that_can_t_be_searched_in_linear_time_is_told_and_the_rest_stands(
    pattern: str,
) -> None:
    whitelist = clients("one.example", "", f"/{pattern}/ # c", r"/^two\.example$/", "192.0.2.1")
    (diagnostic,) = whitelist.diagnostics
    assert str(diagnostic).startswith(f'w:3: "/{pattern}/" – skipped: ')
    assert len(whitelist) == 3
    assert whitelist.match(b"one.example", NOWHERE)
    assert whitelist.match(b"two.example", NOWHERE)
    assert whitelist.match(b"x", parse_address(b"192.0.2.1"))
    assert not whitelist.match(b"ab", NOWHERE)


def test_an_empty_pattern_matches_nothing_and_is_told() -> None:
    whitelist = clients("//")
    assert len(whitelist.diagnostics) == 1
    assert not whitelist.match(b"anything", NOWHERE)


def test_a_pattern_is_told_as_it_stands_in_the_file_and_not_its_neighbours() -> None:
    lines = [r"/^a\d\.example$/", r"/(?i)b/", r"/^c|d$/", r"/\Qe./", "/f/", r"/\Qh\E|g/"]
    whitelist = clients(*lines)
    assert [each.line for each in whitelist.diagnostics] == [4, 6]
    for name, line in (
        (b"a1.example", 1),
        (b"xBx", 2),
        (b"cx", 3),
        (b"xd", 3),
        (b"xfx", 5),
        (b"g", 6),
    ):
        entry = whitelist.match(name, NOWHERE)
        assert entry is not None, name
        assert entry.line == line
    assert not whitelist.match(b"xa1.example", NOWHERE)
    assert not whitelist.match(b"xcx", NOWHERE)


def test_hundreds_of_patterns_each_match_their_own() -> None:
    whitelist = clients(*(rf"/^mx{number}\.example\d+$/" for number in range(700)))
    assert len(whitelist) == 700
    for number in (0, 199, 200, 401, 699):
        entry = whitelist.match(b"MX%d.example7" % number, NOWHERE)
        assert entry is not None
        assert entry.line == number + 1
    assert not whitelist.match(b"mx700.example7", NOWHERE)


CATASTROPHIC = ["(a+)+$", "(a|a)*b", "(a|aa)+$", "(.*a){20}b", "^(([a-z])+.)+[A-Z]([a-z])+$",
                "(x+x+)+y", "([a-z0-9]+-?)+[.]$", "(a*)*(a*)*c", ".*.*.*.*.*z9$"]  # fmt: skip


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_no_pattern_hangs_on_a_long_name(pattern: str) -> None:
    whitelist = clients(f"/{pattern}/")
    assert whitelist.diagnostics == []
    # Backtracking would take longer than the universe has lasted, so any limit proves it.
    started = time.process_time()
    for name in (b"a" * 511 + b"!", b"x" * 512, b"a-" * 256):
        whitelist.match(name, NOWHERE)
    assert time.process_time() - started < 5


# Recipients ---------------------------------------------------------------------------------------

ADDRESSES = (
    "user@example.com|User@EXAMPLE.Com|user+ext@example.com|user+@example.com"
    "|user-ext@example.com|xuser@example.com|user@sub.example.com|user+e@sub.example.com"
    "|user@notexample.com|user@example.com.evil.org|user@other.org|other@example.com|user"
    "|example.com||@example.com|user@|user@a@example.com|user@example.com |userx@example.com"
    "|USER+x@other.org|u.ser@example.com"
)

BY_LOCAL_PART = (
    "user@example.com|User@EXAMPLE.Com|user+ext@example.com|user@sub.example.com"
    "|user+e@sub.example.com|user@notexample.com|user@example.com.evil.org|user@other.org|user@"
    "|user@a@example.com|user@example.com |USER+x@other.org"
)
BY_DOMAIN = (
    "user@example.com|User@EXAMPLE.Com|user+ext@example.com|user+@example.com"
    "|user-ext@example.com|xuser@example.com|user@sub.example.com|user+e@sub.example.com"
    "|other@example.com|@example.com|user@a@example.com|userx@example.com|u.ser@example.com"
)


@pytest.mark.parametrize(
    ("entry", "matched"),
    [
        ("user@", BY_LOCAL_PART),
        ("USER@", BY_LOCAL_PART),
        ("user@example.com", "user@example.com|User@EXAMPLE.Com|user+ext@example.com"),
        ("User@Example.COM", "user@example.com|User@EXAMPLE.Com|user+ext@example.com"),
        ("user+ext@example.com", "user+ext@example.com"),
        ("user+@", "user+@example.com"),
        ("user+ext@", "user+ext@example.com"),
        ("example.com", BY_DOMAIN),
        ("Example.Com", BY_DOMAIN),
        ("@example.com", "@example.com"),
        ("sub.example.com", "user@sub.example.com|user+e@sub.example.com"),
        ("u.ser@", "u.ser@example.com"),
        ("@", "@example.com"),
        ("user@a@example.com", "user@a@example.com"),
        (".example.com", ""),
        ("*@example.com", ""),
        ("*", ""),
        ("user", ""),
        ("user@*", ""),
        ("user@.example.com", ""),
        ("user@example", ""),
        ("user@example.com.", ""),
        ("example.com.", ""),
        ("a@b@c", ""),
        ("<user@example.com>", ""),
        ("postmaster@", ""),
        ("1.2.3.4", ""),
        ("u(ser@example.com", ""),
        ("/user/i", ""),
        ("/user", ""),
        ("//", ""),
        ("/user#/", ""),
        ("/^$/", ""),
        ("/@sub\\./", "user@sub.example.com|user+e@sub.example.com"),
        (
            "/^user\\+.*@/",
            "user+ext@example.com|user+@example.com|user+e@sub.example.com|USER+x@other.org",
        ),
    ],
)
def test_a_recipient_entry_matches_as_in_postgrey(entry: str, matched: str) -> None:
    whitelist = recipients(entry)
    found = "|".join(
        address for address in ADDRESSES.split("|") if whitelist.match(address.encode())
    )
    # The empty recipient joins to an empty string, as nothing does.
    assert found == matched
    assert bool(whitelist.match(b"")) == (entry == "/^$/")


@pytest.mark.parametrize(
    ("entry", "address", "matched"),
    [
        ("user@example.com", b"user+a+b@example.com", True),
        ("user@example.com", b"user++@example.com", True),
        ("user@example.com", b"user+ @example.com", True),
        ("user@example.com", b"user+a@b@example.com", False),
        ("user@", b"user+a@b@example.com", True),
        ("user@", b"user@@example.com", True),
        ("com", b"example.com", True),
        ("com", b"com", False),
        ("user@", b"user", False),
    ],
)
def test_a_recipient_s_extension_does_not_matter(entry: str, address: bytes, matched: bool) -> None:
    assert bool(recipients(entry).match(address)) == matched


def senders(*lines: str) -> SenderWhitelist:
    """Return a whitelist of senders with these lines."""
    return SenderWhitelist([WhitelistFile("w", "\n".join(lines).encode() + b"\n")])


@pytest.mark.parametrize(
    ("entry", "sender", "matched"),
    [
        ("user@example.com", "user@example.com", True),
        ("user@example.com", "User+news@Example.com", True),
        ("user@example.com", "user@sub.example.com", False),
        ("example.com", "anyone@example.com", True),
        ("example.com", "bounces@mail.example.com", True),
        ("example.com", "user@notexample.com", False),
        ("example.com", "user@example.com.evil.example", False),
        ("news@", "news@any.example", True),
        (r"/@(mail\.)?example\.com$/", "x@mail.example.com", True),
        (r"/@example\.com$/", "x@example.com.evil.example", False),
    ],
)
def test_a_sender_entry_matches_as_that_of_a_recipient(
    entry: str, sender: str, matched: bool
) -> None:
    assert bool(senders(entry).match(sender.encode())) == matched


@pytest.mark.parametrize("entry", ["/^$/", "/.*/", "/<>/", "/x?/", "@", "example.com"])
@pytest.mark.parametrize("sender", [b"", b"<>", b" "])
def test_a_bounce_matches_no_sender_entry(entry: str, sender: bytes) -> None:
    assert senders(entry).match(sender) is None


IN_TWO_FORMS = [
    ("bücher.example", "info@xn--bcher-kva.example"),
    ("xn--bcher-kva.example", "info@bücher.example"),
    ("bücher.example", "info@mail.BÜCHER.example"),
    ("info@bücher.example", "Info@xn--bcher-kva.example"),
    ("info@xn--bcher-kva.example", "info+x@bücher.example"),
    ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
    (r"/@xn--bcher-kva\.example$/", "info@bücher.example"),
    (r"/@bücher\.example$/", "info@bücher.example"),
    (r"/@bücher\.example$/", "info@xn--bcher-kva.example"),
    (r"/^jörg@bücher\./", "jörg@XN--BCHER-KVA.example"),
    ("straße.example", "info@xn--strae-oqa.example"),
    ("bu\u0308cher.example", "info@bücher。example"),
]


@pytest.mark.parametrize(("entry", "address"), IN_TWO_FORMS)
def test_a_domain_in_utf_8_and_its_ascii_form_are_the_same(entry: str, address: str) -> None:
    assert recipients(entry).match(address.encode())
    assert senders(entry).match(address.encode())


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("bücher.example", "info@bucher.example"),
        ("bücher.example", "info@xn--bcher-kva.example.evil.example"),
        ("info@bücher.example", "ïnfo@bücher.example"),
        ("bücher.example", "info@\udcfc.example"),
        ("straße.example", "info@strasse.example"),
        (r"/@bücher\.example$/", "info@xn--bcher.example"),
        ("i❤.example", "info@xn--i-7iq.example"),
    ],
)
def test_another_domain_in_utf_8_does_not_match(entry: str, address: str) -> None:
    assert not recipients(entry).match(address.encode(errors="surrogateescape"))


def test_a_client_entry_in_utf_8_matches_the_name_that_the_dns_has() -> None:
    assert clients("bücher.example").match(b"mx.xn--bcher-kva.example", NOWHERE)
    assert clients(r"/^mx\d\.bücher\./").match(b"mx1.XN--BCHER-KVA.example", NOWHERE)
    assert clients("xn--bcher-kva.example").match("mx.bücher.example".encode(), NOWHERE)
    assert not clients("bücher.example").match(b"mx.xn--bcher.example", NOWHERE)
    assert not clients(r"/^mx\d\.bücher\./").match(b"mx1.xn--bcher.example", NOWHERE)


def test_a_recipient_of_plus_signs_alone_is_looked_up_in_no_time() -> None:
    whitelist = recipients("user@example.com", "user@", "example.org")
    started = time.process_time()
    for _ in range(100):
        assert whitelist.match(b"+" * 500 + b"@example.com") is None
        assert whitelist.match(b"@." * 256) is None
    assert time.process_time() - started < 5


# Files --------------------------------------------------------------------------------------------

FORMS: list[tuple[bytes, list[bytes], int]] = [
    # content, names that match, remarks
    (b"a.example\nb.example", [b"a.example", b"b.example"], 0),
    (b"a.example\r\nb.example\r\n", [b"a.example", b"b.example"], 0),
    (b"\xef\xbb\xbfa.example\nb.example\n", [b"b.example"], 1),
    (b"a.example\xe9\nb.example\n\xff\n", [b"b.example"], 0),
    (b"\xc3\xa9.example\nb.example\n", [b"\xc3\xa9.example", b"b.example"], 0),
    (
        b"\ta.example\t\n b.example \t \n\x0bc.example\x0c\n",
        [b"a.example", b"b.example", b"c.example"],
        0,
    ),
    (b"a.example # c\nb.example#c\n#c.example\n  # d.example\n", [b"a.example", b"b.example"], 0),
    (b"x" * 100_000 + b"\nb.example\n", [b"b.example"], 0),
    (b"a.example b.example\nc.example\n", [b"c.example"], 1),
    (b"a.example\tb.example\nc.example\n", [b"c.example"], 1),
    (b"\n\n\na.example\n\n", [b"a.example"], 0),
    (b"a.example\rb.example\n", [], 1),
    (b"a.example\x00\nb.example\n", [b"b.example"], 0),
    (b"a.example\xc2\xa0\nb.example\xa0\n", [], 0),
    (b"a.example,b.example\n", [], 0),
    (b"a.example\nb.example\n\x1a", [b"a.example", b"b.example"], 0),
    (b"/a\\.exam#ple/\n/b\\.example/ # c\n", [b"b.example"], 1),
    (b"a.example\\\nb.example\n", [b"b.example"], 0),
    (b"/a b\\.example/\nb.example\n", [b"b.example"], 1),
    (b"", [], 0),
]


@pytest.mark.parametrize(("content", "names", "diagnostics"), FORMS)
def test_a_file_is_read_line_by_line_as_postgrey_does(
    content: bytes, names: list[bytes], diagnostics: int
) -> None:
    clients_ = ClientWhitelist([WhitelistFile("w", content)])
    candidates = [b"a.example", b"b.example", b"c.example", b"d.example", b"\xc3\xa9.example"]
    assert [name for name in candidates if clients_.match(name, NOWHERE)] == [
        name for name in candidates if name in names
    ]
    assert len(clients_.diagnostics) == diagnostics
    recipients_ = RecipientWhitelist([WhitelistFile("w", content)])
    assert [name for name in candidates if recipients_.match(b"u@" + name)] == [
        name for name in candidates if name in names
    ]


def test_a_line_with_inner_space_is_told_with_its_number() -> None:
    (diagnostic,) = clients("a.example", "b.example c.example").diagnostics
    assert str(diagnostic) == (
        'w:2: "b.example c.example" – skipped, because it contains spaces; write one entry per line'
    )
    (diagnostic,) = recipients("", "u@a v@b").diagnostics
    assert str(diagnostic) == (
        'w:2: "u@a v@b" – skipped, because it contains spaces; write one entry per line'
    )


def test_a_remark_shows_no_bytes_that_steer_a_terminal_and_not_a_whole_book() -> None:
    for line in (b"\x1b[31m x", b"\xff\x80 \x9b", b"y" * 5000 + b" x", b"/(\x1b\x07/"):
        (diagnostic,) = clients(line).diagnostics
        assert re.fullmatch(r"[ -~–]+", str(diagnostic)), str(diagnostic)
        assert len(str(diagnostic)) < 300


def exercise(content: bytes) -> None:
    """Read octets as both kinds of list, and look names up in them."""
    sources = [WhitelistFile("w", content)]
    names = [b"", b"mx.example.com", b"u@example.com", content[:512], b"\xff\0@."]
    clients_, recipients_ = ClientWhitelist(sources), RecipientWhitelist(sources)
    for name in names:
        for address in (None, NOWHERE, parse_address(b"2001:db8::1")):
            clients_.match(name, address)
        recipients_.match(name)
    for diagnostic in clients_.diagnostics + recipients_.diagnostics:
        assert 1 <= diagnostic.line <= content.count(b"\n") + 1
        assert "\n" not in str(diagnostic)


file_lines = (
    st.binary(max_size=30)
    | st.text("/()[]{}*+?.\\|^$a0-9:#@ xQEdpPZzh,!<=>i", max_size=20).map(
        lambda text: b"/" + text.encode() + b"/"
    )
    | st.text("0123456789.:/abcdef[]", max_size=20).map(str.encode)
)


@given(st.lists(file_lines, max_size=8).map(b"\n".join))
def test_no_bytes_of_a_file_raise(content: bytes) -> None:
    exercise(content)


@given(st.binary(max_size=64))
def test_no_bytes_of_a_network_raise(text: bytes) -> None:
    network = parse_network(text)
    assert network is None or 0 <= network.prefix <= network.bits


@pytest.mark.parametrize("content", cases("whitelist"))
def test_what_was_found_once_stays_found(content: bytes) -> None:
    exercise(content)


def test_the_shipped_lists_are_read_without_a_remark(request: pytest.FixtureRequest) -> None:
    folder = request.config.rootpath / "whitelists"
    for kind, name in ((ClientWhitelist, "clients"), (RecipientWhitelist, "recipients")):
        file = folder / f"whitelist_{name}"
        whitelist = kind([WhitelistFile(file.name, file.read_bytes())])
        assert len(whitelist) > 0
        assert [str(diagnostic) for diagnostic in whitelist.diagnostics] == []


def test_one_of_many_thousand_entries_is_found() -> None:
    lines = [f"h{number}.example" for number in range(20_000)]
    lines += [f"10.{number // 256}.{number % 256}.0/24" for number in range(20_000)]
    whitelist = clients(*lines)
    assert len(whitelist) == 40_000
    assert whitelist.match(b"mx.h19999.example", NOWHERE)
    assert whitelist.match(b"x", parse_address(b"10.7.7.7"))
