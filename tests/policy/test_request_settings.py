"""Settings that depend on the request: recipient domains, groups, clients never auto-whitelisted.

And whitelisted senders, who have to be proven first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.policy.control_poller import ControlPoller
from greyd.policy.observers import Observer, Observers
from greyd.policy.policy import Policy
from greyd.rules.control import Control, ModeOverride
from greyd.rules.evidence import Evidence, ProvenIdentity
from greyd.rules.request import Request
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.rules.site_rules.sender_proof import SenderProof
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import (
    ClientWhitelist,
    RecipientWhitelist,
    SenderWhitelist,
    Whitelists,
)
from tests.stores import answer_of, put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from greyd.policy.events import DecisionEvent
    from greyd.rules.address import Address

START = 1_700_000_000
PROVEN, NOT_PROVEN = SenderProof("spf"), SenderProof(missing="SPF denies the client")


@dataclass
class Server(Observer):
    """A policy with a store in memory, a collector and a check of senders that count questions."""

    settings: Settings
    lists: Whitelists
    evidence: Evidence = field(default_factory=Evidence)
    proof: SenderProof = PROVEN
    asked: list[bytes] = field(default_factory=list)
    proofs: list[bytes] = field(default_factory=list)
    events: list[DecisionEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = open_store(Settings(store="memory://"), Path("/nonexistent"))
        collector = self if self.settings.needs_evidence else None
        self.policy = Policy(self.settings, self.lists, self.store, Observers(self), collector)
        self.policy.sender_check = self

    async def ask(self, seconds: int = 0, **attributes: bytes) -> str:
        """Return the action's first word and the reason."""
        usual = Request(
            request=b"smtpd_access_policy",
            client_address=b"192.0.2.7", client_name=b"unknown",
            sender=b"alice@example.com", recipient=b"bob@example.org",
            policy_test_time=b"%d" % (START + seconds),
        )  # fmt: skip
        reply = await answer_of(self.policy, usual._replace(**attributes))
        assert reply is not None
        return f"{reply.split()[0].decode()} {self.events[-1].reason.text}"

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        self.events += events

    # The collector and the check of senders

    def collect(
        self, request: Request, _address: Address, found: Callable[[Evidence], None]
    ) -> None:
        self.asked.append(request.sender or b"")
        asyncio.get_running_loop().call_soon(found, self.evidence)

    def check(self, *arguments: Any) -> None:
        arguments[-1](False)

    def prove(
        self, request: Request, _address: Address, on_result: Callable[[SenderProof], None]
    ) -> None:
        self.proofs.append(request.sender or b"")
        asyncio.get_running_loop().call_soon(on_result, self.proof)

    def close(self) -> None:
        return


def serve(
    do: Callable[[Server], Coroutine[Any, Any, None]],
    *options: str,
    senders: bytes = b"",
    never: bytes = b"",
) -> None:
    settings = merge_settings(from_arguments(["--test-time", *options])[0])
    lists = Whitelists(
        ClientWhitelist([]),
        RecipientWhitelist([]),
        senders=SenderWhitelist([WhitelistFile("s", senders)]),
        never_auto=ClientWhitelist([WhitelistFile("n", never)]),
    )

    async def run() -> None:
        server = Server(settings, lists)
        try:
            await asyncio.wait_for(do(server), 10)
        finally:
            await server.store.close()

    asyncio.run(run())


NEW, EARLY, FOUND = "DEFER_IF_PERMIT new", "DEFER_IF_PERMIT early-retry", "DUNNO triplet found"
HEADER = "PREPEND triplet found"


# Recipient domains --------------------------------------------------------------------------------


def test_the_mail_of_a_domain_waits_for_its_own_delay() -> None:
    async def do(it: Server) -> None:
        fast, slow = {"recipient": b"bob@fast.example"}, {"recipient": b"bob@slow.example"}
        for each in (fast, slow, {}):
            assert await it.ask(0, **each) == NEW
        assert await it.ask(60, **fast) == HEADER
        assert await it.ask(60) == EARLY
        assert await it.ask(300) == HEADER
        assert await it.ask(300, **slow) == EARLY
        assert it.events[-1].reply.endswith(b"slow.example.html")
        assert await it.ask(3600, **slow) == HEADER
        for each in (fast, slow, {}):
            assert await it.ask(3700, **each) == FOUND

    serve(
        do, "--recipient-domain=fast.example;delay=60", "--recipient-domain=slow.example;delay=3600"
    )


