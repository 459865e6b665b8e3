"""Generic host names: a table of providers' names, and the forms of an address in a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from greyd.rules.client_names.generic_hostnames import generic_reason, icann_domain_of, is_generic
from tests.fake_dns import address_of

TABLE = Path(__file__).parent / "generic_hostnames.tsv"


def _rows() -> list[tuple[str, str, bool]]:
    lines = TABLE.read_text().splitlines()
    fields = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(name, address, generic == "yes") for name, address, generic, _ in fields]


@pytest.mark.parametrize(("name", "address", "generic"), _rows())
def test_names_of_customers_lines_are_generic_and_those_of_mail_servers_are_not(
    name: str, address: str, *, generic: bool
) -> None:
    reason = generic_reason(name.encode(), address_of(address))
    assert (reason is not None) is generic, reason


def test_the_table_has_enough_names_of_both_kinds() -> None:
    rows = _rows()
    generic = sum(row[2] for row in rows)
    assert len(rows) >= 300
    assert len({row[0] for row in rows}) >= 300
    assert 0.4 < generic / len(rows) < 0.6


FORMS = [
    "93-203-1-2", "93.203.1.2", "2.1.203.93", "2-1-203-93", "93x203x1x2", "93_203_1_2",
    "ip-93-203-1-2", "ip93-203-1-2", "c93-203-1.2", "093-203-001-002", "002-001-203-093",
    "host093203001002", "002001203093", "093203-001002", "5dcb0102", "p5dcb0102", "0201cb5d",
    "x5d-cb-01-02", "5dcb-0102", "ip1573585154", "1573585154-dsl", "203-1-2",
    "2.1.203", "93-203-1", "1-203-93", "ns7.93-203-1", "203001002", "002001203", "cb0102",
    "5dcb01-2", "2.red-93-203-1",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_address_is_found_in_each_form_that_providers_use(form: str) -> None:
    name = f"{form}.example.net".encode()
    reason = generic_reason(name, address_of("93.203.1.2"))
    assert reason is not None
    assert "client's address" in reason
    # Another client's name is as good as any.
    elsewhere = generic_reason(name, address_of("198.51.100.23"))
    assert elsewhere is None or "address" not in elsewhere


@pytest.mark.parametrize("name", ["h1985110023.example.net", "2310051198.example.net"])
def test_eight_digits_without_separators_are_an_address(name: str) -> None:
    assert is_generic(name.encode(), address_of("198.51.100.23")) is name.startswith("h")
    assert not is_generic(b"h1234.example.net", address_of("1.2.3.4"))


@pytest.mark.parametrize(
    "name",
    [
        "1-2.example.net", "203-1.example.net", "93-203.example.net", "a1-2.smtp-out.example.net",
        "93-1-203-2.example.net", "93-203-2-1.example.net", "93-203-1000-2.example.net",
        "203-1-3.example.net", "193-203-1-3.example.net", "1203.example.net", "12.example.net",
        "cb01.example.net", "0102.example.net", "930203.example.net", "2.example.net",
    ],
)  # fmt: skip
def test_two_bytes_or_another_order_are_no_address(name: str) -> None:
    assert generic_reason(name.encode(), address_of("93.203.1.2")) is None


@pytest.mark.parametrize(
    ("name", "generic"),
    [
        ("dsl-2", True), ("2-dsl", True), ("dsl2", True), ("dyndsl12", True), ("athedsl-12", True),
        ("mydhcp-7", True), ("dhcppool-7", True), ("a12.b.adsl", True), ("adsl.b.a12", True),
        ("cust-7", True), ("customer7", True), ("pool-7", True), ("pool-12-34", True),
        ("1234.customers", True), ("12-34.home", True), ("x123.mobile", True), ("ip-123", True),
        ("dynamic", True), ("adsl.static", True), ("unassigned", True),
        # The word has no number beside it, or only a short one; or it is another word.
        ("static", False), ("mobile", False), ("customers", False), ("home.mobile", False),
        ("a2.customers", False), ("x1.dsl", False), ("mobile1", False), ("nat2", False),
        ("dynamics365", False), ("cabled12", False), ("dialog24", False), ("pools", False),
        ("clientele123", False), ("homes-12-34", False), ("ipswich123", False),
        # Labels with a mail role have numbers of their own.
        ("mail12.dsl", False), ("smtp123.customers", False), ("mx-12-34.mobile", False),
        ("mail-pool-123", False), ("mail.dsl-23", True), ("out.adsl12", True),
    ],
)  # fmt: skip
def test_a_word_for_lines_counts_only_next_to_a_number(name: str, *, generic: bool) -> None:
    reason = generic_reason(f"{name}.example.net".encode(), address_of("93.203.1.2"))
    assert (reason is not None) is generic, reason


@pytest.mark.parametrize("role", ["mail", "mta", "smtp", "mx", "out", "outbound", "smtp-out"])
def test_a_mail_role_distinguishes_a_mail_platform(role: str) -> None:
    client = address_of("93.203.1.2")
    for name in (f"{role}-93-203-1-2.example.net", f"93-203-1-2.{role}.example.net"):
        assert not is_generic(name.encode(), client)
    for name in (
        f"{role}-93-203-1-2.dynamic.example.net", f"{role}.93-203-1-2.static.example.net",
        f"{role}-93-203-1-2.eu-west-2.compute.amazonaws.com", f"{role}.ip-93-203-1.eu",
        f"{role}.2.1.203.93.clients.example.net",
    ):  # fmt: skip
        assert is_generic(name.encode(), client), name


@pytest.mark.parametrize(
    ("name", "address", "reason"),
    [
        ("p5dcb0102.myfritz.net", "93.203.1.2", "it contains the client's address (5dcb0102)"),
        (
            "203-1-2.example.net",
            "93.203.1.2",
            "it contains three bytes of the client's address (203-1-2)",
        ),
        (
            "dsl-23.example.net",
            "93.203.1.2",
            'it has the word "dsl" for customers\' lines next to a number',
        ),
        (
            "vmi1234567.contaboserver.net",
            "93.203.1.2",
            'it is a provider\'s number for a machine ("vmi1234567")',
        ),
        ("dynamic-ip.example.net", "93.203.1.2", "it has only words for customers' lines"),
        ("mail.example.net", "93.203.1.2", None),
    ],
)
def test_the_reason_says_what_makes_a_name_generic(
    name: str, address: str, reason: str | None
) -> None:
    assert generic_reason(name.encode(), address_of(address)) == reason


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("ec2-3-8-101-102.eu-west-2.compute.amazonaws.com", "amazonaws.com"),
        ("a.b.example.co.uk", "example.co.uk"), ("mx.some.github.io", "github.io"),
        ("github.io", "github.io"), ("co.uk", ""), ("mail.example.internal", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_private_section_of_the_suffix_list_does_not_count(name: str, domain: str) -> None:
    assert icann_domain_of(name.encode()) == domain.encode()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "-", "1", "1.2.3.4", "com", "x" * 64 + ".com", "\xff.example.com", "a..b.com"],
)
def test_no_name_is_too_strange(name: str) -> None:
    generic_reason(name.encode(), address_of("93.203.1.2"))
    generic_reason(name.encode(), address_of("2001:db8::7"))
