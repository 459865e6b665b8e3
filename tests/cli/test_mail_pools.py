"""``greyd list``: waiting mail from several networks, and the commands that let it pass."""

from __future__ import annotations

import shlex

import pytest

from greyd.cli.entries.mail_pools import MailPools
from greyd.config.settings import Settings
from greyd.rules.entries import StoredEntry, interpret
from greyd.rules.keys import request_keys
from greyd.rules.records import Triplet
from greyd.rules.transaction import Record
from tests.evidence import evidence_for
from tests.fake_dns import address_of

NOW = 1_700_000_000
SETTINGS = Settings()


def triplet(
    address: str,
    sender: str = "a@big.example",
    recipient: str = "b@example.org",
    *,
    passed_at: int | None = None,
    identity: bytes = b"",
    settings: Settings = SETTINGS,
) -> StoredEntry:
    evidence = evidence_for(identity) if identity else None
    keys = request_keys(
        address_of(address), sender.encode(), recipient.encode(), settings, evidence
    )
    key = keys.identities[0].triplet if identity else keys.triplet
    first = NOW - 900 if passed_at else NOW - 60
    record = Triplet(first, NOW - 60, passed_at).dump()
    entry = interpret(Record(key, record, 9999), NOW, settings)
    assert entry is not None
    return entry


def lines(*entries: StoredEntry, settings: Settings = SETTINGS) -> list[str]:
    pools = MailPools(settings)
    pools.add(entries)
    return list(pools.lines())


def test_a_mail_from_several_networks_gets_the_commands_that_let_it_pass() -> None:
    _, head, now, always = lines(triplet("192.0.2.1"), triplet("198.51.100.1"))
    assert head == "a@big.example to b@example.org, from 2 networks"
    assert now == "  now: greyd release --sender a@big.example --recipient b@example.org"
    assert always == (
        "  always, if you know the sender: greyd whitelist add 192.0.2.0/24 198.51.100.0/24"
        " --reason 'mail of big.example'"
    )


@pytest.mark.parametrize(
    "entries",
    [
        [triplet("192.0.2.1")],
        [triplet("192.0.2.1"), triplet("192.0.2.99")],
        [triplet("192.0.2.1"), triplet("198.51.100.1", recipient="c@example.org")],
        [triplet("192.0.2.1"), triplet("198.51.100.1", sender="c@big.example")],
        [triplet("192.0.2.1"), triplet("198.51.100.1", passed_at=NOW)],
        [triplet("192.0.2.1", sender=""), triplet("198.51.100.1", sender="")],
        [
            triplet("192.0.2.1"),
            triplet("198.51.100.1"),
            triplet("203.0.113.1", identity=b"big.example"),
        ],
    ],
    ids=["one", "one network", "two recipients", "two senders", "passed", "bounces", "an identity"],
)
def test_other_mail_is_no_pool(entries: list[StoredEntry]) -> None:
    assert lines(*entries) == []


def test_hashes_are_no_pool() -> None:
    private = Settings(privacy=True)
    found = [triplet(each, settings=private) for each in ("192.0.2.1", "198.51.100.1")]
    assert lines(*found, settings=private) == []


def test_many_networks_and_many_pools_are_counted_and_not_proposed() -> None:
    many = [triplet(f"192.0.{n}.1") for n in range(9)]
    assert not any("whitelist add" in line for line in lines(*many))
    others = [
        triplet(f"192.0.{n}.1", sender=f"s{mail}@big.example") for mail in range(5) for n in (1, 2)
    ]
    assert lines(*others)[-1] == "… and 2 more mails"


def test_a_name_from_the_network_is_quoted() -> None:
    odd = [triplet(each, sender="a'$(x) @big.example") for each in ("192.0.2.1", "198.51.100.1")]
    command = next(line for line in lines(*odd) if "release" in line).partition("now: ")[2]
    assert shlex.split(command)[3] == "a'$(x) @big.example"
