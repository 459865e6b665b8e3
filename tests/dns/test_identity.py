"""A client's identity by its name."""

from __future__ import annotations

import pytest

from greyd.dns.identity import ProvenIdentity, identity_from_name
from greyd.rules.request import Request
from tests.rules.test_hostnames import CLIENT


def request(name: str, helo: str, sender: str = "alice@example.com") -> Request:
    return Request(
        client_name=name.encode(), helo_name=helo.encode(), sender=sender.encode(),
        reverse_client_name=name.encode(),
    )  # fmt: skip


def test_a_confirmed_name_and_its_helo_make_an_identity() -> None:
    own = identity_from_name(request("mx7.mail.example.com", "OUT.Example.com"), CLIENT)
    assert own == ProvenIdentity(b"example.com", "name", speaks_for_sender=True)
    stranger = identity_from_name(
        request("mx7.mail.example.com", "out.example.com", "a@else.org"), CLIENT
    )
    assert stranger == ProvenIdentity(b"example.com", "name", speaks_for_sender=False)


@pytest.mark.parametrize(
    ("name", "helo"),
    [
        ("unknown", "mail.example.com"), ("mail.example.com", "mail.example.org"),
        ("mail.example.com", ""), ("mail.example.com", "[198.51.100.23]"),
        ("198-51-100-23.example.com", "mail.example.com"), ("co.uk", "co.uk"),
    ],
)  # fmt: skip
def test_names_that_prove_nothing_make_none(name: str, helo: str) -> None:
    assert identity_from_name(request(name, helo), CLIENT) is None
