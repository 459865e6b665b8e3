"""What an SPF pass proves, by the number of addresses that the records let pass."""

from __future__ import annotations

import asyncio

import pytest

from greyd.dns.lookup import RecordType
from greyd.dns.spf.check_host import SpfResult, check_host
from tests.fake_dns import FakeDns, address_of


def zone(records: dict[str, str]) -> FakeDns:
    """Return a DNS with these records of NAME.example, and three hosts of many.example."""
    dns = FakeDns()
    for name, text in records.items():
        dns.add(f"{name}.example", RecordType.TXT, f"v=spf1 {text}")
    dns.add("many.example", RecordType.MX, *(f"h{number}.example" for number in range(3)))
    dns.add("many.example", RecordType.A, "17.0.0.7", "18.0.0.1", "19.0.0.1")
    dns.add("many.example", RecordType.AAAA, "2001:db8::7", "2a00::1", "2b00::1")
    for number in range(3):
        dns.add(f"h{number}.example", RecordType.A, f"{17 + number}.0.0.7")
    return dns


def ask(records: dict[str, str], client: str) -> SpfResult:
    return asyncio.run(check_host(zone(records), address_of(client), b"alice@a.example", b""))


MICROSOFT = (
    "ip4:40.92.0.0/15 ip4:40.107.0.0/16 ip4:52.100.0.0/15 ip4:52.102.0.0/16 ip4:52.103.0.0/17"
    " ip4:104.47.0.0/17 ip6:2a01:111:f400::/48 ip6:2a01:111:f403::/49 ip6:2a01:111:f403:8000::/51"
    " ip6:2a01:111:f403:c000::/51 ip6:2a01:111:f403:f000::/52 -all"
)
GOOGLE = {
    "google": "include:blocks.example include:blocks2.example include:blocks3.example ~all",
    "blocks": (
        "ip4:35.190.247.0/24 ip4:64.233.160.0/19 ip4:66.102.0.0/20 ip4:66.249.80.0/20"
        " ip4:72.14.192.0/18 ip4:74.125.0.0/16 ip4:108.177.8.0/21 ip4:173.194.0.0/16"
        " ip4:209.85.128.0/17 ip4:216.58.192.0/19 ip4:216.239.32.0/19 ~all"
    ),
    "blocks2": (
        "ip6:2001:4860:4000::/36 ip6:2404:6800:4000::/36 ip6:2607:f8b0:4000::/36"
        " ip6:2800:3f0:4000::/36 ip6:2a00:1450:4000::/36 ip6:2c0f:fb50:4000::/36 ~all"
    ),
    "blocks3": (
        "ip4:172.217.0.0/19 ip4:172.217.32.0/20 ip4:172.217.128.0/19 ip4:172.217.160.0/20"
        " ip4:172.217.192.0/19 ip4:172.253.56.0/21 ip4:172.253.112.0/20 ip4:108.177.96.0/19"
        " ip4:35.191.0.0/16 ip4:130.211.0.0/22 ~all"
    ),
}
SES = (
    "ip4:199.255.192.0/22 ip4:199.127.232.0/22 ip4:54.240.0.0/18 ip4:69.169.224.0/20"
    " ip4:23.249.208.0/20 ip4:23.251.224.0/19 ip4:76.223.176.0/20 ip4:54.240.64.0/18"
    " ip4:76.223.128.0/19 ip4:216.221.160.0/19 ip4:206.55.144.0/20 ip4:24.110.64.0/18"
    " ip4:98.77.0.0/16 -all"
)
SENDGRID = (
    "ip4:167.89.0.0/17 ip4:208.117.48.0/20 ip4:50.31.32.0/19 ip4:198.37.144.0/20"
    " ip4:198.21.0.0/21 ip4:192.254.112.0/20 ip4:168.245.0.0/17 ip4:149.72.0.0/16 ~all"
)
PROVIDERS = GOOGLE | {"microsoft": MICROSOFT, "ses": SES, "sendgrid": SENDGRID}


