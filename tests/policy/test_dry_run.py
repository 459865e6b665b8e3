"""What ``greyd explain`` finds is what the server answers, and nothing is stored for it."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.explain.explained_request import ExplainedRequest
from greyd.cli.explain.rule_step import retry_window
from greyd.cli.explain.steps import describe_steps
from greyd.config.recipient_domains import RecipientDomain
from greyd.config.sender_groups import SenderGroup
from greyd.config.settings import Settings
from greyd.config.vocabulary import HOUR
from greyd.policy.control_poller import ControlPoller
from greyd.policy.dry_run import dry_run
from greyd.rules.control import Control, ExpectWindow, ModeOverride, change_control
from greyd.rules.evidence import Evidence
from greyd.rules.reasons import Reason
from greyd.rules.request import Request
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.rules.site_rules.sender_proof import SenderProof
from greyd.store.errors import StoreError
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.files import WhitelistContents
from tests.evidence import evidence_for
from tests.policy.test_policy import asking
from tests.policy.test_policy_identity import SaysOf
from tests.stores import FakeStore, answer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.policy.dry_run import DryRun
    from greyd.rules.address import Address
    from greyd.store.contract import Store

START = 1_700_000_000

LISTS = WhitelistContents(
    [WhitelistFile("clients", b"white.example\n192.0.2.128/25\n/^x[0-9]+\\.pool\\.example$/\n")],
    [WhitelistFile("recipients", b"postmaster@\nfree.example\n")],
    [],
    [],
    senders=[WhitelistFile("senders", b"alice@\nx@example.com\n")],
    never_auto=[WhitelistFile("never", b"198.51.100.8\n203.0.0.0/21\n")],
)
WHITELISTS = LISTS.whitelists()

EVIDENCE = (
    Evidence(),
    evidence_for(b"example.com"),
    evidence_for(b"example.net", "name", speaks=False),
    evidence_for(b"example.com", unsure=True),
    Evidence(signals=("no_ptr",)),
    Evidence(listed=True, signals=("dnsbl",)),
    evidence_for(b"example.com", speaks=False, listed=True, delay_seconds=900),
    Evidence(unsure=True),
    Evidence(exemption=Reason.DNS_WHITELIST),
)

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"delay_seconds": 60, "auto_whitelist_clients": 2},
    {"auto_whitelist_clients": 0, "lookup_by_host": True},
    {"privacy": True, "retry_window_seconds": HOUR},
    {"mode": "learn"},
    {
        "identity": ("spf",),
        "auto_whitelist_identities": 2,
        "identity_age_seconds": 0,
        "auto_whitelist_clients": 0,
    },
    {"identity": ("spf",), "delays": (0, 60, 300, 900), "learn_outbound": True},
    {"identity": ("spf",), "learn_outbound": True},
    {"greylist": "suspicious", "max_age_seconds": 2 * HOUR},
    {"on_store_failure": "defer", "log_format": "json"},
    {"whitelist_senders": (Path("senders"),)},
    {"whitelist_senders": (Path("senders"),), "greylist": "suspicious"},
    {"never_auto_whitelist": (Path("never"),), "auto_whitelist_clients": 1},
    {
        "never_auto_whitelist": (Path("never"),),
        "identity": ("spf",),
        "auto_whitelist_identities": 2,
        "identity_age_seconds": 0,
    },
    {"sender_groups": (SenderGroup("big", ("203.0.0.0/16", "198.51.100.0/24")),)},
    {
        "sender_groups": (SenderGroup("big", ("203.0.0.0/16",), ("example.com",)),),
        "identity": ("spf",),
    },
    {
        "recipient_domains": (
            RecipientDomain("example.org", 900),
            RecipientDomain("x.example", mode="learn"),
            RecipientDomain("example.com", mode="off"),
        )
    },
    {"recipient_domains": (RecipientDomain("example.org", greylist="suspicious", mode="on"),)},
)


class ProofsByAddress:
    """A check of senders: every second address is proven to send for the sender."""

    def check(self, *arguments: Any) -> None:
        arguments[-1](False)

    def prove(
        self, _request: Request, address: Address, on_result: Callable[[SenderProof], None]
    ) -> None:
        on_result(SenderProof("spf") if address.number % 2 else SenderProof(missing="SPF: fail"))

    def close(self) -> None:
        return


def some_request(chance: random.Random, now: int) -> Request:
    pick = chance.choice
    names = [b"mail.example.com"] * 5 + [b"unknown", b"a.white.example", b"x1.pool.example"]
    clients = [b"198.51.100.7"] * 6 + [b"198.51.100.8", b"192.0.2.200", b"2001:db8::1", b"", b"?"]
    clients += [b"203.0.%d.7" % chance.randrange(9)] * 3
    senders = [b"alice@example.com"] * 6 + [b"", b"prvs=0123456789=a+b@example.com"]
    senders += [b"%s@example.com" % (b"x" * chance.randrange(1, 4))] * 12
    recipients = [b"bob@example.org"] * 6 + [b"eve@example.org", b"carol@example.org"]
    request = Request(
        request=b"smtpd_access_policy",
        client_address=pick(clients),
        client_name=pick(names),
        sender=pick(senders),
        recipient=pick([*recipients, b"postmaster@x.example", b"x@free.example"]),
        sasl_username=pick([None, b"", b"", b"", b"", b"", b"alice"]),
        etrn_domain=pick([None, b""]),
        policy_test_time=b"%d" % now,
    )
    if chance.random() < 0.1:
        # One of our users writes to somebody.
        request = request._replace(
            policy_context=b"outbound",
            sasl_username=pick([None, b"alice", b"bob", b"bob"]),
            sender=b"bob@example.org",
            recipient=pick(senders),
        )
    if chance.random() < 0.05:
        name = pick(["client_address", "client_name", "sender", "recipient", "request"])
        request = request._replace(**{name: None})
    return request


def some_control(chance: random.Random, now: int) -> Control:
    if chance.random() < 0.7:
        return Control()
    mode = ModeOverride(
        chance.choice(["on", "off", "learn"]), chance.choice([0, now + 60]), "root", now
    )
    window = ExpectWindow("bob@example.org", chance.choice(["", "example.com"]), now + 60)
    return Control(chance.choice([None, mode]), chance.choice([(), (window,)]))


async def content(store: Store) -> dict[bytes, bytes]:
    if isinstance(store, FakeStore):
        return dict(store.records_)
    return {each.key: each.value async for group in store.records() for each in group}


def undated(reply: bytes | None) -> bytes | None:
    """Return a reply without the date of its header."""
    return reply if reply is None else re.sub(rb"; \w{3}, .*", b"", reply)


async def compare(store: Store, seed: int, number: int) -> set[Reason]:
    """Ask both about random mail, one after the other; returns the reasons that came up."""
    chance = random.Random(seed)
    options = chance.choice(SETTINGS)
    settings = Settings(test_time=True, hostname="gw.example.org", **options)
    seen = set()
    now = START
    async with asking(store, settings, WHITELISTS) as server:
        collector = SaysOf() if settings.needs_evidence else None
        server.policy.collector = collector
        server.policy.sender_check = ProofsByAddress()
        poller = ControlPoller(settings, server.guard, server.policy, server.observers)
        for _ in range(number):
            now += chance.choice([1, 30, 60, 301, HOUR, HOUR + 1, 5 * HOUR])
            if collector:
                collector.evidence = chance.choice([*EVIDENCE, *EVIDENCE[1:4] * 4])
            if isinstance(store, FakeStore):
                store.fault = None
            control = some_control(chance, now)
            await store.transact([CONTROL_KEY], change_control(lambda _, c=control: c, now))
            if isinstance(store, FakeStore) and chance.random() < 0.03:
                store.fault = StoreError("away")
            # The server's clock is the real one, so what it is told is in force there too.
            await poller.poll()
            if isinstance(store, FakeStore) and store.fault:
                server.policy.mode = settings.mode
                server.policy.mode_is_overridden = False
                server.policy.expected = type(server.policy.expected)((), settings)
            request = some_request(chance, now)
            before = await content(store)
            found = await dry_run(
                request, settings, WHITELISTS, store, collector, ProofsByAddress()
            )
            assert await content(store) == before, "explain has stored something"
            own = found.applied.settings if found.applied else settings
            told = describe_steps(ExplainedRequest(request, own, LISTS, WHITELISTS, found))
            check_told(told, found)
            check_outlook(request, own, found)
            said = await answer_of(server.policy, request)
            assert undated(found.reply) == undated(said), (options, request)
            if said is not None:
                assert found.reason is not None
                seen.add(found.reason)
            if isinstance(store, FakeStore) and store.fault:
                break
    return seen


def check_told(told: list[Any], found: DryRun) -> None:
    """The steps end with the one that decides, and none before it would have."""
    *before, last = told
    assert last.decides
    assert not any(step.decides for step in before)
    # An entry for a sender that is not proven matches without letting the mail pass.
    assert not any(step.match for step in before if step.name != "sender whitelist")
    # What is remembered is told where the rules have looked at it, and only there.
    is_told = "memory" in [step.name for step in told]
    assert is_told == (
        found.decision is not None
        or (bool(found.store_error) and found.reason is not Reason.OUTBOUND)
    )
    if found.reason in (Reason.CLIENT_WHITELIST, Reason.RECIPIENT_WHITELIST):
        assert last.name == found.reason.text
        assert last.match
    if "authenticated" in [step.name for step in before]:
        assert found.reason is not Reason.AUTHENTICATED
    if found.reason not in (
        Reason.MODE_OFF,
        Reason.OUTBOUND,
        Reason.MISSING_ATTRIBUTE,
        None,
    ) and "mode" in [step.name for step in before]:
        assert (found.applied.mode if found.applied else found.mode) != "off"


def check_outlook(request: Request, settings: Settings, found: DryRun) -> None:
    window = retry_window(ExplainedRequest(request, settings, LISTS, WHITELISTS, found))
    if found.reason in (Reason.NEW, Reason.EARLY_RETRY):
        assert window is None or found.now < window.passes_at <= window.ends_at
        assert window is not None or settings.delay_varies
    else:
        assert window is None


def test_explain_s_verdict_is_the_server_s_whatever_is_asked_and_stored() -> None:
    async def run() -> set[Reason]:
        seen: set[Reason] = set()
        for seed in range(100):
            seen |= await compare(FakeStore(), seed, 60)
        return seen

    seen = asyncio.run(run())
    assert set(Reason) - seen == {Reason.INTERNAL_ERROR}


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
@pytest.mark.parametrize("seed", range(0, 20, 4))
def test_it_is_so_on_real_stores(tmp_path: Path, kind: str, seed: int) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}" if kind == "sqlite" else "memory://"

    async def run() -> None:
        store = open_store(Settings(store=url), tmp_path)
        await compare(store, seed, 40)

    asyncio.run(run())


def test_a_retry_at_the_time_that_was_told_passes_and_one_before_does_not() -> None:
    settings = Settings(test_time=True, hostname="gw.example.org", delay_seconds=77)

    async def run() -> None:
        async with asking(FakeStore(), settings, WHITELISTS) as server:
            request = Request(
                b"smtpd_access_policy", b"198.51.100.7", b"mail.example.com", b"a@x", b"b@y",
                policy_test_time=b"%d" % START,
            )  # fmt: skip
            store = server.guard.store
            found = await dry_run(request, settings, WHITELISTS, store, None)
            window = retry_window(ExplainedRequest(request, settings, LISTS, WHITELISTS, found))
            assert window is not None
            passes_at = window.passes_at
            assert (passes_at, window.ends_at) == (
                START + 77,
                START + settings.retry_window_seconds,
            )
            for now, passes in ((START, False), (passes_at - 1, False), (passes_at, True)):
                later = request._replace(policy_test_time=b"%d" % now)
                assert (await answer_of(server.policy, later) or b"").startswith(
                    b"PREPEND" if passes else b"DEFER"
                )

    asyncio.run(run())


class SlowEvidence:
    """Collects evidence for longer than a second."""

    def collect(self, _request: Request, _address: object, found: Any) -> None:
        asyncio.get_running_loop().call_later(1.1, found, Evidence(delay_seconds=900))

    def close(self) -> None:
        """Nothing is pending."""


def test_the_time_of_the_dry_run_is_that_of_its_decision_however_long_dns_takes() -> None:
    request = Request(
        request=b"smtpd_access_policy", client_address=b"198.51.100.7", client_name=b"unknown",
        sender=b"alice@example.com", recipient=b"bob@example.org",
    )  # fmt: skip
    settings = Settings(delays=(0, 60, 300, 900))
    run = asyncio.run(dry_run(request, settings, WHITELISTS, FakeStore(), SlowEvidence()))
    assert run.decision is not None
    assert [change.value for change in run.changes] == [b"%d" % run.now]
