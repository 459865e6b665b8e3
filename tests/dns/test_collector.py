"""The evidence about a client: its sources, their deadline, and how they combine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import SIGNALS, Zone
from greyd.dns import collector as collector_module
from greyd.dns.collector import DnsEvidenceCollector
from greyd.dns.lookup import RecordType
from greyd.rules.evidence import ProvenIdentity
from greyd.rules.reasons import Reason
from greyd.rules.request import Request
from greyd.whitelist.dns_override import read_override
from greyd.whitelist.entries import WhitelistFile
from tests.fake_dns import FakeDns, address_of

if TYPE_CHECKING:
    from greyd.rules.evidence import Evidence

NAMES = ("spf", "name")
ZEN = Zone("zen.example")
LISTED_HERE = "7.2.0.192.zen.example"
WHITE = Zone("white.example", trust=2)


def request(**attributes: bytes) -> Request:
    usual = Request(
        client_address=b"192.0.2.7", client_name=b"mail.example.com",
        reverse_client_name=b"mail.example.com", helo_name=b"mail.example.com",
        sender=b"alice@example.com", recipient=b"bob@example.org",
    )  # fmt: skip
    return usual._replace(**attributes)


def good_dns() -> FakeDns:
    """Return a DNS where everything about example.com is as it should be."""
    dns = FakeDns()
    dns.add("example.com", RecordType.MX, "mail.example.com")
    dns.add("mail.example.com", RecordType.A, "192.0.2.7")
    dns.add("example.com", RecordType.TXT, "v=spf1 mx -all")
    return dns


def look(
    dns: FakeDns,
    asked: Request | None = None,
    *,
    override: bytes = b"",
    told: list[Exception] | None = None,
    **settings: Any,
) -> Evidence:
    """Return what is found out; a fault of greyd's own fails the test, unless it is to be told."""

    async def run() -> Evidence:
        found: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        faults: list[Exception] = []
        clients = read_override([WhitelistFile("override", override)])
        looking = DnsEvidenceCollector(
            Settings(**{"dns_timeout_seconds": 0.2, **settings}),
            dns,
            lambda: clients,
            faults.append,
        )
        looking.collect(asked or request(), address_of("192.0.2.7"), found.set_result)
        evidence = await found
        looking.close()
        if told is None:
            assert faults == []
        else:
            told.extend(faults)
        return evidence

    return asyncio.run(run())


# Identity -----------------------------------------------------------------------------------------


def test_spf_and_a_confirmed_name_prove_an_identity_and_the_first_configured_way_counts() -> None:
    spf = look(good_dns(), identity=NAMES)
    # Both prove the same organisation, so it is one identity.
    assert spf.identities == (ProvenIdentity(b"example.com", "spf", True),)
    name = look(good_dns(), identity=("name", "spf"))
    assert (name.identity, name.way) == (b"example.com", "name")


def test_if_spf_proves_nothing_the_name_counts() -> None:
    dns = good_dns()
    dns.add("example.com", RecordType.TXT, "v=spf1 +all")
    assert look(dns, identity=NAMES).way == "name"
    assert look(dns, identity=("spf",)).identity == b""


def test_only_the_configured_evidence_is_queried() -> None:
    dns = good_dns()
    look(dns, identity=("name",))
    assert dns.asked == []
    look(dns, dnsbl=(ZEN,))
    assert dns.asked == [(LISTED_HERE.encode(), RecordType.A)]


# Lists --------------------------------------------------------------------------------------------


def listed(**records: str) -> FakeDns:
    dns = good_dns()
    for zone, answer in records.items():
        dns.add(f"7.2.0.192.{zone}.example", RecordType.A, answer)
    return dns


def test_a_listed_client_has_a_signal_and_the_list_s_delay() -> None:
    evidence = look(listed(zen="127.0.0.4"), dnsbl=(ZEN._replace(delay_seconds=3600),))
    assert evidence.listed
    assert evidence.signals == ("dnsbl",)
    assert evidence.delay_seconds == 3600