@pytest.mark.parametrize(
    ("record", "client"),
    [
        ("include:microsoft.example -all", "40.93.1.2"),
        ("include:microsoft.example -all", "2a01:111:f403:c000::1"),
        ("redirect=google.example", "209.85.220.41"),
        ("include:google.example ~all", "2a00:1450:4864:20::7"),
        ("include:ses.example ~all", "98.77.3.4"),
        ("include:sendgrid.example ~all", "149.72.3.4"),
        # A company that has its mail sent by all of them, and one that owns a /8 besides.
        ("include:sendgrid.example include:google.example include:microsoft.example"
         " include:ses.example ip4:10.0.0.0/8 ip4:192.0.2.7 -all", "192.0.2.7"),
        ("ip4:17.0.0.0/8 include:google.example include:microsoft.example ~all", "17.0.0.7"),
    ],
)  # fmt: skip
def test_a_pass_by_a_great_provider_is_proof(record: str, client: str) -> None:
    found = ask(PROVIDERS | {"a": record}, client)
    assert (found.result, found.proves) == ("pass", True)


def nets(first: int, count: int, prefix: int) -> str:
    """Return this many networks with this prefix length, from ``first.0.0.0`` on."""
    step = 1 << (32 - prefix)
    numbers = [(first << 24) + each * step for each in range(count)]
    return " ".join(
        f"ip4:{'.'.join(map(str, each.to_bytes(4, 'big')))}/{prefix}" for each in numbers
    )


def chain(form: str, *texts: str) -> dict[str, str]:
    """Return a record that leads to others of these texts, in the form ``include:{}``."""
    names = [f"i{number}" for number in range(len(texts))]
    record = " ".join(form.format(f"{each}.example") for each in names)
    return {"a": f"{record} -all", **dict(zip(names, texts, strict=True))}


EIGHTS = [f"ip4:{first}.0.0.0/8 -all" for first in range(17, 26)]
INSIDE_EIGHTS = {"n": " ".join(each.removesuffix(" -all") for each in EIGHTS)}


@pytest.mark.parametrize(
    "records",
    [
        {"a": "ip4:17.0.0.0/8 ip4:18.0.0.0/8 -all"},
        {"a": "ip4:18.0.0.0/8 ip4:17.0.0.7 ip4:19.0.0.0/8 -all"},
        {"a": "ip4:17.0.0.0/8 ip4:17.0.0.0/8 -all"},
        {"a": "ip4:16.0.0.0/7 -all"},
        {"a": "ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"},
        {"a": nets(16, 8, 9)},
        {"a": nets(16, 30, 10)},
        {"a": nets(17, 400, 14) + " -all"},
        # The match is in the first, a middle and the last of the records.
        chain("include:{}", *EIGHTS),
        chain("include:{}", *EIGHTS[1:], EIGHTS[0]),
        chain("include:{}", *EIGHTS[1:5], EIGHTS[0], *EIGHTS[5:]),
        {"a": "include:b.example include:n.example -all", "b": "ip4:17.0.0.0/8"} | INSIDE_EIGHTS,
        {"a": "include:b.example -all", "b": "ip4:17.0.0.0/8 include:n.example"} | INSIDE_EIGHTS,
        {"a": "include:b.example -all", "b": "ip4:17.0.0.0/8 redirect=n.example"} | INSIDE_EIGHTS,
        {"a": "ip4:17.0.0.0/8 redirect=n.example"} | INSIDE_EIGHTS,
        {"a": "?ip4:18.0.0.0/8 redirect=n.example"} | INSIDE_EIGHTS,
        {"a": "ip4:17.0.0.0/8 a:many.example/8 -all"},
        {"a": "ip4:17.0.0.0/8 mx:many.example/8 -all"},
        {"a": "ip4:17.0.0.0/8 include:b.example -all", "b": "a:many.example/9 mx:many.example/9"},
        {"a": "a:many.example/9 -all"},
        {"a": "mx:many.example/8 -all"},
        {"a": "a:many.example/7 -all"},
        {"a": "a:many.example/8 -all"},
        {"a": "ip4:17.0.0.0/8 +all"},
        {"a": "ip4:17.0.0.0/9 include:b.example -all", "b": "+all"},
        # More records follow than may be read.
        {"a": "ip4:17.0.0.0/8 " + "include:b.example " * 11, "b": "ip4:192.0.2.7 -all"},
        {"a": "ip4:17.0.0.0/8 include:a.example -all"},
    ],
)  # fmt: skip
def test_the_networks_of_all_records_count_together(records: dict[str, str]) -> None:
    found = ask(records, "17.0.0.7")
    assert (found.result, found.proves) == ("pass", False)


