"""Exceptions to DNS lists, in the form of a Postfix access table."""

from __future__ import annotations

from greyd.whitelist.dns_override import read_override
from greyd.whitelist.entries import WhitelistFile
from tests.fake_dns import address_of

FILE = b"""\
# comments begin a line
dripemail.example  OK           //This domain belongs to somebody
.sub.example       ok
192.0.2            OK
10.20              permit_for_now
203.0.113.7        DUNNO
198.51.100.0/25    554
mlsend.example     REJECT
alone.example
"""


def test_an_override_is_read_as_postfix_reads_an_access_table() -> None:
    clients = read_override([WhitelistFile("rbl_override", FILE)])

    def spared(name: str, client: str) -> bool:
        return clients.match(name.encode(), address_of(client)) is not None

    assert spared("mail.dripemail.example", "192.0.3.1")
    assert spared("a.sub.example", "192.0.3.1")
    assert spared("unknown", "192.0.2.200")
    assert spared("unknown", "198.51.100.23")
    assert not spared("unknown", "203.0.113.7")
    assert not spared("mlsend.example", "10.20.0.1")
    assert [diagnostic.line for diagnostic in clients.diagnostics] == [5, 8, 9]
    assert str(clients.diagnostics[2]) == (
        'rbl_override:9: "alone.example" – skipped: the action is not OK, PERMIT, DUNNO or'
        " a number; write a domain or an address, then OK"
    )
