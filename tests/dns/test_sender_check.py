"""Whether a client may use the sender of expected mail, or is proven to send for its domain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from greyd.dns.lookup import RecordType
from greyd.dns.sender_check import SpfSenderCheck
from greyd.rules.request import Request
from tests.fake_dns import FakeDns, address_of

if TYPE_CHECKING:
    from greyd.rules.site_rules.sender_proof import SenderProof

OURS, BOT = "192.0.2.7", "198.51.100.66"


def dns() -> FakeDns:
    fake = FakeDns(silent={b"silent.example", b"silent-example.com"})
    for name, record in {
        "strict.example": "v=spf1 ip4:192.0.2.0/24 -all",
        "mail.strict.example": "v=spf1 ip4:198.51.100.0/24 -all",
        "soft.example": "v=spf1 ip4:192.0.2.0/24 ~all",
        "soft-example.com": "v=spf1 ip4:192.0.2.0/24 ~all",
        "neutral.example": "v=spf1 ip4:192.0.2.0/24 ?all",
        "nothing.example": "v=spf1 -all",
        "broken.example": "v=spf1 ip4:nonsense -all",
        "macro.example": "v=spf1 exists:%{l}.ok.example -all",
        "wide.example": "v=spf1 +all",
        "xn--bcher-kva.example": "v=spf1 ip4:192.0.2.0/24 -all",
    }.items():
        fake.add(name, RecordType.TXT, record)
    fake.add("alice.ok.example", RecordType.A, "127.0.0.2")
    fake.add("none-example.com", RecordType.A, "192.0.2.7")
    fake.add("none.example", RecordType.A, "192.0.2.7")
    fake.fail("failing.example", RecordType.TXT)
    return fake


def is_denied(sender: bytes, client: str, domain: bytes, timeout_seconds: float = 1) -> bool:
    async def ask() -> bool:
        errors: list[BaseException] = []
        check = SpfSenderCheck(dns(), timeout_seconds, errors.append)
        result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        request = Request(sender=sender, recipient=b"bob@example.org", helo_name=b"mx.example")
        check.check(request, address_of(client), domain, result.set_result)
        denied = await result
        assert errors == []
        return denied

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("sender", "client", "denied"),
    [
        (b"alice@strict.example", OURS, False),
        (b"alice@strict.example", BOT, True),
        (b"Alice+code@STRICT.example.", BOT, True),
        (b"alice@mail.strict.example", BOT, False),
        (b"alice@mail.strict.example", OURS, True),
        # A name below the domain that has no record of its own.
        (b"alice@invented.strict.example", BOT, True),
        (b"alice@invented.strict.example", OURS, False),
        (b"alice@nothing.example", OURS, True),
        (b"alice@macro.example", BOT, False),
        (b"mallory@macro.example", BOT, True),
        ("alice@bücher.example".encode(), BOT, True),
        ("alice@bücher.example".encode(), OURS, False),
        # Nothing that SPF only doubts, or cannot answer, is denied.
        (b"alice@soft.example", BOT, False),
        (b"alice@neutral.example", BOT, False),
        (b"alice@none.example", BOT, False),
        (b"alice@broken.example", BOT, False),
        (b"alice@failing.example", BOT, False),
        (b"alice@unknown.example", BOT, False),
    ],
)
def test_only_a_fail_denies_a_sender(sender: bytes, client: str, denied: bool) -> None:
    *_, name, top = sender.rpartition(b"@")[2].lower().rstrip(b".").split(b".")
    domain = {"bücher".encode(): b"xn--bcher-kva"}.get(name, name) + b"." + top
    assert is_denied(sender, client, domain) is denied


def test_what_does_not_answer_in_time_denies_nothing() -> None:
    assert not is_denied(b"alice@silent.example", BOT, b"silent.example", timeout_seconds=0.01)


def test_after_the_end_nothing_is_asked() -> None:
    async def ask() -> list[bool]:
        found: list[bool] = []
        errors: list[BaseException] = []
        check = SpfSenderCheck(dns(), 60, errors.append)
        request = Request(sender=b"alice@silent.example")
        check.check(request, address_of(BOT), b"silent.example", found.append)
        await asyncio.sleep(0)
        check.close()
        check.check(request, address_of(BOT), b"silent.example", found.append)
        await asyncio.sleep(0.01)
        return [*found, bool(errors)]

    assert asyncio.run(ask()) == [False, False, False]


# Proofs -------------------------------------------------------------------------------------------


def proof_of(
    sender: bytes, client: str, name: bytes = b"unknown", timeout_seconds: float = 1
) -> SenderProof:
    async def ask() -> SenderProof:
        errors: list[BaseException] = []
        check = SpfSenderCheck(dns(), timeout_seconds, errors.append)
        result: asyncio.Future[SenderProof] = asyncio.get_running_loop().create_future()
        request = Request(sender=sender, client_name=name, helo_name=b"mx.strict.example")
        check.prove(request, address_of(client), result.set_result)
        proof = await result
        assert errors == []
        return proof

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("sender", "client", "name", "way"),
    [
        (b"alice@strict.example", OURS, b"unknown", "spf"),
        (b"Alice+code@STRICT.example.", OURS, b"unknown", "spf"),
        ("alice@b\u00fccher.example".encode(), OURS, b"unknown", "spf"),
        (b"alice@strict.example", BOT, b"unknown", ""),
        (b"alice@strict.example", BOT, b"mx.strict.example", ""),
        (b"alice@soft.example", OURS, b"unknown", "spf"),
        (b"alice@soft.example", BOT, b"unknown", ""),
        (b"alice@soft-example.com", BOT, b"mx.soft-example.com", ""),
        (b"alice@none-example.com", BOT, b"mx.none-example.com", "name"),
        (b"alice@none.example", BOT, b"unknown", ""),
        (b"alice@wide.example", BOT, b"unknown", ""),
        # Only the sender's own domain counts, not the one above it.
        (b"alice@invented.strict.example", OURS, b"unknown", ""),
        (b"alice@broken.example", BOT, b"unknown", ""),
        (b"alice@failing.example", BOT, b"unknown", ""),
        # A bounce has no sender, though SPF passes the HELO name.
        (b"", OURS, b"mx.strict.example", ""),
    ],
)
def test_a_sender_is_proven_by_spf_or_by_name(
    sender: bytes, client: str, name: bytes, way: str
) -> None:
    proof = proof_of(sender, client, name)
    assert proof.way == way, proof.missing


def test_without_an_answer_in_time_only_the_name_can_prove_a_sender() -> None:
    proof = proof_of(b"alice@silent.example", OURS, timeout_seconds=0.01)
    assert "did not answer in time" in proof.missing
    named = proof_of(
        b"alice@silent-example.com", OURS, b"mx.silent-example.com", timeout_seconds=0.01
    )
    assert named.way == "name"


def test_after_the_end_nothing_is_proven_by_spf() -> None:
    async def ask() -> list[str]:
        found: list[SenderProof] = []
        check = SpfSenderCheck(dns(), 60, pytest.fail)
        request = Request(sender=b"alice@silent.example", client_name=b"unknown")
        check.prove(request, address_of(OURS), found.append)
        await asyncio.sleep(0)
        check.close()
        strict = Request(sender=b"alice@strict.example", client_name=b"unknown")
        check.prove(strict, address_of(OURS), found.append)
        await asyncio.sleep(0.01)
        return [each.way for each in found]

    assert asyncio.run(ask()) == ["", ""]
