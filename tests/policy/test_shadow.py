"""The shadow: other settings decide each request a second time, and nothing else changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from redis.crc import key_slot

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY
from greyd.monitoring.log import Line, Log
from greyd.monitoring.log_observer import LogObserver
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.metrics_observer import MetricsObserver
from greyd.monitoring.shadow.log import ShadowLog
from greyd.policy.observers import Observers
from greyd.policy.policy import Policy
from greyd.policy.shadow import runner as shadow_runner
from greyd.policy.shadow.runner import ShadowRunner
from greyd.rules.control import ExpectedMail, ExpectWindow
from greyd.rules.evidence import Evidence
from greyd.rules.request import Request
from greyd.rules.reserved_keys import SHADOW_PREFIX
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.errors import StoreError
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.stores import FakeStore, answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from greyd.rules.address import Address
    from greyd.rules.transaction import Answer, Rule
    from greyd.store.contract import DoneCallback, Store

T = 1_700_000_000
NO_WHITELISTS = Whitelists(ClientWhitelist([]), RecipientWhitelist([]))


class Lines:
    """A log's sink that keeps the lines."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, lines: Sequence[Line]) -> None:
        self.texts += [line.text.decode() for line in lines]


class SimulatedSite:
    """A server's policy, its shadow, and what they have answered, logged and counted."""

    def __init__(self, store: Store, settings: Settings, shadow: Settings | None) -> None:
        self.lines = Lines()
        self._log = Log(self.lines, as_json=settings.log_format == "json")
        self.metrics = Metrics()
        self.observers = Observers(MetricsObserver(self.metrics), LogObserver(self._log))
        self.circuit_breaker = CircuitBreaker(store, 0.3, self.observers.store_changed)
        self.policy = Policy(settings, NO_WHITELISTS, self.circuit_breaker, self.observers)
        self.shadow: ShadowRunner | None = None
        if shadow is not None:
            loop = asyncio.get_running_loop()
            self.shadow = ShadowRunner(shadow, self.policy, store, self.observers, loop)
            self.observers.add(self.metrics.watch_shadow(), ShadowLog(self._log), self.shadow)

    async def ask(self, now: int = 0, **attributes: bytes) -> str:
        """Send a request at ``now``; return the action and wait for the shadow."""
        values: dict[str, bytes] = {
            "request": b"smtpd_access_policy",
            "client_address": b"192.0.2.10",
            "client_name": b"mx.example.net",
            "sender": b"alice@example.com",
            "recipient": b"bob@example.org",
            "policy_test_time": b"%d" % (T + now),
            **attributes,
        }
        reply = await answer_of(self.policy, Request(**values))
        await self.wait_for_shadow()
        return (reply or b"").decode()

    async def wait_for_shadow(self) -> None:
        async with asyncio.timeout(10):
            while self.shadow is not None and not self.shadow.is_idle:  # noqa: ASYNC110 - as the server
                await asyncio.sleep(0.001)

    def count(self, name: str, **labels: str) -> int:
        value = self.metrics.registry.get_sample_value(f"greyd_shadow_{name}_total", labels)
        assert value is not None, name
        return int(value)

    def decided(self) -> dict[str, int]:
        """Return how often the shadow has decided for each reason."""
        return {
            sample.labels["reason"]: int(sample.value)
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "greyd_shadow_requests_total" and sample.value
        }

    async def close(self) -> list[str]:
        """Stop, and return the lines of the log."""
        if self.shadow is not None:
            await self.shadow.close()
        await self.circuit_breaker.close()
        self._log.close(10)
        return self.lines.texts


def with_site(
    do: Callable[[SimulatedSite], Coroutine[Any, Any, None]],
    store: Store,
    shadow: dict[str, Any] | None,
    **settings: Any,
) -> list[str]:
    """Do something with a server and its shadow; return the lines of the log."""

    async def run() -> list[str]:
        real = Settings(test_time=True, hostname="gw.example.org", **settings)
        other = None if shadow is None else replace(real, **{"mode": "on", **shadow})
        site = SimulatedSite(store, real, other)
        try:
            await asyncio.wait_for(do(site), 30)
        finally:
            lines = await site.close()
        return lines

    return asyncio.run(run())


MAILS = [
    (0, {}),
    (10, {}),
    (0, {"client_address": b"198.51.100.7"}),
    (0, {"sasl_username": b"bob"}),
    (0, {"client_address": b"nonsense"}),
    (310, {}),
    (320, {}),
    (400, {"sender": b""}),
    (2 * DAY, {}),
    (2 * DAY, {"client_address": b"2001:db8::1"}),
]


def answers_of(store: FakeStore, shadow: dict[str, Any] | None, **settings: Any) -> list[str]:
    answers: list[str] = []

    async def do(site: SimulatedSite) -> None:
        for now, attributes in MAILS:
            answers.append(await site.ask(now, **attributes))

    with_site(do, store, shadow, **settings)
    return [answer.partition("; ")[0] for answer in answers]


