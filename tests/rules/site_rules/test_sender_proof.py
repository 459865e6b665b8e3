"""What proves that a client may send for the sender's domain, and what does not."""

from __future__ import annotations

import pytest

from greyd.rules.request import Request
from greyd.rules.site_rules.sender_proof import prove_sender
from tests.fake_dns import address_of

CLIENT = "192.0.2.7"
THEIRS = "mx1.mail.example.com"


def way_of(
    sender: str, spf: str, name: str = "unknown", *, is_specific: bool = True, client: str = CLIENT
) -> str:
    request = Request(sender=sender.encode(), client_name=name.encode())
    proof = prove_sender(request, address_of(client), spf, is_specific=is_specific)
    assert bool(proof.way) != bool(proof.missing)
    return proof.way or proof.missing


@pytest.mark.parametrize(
    ("sender", "spf", "name", "way"),
    [
        ("bob@example.com", "pass", "unknown", "spf"),
        ("bob@example.com", "pass", THEIRS, "spf"),
        ("bob@mail.example.com", "none", THEIRS, "name"),
        ("Bob@EXAMPLE.com", "none", "MX1.Mail.Example.COM", "name"),
        ("bob@example.com", "permerror", THEIRS, "name"),
        ("bob@example.com", "temperror", THEIRS, "name"),
        ("bob@example.com", "", THEIRS, "name"),
        ("bob@bücher.de", "none", "mx.xn--bcher-kva.de", "name"),
        ("bob@xn--bcher-kva.example", "pass", "unknown", "spf"),
    ],
)
def test_an_spf_pass_or_a_name_of_the_sender_s_organisation_is_proof(
    sender: str, spf: str, name: str, way: str
) -> None:
    assert way_of(sender, spf, name) == way


@pytest.mark.parametrize(
    ("sender", "spf", "name", "missing"),
    [
        ("bob@example.com", "fail", "unknown", "denies the client"),
        ("bob@example.com", "fail", THEIRS, "denies the client"),
        ("bob@example.com", "none", "unknown", "result is none, and the client has no confirmed"),
        ("bob@example.com", "softfail", "unknown", "result is softfail, and the client has no"),
        ("bob@example.com", "", "unknown", "did not answer in time, and the client has no"),
        ("bob@example.com", "none", "mx.example.net", "no confirmed name in the sender's"),
        ("bob@example.com", "none", "mx.notexample.com", "no confirmed name in the sender's"),
        ("bob@example.com", "none", "example.com.evil.example", "no confirmed name in the"),
        ("bob@example.com", "none", "192-0-2-7.dsl.example.com", "the client's name is generic"),
        # A hoster's customer sends for its machine, or claims the hoster's domain.
        ("root@vps7.example.com", "none", "vps8.example.com", "customers of the organisation may"),
        ("bob@example.com", "softfail", "vps8.example.com", "customers of the organisation may"),
        ("bob@example.com", "neutral", "vps8.example.com", "customers of the organisation may"),
        # Customers of a hoster are not one organisation.
        ("bob@a.github.io", "none", "mx.b.github.io", "no confirmed name in the sender's"),
        ("bob@github.io", "none", "mx.github.io", "no confirmed name in the sender's"),
        ("bob@com", "none", "mx.com", "no confirmed name in the sender's"),
        ("", "pass", THEIRS, "the sender has no domain"),
        ("<>", "pass", THEIRS, "the sender has no domain"),
        ("postmaster", "pass", THEIRS, "the sender has no domain"),
    ],
)
def test_anything_else_is_no_proof_and_the_reason_is_named(
    sender: str, spf: str, name: str, missing: str
) -> None:
    assert missing in way_of(sender, spf, name)


def test_a_record_that_passes_nearly_every_client_proves_nothing() -> None:
    assert "SPF passes nearly every client" in way_of("bob@example.com", "pass", is_specific=False)
    assert way_of("bob@example.com", "pass", THEIRS, is_specific=False) == "name"
