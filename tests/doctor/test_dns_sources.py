"""The doctor's check of DNS lists and resolver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import Endpoint
from greyd.config.vocabulary import Zone as ListZone
from greyd.doctor.dns_sources import check_dns_sources
from tests.dns_server import SERVFAIL, SILENT, Zone, dns_server

if TYPE_CHECKING:
    from greyd.doctor.findings import Finding

BL, WL, DBL = "bl.example", "list.dnswl.org", "domains.example"


def check(changes: Zone) -> dict[str, Finding]:
    zone: Zone = {
        f"2.0.0.127.{BL}": ["300 A 127.0.0.2"],
        f"2.0.0.127.{WL}": ["300 A 127.0.10.0"],
        f"test.{DBL}": ["300 A 127.0.1.2"],
        **changes,
    }
    with dns_server(zone) as server:
        settings = Settings(
            dnsbl=(ListZone(BL),),
            rhsbl=(ListZone(DBL),),
            dnswl=(ListZone(WL),),
            resolvers=(Endpoint("127.0.0.1", server.port),),
            dns_timeout_seconds=0.5,
        )
        findings = asyncio.run(check_dns_sources(settings, None))
    return {each.check: each for each in findings}


def test_sources_in_order_are_found_so() -> None:
    levels = {name: each.state.value for name, each in check({}).items()}
    assert levels == dict.fromkeys(
        ["DNS: resolver", f"DNS: list {BL}", f"DNS: list {WL}", f"DNS: list {DBL}"], "ok"
    )


@pytest.mark.parametrize(
    ("changes", "zone", "text", "remedy"),
    [
        ({f"*.{BL}": ["300 A 127.255.255.254"]}, BL, "127.255.255.254", "own resolver"),
        ({f"*.{WL}": ["300 A 127.0.0.255"], f"2.0.0.127.{WL}": ["300 A 127.0.0.255"]}, WL,
         "127.0.0.255", "subscribe"),
        ({f"*.{BL}": ["300 A 203.0.113.9"]}, BL, "203.0.113.9", "remove the list"),
        ({f"*.{DBL}": ["300 A 127.0.1.2"]}, DBL, "lists INVALID", "remove the list"),
        ({f"1.0.0.127.{BL}": SERVFAIL}, BL, "does not answer", "own resolver"),
        ({f"1.0.0.127.{BL}": SILENT}, BL, "does not answer", "own resolver"),
    ],
)  # fmt: skip
def test_a_list_out_of_order_is_a_warning_with_a_remedy_and_the_others_are_ok(
    changes: Zone, zone: str, text: str, remedy: str
) -> None:
    findings = check(changes)
    found = findings.pop(f"DNS: list {zone}")
    assert found.state.value == "warning"
    assert text in found.seen
    assert remedy in found.remedy
    assert {each.state.value for each in findings.values()} == {"ok"}


def test_a_resolver_that_does_not_answer_is_one_warning() -> None:
    findings = check({"*.example": SERVFAIL, "*.org": SERVFAIL, ".": SERVFAIL, "com": SERVFAIL,
                      f"2.0.0.127.{BL}": SERVFAIL, f"2.0.0.127.{WL}": SERVFAIL,
                      f"test.{DBL}": SERVFAIL})  # fmt: skip
    levels = {name: each.state.value for name, each in findings.items()}
    assert levels.pop("DNS: resolver") == "warning"
    assert "warning" not in levels.values()


def test_without_dns_nothing_is_checked() -> None:
    assert asyncio.run(check_dns_sources(Settings(), None)) == []