@pytest.mark.parametrize(
    "shadow",
    [
        {"delay_seconds": 5},
        {"delay_seconds": 0},
        {"delay_seconds": 86400, "auto_whitelist_clients": 1},
        {"mode": "off"},
        {"mode": "learn"},
        {"ipv4cidr": 8},
        {"identity": ("name",), "auto_whitelist_identities": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("private", [False, True])
def test_the_shadow_changes_no_answer_and_no_entry_of_the_server(
    shadow: dict[str, Any], private: bool
) -> None:
    alone, beside = FakeStore(), FakeStore()
    options = {"privacy": private, "auto_whitelist_clients": 2}
    assert answers_of(beside, shadow, **options) == answers_of(alone, None, **options)
    own = {key for key in beside.records_ if key.startswith(SHADOW_PREFIX)}
    assert {key: beside.records_[key] for key in beside.records_.keys() - own} == alone.records_
    assert bool(own) == (shadow.get("mode") != "off")


@pytest.mark.parametrize(
    "key", [b"{192.0.2.0}/a@example.com/b@example.org", b"{192.0.2.7}:192.0.2.7", b"{e.com}~abc"]
)
def test_a_cluster_keeps_both_entries_in_one_slot(key: bytes) -> None:
    assert key_slot(b"greyd:" + SHADOW_PREFIX + key) == key_slot(b"greyd:" + key)


def test_both_decisions_are_counted_and_compared() -> None:
    async def do(site: SimulatedSite) -> None:
        await site.ask(0)
        await site.ask(70)
        await site.ask(310)
        await site.ask(0, sasl_username=b"bob")
        assert site.decided() == {"new": 1, "triplet found": 2, "authenticated": 1}
        compared = {
            (answer, shadow): site.count("compared", answer=answer, shadow=shadow)
            for answer in ("pass", "greylist")
            for shadow in ("pass", "greylist")
        }
        assert compared == {
            ("pass", "pass"): 2,
            ("pass", "greylist"): 0,
            ("greylist", "pass"): 1,
            ("greylist", "greylist"): 1,
        }
        assert site.count("first_contacts", shadow="greylist") == 1
        assert site.count("delayed_mail", shadow="delayed") == 1
        assert site.count("skipped") == 0

    with_site(do, FakeStore(), {"delay_seconds": 60})


@pytest.mark.parametrize(
    ("shadow", "attempts", "delay"),
    [
        ({"delay_seconds": 0}, (0, 310, 320), "not delayed"),
        ({"delay_seconds": 0}, (0, 100, 310), "not delayed"),
        ({"delay_seconds": 60}, (0, 310, 320), "delayed"),
        # The shadow lets the second attempt pass, which the server finds too early.
        ({"delay_seconds": 60}, (0, 100, 310), "delayed"),
        ({"delay_seconds": 60}, (0, 30, 100, 200, 310), "delayed"),
        ({"delay_seconds": 60, "auto_whitelist_clients": 1}, (0, 100, 310), "delayed"),
        ({"delay_seconds": 300}, (0, 310, 320), "delayed"),
        ({"delay_seconds": 3600}, (0, 310, 320), "still waiting"),
    ],
)
def test_mail_that_has_waited_is_counted_by_what_it_would_have_done(
    shadow: dict[str, Any], attempts: Sequence[int], delay: str
) -> None:
    async def do(site: SimulatedSite) -> None:
        for at in attempts:
            await site.ask(at)
        counts = {
            each: site.count("delayed_mail", shadow=each)
            for each in ("not delayed", "delayed", "still waiting")
        }
        assert {each: count for each, count in counts.items() if count} == {delay: 1}

    with_site(do, FakeStore(), shadow)


def test_the_shadow_begins_with_what_the_server_remembers() -> None:
    store = FakeStore()

    async def before(site: SimulatedSite) -> None:
        await site.ask(0)
        await site.ask(310)

    async def after(site: SimulatedSite) -> None:
        await site.ask(400)
        await site.ask(500, client_address=b"198.51.100.9")
        assert site.decided() == {"triplet found": 1, "new": 1}

    with_site(before, store, None)
    with_site(after, store, {"delay_seconds": 200})


@pytest.mark.parametrize("log_format", ["postgrey", "json"])
def test_a_line_of_its_own_says_what_the_shadow_would_have_done(log_format: str) -> None:
    async def do(site: SimulatedSite) -> None:
        await site.ask(0, queue_id=b"4F1")
        await site.ask(70)
        await site.ask(310)

    lines = with_site(do, FakeStore(), {"delay_seconds": 60}, log_format=log_format)
    of_shadow = [line for line in lines if "shadow" in line]
    mail = (
        "client_name=mx.example.net, client_address=192.0.2.10, sender=alice@example.com,"
        " recipient=bob@example.org"
    )
    if log_format == "postgrey":
        assert of_shadow == [
            f"4F1: shadow=greylist, shadow_reason=new, answer=greylist, {mail}",
            f"shadow=pass, shadow_reason=triplet found, answer=greylist, {mail}",
        ]
    else:
        assert ['"shadow": "pass"' in line for line in of_shadow] == [False, True]
    assert not any("action" in line for line in of_shadow)
    assert len(lines) == 5


def test_in_mode_learn_the_rule_of_the_server_is_compared() -> None:
    async def do(site: SimulatedSite) -> None:
        await site.ask(0)
        assert site.decided() == {"new": 1}
        assert site.count("compared", answer="greylist", shadow="greylist") == 1
        assert site.count("first_contacts", shadow="greylist") == 1

    with_site(do, FakeStore(), {}, mode="learn")


def test_the_shadow_goes_on_while_the_server_is_off() -> None:
    async def do(site: SimulatedSite) -> None:
        site.policy.mode = "off"
        await site.ask(0)
        assert site.decided() == {"new": 1}
        assert site.count("compared", answer="pass", shadow="greylist") == 1

    with_site(do, FakeStore(), {})


def test_expected_mail_and_reloaded_whitelists_are_those_of_the_server() -> None:
    async def do(site: SimulatedSite) -> None:
        window = ExpectWindow("bob@example.org", "", T + 100)
        site.policy.expected = ExpectedMail([window], Settings())
        await site.ask(0)
        site.policy.expected = ExpectedMail((), Settings())
        entries = ClientWhitelist([WhitelistFile("clients", b"192.0.2.0/24\n")])
        site.policy.whitelists = Whitelists(entries, RecipientWhitelist([]))
        await site.ask(0)
        assert site.decided() == {"expected": 1, "client whitelist": 1}

    with_site(do, FakeStore(), {})


# Faults -------------------------------------------------------------------------------------------


@dataclass
class ShadowlessStore(FakeStore):
    """A store that answers for the server's keys only; for others it raises or never answers."""

    shadow_fault: Exception | None = None

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        if not keys[0].startswith(SHADOW_PREFIX):
            super().begin(keys, rule, done)
        elif self.shadow_fault is not None:
            raise self.shadow_fault


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        (None, {"store unavailable": 2}),
        (StoreError("away"), {"store unavailable": 2}),
        (RuntimeError("broken"), {"internal error": 2}),
    ],
)
def test_a_store_that_fails_for_the_shadow_is_no_fault_of_the_server(
    fault: Exception | None, reasons: dict[str, int]
) -> None:
    async def do(site: SimulatedSite) -> None:
        assert (await site.ask(0)).startswith("DEFER_IF_PERMIT")
        assert (await site.ask(310)).startswith("PREPEND")
        assert not site.circuit_breaker.is_open
        assert site.decided() == reasons
        assert site.count("compared", answer="greylist", shadow="pass") == 0
        error_count = site.metrics.registry.get_sample_value(
            "greyd_internal_errors_total", {"part": "shadow"}
        )
        assert error_count == reasons.get("internal error", 0)

    with_site(do, ShadowlessStore(shadow_fault=fault), {})


class BrokenCollector:
    """An evidence collector that raises, or finds that the client is unsure."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def collect(
        self, _request: Request, _address: Address, found: Callable[[Evidence], None]
    ) -> None:
        if self.error is not None:
            raise self.error
        asyncio.get_running_loop().call_later(0.01, found, Evidence(unsure=True))

    def close(self) -> None:
        return


@pytest.mark.parametrize("error", [None, RuntimeError("broken")])
def test_evidence_that_fails_concerns_only_the_shadow(error: Exception | None) -> None:
    async def do(site: SimulatedSite) -> None:
        assert site.shadow is not None
        site.shadow.policy.collector = BrokenCollector(error)
        assert (await site.ask(0)).startswith("DEFER_IF_PERMIT")
        assert site.decided() == {"internal error" if error else "new": 1}

    with_site(do, FakeStore(), {})


def test_requests_are_skipped_and_counted_when_too_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadow_runner, "MAX_WAITING", 5)

    async def do(site: SimulatedSite) -> None:
        batch: list[None] = []
        site.observers.batch(lambda: batch.append(None))
        for number in range(12):
            sender = b"%d@example.com" % number
            values = {"client_address": b"192.0.2.10", "client_name": b"mx", "sender": sender}
            request = Request(request=b"smtpd_access_policy", recipient=b"b@e.org", **values)
            await answer_of(site.policy, request)
        site.observers.flush()
        await site.wait_for_shadow()
        site.observers.flush()
        assert (site.decided(), site.count("skipped")) == ({"new": 5}, 7)

    with_site(do, FakeStore(), {})


def test_a_store_that_is_nearly_full_keeps_the_rest_for_the_server() -> None:
    store = FakeStore()
    store.max_bytes, store.bytes_in_use = 1000, 950

    async def do(site: SimulatedSite) -> None:
        assert (await site.ask(0)).startswith("DEFER_IF_PERMIT")
        assert site.decided() == {"store unavailable": 1}

    with_site(do, store, {})
    assert not any(key.startswith(SHADOW_PREFIX) for key in store.records_)


def test_the_shadow_works_on_sqlite(tmp_path: Path) -> None:
    async def do(site: SimulatedSite) -> None:
        await site.ask(0)
        await site.ask(70)
        assert site.decided() == {"new": 1, "triplet found": 1}

    with_site(do, open_store(Settings(), tmp_path), {"delay_seconds": 60})
