"""``greyd explain`` tests DNS lists as the server does, and believes only those in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import fill, run_here
from tests.dns_server import SERVFAIL, dns_server

if TYPE_CHECKING:
    from pathlib import Path

LISTED = {"7.2.0.192.bl.example": ["300 A 127.0.0.4"], "2.0.0.127.bl.example": ["300 A 127.0.0.2"]}


@pytest.mark.parametrize(
    ("zone", "is_listed", "is_off"),
    [
        (LISTED, True, False),
        ({}, False, False),
        ({"*.bl.example": ["300 A 127.0.0.4"]}, False, True),
        ({"*.bl.example": ["300 A 127.255.255.254"]}, False, True),
        ({"*.bl.example": SERVFAIL}, False, True),
    ],
)
def test_a_list_out_of_order_is_named_and_not_believed(
    tmp_path: Path, zone: dict[str, Any], *, is_listed: bool, is_off: bool
) -> None:
    fill(f"sqlite:{tmp_path / 'greyd.db'}", {})
    with dns_server(zone) as server:
        done = run_here(
            "explain", "--client-address=192.0.2.7", "--client-name=mail.example.com",
            "--reverse-client-name=mail.example.com", "--helo-name=mail.example.com",
            "--sender=a@example.com", "--recipient=b@example.org",
            GREYD_DBDIR=str(tmp_path), GREYD_RESOLVER=server.address, GREYD_DNSBL="bl.example",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ("signals: dnsbl" in done.stdout) is is_listed, done.stdout
    assert ("bl.example is out of order" in done.stdout) is is_off, done.stdout
    assert "unsure" not in done.stdout
