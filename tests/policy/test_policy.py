"""One request's way: what Postfix is told, what is logged, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from greyd import __version__
from greyd.config.settings import Settings
from greyd.config.vocabulary import HOUR
from greyd.monitoring.hits_observer import HitsObserver
from greyd.monitoring.log import Line, Log, Severity
from greyd.monitoring.log_observer import LogObserver
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.metrics_observer import MetricsObserver
from greyd.policy.observers import Observers
from greyd.policy.policy import Policy
from greyd.rules.reasons import GREYLIST, OUTCOMES, PASS
from greyd.rules.request import Request
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.errors import StoreError
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.hits import HitCounter
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.stores import FakeStore, answer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from pathlib import Path

    from greyd.store.contract import Store

T = 1_700_000_000


class Kept:
    """A log's sink that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, lines: Sequence[Line]) -> None:
        self.lines += lines


class Asking:
    """A policy, and what it told, logged and counted."""

    def __init__(
        self,
        policy: Policy,
        observers: Observers,
        metrics: Metrics,
        log: Log,
        kept: Kept,
        hits: HitCounter,
        guard: CircuitBreaker,
    ) -> None:
        self.policy = policy
        self.guard = guard
        self.replies = 0
        self.observers = observers
        self.hits = hits
        self._metrics = metrics
        self._log = log
        self._kept = kept

    async def ask(self, now: int = 0, **attributes: bytes | None) -> str | None:
        """Send a request at ``now``; returns the action, the header's time replaced."""
        values = {
            "request": b"smtpd_access_policy",
            "client_address": b"192.0.2.10",
            "client_name": b"mx.example.net",
            "sender": b"alice@example.com",
            "recipient": b"bob@example.org",
            "etrn_domain": b"",
            "policy_test_time": b"%d" % (T + now),
            **attributes,
        }
        reply = await answer_of(self.policy, Request(**values))
        if reply is None:
            return None
        self.replies += 1
        return reply.decode()

    def log(self) -> list[str]:
        """Return all lines so far; ends the log."""
        self._log.close(10)
        return [line.text.decode() for line in self._kept.lines]

    def severities(self) -> list[Severity]:
        return [line.severity for line in self._kept.lines]

    def counted(self) -> dict[tuple[str, str], int]:
        """Return the outcomes that were counted at least once."""
        counts = {outcome: self.metric("greyd_requests_total", action=outcome[0], reason=outcome[1])
                  for outcome in OUTCOMES}  # fmt: skip
        return {outcome: int(count) for outcome, count in counts.items() if count}

    def metric(self, name: str, **labels: str) -> float:
        value = self._metrics.registry.get_sample_value(name, labels)
        assert value is not None, name
        return value


@contextlib.asynccontextmanager
async def asking(
    store: Store, settings: Settings, whitelists: Whitelists | None = None
) -> AsyncIterator[Asking]:
    kept = Kept()
    log = Log(kept, Severity.DEBUG, as_json=settings.log_format == "json")
    metrics, hits = Metrics(), HitCounter()
    observers = Observers(MetricsObserver(metrics), LogObserver(log), HitsObserver(hits))
    guard = CircuitBreaker(store, 5, observers.store_changed)
    empty = Whitelists(ClientWhitelist([]), RecipientWhitelist([]))
    policy = Policy(settings, whitelists or empty, guard, observers)
    try:
        yield Asking(policy, observers, metrics, log, kept, hits, guard)
    finally:
        await guard.close()
        log.close(10)


def with_policy(
    tmp_path: Path,
    do: Callable[[Asking], Coroutine[Any, Any, None]],
    whitelists: Whitelists | None = None,
    store: Store | None = None,
    **options: Any,
) -> None:
    """Do something with a policy on SQLite, or on ``store``."""

    async def run() -> None:
        settings = Settings(test_time=True, hostname="gw.example.org", **options)
        used = store or open_store(settings, tmp_path)
        async with asking(used, settings, whitelists) as asked:
            await asyncio.wait_for(do(asked), 30)

    asyncio.run(run())


GREYLISTED = (
    "DEFER_IF_PERMIT 4.2.0 Greylisted, see http://postgrey.schweikert.ch/help/example.org.html"
)


def is_header(reply: str | None, seconds: int) -> bool:
    return bool(
        re.fullmatch(
            rf"PREPEND X-Greylist: delayed {seconds} seconds by greyd-{re.escape(__version__)}"
            r" at gw\.example\.org; \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \S+",
            reply or "",
        )
    )