def test_weights_of_lists_add_up() -> None:
    half = [Zone(f"{name}.example", weight=0.5) for name in ("one", "two")]
    assert not look(listed(one="127.0.0.2"), dnsbl=tuple(half)).listed
    assert look(listed(one="127.0.0.2", two="127.0.0.2"), dnsbl=tuple(half)).listed


def test_a_domain_on_a_list_counts_too() -> None:
    dns = good_dns()
    dns.add("example.com.dbl.example", RecordType.A, "127.0.1.2")
    evidence = look(dns, rhsbl=(Zone("dbl.example"),))
    assert (evidence.listed, evidence.signals) == (True, ("rhsbl",))


DBL = (Zone("dbl.example"),)


def of_domain(domain: bytes, *, listed: str = "listed.co.uk") -> Evidence:
    """Look at a sender of a domain, beside which nothing is suspicious."""
    dns = good_dns()
    dns.add(f"{listed}.dbl.example", RecordType.A, "127.0.1.2")
    return look(dns, request(sender=b"x@" + domain), rhsbl=DBL)


@pytest.mark.parametrize(
    "domain",
    [
        b"listed.co.uk", b"Listed.CO.uk", b"listed.co.uk.", b"listed.co.uk..", b"mail.listed.co.uk",
        b"a/b.listed.co.uk", b"*.listed.co.uk", b"-a.listed.co.uk", b"a-.listed.co.uk",
        b"_a.listed.co.uk", b"a_b.listed.co.uk", b"_._dmarc.listed.co.uk", b"a..listed.co.uk",
        b".listed.co.uk", b"a b.listed.co.uk", b"a+b.listed.co.uk", b"a\\.b.listed.co.uk",
        b"\x00.listed.co.uk", b"\xff.listed.co.uk", b"\xc3\xbc.listed.co.uk",
        b"a" * 63 + b".listed.co.uk", b"a" * 64 + b".listed.co.uk", b"a" * 233 + b".listed.co.uk",
        b"a." * 110 + b"listed.co.uk", b"a." * 114 + b"listed.co.uk", b"a." * 120 + b"listed.co.uk",
        b"a." * 180 + b"listed.co.uk", b"1.2.3.4.listed.co.uk", b"xn--a.listed.co.uk",
        b'"a@b.example"@listed.co.uk', b"b.example@listed.co.uk", b"@listed.co.uk",
    ],
)  # fmt: skip
def test_a_listed_domain_is_found_whatever_stands_before_it(domain: bytes) -> None:
    assert of_domain(domain).signals == ("rhsbl",)


@pytest.mark.parametrize("domain", [b"bad.example.com", b"a/b.bad.example.com"])
def test_a_listed_name_below_a_registered_domain_is_found_too(domain: bytes) -> None:
    assert of_domain(domain, listed="bad.example.com").listed
    assert not of_domain(b"example.com", listed="bad.example.com").listed


