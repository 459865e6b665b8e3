"""Which questions a request costs: those whose answers can change the decision, and no others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.dns.collector import DnsEvidenceCollector
from greyd.dns.lookup import RecordType
from greyd.policy.observers import Observers
from greyd.policy.policy import Policy
from greyd.rules.request import Request
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.fake_dns import FakeDns, address_of
from tests.stores import FakeStore, answer_of

if TYPE_CHECKING:
    from greyd.rules.evidence import Evidence

ADDRESS = "192.0.2.7"
REVERSED = "7.2.0.192"
ZEN, DNSWL = f"{REVERSED}.zen.spamhaus.org A", f"{REVERSED}.list.dnswl.org A"
SPF, MX = "example.com TXT", "example.com MX"
DBL = {"example.com.dbl.spamhaus.org A", "mail.example.com.dbl.spamhaus.org A"}
HELO = "mx.example.net A"
DBL_OF_HELO = {"example.net.dbl.spamhaus.org A", "mx.example.net.dbl.spamhaus.org A"}
DBL_OF_SENDER = {"example.com.dbl.spamhaus.org A"}

CLEAN = Request(
    request=b"smtpd_access_policy",
    protocol_name=b"ESMTP",
    client_address=ADDRESS.encode(),
    client_name=b"mail.example.com",
    reverse_client_name=b"mail.example.com",
    helo_name=b"mail.example.com",
    sender=b"alice@example.com",
    recipient=b"bob@example.org",
)
NEUTRAL = "v=spf1 ?all"
NO_PTR = CLEAN._replace(client_name=b"unknown", reverse_client_name=b"unknown")


def world(*, spf: str = "v=spf1 ip4:192.0.2.7 -all", mx: bool = True) -> FakeDns:
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, spf)
    if mx:
        dns.add("example.com", RecordType.MX, "mail.example.com")
    for name in ("example.com", "mail.example.com", "mx.example.net"):
        dns.add(name, RecordType.A, ADDRESS)
    return dns


def preset(*options: str) -> Settings:
    given, _ = from_arguments(["--preset=recommended", *options])
    return merge_settings(given)


@dataclass
class Collected:
    """The evidence about a request, and the questions that it cost."""

    evidence: Evidence
    questions: list[str] = field(default_factory=list)


def collect(dns: FakeDns, request: Request, settings: Settings) -> Collected:
    nobody = ClientWhitelist([])

    async def run() -> Evidence:
        found: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        collector = DnsEvidenceCollector(settings, dns, lambda: nobody, _raise)
        collector.collect(request, address_of(ADDRESS), found.set_result)
        return await found

    evidence = asyncio.run(run())
    return Collected(evidence, [f"{name.decode()} {kind.value}" for name, kind in dns.asked])


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("case", "request_", "dns", "questions"),
    [
        ("clean", CLEAN, world(), {ZEN, SPF, MX} | DBL),
        ("another HELO", CLEAN._replace(helo_name=b"mx.example.net"), world(),
         {ZEN, SPF, MX, HELO} | DBL | DBL_OF_HELO),
        ("no MX", CLEAN, world(mx=False), {ZEN, SPF, MX, "example.com A"} | DBL),
        ("strong: no PTR", NO_PTR, world(), {ZEN, SPF} | DBL),
        ("strong: mismatch", NO_PTR._replace(reverse_client_name=b"mail.example.com"), world(),
         {ZEN, SPF} | DBL),
        ("strong: wrong literal", CLEAN._replace(helo_name=b"[192.0.2.8]"), world(),
         {ZEN, SPF} | DBL),
        ("strong and another HELO", NO_PTR._replace(helo_name=b"mx.example.net"), world(),
         {ZEN, SPF} | DBL_OF_SENDER | DBL_OF_HELO),
        ("one weak, SPF vouches", CLEAN._replace(protocol_name=b"SMTP"), world(),
         {ZEN, SPF, MX} | DBL),
        ("one weak, nobody vouches", CLEAN._replace(protocol_name=b"SMTP"), world(spf=NEUTRAL),
         {ZEN, SPF, MX, DNSWL} | DBL),
        ("two weak", CLEAN._replace(protocol_name=b"SMTP", helo_name=b"pc"), world(spf=NEUTRAL),
         {ZEN, SPF, MX} | DBL),
        ("SPF fails", CLEAN, world(spf="v=spf1 -all"), {ZEN, SPF, MX} | DBL),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_only_questions_that_can_change_the_decision_are_asked(
    case: str, request_: Request, dns: FakeDns, questions: set[str]
) -> None:
    collected = collect(dns, request_, preset())
    assert set(collected.questions) == questions, case
    assert len(collected.questions) == len(questions), "asked twice"
    assert not collected.evidence.unsure


def test_a_whitelist_that_passes_is_always_asked() -> None:
    collected = collect(world(), NO_PTR, preset("--dnswl=list.dnswl.org=medium"))
    assert DNSWL in collected.questions


def test_a_helo_that_claims_our_domain_is_resolved_unless_the_client_is_suspicious_anyway() -> None:
    dns = world(spf=NEUTRAL)
    claims = CLEAN._replace(protocol_name=b"SMTP", helo_name=b"mx.example.org")
    generic = claims._replace(client_name=b"p192-0-2-7.dsl.example.com")
    assert "mx.example.org A" in collect(dns, generic, preset()).questions
    dns = world(spf=NEUTRAL)
    assert (
        "mx.example.org A"
        not in collect(
            dns, claims._replace(client_name=b"unknown", reverse_client_name=b"unknown"), preset()
        ).questions
    )


def test_the_voucher_outweighs_the_only_weak_signal() -> None:
    dns = world(spf=NEUTRAL)
    dns.add(f"{REVERSED}.list.dnswl.org", RecordType.A, "127.0.5.2")
    evidence = collect(dns, CLEAN._replace(protocol_name=b"SMTP"), preset()).evidence
    assert (evidence.signals, evidence.is_vouched, evidence.is_clean) == (
        ("plain_helo",),
        True,
        True,
    )


@pytest.mark.parametrize(
    "request_", [CLEAN, NO_PTR, CLEAN._replace(helo_name=b"pc", protocol_name=b"SMTP")]
)
def test_known_mail_asks_nothing(request_: Request) -> None:
    """Once it has passed, at once or after its delay, and once its client is auto-whitelisted."""

    async def run() -> None:
        dns, nobody = world(), ClientWhitelist([])
        settings = preset("--auto-whitelist-clients=1", "--test-time")
        collector = DnsEvidenceCollector(settings, dns, lambda: nobody, _raise)
        whitelists = Whitelists(nobody, RecipientWhitelist([]))
        policy = Policy(settings, whitelists, FakeStore(), Observers(), collector)

        async def ask(now: int, sender: bytes = b"alice@example.com") -> list[object]:
            dns.asked.clear()
            at = b"%d" % (1_700_000_000 + now)
            await answer_of(policy, request_._replace(policy_test_time=at, sender=sender))
            return list(dns.asked)

        assert await ask(0)
        await ask(4000)
        assert await ask(4010) == []
        assert await ask(8000) == []
        assert await ask(8000, b"carol@example.com") == []

    asyncio.run(run())


def test_exempt_mail_asks_nothing() -> None:
    async def run() -> None:
        dns = world()
        clients = ClientWhitelist([WhitelistFile("clients", b"192.0.2.0/24\n")])
        collector = DnsEvidenceCollector(preset(), dns, lambda: clients, _raise)
        whitelists = Whitelists(clients, RecipientWhitelist([]))
        policy = Policy(preset(), whitelists, FakeStore(), Observers(), collector)
        await answer_of(policy, CLEAN)
        assert dns.asked == []

    asyncio.run(run())