def test_a_longer_delay_of_another_domain_does_not_make_known_mail_wait() -> None:
    # A record of postgrey or of an older version has no time of the pass.
    async def do(it: Server) -> None:
        key = b"{192.0.2.0}/alice@example.com/bob@example.org"
        await it.store.transact([key], put(key, b"%d,%d" % (START, START + 400), 10**6))
        assert await it.ask(500) == FOUND

    serve(do, "--recipient-domain=slow.example;delay=3600")


@pytest.mark.parametrize(
    ("mode", "reply"),
    [("off", "DUNNO mode off"), ("learn", "DUNNO learning"), ("on", NEW)],
)
def test_a_domain_has_its_own_mode(mode: str, reply: str) -> None:
    async def do(it: Server) -> None:
        assert await it.ask(recipient=b"bob@own.example") == reply
        assert await it.ask(recipient=b"bob@mail.own.example") == reply
        assert await it.ask() == NEW

    serve(do, f"--recipient-domain=own.example;mode={mode};subdomains=yes")


def test_a_domain_may_be_greylisted_on_a_server_that_only_learns() -> None:
    async def do(it: Server) -> None:
        assert await it.ask() == "DUNNO learning"
        assert await it.ask(recipient=b"bob@own.example") == NEW

    serve(do, "--mode=learn", "--recipient-domain=own.example;mode=on")


@pytest.mark.parametrize(
    ("override", "own", "other"),
    [
        ("off", "DUNNO mode off", "DUNNO mode off"),
        ("learn", "DUNNO learning", "DUNNO learning"),
        ("on", "DUNNO mode off", NEW),
    ],
)
def test_an_administrator_s_off_and_learn_apply_to_all_domains(
    override: str, own: str, other: str
) -> None:
    async def do(it: Server) -> None:
        control = Control(mode=ModeOverride(override, 0, "alice@mx1", START))

        await it.store.transact([CONTROL_KEY], put(CONTROL_KEY, control.dump(), 10**6))
        await ControlPoller(it.settings, it.store, it.policy, Observers()).poll()
        on, off = {"recipient": b"bob@on.example"}, {"recipient": b"bob@off.example"}
        assert await it.ask(**off) == own
        assert await it.ask(**on) == (other if override != "on" else NEW)
        assert await it.ask() == other

    serve(do, "--recipient-domain=off.example;mode=off", "--recipient-domain=on.example;mode=on")


def test_only_the_domain_with_another_rule_collects_evidence() -> None:
    async def do(it: Server) -> None:
        own = {"recipient": b"bob@own.example"}
        assert await it.ask() == NEW
        assert it.asked == []
        assert await it.ask(**own) == "DUNNO not suspicious"
        it.evidence = Evidence(signals=("no_ptr",))
        assert await it.ask(sender=b"eve@example.com", **own) == NEW
        assert await it.ask(**own) == FOUND
        assert len(it.asked) == 2

    serve(do, "--recipient-domain=own.example;greylist=suspicious")


def test_a_domain_may_be_greylisted_wholly_where_only_suspicious_mail_waits() -> None:
    async def do(it: Server) -> None:
        assert await it.ask() == "DUNNO not suspicious"
        assert await it.ask(recipient=b"bob@own.example") == NEW
        assert len(it.asked) == 1

    serve(do, "--greylist=suspicious", "--recipient-domain=own.example;greylist=all")


def test_four_delays_of_a_domain_depend_on_the_evidence() -> None:
    async def do(it: Server) -> None:
        own = {"recipient": b"bob@own.example"}
        assert await it.ask(**own) == FOUND
        it.evidence = Evidence(signals=("no_ptr",))
        assert await it.ask(sender=b"eve@example.com", **own) == NEW
        assert await it.ask(120, sender=b"eve@example.com", **own) == HEADER

    serve(do, "--recipient-domain=own.example;delay=0,60,120,3600")


# Sender groups ------------------------------------------------------------------------------------

GROUP = "--sender-group=big=192.0.2.0/24,198.51.100.0/24,2001:db8::/32,out.example.com"


def test_a_retry_from_any_member_of_a_group_is_the_same_triplet_and_asks_no_dns() -> None:
    async def do(it: Server) -> None:
        assert await it.ask(0) == NEW
        assert await it.ask(100, client_address=b"198.51.100.9") == EARLY
        named = {"client_address": b"203.0.113.5", "client_name": b"MX7.out.example.com"}
        assert await it.ask(301, **named) == HEADER
        assert await it.ask(400, client_address=b"2001:db8:7::1") == FOUND
        assert it.events[-1].evidence
        assert it.events[-1].evidence.identity == b"group:big"
        assert (it.asked, it.proofs) == ([], [])

    serve(do, GROUP)