@pytest.mark.parametrize(
    ("domain", "ascii_"),
    [
        ("bücher.example", "xn--bcher-kva.example"), ("x.BÜCHER.example", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"), ("bücher.co.uk", "xn--bcher-kva.co.uk"),
        ("straße.de", "xn--strae-oqa.de"), ("listed。co。uk", "listed.co.uk"),
        ("ｌｉｓｔｅｄ.example", "listed.example"), ("i❤.bücher.de", "xn--bcher-kva.de"),
    ],
)  # fmt: skip
def test_an_internationalised_domain_is_queried_in_its_ascii_form(domain: str, ascii_: str) -> None:
    assert of_domain(domain.encode(), listed=ascii_).listed


@pytest.mark.parametrize(
    "domain",
    [
        b"[192.0.2.7]", b"[IPv6:2001:db8::7]", b"192.0.2.7", b"com", b"localhost", b"", b".",
        b"listed.c/o", b"lis\\116ed.uk/", b"listed\\.co", b"listed.-/", b"listed." + b"a" * 64,
        "listed.i❤".encode(), "listed。❤".encode(), b"listed.\xff", b"a" * 300,
        # Two labels, and no room for the list's name behind them.
        b"a" * 63 + b"." + b"b" * 190,
    ],
)  # fmt: skip
def test_a_sender_that_cannot_be_queried_makes_greyd_unsure(domain: bytes) -> None:
    evidence = of_domain(domain)
    assert (evidence.listed, evidence.unsure) == (False, True)


@pytest.mark.parametrize(
    ("attributes", "unsure"),
    [
        ({}, False), ({"sender": b""}, False), ({"sender": b"postmaster"}, False),
        ({"sender": b"x@a/b.example.org"}, False), ({"helo_name": b"localhost"}, False),
        ({"helo_name": b"[192.0.2.7]"}, False), ({"helo_name": None}, False),
        ({"client_name": b"mailgate"}, False),
        ({"client_name": b"unknown", "reverse_client_name": b"unknown"}, False),
        # A sender may be of a listed domain; who has such a host name does not hide it.
        ({"helo_name": b"192.0.2.7"}, False), ({"helo_name": b"listed.\xff"}, False),
        ({"helo_name": b"[192.0.2.7"}, False), ({"helo_name": b"bob@example.org"}, False),
        ({"helo_name": b"mail.example.org:25"}, False), ({"helo_name": b"a" * 300}, False),
        ({"client_name": b"unknown", "reverse_client_name": b"a.b/c"}, False),
        ({"sender": b"x@192.0.2.7"}, True), ({"sender": b"x@[192.0.2.7]"}, True),
        ({"sender": b"x@192.0.2.7", "helo_name": b"192.0.2.7"}, True),
    ],
)  # fmt: skip
def test_only_a_sender_s_domain_that_cannot_be_queried_makes_greyd_unsure(
    attributes: dict[str, Any], *, unsure: bool
) -> None:
    assert look(good_dns(), request(**attributes), rhsbl=DBL).unsure is unsure


@pytest.mark.parametrize("attribute", ["helo_name", "client_name", "sender"])
@pytest.mark.parametrize("form", [b"a/b.listed.co.uk", b"*.listed.co.uk", b"a..listed.co.uk."])
def test_host_names_are_queried_like_domains_of_senders(attribute: str, form: bytes) -> None:
    dns = good_dns()
    dns.add("listed.co.uk.dbl.example", RecordType.A, "127.0.1.2")
    name = b"x@" + form if attribute == "sender" else form
    assert look(dns, request(**{attribute: name}), rhsbl=DBL).listed


def test_each_name_is_queried_once() -> None:
    dns = good_dns()
    look(dns, rhsbl=DBL)
    assert sorted(dns.asked) == [
        (b"example.com.dbl.example", RecordType.A), (b"mail.example.com.dbl.example", RecordType.A),
    ]  # fmt: skip


def test_listings_of_an_overridden_client_do_not_count() -> None:
    dns = listed(zen="127.0.0.4")
    assert not look(dns, override=b"example.com OK", dnsbl=(ZEN,)).listed
    assert look(dns, override=b"example.org OK", dnsbl=(ZEN,)).listed


def test_an_error_code_of_a_list_says_nothing_about_the_client() -> None:
    evidence = look(listed(zen="127.255.255.254"), dnsbl=(ZEN,))
    assert (evidence.listed, evidence.unsure) == (False, False)


@pytest.mark.parametrize(
    ("answer", "exempt"),
    [("127.0.5.2", True), ("127.0.5.3", True), ("127.0.5.1", False), ("127.0.0.255", False)],
)
def test_clients_of_the_configured_trust_level_are_exempt(answer: str, *, exempt: bool) -> None:
    evidence = look(listed(white=answer), dnswl=(WHITE,))
    assert evidence.exemption is (Reason.DNS_WHITELIST if exempt else None)


def test_a_listed_client_is_not_exempt() -> None:
    dns = listed(zen="127.0.0.2", white="127.0.5.3")
    assert look(dns, dnswl=(WHITE,), dnsbl=(ZEN,)).exemption is None


# Signals ------------------------------------------------------------------------------------------


def test_a_good_server_is_clean() -> None:
    evidence = look(good_dns(), greylist="suspicious")
    assert evidence.is_clean
    assert evidence.signals == ()


@pytest.mark.parametrize(
    ("attributes", "marks"),
    [
        ({"client_name": b"unknown", "reverse_client_name": b"unknown"}, {"no_ptr"}),
        ({"helo_name": b"nowhere.example.com"}, {"helo_no_address"}),
        ({"helo_name": b"localhost"}, {"helo_not_fqdn"}),
        ({"sender": b"alice@nosuch.example"}, {"sender_no_mx"}),
        ({"sender": b""}, set()),
        ({"helo_name": b"[198.51.100.1]"}, {"helo_wrong_literal"}),
        ({"helo_name": b"[10.0.0.1]"}, {"helo_private_literal"}),
        ({"helo_name": b"[192.0.2.7]"}, set()),
        ({"protocol_name": b"SMTP"}, {"plain_helo"}),
        ({"protocol_name": b"ESMTP"}, set()),
        # A stranger who claims to be a great provider.
        ({"helo_name": b"gmail.com"}, {"helo_other_address"}),
        ({"helo_name": b"example.org"}, {"helo_own_domain", "helo_other_address"}),
        ({"helo_name": b"ours.example"}, {"helo_own_domain"}),
        ({"helo_name": b"mx.site.example"}, {"helo_own_domain", "helo_no_address"}),
        ({"helo_name": b"good.example.org"}, set()),
        ({"sender": b"bob@example.org"}, {"sender_own_domain"}),
        ({"sender": b"x@ours.example"}, {"sender_own_domain", "spf_fail"}),
        ({"sender": b"x@soft.example", "helo_name": b"other.example.net"}, {"spf_softfail"}),
        # A hacked web server has a name of its own; it says nothing about the domain it forges.
        ({"sender": b"x@soft.example"}, {"spf_softfail"}),
        # A server that the organisation has left out of its record.
        ({"sender": b"x@soft.example.com"}, set()),
    ],
)
def test_signals_are_found(attributes: dict[str, bytes], marks: set[str]) -> None:
    dns = good_dns()
    dns.add("gmail.com", RecordType.A, "198.51.100.9")
    dns.add("example.org", RecordType.A, "198.51.100.10")
    dns.add("example.org", RecordType.MX, "mx.example.org")
    dns.add("good.example.org", RecordType.A, "192.0.2.7")
    dns.add("other.example.net", RecordType.A, "192.0.2.7")
    records = {
        "ours.example": "v=spf1 -all",
        "soft.example": "v=spf1 ~all",
        "soft.example.com": "v=spf1 ~all",
    }
    for name, record in records.items():
        dns.add(name, RecordType.TXT, record)
        dns.add(name, RecordType.MX, "mx.example.org")
    evidence = look(
        dns, request(**attributes), greylist="suspicious", identity=NAMES,
        own_domains=("ours.example",), hostname="mx.site.example",
    )  # fmt: skip
    assert set(evidence.signals) == marks


EC2 = {
    "client_name": b"ec2-192-0-2-7.eu-west-2.compute.amazonaws.com",
    "reverse_client_name": b"ec2-192-0-2-7.eu-west-2.compute.amazonaws.com",
}
SOFT, PASS, NO_SPF = b"x@soft.example", b"alice@example.com", b"x@plain.example"


@pytest.mark.parametrize(
    ("attributes", "suspicious"),
    [
        # Spam that postgrey delays: the first contact of a stranger that forges or pretends.
        ({**EC2, "sender": NO_SPF}, True),
        ({**EC2, "sender": SOFT, "helo_name": b"hacked.example.net"}, True),
        ({"client_name": b"li101-7.members.linode.com", "sender": NO_SPF}, True),
        ({"client_name": b"vps-a2bccee9.vps.ovh.net", "sender": NO_SPF}, True),
        ({"client_name": b"web.hoster.example", "sender": SOFT}, True),
        ({"sender": SOFT}, True),
        ({"helo_name": b"gmail.com", "sender": NO_SPF}, True),
        ({"helo_name": b"example.org", "sender": NO_SPF}, True),
        ({"helo_name": b"mx.site.example", "sender": NO_SPF}, True),
        ({"helo_name": b"[10.0.0.1]", "sender": NO_SPF}, True),
        ({"sender": b"bob@example.org"}, True),
        ({"protocol_name": b"SMTP", "sender": NO_SPF}, True),
        # Two weak signals, or a strong one, are too much for an SPF pass.
        ({**EC2, "protocol_name": b"SMTP"}, True),
        ({"helo_name": b"[198.51.100.1]"}, True),
        ({"helo_name": b"[10.0.0.1]", "protocol_name": b"SMTP"}, True),
        ({**EC2, "helo_name": b"[10.0.0.1]"}, True),
        # Good mail: nothing weak, or one weak signal that an SPF pass outweighs.
        ({"sender": NO_SPF}, False),
        (EC2, False),
        ({"helo_name": b"gmail.com"}, False),
        ({"helo_name": b"nowhere.example.com"}, False),
        ({"helo_name": b"localhost"}, False),
        ({"protocol_name": b"SMTP"}, False),
        ({"helo_name": b"[10.0.0.1]"}, False),
        ({"helo_name": b"[192.0.2.7]", "sender": NO_SPF}, False),
    ],
)
def test_a_client_is_suspicious_by_one_strong_signal_or_weak_ones_that_nothing_outweighs(
    attributes: dict[str, Any], *, suspicious: bool
) -> None:
    dns = good_dns()
    dns.add("gmail.com", RecordType.A, "198.51.100.9")
    dns.add("example.org", RecordType.A, "198.51.100.10")
    dns.add("mx.site.example", RecordType.A, "198.51.100.10")
    dns.add("hacked.example.net", RecordType.A, "192.0.2.7")
    dns.add("soft.example", RecordType.TXT, "v=spf1 ~all")
    for domain in ("soft.example", "plain.example", "example.org"):
        dns.add(domain, RecordType.MX, "mx.example.net")
    evidence = look(
        dns, request(**attributes), greylist="suspicious", identity=NAMES,
        hostname="mx.site.example",
    )  # fmt: skip
    assert evidence.is_suspicious is suspicious, evidence.signals
    assert not evidence.unsure


def test_an_spf_fail_is_a_signal() -> None:
    dns = good_dns()
    dns.add("example.com", RecordType.TXT, "v=spf1 -all")
    assert look(dns, greylist="suspicious").signals == ("spf_fail",)


@pytest.mark.parametrize("mark", SIGNALS[:5])
def test_a_signal_that_is_not_configured_is_not_shown(mark: str) -> None:
    bad = request(
        client_name=b"unknown", reverse_client_name=b"unknown", helo_name=b"localhost",
        sender=b"a@nosuch.example",
    )  # fmt: skip
    evidence = look(FakeDns(), bad, greylist="suspicious", signals=(mark,))
    assert set(evidence.signals) <= {mark}


# Time ---------------------------------------------------------------------------------------------


def test_an_answer_after_the_deadline_makes_greyd_unsure() -> None:
    dns = listed(zen="127.0.0.4")
    dns.silent = {b"example.com"}
    evidence = look(dns, identity=NAMES, dnsbl=(ZEN,), dns_timeout_seconds=0.05)
    assert evidence.unsure
    assert evidence.listed
    assert evidence.way == "name"


def test_failing_queries_make_greyd_unsure() -> None:
    dns = good_dns()
    for name in ("example.com", "mail.example.com"):
        for kind in RecordType:
            dns.fail(name, kind)
    evidence = look(dns, identity=NAMES, greylist="suspicious", dnsbl=(ZEN,))
    assert evidence.unsure
    assert evidence.signals == ()
    assert not evidence.is_clean


def test_a_bug_in_one_query_does_not_hide_what_others_find(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stumble(*_: object) -> None:
        raise ValueError("of the test")

    monkeypatch.setattr(collector_module, "check_host", stumble)
    told: list[Exception] = []
    evidence = look(listed(zen="127.0.0.4"), identity=NAMES, dnsbl=(ZEN,), told=told)
    assert evidence.listed
    assert evidence.unsure
    assert evidence.way == "name"
    assert [str(each) for each in told] == ["of the test"]


def test_a_hostile_spf_record_hides_no_listing() -> None:
    dns = listed(zen="127.0.0.4")
    dns.add("example.com", RecordType.TXT, "v=spf1 a:%{d" + "9" * 4400 + "}.example.com -all")
    evidence = look(dns, identity=NAMES, dnsbl=(ZEN,))
    assert evidence.listed


# Identities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "record", "identities"),
    [
        (b"a@example.com", "v=spf1 ip4:192.0.2.7 -all", [("example.com", "spf")]),
        (b"a@b1.example.com", "v=spf1 ip4:192.0.2.7 -all", [("example.com", "spf")]),
        (b"a@shop.example.org", "v=spf1 ip4:192.0.2.7 -all",
         [("example.org", "spf"), ("example.com", "name")]),
        (b"a@co.uk", "v=spf1 ip4:192.0.2.7 -all", [("example.com", "name")]),
        (b"a@shop.example.org", "v=spf1 +all", [("example.com", "name")]),
        (b"a@shop.example.org", "v=spf1 -all", [("example.com", "name")]),
    ],
)  # fmt: skip
def test_each_way_proves_an_organisation(
    sender: bytes, record: str, identities: list[tuple[str, str]]
) -> None:
    dns = good_dns()
    dns.add(sender.rpartition(b"@")[2].decode(), RecordType.TXT, record)
    for names in (NAMES, NAMES[::-1]):
        found = look(dns, request(sender=sender), identity=names)
        shown = [(each.organisation.decode(), each.way) for each in found.identities]
        order = identities if names == NAMES else identities[::-1]
        if len(identities) == 1 and sender.endswith(b"example.com"):
            order = [("example.com", names[0])]
        assert shown == order
        assert found.is_vouched is ("spf" in dict(map(reversed, identities)))


@pytest.mark.parametrize(
    ("names", "listed", "is_listed"),
    [
        # The identity's own domain, whichever name of it is used.
        (("mail.example.com", "alice@example.com"), ["example.com.dbl.example"], True),
        (("mail.example.com", "alice@b1.example.com"), ["example.com.dbl.example"], True),
        (("mail.example.com", "alice@else.org"), ["example.com.dbl.example"], True),
        (("mail.example.com", "alice@example.com"),
         ["example.com.half.example", "example.com.other.example"], True),
        # A customer's machine or domain, and a list that does not suffice alone.
        (("vps7.example.com", "alice@else.org"), ["else.org.dbl.example"], False),
        (("vps7.example.com", "alice@example.com"), ["vps7.example.com.dbl.example"], False),
        (("mail.example.com", "alice@shop.example.com"), ["shop.example.com.dbl.example"], False),
        (("mail.example.com", "alice@example.com"), ["example.com.half.example"], False),
        (("mail.example.com", "alice@example.com"),
         ["example.com.half.example", "mail.example.com.other.example"], False),
        (("mail.example.com", "alice@example.com"), ["7.2.0.192.zen.example"], False),
    ],
)  # fmt: skip
def test_a_listed_domain_costs_the_identity_of_that_domain(
    names: tuple[str, str], listed: list[str], *, is_listed: bool
) -> None:
    dns = good_dns()
    for each in listed:
        dns.add(each, RecordType.A, "127.0.1.2")
    name, sender = (each.encode() for each in names)
    asked = request(client_name=name, helo_name=name, reverse_client_name=name, sender=sender)
    lists = (
        Zone("dbl.example"),
        Zone("half.example", weight=0.5),
        Zone("other.example", weight=0.5),
    )
    evidence = look(dns, asked, identity=("name",), rhsbl=lists, dnsbl=(ZEN,))
    (identity,) = evidence.identities
    assert (identity.organisation, identity.is_listed) == (b"example.com", is_listed)
