"""One request's way where more is known of a client: what is answered, logged and counted."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from greyd.config.settings import Settings
from greyd.monitoring.log import Log, Severity
from greyd.monitoring.log_observer import LogObserver
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.metrics_observer import MetricsObserver
from greyd.policy.observers import Observers
from greyd.policy.policy import Policy
from greyd.rules.address import parse_address
from greyd.rules.evidence import Evidence
from greyd.rules.reasons import Reason
from greyd.rules.request import Request
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.evidence import evidence_for
from tests.policy.test_policy import Kept
from tests.stores import FakeStore, answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from greyd.rules.address import Address

START = 1_700_000_000
KNOWN = evidence_for(b"example.com")


@dataclass
class SaysOf:
    """A collector that says what the test wants, and remembers whom it was asked about."""

    evidence: Evidence = KNOWN
    asked: list[bytes] = field(default_factory=list)

    def collect(
        self, request: Request, address: Address, found: Callable[[Evidence], None]
    ) -> None:
        assert address == parse_address(request.client_address or b"")
        self.asked.append(address.text)
        asyncio.get_running_loop().call_soon(found, self.evidence)


@dataclass
class Server:
    policy: Policy
    collector: SaysOf
    metrics: Metrics
    log: Log
    kept: Kept

    async def ask(self, seconds: int = 0, **attributes: bytes) -> bytes | None:
        usual = Request(
            request=b"smtpd_access_policy",
            client_address=b"192.0.2.7", client_name=b"mx.example.com",
            sender=b"alice@example.com", recipient=b"bob@example.org",
            policy_test_time=b"%d" % (START + seconds),
        )  # fmt: skip
        return await answer_of(self.policy, usual._replace(**attributes))

    def lines(self) -> list[str]:
        """Return all lines so far; ends the log."""
        self.log.close(10)
        return [line.text.decode() for line in self.kept.lines]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


def serve(
    folder: Path, do: Callable[[Server], Coroutine[Any, Any, None]], *, away: bool = False,
    **options: Any,
) -> None:  # fmt: skip
    async def run() -> None:
        settings = Settings(test_time=True, identity=("spf",), **options)
        kept, metrics, collector = Kept(), Metrics(), SaysOf()
        log = Log(kept, Severity.DEBUG, as_json=settings.log_format == "json")
        observers = Observers(MetricsObserver(metrics), LogObserver(log))
        store = FakeStore(OSError("away")) if away else open_store(settings, folder)
        guard = CircuitBreaker(store, 5, observers.store_changed)
        lists = Whitelists(
            ClientWhitelist([WhitelistFile("w", b"white.example\n")]), RecipientWhitelist([])
        )
        policy = Policy(settings, lists, guard, observers, collector)
        try:
            await asyncio.wait_for(do(Server(policy, collector, metrics, log, kept)), 30)
        finally:
            await guard.close()
            log.close(10)

    asyncio.run(run())


def test_a_provider_s_retry_from_another_address_is_let_in(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        assert (await it.ask(0) or b"").startswith(b"DEFER_IF_PERMIT")
        reply = await it.ask(300, client_address=b"198.51.100.9")
        assert (reply or b"").startswith(b"PREPEND X-Greylist: delayed 300 seconds")
        assert it.lines()[-1].endswith(", recipient=bob@example.org, identity=example.com")
        assert it.counted("greyd_identities_total", way="spf") == 2

    serve(tmp_path, do)


def test_a_whitelisted_client_is_not_looked_at(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        assert await it.ask(client_name=b"mx.white.example") == b"DUNNO"
        assert await it.ask(sasl_username=b"bob") == b"DUNNO"
        assert it.collector.asked == []

    serve(tmp_path, do)


def test_only_suspicious_mail_waits(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        assert await it.ask() == b"DUNNO"
        it.collector.evidence = Evidence(signals=("no_ptr", "helo_not_fqdn"))
        assert await it.ask() == b"DUNNO"
        assert len(it.collector.asked) == 1, "known mail needs no evidence"
        assert (await it.ask(sender=b"dave@example.com") or b"").startswith(b"DEFER_IF_PERMIT")
        it.collector.evidence = Evidence(unsure=True)
        assert (await it.ask(sender=b"carol@example.com") or b"").startswith(b"DEFER_IF_PERMIT")
        assert it.counted("greyd_signals_total", signal="no_ptr") == 1
        assert it.counted("greyd_unsure_total") == 1
        clean, known, suspicious, unsure = it.lines()
        assert "reason=not suspicious" in clean
        assert "reason=triplet found" in known
        assert suspicious.endswith(", signals=no_ptr+helo_not_fqdn")
        assert unsure.endswith(", dns=late")

    serve(tmp_path, do, greylist="suspicious")


def test_json_lines_say_it_too(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        it.collector.evidence = replace(KNOWN, signals=("no_ptr",), unsure=True)
        await it.ask()
        event = json.loads(it.lines()[-1])
        assert (event["identity"], event["signals"], event["dns"]) == (
            "example.com", ["no_ptr"], "late",
        )  # fmt: skip

    serve(tmp_path, do, log_format="json")


def test_an_exempt_client_passes(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        it.collector.evidence = replace(KNOWN, exemption=Reason.DNS_WHITELIST)
        assert await it.ask() == b"DUNNO"
        assert it.counted("greyd_requests_total", action="pass", reason="DNS whitelist") == 1

    serve(tmp_path, do)


def test_mail_that_had_not_to_wait_carries_no_header(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        assert await it.ask() == b"DUNNO"

    serve(tmp_path, do, delays=(0, 60, 300, 3600), delay_seconds=60)


def test_an_identity_that_earned_its_pass_is_told_of(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        for day in (0, 2):
            name = b"s%s@example.com" % (b"x" * day)
            await it.ask(day * 86400, sender=name)
            await it.ask(day * 86400 + 300, sender=name, client_address=b"198.51.%d.7" % day)
        assert it.counted("greyd_auto_whitelisted_identities_total") == 1
        new = {"sender": b"new@example.com", "client_address": b"203.0.113.9"}
        assert await it.ask(3 * 86400, **new) == b"DUNNO"
        lines = it.lines()
        assert "whitelisted: identity example.com" in lines
        assert "reason=identity AWL" in lines[-1]

    serve(tmp_path, do, auto_whitelist_identities=2, auto_whitelist_clients=0)


# Correspondence -----------------------------------------------------------------------------------

OUTBOUND = {
    "policy_context": b"outbound", "sasl_username": b"bob", "sender": b"bob@example.org",
    "recipient": b"alice@example.com",
}  # fmt: skip


def test_an_answer_to_a_user_s_mail_is_let_in(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        assert await it.ask(**OUTBOUND) == b"DUNNO"
        assert await it.ask() == b"DUNNO"
        sent, answered = it.lines()
        assert "reason=outbound" in sent
        assert "reason=correspondent" in answered

    serve(tmp_path, do, learn_outbound=True)


def test_only_users_who_have_logged_in_teach(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        assert await it.ask(**{**OUTBOUND, "sasl_username": b""}) == b"DUNNO"
        assert (await it.ask() or b"").startswith(b"DEFER_IF_PERMIT")

    serve(tmp_path, do, learn_outbound=True)


@dataclass
class Exchangers:
    """Finds the same mail exchangers for everybody, in the next turn of the event loop."""

    names: Sequence[bytes]
    asked: list[bytes] = field(default_factory=list)

    def find(self, recipient: bytes, on_result: Callable[[Sequence[bytes]], None]) -> None:
        self.asked.append(recipient)
        asyncio.get_running_loop().call_soon(on_result, self.names)

    def close(self) -> None:
        return


def test_a_colleague_and_a_bounce_answer_a_user_s_mail(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        it.policy.outbound.exchangers = exchangers = Exchangers([b"mx.provider.com"])
        carol, bounce = {"sender": b"carol@example.com"}, {"sender": b""}
        it.collector.evidence = evidence_for("provider.com", speaks=False)
        assert (await it.ask(**bounce) or b"").startswith(b"DEFER_IF_PERMIT")
        assert await it.ask(**OUTBOUND) == b"DUNNO"
        assert exchangers.asked == [b"alice@example.com"]
        assert await it.ask(**bounce) == b"DUNNO"
        assert (await it.ask(**carol) or b"").startswith(b"DEFER_IF_PERMIT")
        it.collector.evidence = KNOWN
        assert await it.ask(**carol) == b"DUNNO"
        assert await it.ask(recipient=b"bob+x@example.org") == b"DUNNO"
        assert (await it.ask(recipient=b"rob@example.org") or b"").startswith(b"DEFER_IF_PERMIT")
        passed = [line for line in it.lines() if "action=pass" in line]
        assert ["reason=correspondent" in line for line in passed] == [False, True, True, True]

    serve(tmp_path, do, learn_outbound=True, correspondents="organisation")


def test_a_user_teaches_only_as_himself(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        stolen = {**OUTBOUND, "sasl_username": b"mallory"}
        for _ in range(3):
            assert await it.ask(**stolen) == b"DUNNO"
        assert (await it.ask() or b"").startswith(b"DEFER_IF_PERMIT")
        assert await it.ask(**OUTBOUND, instance=b"1") == b"DUNNO"
        assert await it.ask() == b"DUNNO"
        assert it.counted("greyd_outbound_not_learnt_total") == 3
        lines = it.lines()
        (warning,) = [line for line in lines if "--sender-logins" in line]
        assert "login mallory as bob@example.org" in warning
        assert sum("reason=outbound (sender not of this login)" in line for line in lines) == 3

    serve(tmp_path, do, learn_outbound=True)


def test_where_postfix_compares_logins_any_sender_teaches(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        await it.ask(**{**OUTBOUND, "sasl_username": b"u4711"})
        assert await it.ask() == b"DUNNO"
        assert it.counted("greyd_outbound_not_learnt_total") == 0

    serve(tmp_path, do, learn_outbound=True, outbound_senders="any")


def test_without_the_option_a_policy_context_means_nothing(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        await it.ask(**OUTBOUND)
        assert "reason=authenticated" in it.lines()[-1]

    serve(tmp_path, do)


def test_users_mail_goes_on_while_the_store_is_away(tmp_path: Path) -> None:
    async def do(it: Server) -> None:
        assert await it.ask(**OUTBOUND) == b"DUNNO"

    serve(tmp_path, do, away=True, learn_outbound=True, on_store_failure="defer")