@pytest.mark.parametrize(
    "attributes",
    [
        {"client_address": b"203.0.113.5"},
        {"client_address": b"203.0.113.5", "client_name": b"mx.example.com"},
        {"client_address": b"203.0.113.5", "helo_name": b"mx7.out.example.com"},
        {"client_address": b"203.0.113.5", "reverse_client_name": b"mx7.out.example.com"},
        {"client_address": b"198.51.100.9", "sender": b"mallory@example.com"},
        {"client_address": b"198.51.100.9", "recipient": b"carol@example.org"},
    ],
)
def test_others_and_other_mail_of_the_group_wait(attributes: dict[str, bytes]) -> None:
    async def do(it: Server) -> None:
        assert await it.ask(0) == NEW
        assert await it.ask(301, **attributes) == NEW

    serve(do, GROUP)


def test_a_client_of_a_group_that_is_exempt_is_not_identified() -> None:
    async def do(it: Server) -> None:
        assert await it.ask(sasl_username=b"bob") == "DUNNO authenticated"
        assert it.events[-1].evidence is None

    serve(do, GROUP)


def test_a_group_shares_the_waiting_but_is_never_auto_whitelisted_as_a_whole() -> None:
    async def do(it: Server) -> None:
        for day in range(6):
            each = {"sender": b"s%s@example.com" % (b"x" * day)}
            await it.ask(day * 86400, **each)
            await it.ask(day * 86400 + 400, client_address=b"198.51.100.%d" % day, **each)
        new = {"sender": b"mallory@example.com", "client_address": b"192.0.2.200"}
        assert await it.ask(7 * 86400, **new) == NEW

    serve(do, GROUP, "--identity=spf", "--auto-whitelist-identities=2")


def test_known_mail_of_a_group_asks_no_dns() -> None:
    async def do(it: Server) -> None:
        it.evidence = Evidence(
            identities=(ProvenIdentity(b"example.com", "spf", speaks_for_sender=True),)
        )
        assert await it.ask(0) == NEW
        assert await it.ask(301, client_address=b"198.51.100.9") == HEADER
        assert len(it.asked) == 2
        it.evidence = Evidence(signals=("no_ptr",), unsure=True)
        assert await it.ask(400, client_address=b"192.0.2.99") == FOUND
        assert await it.ask(400, client_address=b"2001:db8::99") == FOUND
        assert len(it.asked) == 2

    serve(do, GROUP, "--identity=spf")


def test_group_and_identity_are_both_looked_at_and_written() -> None:
    async def do(it: Server) -> None:
        it.evidence = Evidence(
            identities=(ProvenIdentity(b"example.com", "spf", speaks_for_sender=True),)
        )
        assert await it.ask(0) == NEW
        outside = {"client_address": b"203.0.113.5"}
        assert await it.ask(301, **outside) == HEADER
        assert it.events[-1].evidence
        assert it.events[-1].evidence.identity == b"example.com"

    serve(do, GROUP, "--identity=spf")


# Clients never to auto-whitelist ------------------------------------------------------------------

NEVER = b"192.0.2.128/25\nslow.example.com\n"


@pytest.mark.parametrize(
    ("attributes", "known"),
    [
        ({"client_address": b"192.0.2.200"}, False),
        ({"client_name": b"mx.slow.example.com"}, False),
        ({"client_address": b"192.0.2.7"}, True),
    ],
)
def test_the_mails_of_such_a_client_must_each_wait(
    attributes: dict[str, bytes], *, known: bool
) -> None:
    async def do(it: Server) -> None:
        for hour in range(3):
            each = {"sender": b"s%s@example.com" % (b"x" * hour), **attributes}
            assert await it.ask(hour * 4000, **each) == NEW
            assert await it.ask(hour * 4000 + 300, **each) == HEADER
        last = await it.ask(20_000, sender=b"new@example.com", **attributes)
        assert last == ("DUNNO client AWL" if known else NEW)

    serve(do, "--auto-whitelist-clients=3", "--never-auto-whitelist=n", never=NEVER)


def test_what_such_a_client_has_earned_before_does_not_count() -> None:
    async def do(it: Server) -> None:
        client = {"client_address": b"192.0.2.200"}
        await it.ask(0, **client)
        await it.ask(300, **client)
        assert await it.ask(600, sender=b"new@example.com", **client) == "DUNNO client AWL"
        never = ClientWhitelist([WhitelistFile("n", NEVER)])
        it.policy.whitelists = replace(it.lists, never_auto=never)
        assert await it.ask(900, sender=b"newer@example.com", **client) == NEW
        assert await it.ask(900, **client) == FOUND

    serve(do, "--auto-whitelist-clients=1", "--never-auto-whitelist=n")


