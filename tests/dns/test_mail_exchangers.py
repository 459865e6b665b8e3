"""The mail exchangers of the domains that local users write to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from greyd.dns.lookup import RecordType
from greyd.dns.mail_exchangers import MailExchangers
from tests.fake_dns import FakeDns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.dns.lookup import DnsAnswer


def dns() -> FakeDns:
    fake = FakeDns(silent={b"silent.example"})
    fake.add("corp.example", RecordType.MX, "mx1.provider.example", "mx2.provider.example")
    fake.add("xn--bcher-kva.example", RecordType.MX, "mx.provider.example")
    fake.add("address.example", RecordType.A, "192.0.2.7")
    fake.add("nullmx.example", RecordType.MX, "")
    fake.fail("failing.example", RecordType.MX)
    return fake


@pytest.mark.parametrize(
    ("recipient", "exchangers"),
    [
        ("alice@Corp.example", [b"mx1.provider.example", b"mx2.provider.example"]),
        ("alice@bücher.example", [b"mx.provider.example"]),
        ("alice@address.example", []),
        ("alice@nullmx.example", [b""]),
        ("alice@failing.example", []),
        ("alice@silent.example", []),
        ("alice", []),
        ("alice@", []),
    ],
)
def test_they_are_found_in_time_or_there_are_none(recipient: str, exchangers: list[bytes]) -> None:
    async def ask() -> Sequence[bytes]:
        errors: list[BaseException] = []
        found: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()
        MailExchangers(dns(), 0.05, errors.append).find(recipient.encode(), found.set_result)
        names = await found
        assert errors == []
        return names

    assert list(asyncio.run(ask())) == exchangers


class Broken(FakeDns):
    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        raise ValueError(name, record_type)


def test_a_fault_is_reported_and_nothing_waits_for_it() -> None:
    async def ask() -> tuple[list[Sequence[bytes]], list[BaseException]]:
        errors: list[BaseException] = []
        found: list[Sequence[bytes]] = []
        MailExchangers(Broken(), 60, errors.append).find(b"alice@corp.example", found.append)
        await asyncio.sleep(0.01)
        return found, errors

    found, errors = asyncio.run(ask())
    assert found == [()]
    assert [type(error) for error in errors] == [ValueError]


def test_after_the_end_nothing_is_asked() -> None:
    async def ask() -> tuple[list[Sequence[bytes]], list[BaseException], FakeDns]:
        fake, errors = dns(), list[BaseException]()
        found: list[Sequence[bytes]] = []
        exchangers = MailExchangers(fake, 60, errors.append)
        exchangers.find(b"alice@silent.example", found.append)
        await asyncio.sleep(0)
        exchangers.close()
        exchangers.find(b"alice@corp.example", found.append)
        await asyncio.sleep(0.01)
        return found, errors, fake

    found, errors, fake = asyncio.run(ask())
    assert (found, errors) == ([(), ()], [])
    assert fake.asked == [(b"silent.example", RecordType.MX)]
