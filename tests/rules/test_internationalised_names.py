"""The ASCII form of internationalised domains."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.rules.hostnames import domain_of, normal_name, organisation_of
from greyd.rules.names.internationalised import (
    ascii_address,
    ascii_domain,
    both_forms,
    unicode_domain,
)

CONVERTED = [
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.EXAMPLE", "xn--bcher-kva.EXAMPLE"),
    ("Bücher.example", "xn--bcher-kva.example"),
    ("www.bücher.example", "www.xn--bcher-kva.example"),
    ("_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example"),
    ("bücher.xn--bcher-kva.example", "xn--bcher-kva.xn--bcher-kva.example"),
    ("bücher.example.", "xn--bcher-kva.example."),
    # Decomposed: u and a combining diaeresis.
    ("bu\u0308cher.example", "xn--bcher-kva.example"),
    # The ideographic, the full-width and the half-width dot.
    ("bücher\u3002example", "xn--bcher-kva.example"),
    ("bücher\uff0eexample", "xn--bcher-kva.example"),
    ("example\uff61com", "example.com"),
    ("ＥＸＡＭＰＬＥ.com", "example.com"),
    ("b\u00adücher.example", "xn--bcher-kva.example"),
    # IDNA 2003 had straße as strasse, and the final sigma as the other one.
    ("straße.example", "xn--strae-oqa.example"),
    ("STRAẞE.example", "xn--strae-oqa.example"),
    ("strasse.bücher", "strasse.xn--bcher-kva"),
    ("βόλος.example", "xn--nxasmm1c.example"),
    ("βόλοσ.example", "xn--nxasmq6b.example"),
    ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
    ("مثال.إختبار", "xn--mgbh0fb.xn--kgbechtv"),
    ("中国.cn", "xn--fiqs8s.cn"),
    # A joiner where IDNA 2008 allows it.
    ("क्\u200dष.example", "xn--11b2ezcw70k.example"),
    ("ü" * 40 + ".example", None),
]


@pytest.mark.parametrize(("domain", "wanted"), CONVERTED)
def test_a_valid_domain_has_an_ascii_form(domain: str, wanted: str | None) -> None:
    found = ascii_domain(domain.encode())
    assert found.isascii()
    assert wanted is None or found == wanted.encode()
    assert ascii_domain(found) == found
    assert ascii_address(f"Älice+x@{domain}".encode()) == "Älice+x@".encode() + found
    assert domain_of(f"älice@{domain}".encode()) == found.lower().rstrip(b".")
    assert normal_name(domain.encode()) == found.lower().rstrip(b".")


@pytest.mark.parametrize(
    "domain",
    [
        "", "example.com", "EXAMPLE.com.", "xn--bcher-kva.example", "XN--BCHER-KVA.example", "a b",
        "xn--a.example", "[192.0.2.7]", "[IPv6:2001:db8::7]", "a@b", "..", "localhost",
    ],
)  # fmt: skip
def test_ascii_stays_byte_for_byte(domain: str) -> None:
    data = domain.encode()
    assert ascii_domain(data) == data
    assert ascii_address(data) == data
    assert ascii_address(b"Alice+x@" + data) == b"Alice+x@" + data


@pytest.mark.parametrize(
    "label",
    [
        b"i\xe2\x9d\xa4", "💩".encode(), b"\xff", b"\xc3", b"a\xed\xa0\x80", "-ü".encode(),
        "ü-".encode(), "ab--ü".encode(), "ü" .encode() * 64, "ü".encode() * 58, "\u0308a".encode(),
        "a\u200db".encode(), "a\u200bb\u202e".encode(), "ü b".encode(), "ü!".encode(),
        "a＠b".encode(), "ａ／ｂ".encode(), "ü\0".encode(), "١".encode(), "אa".encode(),
        "\ufdfa".encode(), "\ue000".encode(), "㎧".encode(), "xn--ü".encode(), "ü_a".encode(),
        "\u00ad".encode(),
    ],
)  # fmt: skip
def test_an_invalid_label_stays_and_the_others_are_converted(label: bytes) -> None:
    assert ascii_domain(label + b".example") == label + b".example"
    assert domain_of(b"a@" + label + b".example") == (label + b".example").lower()
    if label.decode(errors="ignore").encode() == label:
        mixed = ascii_domain(label + ".bücher.example".encode())
        assert mixed == label + b".xn--bcher-kva.example"


def test_the_domain_follows_the_last_at_sign_and_a_local_part_is_no_domain() -> None:
    assert ascii_address("a@bücher@bücher.example".encode()) == (
        "a@bücher@".encode() + b"xn--bcher-kva.example"
    )
    assert ascii_address("bücher.example".encode()) == "bücher.example".encode()
    assert ascii_address("bücher@".encode()) == "bücher@".encode()


def test_a_domain_is_registered_in_either_form() -> None:
    for name, organisation in {
        "mail.bücher.example.com": "example.com", "mail.bücher.de": "xn--bcher-kva.de",
        "mail.пример.рф": "xn--e1afmkfd.xn--p1ai", "рф": "",
        "mail.食狮.公司.cn": "xn--85x722f.xn--55qx5d.cn",
        "食狮.xn--55qx5d.cn": "xn--85x722f.xn--55qx5d.cn", "公司.cn": "",
    }.items():  # fmt: skip
        assert organisation_of(normal_name(name.encode())) == organisation.encode()


@pytest.mark.parametrize(
    ("domain", "in_unicode", "both"),
    [
        ("xn--bcher-kva.example", "bücher.example", "bücher.example (xn--bcher-kva.example)"),
        ("bücher.example", "bücher.example", "bücher.example (xn--bcher-kva.example)"),
        ("BÜCHER.example", "BÜCHER.example", "bücher.example (xn--bcher-kva.example)"),
        ("a.XN--BCHER-KVA.EX", "a.bücher.EX", "a.bücher.EX (a.XN--BCHER-KVA.EX)"),
        ("i❤.xn--bcher-kva", "i❤.bücher", "i%E2%9D%A4.bücher (i%E2%9D%A4.xn--bcher-kva)"),
        ("example.com", "example.com", "example.com"),
        ("xn--a.example", "xn--a.example", "xn--a.example"),
        ("xn--.example", "xn--.example", "xn--.example"),
        ("xn--ls8h.example", "xn--ls8h.example", "xn--ls8h.example"),
        ("xn--fa-hia.de", "faß.de", "faß.de (xn--fa-hia.de)"),
        ("i❤.ws", "i❤.ws", "i%E2%9D%A4.ws"),
        ("a\x1b[m.xn--bcher-kva", "a\x1b[m.bücher", "a%1B[m.bücher (a%1B[m.xn--bcher-kva)"),
        ("xn--" + "a" * 80 + ".com", "xn--" + "a" * 80 + ".com", "xn--" + "a" * 80 + ".com"),
    ],
)  # fmt: skip
def test_a_domain_is_displayed_in_both_forms(domain: str, in_unicode: str, both: str) -> None:
    assert unicode_domain(domain.encode()) == in_unicode.encode()
    assert both_forms(domain.encode()) == both


@given(st.one_of(st.binary(max_size=600), st.text(max_size=300).map(
    lambda text: text.encode(errors="surrogatepass"))))  # fmt: skip
def test_any_bytes_have_forms_and_conversion_is_stable(domain: bytes) -> None:
    once = ascii_domain(domain)
    assert ascii_domain(once) == once
    assert both_forms(domain).isprintable()
    unicode_domain(domain)
    ascii_address(domain)


@pytest.mark.parametrize(
    "domain",
    [
        "ü" * 10_000,
        "ü." * 5000,
        "\ufdfa" * 253,
        "a" + "\u0300\u0323" * 126,
        ("\ufdfa" * 60 + ".") * 4,
    ],
)
def test_the_longest_domain_takes_a_few_milliseconds(domain: str) -> None:
    data = domain.encode()
    ascii_domain("ü".encode())
    started = time.process_time()
    ascii_domain(data)
    assert time.process_time() - started < 0.1