def test_such_a_client_neither_earns_for_its_identity_nor_gains_from_it() -> None:
    def identity() -> Evidence:
        return Evidence(identities=(ProvenIdentity(b"example.com", "spf", speaks_for_sender=True),))

    async def do(it: Server) -> None:
        it.evidence = identity()
        slow = {"client_address": b"192.0.2.200"}
        for day in range(4):
            each = {"sender": b"s%s@example.com" % (b"x" * day), **slow}
            assert await it.ask(day * 86400, **each) == NEW
            assert await it.ask(day * 86400 + 300, **each) == HEADER
        fast = {"client_address": b"198.51.100.7"}
        assert await it.ask(5 * 86400, sender=b"t@example.com", **fast) == NEW
        for day in range(6, 10):
            each = {"sender": b"u%s@example.com" % (b"x" * day)}
            for number in (1, 2):
                each["client_address"] = b"203.0.%d.7" % (day + number)
                await it.ask(day * 86400 + 400 * number, **each)
        new = {"sender": b"new@example.com"}
        assert await it.ask(11 * 86400, **new, **fast) == "DUNNO identity AWL"
        new = {"sender": b"newer@example.com"}
        assert await it.ask(11 * 86400, **new, **slow) == NEW

    serve(
        do, "--auto-whitelist-clients=0", "--identity=spf", "--auto-whitelist-identities=2",
        "--never-auto-whitelist=n", never=NEVER,
    )  # fmt: skip


# Whitelisted senders ------------------------------------------------------------------------------

SENDERS = b"example.com\nnews@partner.example\n"
WHITELISTED = "DUNNO sender whitelist"


def test_a_proven_sender_of_the_list_passes_and_is_remembered() -> None:
    async def do(it: Server) -> None:
        assert await it.ask() == WHITELISTED
        assert it.events[-1].whitelist_entry
        assert it.events[-1].whitelist_entry.text == b"example.com"
        assert await it.ask(10, sender=b"News+5@partner.example") == WHITELISTED
        assert len(it.proofs) == 2
        it.proof = NOT_PROVEN
        assert await it.ask(20) == FOUND
        assert it.events[-1].whitelist_entry is None
        assert len(it.proofs) == 2, "known mail asks nothing"

    serve(do, "--whitelist-senders=s", senders=SENDERS)


@pytest.mark.parametrize(
    "sender", [b"bob@example.net", b"", b"<>", b"other@partner.example", b"bob@notexample.com"]
)
def test_other_senders_and_bounces_wait_and_ask_nothing(sender: bytes) -> None:
    async def do(it: Server) -> None:
        assert await it.ask(sender=sender) == NEW
        assert it.proofs == []

    serve(do, "--whitelist-senders=s", senders=SENDERS)


def test_without_proof_the_mail_waits_as_any_other() -> None:
    async def do(it: Server) -> None:
        it.proof = NOT_PROVEN
        assert await it.ask(0) == NEW
        assert it.events[-1].sender_proof == NOT_PROVEN
        assert it.events[-1].whitelist_entry is None
        assert await it.ask(100) == EARLY
        assert await it.ask(300) == HEADER

    serve(do, "--whitelist-senders=s", senders=SENDERS)


def test_a_proven_sender_passes_though_its_client_is_listed_or_suspicious() -> None:
    async def do(it: Server) -> None:
        it.evidence = Evidence(signals=("dnsbl", "no_ptr"), listed=True, delay_seconds=3600)
        assert await it.ask() == WHITELISTED
        assert it.asked == [b"alice@example.com"]
        it.proof = NOT_PROVEN
        assert await it.ask(sender=b"eve@example.com") == NEW

    serve(do, "--whitelist-senders=s", "--dnsbl=bl.example.net", senders=SENDERS)


def test_a_server_that_cannot_check_senders_honours_no_entry() -> None:
    async def do(it: Server) -> None:
        it.policy.sender_check = None
        assert await it.ask() == NEW

    serve(do, "--whitelist-senders=s", senders=SENDERS)


def test_a_whitelisted_sender_counts_for_the_client() -> None:
    async def do(it: Server) -> None:
        assert await it.ask() == WHITELISTED
        assert await it.ask(10, sender=b"bob@example.net") == "DUNNO client AWL"

    serve(do, "--whitelist-senders=s", "--auto-whitelist-clients=1", senders=SENDERS)


def test_without_such_options_a_request_has_the_settings_of_the_server() -> None:
    async def do(it: Server) -> None:
        assert await it.ask() == NEW
        assert it.events[-1].applied is None
        assert it.events[-1].evidence is None

    serve(do)