# Decisions ----------------------------------------------------------------------------------------


def test_new_mail_waits_then_passes_with_the_header_and_then_without(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        assert await it.ask(0) == GREYLISTED
        assert await it.ask(299) == GREYLISTED
        assert is_header(await it.ask(301), 301)
        assert await it.ask(302) == "DUNNO"
        assert it.counted() == {
            (GREYLIST, "new"): 1, (GREYLIST, "early-retry"): 1, (PASS, "triplet found"): 2,
        }  # fmt: skip
        common = (
            "client_name=mx.example.net, client_address=192.0.2.10, sender=alice@example.com,"
            " recipient=bob@example.org"
        )
        assert it.log() == [
            f"action=greylist, reason=new, {common}",
            f"action=greylist, reason=early-retry (1s missing), {common}",
            f"action=pass, reason=triplet found, delay=301, {common}",
            f"action=pass, reason=triplet found, {common}",
        ]

    with_policy(tmp_path, do)


def test_the_decisions_survive_a_restart(tmp_path: Path) -> None:
    async def before(it: Asking) -> None:
        assert await it.ask(0) == GREYLISTED

    async def after(it: Asking) -> None:
        assert is_header(await it.ask(300), 300)

    with_policy(tmp_path, before)
    with_policy(tmp_path, after)


def test_without_test_time_a_client_does_not_choose_the_time(tmp_path: Path) -> None:
    async def run() -> None:
        settings = Settings()
        async with asking(open_store(settings, tmp_path), settings) as it:
            assert await it.ask(0) == GREYLISTED
            assert await it.ask(10_000) == GREYLISTED

    asyncio.run(run())


@pytest.mark.parametrize("odd", [b"", b"abc", b"-5", b"1e9", b"9" * 30, b"\xb2", None])
def test_a_test_time_that_is_none_is_no_fault(tmp_path: Path, odd: bytes | None) -> None:
    async def do(it: Asking) -> None:
        assert await it.ask(policy_test_time=odd) == GREYLISTED

    with_policy(tmp_path, do)


def test_a_client_that_comes_back_as_it_should_is_whitelisted(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        for number in range(2):
            sender = b"s%s@example.com" % bytes([97 + number])
            await it.ask(number * HOUR, sender=sender)
            assert is_header(await it.ask(number * HOUR + 300, sender=sender), 300)
        assert await it.ask(2 * HOUR, sender=b"new@example.com") == "DUNNO"
        assert it.counted()[PASS, "client AWL"] == 1
        assert it.metric("greyd_auto_whitelisted_clients_total") == 1
        lines = it.log()
        assert lines.index("whitelisted: mx.example.net[192.0.2.10]") == 3
        assert lines[4].startswith("action=pass, reason=triplet found, delay=300, ")
        assert lines[5].startswith("action=pass, reason=client AWL, client_name=")

    with_policy(tmp_path, do, auto_whitelist_clients=2)


def test_what_mail_had_to_wait_is_measured(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        await it.ask(0)
        await it.ask(700)
        await it.ask(701)
        assert it.metric("greyd_greylist_delay_seconds_count") == 1
        assert it.metric("greyd_greylist_delay_seconds_sum") == 700

    with_policy(tmp_path, do)


# The header, once a message -----------------------------------------------------------------------


def test_a_message_of_several_recipients_carries_the_header_once(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        messages = [
            (b"i%d" % message, b"s%d@example.com" % message, b"r%d@example.org" % recipient)
            for recipient in range(3)
            for message in range(20)
        ]
        for _, sender, recipient in messages:
            # Letters, since lone numbers would make them one.
            await it.ask(0, sender=b"a" + sender, recipient=recipient)
        headers: dict[bytes, int] = {}
        for instance, sender, recipient in messages:
            reply = await it.ask(300, sender=b"a" + sender, recipient=recipient, instance=instance)
            assert reply == "DUNNO" or is_header(reply, 300)
            headers[instance] = headers.get(instance, 0) + (reply != "DUNNO")
        assert headers == {b"i%d" % message: 1 for message in range(20)}
        assert it.counted()[PASS, "triplet found"] == 60
        assert sum(", delay=300, " in line for line in it.log()) == 20

    with_policy(tmp_path, do, auto_whitelist_clients=0)


def test_a_message_without_instance_gets_the_header_with_each_recipient(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        for recipient in (b"a@example.org", b"b@example.org"):
            await it.ask(0, recipient=recipient)
            assert is_header(await it.ask(300, recipient=recipient, instance=None), 300)

    with_policy(tmp_path, do)


def test_an_empty_instance_is_one_like_another(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        for recipient in (b"a@example.org", b"b@example.org"):
            await it.ask(0, recipient=recipient)
        assert is_header(await it.ask(300, recipient=b"a@example.org", instance=b""), 300)
        assert await it.ask(300, recipient=b"b@example.org", instance=b"") == "DUNNO"

    with_policy(tmp_path, do)


def test_an_instance_that_was_greylisted_has_not_had_its_header(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        assert await it.ask(0, instance=b"i") == GREYLISTED
        assert is_header(await it.ask(300, instance=b"i"), 300)

    with_policy(tmp_path, do)


# What passes whatever is remembered ---------------------------------------------------------------

LISTS = Whitelists(
    ClientWhitelist([WhitelistFile("c", b"good.example\n203.0.113.0/24\n")]),
    RecipientWhitelist([WhitelistFile("r", b"postmaster@\n")]),
)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"client_name": b"mx.good.example"}, "client whitelist"),
        ({"client_address": b"203.0.113.9"}, "client whitelist"),
        ({"client_name": b"mx.good.example", "client_address": b"junk"}, "client whitelist"),
        ({"recipient": b"PostMaster@example.org"}, "recipient whitelist"),
        ({"recipient": b"postmaster@x", "client_address": b"junk"}, "recipient whitelist"),
        ({"client_name": b"good.example", "recipient": b"postmaster@x"}, "client whitelist"),
        ({"sasl_username": b"carol"}, "authenticated"),
        ({"sasl_username": b"carol", "client_name": b"good.example"}, "authenticated"),
        ({"client_address": b"unknown"}, "client address"),
        ({"client_address": b""}, "client address"),
        ({"client_address": None}, "missing attribute"),
        ({"client_name": None}, "missing attribute"),
        ({"sender": None}, "missing attribute"),
        ({"recipient": None}, "missing attribute"),
        ({"sender": None, "client_name": b"good.example"}, "missing attribute"),
    ],
)
def test_exempt_mail_passes_at_once_and_leaves_nothing(
    tmp_path: Path, attributes: dict[str, bytes | None], reason: str
) -> None:
    store = FakeStore()

    async def do(it: Asking) -> None:
        for _ in range(2):
            assert await it.ask(**attributes) == "DUNNO"
        assert it.counted() == {(PASS, reason): 2}
        assert store.asked == 0
        line = it.log()[-1]
        assert line.startswith(f"action=pass, reason={reason}")
        hits = sum(it.metric("greyd_whitelist_hits_total", list=each)
                   for each in ("clients", "recipients"))  # fmt: skip
        assert hits == (2 if "whitelist" in reason else 0)

    with_policy(tmp_path, do, LISTS, store)


@pytest.mark.parametrize("attributes", [{"sasl_username": b""}, {"sender": b""},
                                        {"client_name": b""}, {"recipient": b""}])  # fmt: skip
def test_an_empty_attribute_is_no_reason_to_pass(
    tmp_path: Path, attributes: dict[str, bytes]
) -> None:
    async def do(it: Asking) -> None:
        reply = await it.ask(**attributes)
        assert reply is not None
        assert reply.startswith("DEFER_IF_PERMIT 4.2.0 Greylisted")
        (line,) = it.log()
        (name,) = attributes
        assert f"{name}=" not in line

    with_policy(tmp_path, do, LISTS)


@pytest.mark.parametrize(
    "name", [None, b"", b"junk", b"SMTPD_ACCESS_POLICY", b"smtpd_access_policy "]
)
def test_another_kind_of_request_gets_no_reply_but_is_told_and_counted(
    tmp_path: Path, name: bytes | None
) -> None:
    async def do(it: Asking) -> None:
        assert await it.ask(request=name) is None
        assert it.counted() == {}
        assert it.metric("greyd_protocol_errors_total") == 1
        (line,) = it.log()
        assert line.startswith("warning: ")

    with_policy(tmp_path, do)


def test_a_garbage_line_is_told_and_the_request_is_answered(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        assert await it.ask(garbage=b"no\x1battribute") == GREYLISTED
        assert it.metric("greyd_protocol_errors_total") == 1
        warning, answer = it.log()
        assert warning.startswith("warning: ")
        assert "no%1Battribute" in warning
        assert answer.startswith("action=greylist")

    with_policy(tmp_path, do)


def test_thousands_of_odd_requests_do_not_flood_the_log(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        for _ in range(2000):
            await it.ask(request=b"junk")
        assert it.metric("greyd_protocol_errors_total") == 2000
        assert len(it.log()) < 200

    with_policy(tmp_path, do)


# Modes --------------------------------------------------------------------------------------------


def test_learning_passes_all_and_logs_what_it_would_do_and_remembers(tmp_path: Path) -> None:
    async def learning(it: Asking) -> None:
        for now in (0, 100, 300, 400):
            assert await it.ask(now) == "DUNNO"
        await it.ask(400, sender=b"waits@example.com")
        assert it.counted() == {(PASS, "learning"): 3, (PASS, "triplet found"): 2}
        lines = it.log()
        assert lines[0].startswith("action=pass, reason=learning (new), client_name=")
        assert lines[1].startswith("action=pass, reason=learning (early-retry (200s missing)), ")
        assert lines[2].startswith("action=pass, reason=triplet found, ")

    async def then_on(it: Asking) -> None:
        assert await it.ask(500) == "DUNNO"
        assert await it.ask(699, sender=b"waits@example.com") == GREYLISTED
        assert is_header(await it.ask(700, sender=b"waits@example.com"), 300)

    with_policy(tmp_path, learning, mode="learn")
    with_policy(tmp_path, then_on)


def test_off_passes_all_and_does_not_ask_the_store(tmp_path: Path) -> None:
    store = FakeStore(fault=StoreError("away"))

    async def do(it: Asking) -> None:
        assert await it.ask() == "DUNNO"
        assert it.counted() == {(PASS, "mode off"): 1}
        assert store.asked == 0

    with_policy(tmp_path, do, store=store, mode="off")


# The store is away --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reply", "outcome"),
    [
        ({}, "DUNNO", (PASS, "store unavailable")),
        ({"on_store_failure": "pass"}, "DUNNO", (PASS, "store unavailable")),
        (
            {"on_store_failure": "defer"},
            "DEFER_IF_PERMIT 4.3.0 Greylisting is out of order, try again later",
            (GREYLIST, "store unavailable"),
        ),
        ({"on_store_failure": "defer", "mode": "learn"}, "DUNNO", (PASS, "store unavailable")),
    ],
)
def test_without_the_store_mail_passes_or_is_deferred_as_is_set(
    tmp_path: Path, options: dict[str, Any], reply: str, outcome: tuple[str, str]
) -> None:
    async def do(it: Asking) -> None:
        for _ in range(3):
            assert await it.ask() == reply
        assert it.counted() == {outcome: 3}
        assert it.metric("greyd_store_errors_total", operation="transact") == 3
        assert it.metric("greyd_store_up") == 0
        lines = it.log()
        assert sum("store away: disk on fire" in line for line in lines) == 1
        assert (
            sum(f"action={outcome[0]}, reason=store unavailable, " in line for line in lines) == 3
        )

    with_policy(tmp_path, do, store=FakeStore(fault=StoreError("disk on fire")), **options)


def test_without_the_store_whitelisted_mail_passes_all_the_same(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        assert await it.ask(client_name=b"good.example") == "DUNNO"
        assert await it.ask(sasl_username=b"carol") == "DUNNO"
        assert not it.guard.is_open

    with_policy(tmp_path, do, LISTS, FakeStore(fault=StoreError("away")), on_store_failure="defer")


# Figures and lines --------------------------------------------------------------------------------


def test_the_counters_add_up_to_the_answers(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        for number in range(200):
            await it.ask(
                number * 20,
                sender=None if number % 17 == 0 else b"s%d@example.com" % (number % 10),
                client_address=b"junk" if number % 13 == 0 else b"192.0.2.10",
                client_name=b"good.example" if number % 11 == 0 else b"mx.example.net",
                request=b"junk" if number % 7 == 0 else b"smtpd_access_policy",
                garbage=b"junk" if number % 5 == 0 else None,
                sasl_username=b"carol" if number % 19 == 0 else b"",
            )
        assert sum(it.counted().values()) == it.replies > 100
        assert it.metric("greyd_request_duration_seconds_count") == it.replies

    with_policy(tmp_path, do, LISTS)


def test_the_queue_id_stands_before_the_line_where_there_is_one(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        await it.ask(queue_id=b"4AbCd")
        await it.ask(queue_id=b"")
        first, second = it.log()
        assert first.startswith("4AbCd: action=greylist, reason=new, ")
        assert second.startswith("action=greylist, reason=new, ")

    with_policy(tmp_path, do)


def test_a_client_can_t_write_a_log_line_of_its_own(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        for data in (b"x\ny", b"\x1b[31m", b"\r\0\x7f\xff", "ü".encode()):
            await it.ask(
                sender=data, recipient=data, client_name=data, queue_id=data,
                client_address=data, garbage=data,
            )  # fmt: skip
            await it.ask(request=data)
        lines = it.log()
        assert len(lines) == 4 * 4
        assert all(re.fullmatch("[ -~]+", line) for line in lines)

    with_policy(tmp_path, do)


def test_as_json_a_line_is_an_object_with_the_same_parts(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        await it.ask(0, queue_id=b"4AbCd", sender=b"\xff\n@example.com")
        await it.ask(300, sender=b"\xff\n@example.com", client_name=b"")
        first, second = (json.loads(line) for line in it.log())
        del first["time"], second["time"]
        assert first == {
            "level": "info", "action": "greylist", "reason": "new", "queue_id": "4AbCd",
            "client_name": "mx.example.net", "client_address": "192.0.2.10",
            "sender": "\\xff\n@example.com", "recipient": "bob@example.org",
        }  # fmt: skip
        assert (second["action"], second["delay"]) == ("pass", 300)
        assert "client_name" not in second

    with_policy(tmp_path, do, log_format="json")


def test_decisions_are_information_and_news_of_the_server_are_not(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        await it.ask(0)
        await it.ask(300)
        it.log()
        assert it.severities() == [Severity.INFO, Severity.NOTICE, Severity.INFO]

    with_policy(tmp_path, do, auto_whitelist_clients=1)


def test_requests_at_the_same_time_are_one_first_sight_and_one_first_pass(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        first = await asyncio.gather(*(it.ask(0) for _ in range(50)))
        assert set(first) == {GREYLISTED}
        later = await asyncio.gather(*(it.ask(300) for _ in range(50)))
        assert sum(is_header(reply, 300) for reply in later) == 1
        assert later.count("DUNNO") == 49

    with_policy(tmp_path, do)


# Requests of greyd doctor -------------------------------------------------------------------------


PROBE = {"sasl_username": b"greyd-doctor", "greyd_probe": b"doctor"}


def test_the_doctors_request_is_neither_logged_nor_counted_as_mail(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        await it.ask(sasl_username=b"alice")
        assert await it.ask(**PROBE) == f"DUNNO greyd {__version__}"
        assert it.counted() == {(PASS, "authenticated"): 1}
        assert it.metric("greyd_doctor_probes_total") == 1
        assert it.metric("greyd_request_duration_seconds_count") == 1
        assert sum("action=" in line for line in it.log()) == 1

    with_policy(tmp_path, do)


DECISION_PROBE = {"sasl_username": b"greyd-switch-from", "greyd_probe": b"decision"}


@pytest.mark.parametrize(
    ("attempts", "when", "mode", "decision"),
    [
        ((), 0, "on", "would greylist (new)"),
        ((0,), 100, "on", "would greylist (early-retry)"),
        ((0,), 300, "on", "would pass (triplet found)"),
        ((0, 300), 400, "on", "would pass (triplet found)"),
        ((), 0, "learn", "would pass (mode learn)"),
        ((), 0, "off", "would pass (mode off)"),
    ],
)
def test_a_probe_shows_the_decision_and_changes_nothing(
    tmp_path: Path, attempts: tuple[int, ...], when: int, mode: str, decision: str
) -> None:
    async def do(it: Asking) -> None:
        for attempt in attempts:
            await it.ask(attempt)
        counted = it.counted()
        it.policy.mode = mode
        for _ in range(2):
            # Had the first probe been stored, the second would not be new.
            answer = await it.ask(when, **DECISION_PROBE)
            assert answer == f"DUNNO greyd {__version__} {decision}"
        assert it.counted() == counted
        assert sum("action=" in line for line in it.log()) == len(attempts)

    with_policy(tmp_path, do)


def test_a_probe_with_an_invalid_address_gets_the_version_alone(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        answer = await it.ask(**DECISION_PROBE, client_address=b"unknown")
        assert answer == f"DUNNO greyd {__version__}"

    with_policy(tmp_path, do)


def test_the_mark_of_the_doctor_lets_no_mail_pass(tmp_path: Path) -> None:
    async def do(it: Asking) -> None:
        assert await it.ask(greyd_probe=b"doctor") == GREYLISTED
        assert it.counted() == {(GREYLIST, "new"): 1}
        assert it.metric("greyd_doctor_probes_total") == 0

    with_policy(tmp_path, do)