@pytest.mark.parametrize(
    "records",
    [
        {"a": "ip4:17.0.0.0/8 -all"},
        {"a": "ip4:17.0.0.0/8 ip4:192.0.2.0/24 -all"},
        {"a": nets(16, 4, 9).split()[2] + " ip4:192.0.0.0/10 -all"},
        {"a": "ip4:17.0.0.0/9 a:many.example/10 ~all"},
        # What gets another result than a pass does not count.
        {"a": "?ip4:18.0.0.0/8 ~ip4:19.0.0.0/8 -ip4:20.0.0.0/8 ip4:17.0.0.0/8 -all"},
        {"a": "?include:n.example ip4:17.0.0.7 -all", "n": "ip4:18.0.0.0/8 ip4:19.0.0.0/8"},
        {"a": "-include:n.example ip4:17.0.0.7 -all", "n": "ip4:18.0.0.0/8 ip4:19.0.0.0/8"},
        {"a": "~mx:far.example/1 ?a:far.example/1 ip4:17.0.0.7 -all"},
        {"a": "ip4:17.0.0.0/8 ?include:n.example -include:n.example ?a:x.example/1"}
        | INSIDE_EIGHTS,
        {"a": "ip4:17.0.0.0/8 ?all include:n.example"} | INSIDE_EIGHTS,
        {"a": "ip4:17.0.0.0/8 -all redirect=n.example"} | INSIDE_EIGHTS,
        # IPv6 networks let no IPv4 client pass.
        {"a": "ip4:17.0.0.0/8 ip6:2000::/3 -all"},
        # Nobody but the hosts named is proved, whoever else may send.
        {"a": "ip4:17.0.0.7 ?all"},
        {"a": "ip4:17.0.0.7 +all"},
        {"a": "mx:many.example ?all"},
        # Records without answer, and names without a record, let nobody pass.
        {"a": "ip4:17.0.0.0/8 include:nosuch.example -all"},
    ],
)
def test_a_pass_of_the_networks_of_one_owner_is_proof(records: dict[str, str]) -> None:
    found = ask(records, "17.0.0.7")
    assert (found.result, found.proves) == ("pass", True)


def test_a_failed_query_after_the_match_changes_nothing() -> None:
    dns = zone({"a": "ip4:17.0.0.0/8 include:gone.example -all"})
    dns.fail("gone.example", RecordType.TXT)
    found = asyncio.run(check_host(dns, address_of("17.0.0.7"), b"alice@a.example", b""))
    assert (found.result, found.proves) == ("pass", True)


def test_records_after_the_match_are_not_queried_for_narrow_records() -> None:
    dns = zone({"a": "ip4:17.0.0.0/10 include:n.example mx:many.example -all"} | INSIDE_EIGHTS)
    asyncio.run(check_host(dns, address_of("17.0.0.7"), b"alice@a.example", b""))
    assert dns.asked == [(b"a.example", RecordType.TXT)]


@pytest.mark.parametrize(
    ("records", "proves"),
    [
        ({"a": "ip6:2001:db8::/32 -all"}, True),
        ({"a": "ip6:2001::/16 -all"}, True),
        ({"a": "ip6:2001::/16 ip6:2a00:1450::/32 -all"}, True),
        ({"a": "ip6:2001::/16 ip4:0.0.0.0/0 -all"}, True),
        ({"a": "ip6:2000::/15 -all"}, False),
        ({"a": "ip6:2001::/16 ip6:2a00::/16 -all"}, False),
        ({"a": "ip6:2001:0::/17 ip6:2a00::/17 ip6:2a01::/17 -all"}, False),
        (chain("include:{}", *(f"ip6:200{each}::/16 -all" for each in range(1, 10))), False),
        (chain("include:{}", *(f"ip6:200{each}::/20 -all" for each in range(1, 10))), True),
        ({"a": "a:many.example//16 -all"}, False),
        ({"a": "a:many.example//17 -all"}, False),
        ({"a": "a:many.example//32 -all"}, True),
        ({"a": "ip6:2001::/16 mx:many.example//16 -all"}, False),
    ],
)  # fmt: skip
def test_the_same_holds_for_ipv6(records: dict[str, str], *, proves: bool) -> None:
    found = ask(records, "2001:db8::7")
    assert (found.result, found.proves) == ("pass", proves)
