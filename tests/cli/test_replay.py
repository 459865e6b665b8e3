"""``greyd replay``: what other settings would have done with the mail of a log."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.cli.main import main
from greyd.cli.replay.progress import SimulationProgress
from greyd.cli.replay.servers.simulated_server import SimulatedServer
from greyd.cli.replay.simulation import Simulation
from greyd.cli.replay.text import FigureRow, blocks
from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.maillog.attempts import AttemptStatistics, attempts_in
from greyd.maillog.heads import LogLine
from greyd.rules.evidence import NO_EVIDENCE
from greyd.store.opening import open_store
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.benchmarks.provider_pool import PROVIDER, envelope_of, simulate
from tests.commands import CHECKOUT, environment_without_settings, is_setting, run_here
from tests.dns_server import dns_server
from tests.mail_log import START, MailLog
from tests.policy.test_policy import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from greyd.maillog.attempts import Attempt
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from tests.benchmarks.provider_pool import Waits

MINUTE = 60

Replay = "Callable[..., Any]"


@pytest.fixture
def log(tmp_path: Path) -> MailLog:
    return MailLog(tmp_path)


@pytest.fixture
def replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Yield what replays a log, in this process, with settings that today's server has."""
    for name in filter(is_setting, list(os.environ)):
        monkeypatch.delenv(name)
    (tmp_path / "none").touch()

    def do(log: MailLog | Path, *changes: str, options: Iterable[str] = (), **today: object) -> Any:
        config = tmp_path / "greyd.toml"
        none = str(tmp_path / "none")
        table = {"whitelist_clients": [none], "whitelist_recipients": [none], **today}
        config.write_text("".join(f"{key} = {json.dumps(each)}\n" for key, each in table.items()))
        path = log.written() if isinstance(log, MailLog) else log
        words = [word for change in changes for word in ("--with", change)]
        with pytest.raises(SystemExit) as ended:
            main(["replay", str(path), f"--config={config}", "--json", *words, *options])
        told = capsys.readouterr()
        assert ended.value.code == 0, told.err
        return json.loads(told.out) | {"complaints": told.err}

    # A command keeps its files from others, and is not alone in this process.
    mask = os.umask(0o022)
    yield do
    os.umask(mask)


def once_waited(log: MailLog, *at: float, **whose: str) -> None:
    """Write of a mail that waits until its last attempt."""
    first, *early, last = at
    log.decided(first, "greylist, reason=new", **whose)
    for each in early:
        missing = 300 - (each - first)
        log.decided(each, f"greylist, reason=early-retry ({missing:.0f}s missing)", **whose)
    log.decided(last, f"pass, reason=triplet found, delay={last - first:.0f}", **whose)


def spam(log: MailLog, *at: float, address: str = "203.0.113.9") -> None:
    """Write of a mail that never comes back."""
    for place, each in enumerate(at):
        said = f"early-retry ({300 - each + at[0]:.0f}s missing)" if place else "new"
        log.decided(
            each, f"greylist, reason={said}", "x@spam.example", name="unknown", address=address
        )


def quiet(log: MailLog, at: float) -> None:
    """Let time go by until the log ends."""
    log.decided(at, "pass, reason=authenticated")


def reasons(figures: Any) -> dict[str, int]:
    return {f"{each['action']} {each['reason']}": each["attempts"] for each in figures["reasons"]}


# The same settings --------------------------------------------------------------------------------


def test_the_same_settings_decide_as_the_log_says(log: MailLog, replay: Callable[..., Any]) -> None:
    once_waited(log, 0, 60, 120, 310)
    spam(log, 20, 90)
    log.decided(400, "pass, reason=triplet found")
    quiet(log, DAY)
    told = replay(log)
    assert told["log"]["decisions_compared"] == told["log"]["decisions_equal"] == 7
    assert told["log"]["attempts"] == 7
    assert told["log"]["mails"] == 3
    assert told["today"]["came_in"] == {
        "at_once": 1, "waited": 1, "lost": 0,
        "wait_seconds": {"p50": 310, "p90": 310, "p99": 310, "longest": 310, "total": 310},
    }  # fmt: skip
    assert told["today"]["never_came_back"] == {
        "kept_out": 1, "let_in": 0, "let_in_at_once": 0, "let_in_verified_name": 0,
    }  # fmt: skip
    assert reasons(told["today"]) == {
        "greylist new": 2, "greylist early-retry": 3, "pass triplet found": 2,
    }  # fmt: skip
    assert "other" not in told


def whitelist(log: MailLog, *entries: str) -> str:
    path = log.folder / "whitelist_clients"
    path.write_text("".join(f"{entry}\n" for entry in entries))
    return str(path)


def traffic(seed: int) -> Iterable[tuple[int, str, str, str]]:
    """Yield a month's attempts: when, from which address, by whom and to whom."""
    chance = random.Random(seed)
    clock = 0
    for _ in range(1500):
        clock += int(chance.expovariate(1 / 1500)) + 1
        address = f"192.0.{chance.randrange(3)}.{chance.randrange(1, 6)}"
        sender = chance.choice(["", "a@one.example", "b+x@one.example", "c-17@two.example"])
        recipient = chance.choice(["bob@example.org", "Eve@example.org"])
        yield clock, address, sender, recipient


@pytest.mark.parametrize(
    "options",
    [{}, {"delay": 60}, {"auto_whitelist_clients": 0}, {"lookup_by_host": True},
     {"ipv4cidr": 16, "retry_window": "1h"}, {"max_age": 1}],
)  # fmt: skip
def test_what_a_server_has_logged_is_decided_again_one_by_one(
    tmp_path: Path, log: MailLog, replay: Callable[..., Any], options: dict[str, object]
) -> None:
    from greyd.config.settings import merge_settings
    from greyd.config.sources import from_table

    async def serve() -> list[tuple[int, str]]:
        settings = merge_settings(
            from_table({"test_time": True, **options}, "test"),
        )
        said = []
        async with asking(open_store(settings, tmp_path), settings) as it:
            for at, address, sender, recipient in traffic(1):
                await it.ask(
                    policy_test_time=b"%d" % (START + at), client_address=address.encode(),
                    client_name=b"unknown", sender=sender.encode(), recipient=recipient.encode(),
                )  # fmt: skip
                said.append(at)
            lines = [line for line in it.log() if line.startswith("action=")]
        return list(zip(said, lines, strict=True))

    for at, line in asyncio.run(serve()):
        log.add(at, "greyd", line)
    told = replay(log, **options)["log"]
    assert told["attempts"] == told["decisions_compared"] == told["decisions_equal"] == 1500
    assert told["known_before"] == 0
    # A log that begins in the middle tells what was known before.
    told = replay(log.written(leave_out=700), **options)["log"]
    assert told["known_before"] > 0
    assert told["decisions_equal"] >= 0.98 * told["decisions_compared"]


# Another delay ------------------------------------------------------------------------------------


def test_with_a_shorter_delay_a_mail_comes_in_at_the_first_retry_that_is_late_enough(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    once_waited(log, 0, 40, 100, 310)
    once_waited(log, 5, 400, sender="carol@example.net")
    quiet(log, DAY)
    other = replay(log, "delay=60")["other"]
    waits = other["came_in"]["wait_seconds"]
    # At 100 s, and at 395 s still: who comes back that late comes back that late.
    assert (waits["p50"], waits["longest"], waits["total"]) == (100, 395, 495)
    # The attempt at 310 is not made any more.
    assert other["attempts"] == 3 + 2


def test_spam_that_had_come_back_a_little_is_let_in_with_a_shorter_delay(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    spam(log, 0, 90)
    spam(log, 10, address="203.0.199.9")
    quiet(log, DAY)
    told = replay(log, "delay=60")
    none = {"let_in_at_once": 0, "let_in_verified_name": 0}
    assert told["today"]["never_came_back"] == {"kept_out": 2, "let_in": 0} | none
    assert told["other"]["never_came_back"] == {"kept_out": 1, "let_in": 1} | none
    assert [each["from"] for each in told["senders"]["let_in"]] == ["203.0.113.0/24"]


def test_with_a_longer_delay_a_sender_goes_on_at_its_own_interval(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    once_waited(log, 0, 110, 220, 330)
    quiet(log, DAY)
    told = replay(log, "delay=600")
    # 440, 550, 660.
    assert told["other"]["came_in"]["wait_seconds"]["longest"] == 660
    assert reasons(told["other"])["greylist early-retry"] == 5
    (loser,) = told["senders"]["lose"]
    assert loser["wait_seconds"] == {"today": 330, "other": 660}
    assert (loser["from"], loser["mails"]) == ("example.com", 1)
    assert told["senders"]["gain"] == []


def test_mail_that_passed_at_once_comes_back_as_its_origin_does(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    once_waited(log, 0, 420)
    log.decided(HOUR, "pass, reason=client AWL", "dave@example.com")
    quiet(log, DAY)
    told = replay(log, "auto-whitelist-clients=0", auto_whitelist_clients=1)
    assert told["log"]["decisions_equal"] == 3
    assert told["other"]["came_in"]["waited"] == 2
    assert told["other"]["came_in"]["wait_seconds"]["total"] == 420 + 420


def test_a_sender_of_which_nothing_is_known_comes_back_as_postfix_does(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.decided(0, "pass, reason=client whitelist")
    quiet(log, DAY)
    entries = whitelist(log, "example.com")
    told = replay(log, f"whitelist-clients={log.folder / 'none'}", whitelist_clients=[entries])
    assert told["today"]["came_in"]["at_once"] == 1
    waits = told["other"]["came_in"]["wait_seconds"]
    assert (waits["p50"], waits["longest"]) == (300, 300)
    told = replay(log, "delay=301", f"whitelist-clients={log.folder / 'none'}",
                  whitelist_clients=[entries])  # fmt: skip
    assert told["other"]["came_in"]["wait_seconds"]["longest"] == 600


def test_a_mail_that_would_wait_for_days_is_lost(log: MailLog, replay: Callable[..., Any]) -> None:
    once_waited(log, 0, 310)
    quiet(log, DAY)
    told = replay(log, f"delay={6 * DAY}", "retry-window=30")
    assert told["today"]["came_in"]["lost"] == 0
    assert told["other"]["came_in"] == {
        "at_once": 0, "waited": 0, "lost": 1, "wait_seconds": None,
    }  # fmt: skip
    assert told["other"]["attempts"] < 200


def test_a_mail_without_an_end_in_the_log_is_not_counted_as_given_up(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    spam(log, 0)
    quiet(log, HOUR)
    told = replay(log)
    assert told["log"]["mails_without_end"] == 1
    assert told["today"]["never_came_back"]["kept_out"] == 0


def test_an_attempt_hours_later_is_a_mail_of_its_own(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    spam(log, 0)
    log.decided(
        8 * HOUR, "pass, reason=triplet found, delay=28800", "x@spam.example", name="unknown",
        address="203.0.113.9",
    )  # fmt: skip
    quiet(log, DAY)
    told = replay(log)
    assert told["log"]["mails"] == 2
    assert told["today"]["never_came_back"]["kept_out"] == 1


def test_mail_of_the_warm_up_is_decided_but_not_counted(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    once_waited(log, 0, 310)
    log.decided(DAY, "pass, reason=triplet found")
    quiet(log, 2 * DAY)
    told = replay(log, options=["--warm-up=1h"])
    assert told["log"]["attempts"] == told["log"]["mails"] == 1
    assert reasons(told["today"])["pass triplet found"] == 1


def test_a_log_of_whole_seconds_that_is_a_second_off_is_no_early_retry(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.decided(1, "greylist, reason=new")
    log.decided(300, "pass, reason=triplet found, delay=300")
    quiet(log, DAY)
    told = replay(log)
    assert told["log"]["decisions_equal"] == 2
    assert told["today"]["came_in"]["wait_seconds"]["longest"] == 300


def test_who_comes_back_every_minute_does_not_do_so_for_days(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    once_waited(log, *range(0, 360, 60))
    quiet(log, DAY)
    told = replay(log, f"delay={6 * DAY}", "retry-window=30")
    assert told["other"]["came_in"]["lost"] == 1
    assert told["other"]["attempts"] < 200


def test_an_attempt_hours_later_is_a_new_mail_also_on_a_busy_server(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    spam(log, 0)
    spam(log, 5 * HOUR, address="198.51.100.9")
    spam(log, 7 * HOUR)
    quiet(log, DAY)
    assert replay(log)["log"]["mails"] == 3


def test_what_a_mail_earns_when_it_comes_back_later_counts_for_the_next(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    once_waited(log, 0, 310)
    log.decided(2 * HOUR, "pass, reason=client AWL", "carol@example.com")
    quiet(log, DAY)
    told = replay(log, "delay=600", auto_whitelist_clients=1)
    assert told["other"]["came_in"]["at_once"] == 1
    assert told["other"]["came_in"]["wait_seconds"]["longest"] == 620
    assert reasons(told["other"])["pass client AWL"] == 1


def test_what_was_known_before_is_known_of_the_identity_too(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.decided(0, "pass, reason=triplet found", name="mx.provider.com")
    log.decided(100, "greylist, reason=new", name="mx.provider.com", address="198.51.100.7")
    log.decided(410, "pass, reason=triplet found, delay=310", name="mx.provider.com",
                address="198.51.100.7")  # fmt: skip
    quiet(log, DAY)
    told = replay(log, "identity=name")
    assert told["log"]["known_before"] == 1
    assert (told["today"]["came_in"]["at_once"], told["other"]["came_in"]["at_once"]) == (1, 2)


# Who it is ----------------------------------------------------------------------------------------

POOL = [f"198.51.{number}.7" for number in range(100, 130)]


def a_pool_sends(log: MailLog) -> None:
    """Write of a provider that tries again from another network each time, until one fits."""
    for mail in range(20):
        whose = {"sender": f"code@shop{chr(97 + mail)}.example", "name": "out.provider.com"}
        for attempt in range(6):
            at = mail * 20 * HOUR / 10 + attempt * 900
            log.decided(at, "greylist, reason=new", address=POOL[attempt + mail % 10], **whose)
        log.decided(
            mail * 20 * HOUR / 10 + 6 * 900, "pass, reason=triplet found, delay=5400",
            address=POOL[mail % 10], **whose,
        )  # fmt: skip


def test_a_provider_with_many_addresses_is_known_by_its_name(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    a_pool_sends(log)
    quiet(log, 4 * DAY)
    told = replay(log, "identity=name", auto_whitelist_clients=0)
    today, other = told["today"]["came_in"], told["other"]["came_in"]
    assert (today["wait_seconds"]["p50"], other["wait_seconds"]["p50"]) == (5400, 900)
    (gain,) = told["senders"]["gain"]
    assert (gain["from"], gain["mails"]) == ("provider.com", 20)
    assert gain["wait_seconds"] == {"today": 20 * 5400, "other": 20 * 900}


def test_a_pool_goes_on_from_other_addresses(log: MailLog, replay: Callable[..., Any]) -> None:
    a_pool_sends(log)
    quiet(log, 4 * DAY)
    told = replay(log, "delay=6000", auto_whitelist_clients=0)
    # Each mail came last from its first address; from there, 6300 s would do.
    assert told["other"]["came_in"]["wait_seconds"]["longest"] > 6300


def test_bounces_to_one_user_are_mails_of_their_origins(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    for number in range(3):
        log.decided(number, "greylist, reason=new", "", name=f"mx.firm{number}.com",
                    address=f"198.51.{number}.9")  # fmt: skip
    quiet(log, DAY)
    assert replay(log)["log"]["mails"] == 3


def test_what_the_servers_log_says_of_identity_and_signals_counts(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.decided(0, "greylist, reason=new", name="unknown",
                more=", identity=example.com, signals=sender_no_mx")  # fmt: skip
    log.decided(310, "pass, reason=triplet found, delay=310", name="unknown",
                address="203.0.113.5", more=", identity=example.com")  # fmt: skip
    quiet(log, DAY)
    told = replay(log, "identity=subnet", identity="spf,name")
    assert "no client has an identity by SPF" in told["complaints"]
    assert told["today"]["came_in"]["wait_seconds"]["p50"] == 310
    assert told["log"]["decisions_equal"] == 2
    assert told["other"]["came_in"]["wait_seconds"]["longest"] > 310
    told = replay(log, "greylist=suspicious", "signals=sender_no_mx,generic_name")
    assert reasons(told["other"])["greylist new"] == 1


def test_only_the_suspicious_wait_by_what_the_log_tells(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    once_waited(log, 0, 310)
    spam(log, 10)
    quiet(log, DAY)
    told = replay(log, "greylist=suspicious")
    assert told["other"]["came_in"]["at_once"] == 1
    assert told["other"]["never_came_back"]["kept_out"] == 1
    assert "without --dns" in told["complaints"]


def test_a_server_that_learns_is_tried_as_one_that_defers(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.decided(0, "pass, reason=learning (new)")
    quiet(log, DAY)
    told = replay(log, "mode=on", mode="learn")
    assert reasons(told["today"]) == {"pass learning": 1}
    assert told["other"]["came_in"]["waited"] == 1


@pytest.mark.parametrize(
    ("detail", "answers"), [("", 1), (" (sender not of this login)", 0)], ids=["learnt", "not"]
)
def test_answers_to_our_users_are_let_in(
    log: MailLog, replay: Callable[..., Any], detail: str, answers: int
) -> None:
    log.decided(
        0, f"pass, reason=outbound{detail}", "bob@example.org", recipient="alice@example.com"
    )
    once_waited(log, 100, 410)
    quiet(log, DAY)
    told = replay(log, "identity=name", "learn-outbound=yes")
    assert reasons(told["other"]).get("pass correspondent", 0) == answers
    assert told["other"]["came_in"]["at_once"] == answers


# Postfix ------------------------------------------------------------------------------------------


def test_postfix_tells_of_attempts_too(log: MailLog, replay: Callable[..., Any]) -> None:
    log.rejected(0)
    log.rejected(5, "x@spam.example", name="unknown", address="203.0.113.9", helo="pc")
    log.accepted(320, "4Xyz12", "alice@example.com", "bob@example.org", "eve@example.org")
    log.accepted(330, "4Xyz13", "me@example.org", "friend@example.net", address="10.0.0.5")
    log.accepted(330, "4Xyz14", "me@example.org", "friend@example.net", sasl=True)
    log.accepted(DAY, "4Xyz15", "z@example.net", address="198.51.100.1", name="z.example.net")
    told = replay(log, "delay=30")
    assert told["log"]["decisions"] == 0
    # Mail from our own network and of our own users is not greylisted.
    assert told["log"]["attempts"] == 5
    assert told["log"]["mails"] == 4
    assert told["today"]["came_in"]["wait_seconds"]["total"] == 320 + 320 + 300
    assert told["today"]["never_came_back"]["kept_out"] == 1


def test_a_recipient_is_the_one_that_the_client_named(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.rejected(0, recipient="info@example.org")
    log.accepted(320, "4Xyz12", "alice@example.com", "bob@example.org>, orig_to=<info@example.org")
    log.accepted(DAY, "4Xyz15", "z@example.net", address="198.51.100.1", name="unknown")
    told = replay(log)
    assert told["log"]["mails"] == 2
    assert told["today"]["came_in"]["wait_seconds"]["longest"] == 320


def test_what_greyd_and_postfix_both_tell_of_is_one_attempt(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.rejected(0.2)
    once_waited(log, 0.3, 310.1)
    log.accepted(310.2, "4Xyz12")
    spam(log, 20)
    log.rejected(20.1, "x@spam.example", name="unknown", address="203.0.113.9", helo="pc")
    quiet(log, DAY)
    told = replay(log)["log"]
    assert (told["attempts"], told["decisions"], told["attempts_of_postfix"]) == (3, 4, 0)


def test_postfix_tells_the_helo_and_the_name_that_does_not_lead_back(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    log.add(0, "postfix/smtpd", "warning: hostname mx.odd.example does not resolve to address"
            " 203.0.113.9: Name or service not known")  # fmt: skip
    log.decided(0, "greylist, reason=new", name="unknown", address="203.0.113.9")
    log.decided(1, "greylist, reason=new", name="unknown", address="198.51.100.9")
    log.decided(2, "greylist, reason=new")
    log.rejected(2, helo="friend")
    quiet(log, DAY)

    def waits(signal: str) -> int:
        told = replay(log, "greylist=suspicious", f"signals={signal}")
        return int(told["other"]["never_came_back"]["kept_out"])

    assert [waits(each) for each in ("ptr_mismatch", "no_ptr", "helo_not_fqdn")] == [1, 1, 1]
    assert waits("ptr_mismatch,no_ptr,helo_not_fqdn") == 3


# DNS ----------------------------------------------------------------------------------------------


def test_dns_is_asked_where_that_is_wanted(log: MailLog, replay: Callable[..., Any]) -> None:
    once_waited(log, 0, 310)
    spam(log, 5, 20)
    quiet(log, DAY)
    zone = {"9.113.0.203.bl.example": ["300 A 127.0.0.2"]}
    with dns_server(zone) as server:
        told = replay(
            log, "dnsbl=bl.example=900", "greylist=suspicious", "signals=dnsbl",
            f"resolver={server.address}", options=["--dns"],
        )  # fmt: skip
        # Once, however often and on however many servers the client comes.
        assert server.asked["9.113.0.203.bl.example", "A"] == 1
    assert reasons(told["other"])["greylist new"] == 1
    assert told["other"]["came_in"]["at_once"] == 1
    assert told["other"]["never_came_back"]["kept_out"] == 1


KNOWN = {f"firm{number}.example": ["300 MX 10 mx.example."] for number in range(20)}


@pytest.mark.parametrize(
    ("zone", "is_trusted"),
    [(KNOWN, True), ({"firm0.example": KNOWN["firm0.example"]}, True), ({}, False)],
    ids=["all known", "one known", "none known"],
)
def test_a_dns_that_knows_nobody_is_said_and_names_still_count(
    log: MailLog, replay: Callable[..., Any], zone: Any, *, is_trusted: bool
) -> None:
    many_firms(log)
    with dns_server(zone) as server:
        told = replay(
            log, "greylist=suspicious", "signals=sender_no_mx,no_ptr",
            f"resolver={server.address}", options=["--dns"],
        )  # fmt: skip
    warned = "The DNS knew 0 of 21 clients and senders: the result with --dns can't be trusted."
    assert told["verdict"][0].startswith(warned) is not is_trusted
    assert told["other"]["came_in"]["at_once"] == (len(zone) or 20)


def test_a_dns_without_an_answer_is_said_and_names_still_count(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    many_firms(log)
    told = replay(
        log, "greylist=suspicious", "signals=sender_no_mx,no_ptr", "resolver=127.0.0.1:9",
        options=["--dns"], dns_timeout="1s",
    )  # fmt: skip
    assert told["dns"][1]["unanswered_clients"] == 21
    assert "can't be trusted" in told["verdict"][0]
    assert told["other"]["came_in"]["at_once"] == 20


def many_firms(log: MailLog) -> None:
    """Write of mail of 20 clients; a login's makes them 21."""
    for number in range(20):
        whose = {"sender": f"a@firm{number}.example", "name": f"mx.firm{number}.example"}
        once_waited(log, number, number + 310, **whose, address=f"192.0.{number}.7")
    quiet(log, DAY)


# The verdict --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("delay=60", "would make 1 mail wait 1 min 40 s in all instead of 5 min 10 s"),
        ("delay=200", "would change no wait (1 of 1 mail that passed waited"),
        ("greylist=suspicious", "would spare 1 of 1 waiting mail the wait (median 5 min 10 s)"),
        ("mode=learn", "and let in 1 more of 1 that never came back"),
        ("delay=60", "and let in no more of 1 that never came back than today (0)"),
    ],
)
def test_the_verdict_says_what_changes(
    log: MailLog, replay: Callable[..., Any], change: str, said: str
) -> None:
    once_waited(log, 0, 100, 310)
    spam(log, 20)
    quiet(log, DAY)
    [verdict, *_] = replay(log, change)["verdict"]
    assert verdict.startswith(change)
    assert said in verdict.replace("\xa0", " ")


def test_decisions_that_differ_name_their_cause(log: MailLog, replay: Callable[..., Any]) -> None:
    once_waited(log, 0, 310)
    once_waited(log, 5, 310, sender="b@other.example", name="mx.other.example")
    spam(log, 20, 60)
    quiet(log, DAY)
    lists = [whitelist(log, "mx.other.example")]
    different = replay(log, delay=200, whitelist_clients=lists)["log"]["decisions_different"]
    assert different == {
        "by_whitelist_entry": [{"entry": "mx.other.example", "attempts": 1}],
        "by_decisions": [],
    }
    assert replay(log, greylist="suspicious")["log"]["decisions_different"]["by_decisions"] == [
        {"log": "greylist: new", "today": "pass: not suspicious", "attempts": 2}
    ]
    done = run_here("replay", log.written(), GREYD_GREYLIST="suspicious")
    assert "2: greylist: new in the log, pass: not suspicious today" in done.stdout


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(None, None, "="), (3, 3, "="), (3, None, "gone"), (None, 3, "new"), (3, 5, "+2")],
)
def test_a_value_that_is_gone_is_not_equal(
    before: int | None, after: int | None, said: str
) -> None:
    assert FigureRow("median", [before, after], str).cells()[-1] == said


def test_figures_are_blocks_on_a_narrow_terminal() -> None:
    rows = [FigureRow("Attempts", [2216, 1893], str), FigureRow("  lost", [0, 0], str)]
    assert list(blocks([row.cells() for row in rows])) == [
        "Attempts",
        "  today       2216",
        "  other       1893",
        "  difference  −323",
        "  lost  0  =",
    ]


def test_progress_is_what_was_simulated_not_what_was_read() -> None:
    steps: list[float] = []
    progress = SimulationProgress(steps.append)
    progress.add_block(100)
    lines = progress.count([LogLine(0, b"", b"x" * 30)] * 5)
    assert (progress.show(), steps) == (None, [])
    next(lines)
    progress.show()
    progress.show()
    assert steps == [30]
    progress.add_block(40)
    progress.show()
    assert sum(steps) == 100
    list(lines)
    progress.show()
    assert sum(steps) == 140


# Particular senders and recipients ---------------------------------------------------------------


def test_a_domain_s_own_delay_is_simulated(log: MailLog, replay: Callable[..., Any]) -> None:
    log.decided(0, "greylist, reason=new")
    log.decided(0, "greylist, reason=new", recipient="bob@fast.example")
    log.decided(100, "greylist, reason=early-retry", recipient="bob@fast.example")
    for recipient in ("bob@example.org", "bob@fast.example"):
        log.decided(310, "pass, reason=triplet found, delay=310", recipient=recipient)
    quiet(log, DAY)
    told = replay(log, "recipient-domain=fast.example;delay=60")
    assert told["other"]["came_in"]["wait_seconds"]["total"] == 310 + 100
    told = replay(log, "recipient-domain=fast.example;mode=off")
    assert told["other"]["came_in"]["at_once"] == 1


def test_a_group_of_senders_is_simulated(log: MailLog, replay: Callable[..., Any]) -> None:
    a_pool_sends(log)
    quiet(log, 4 * DAY)
    told = replay(log, "sender-group=pool=provider.com", auto_whitelist_clients=0)
    today, other = told["today"]["came_in"], told["other"]["came_in"]
    assert (today["wait_seconds"]["p50"], other["wait_seconds"]["p50"]) == (5400, 900)


def test_a_group_in_the_log_is_no_identity(log: MailLog, replay: Callable[..., Any]) -> None:
    log.decided(0, "greylist, reason=new", name="unknown", more=", identity=group:big")
    log.decided(310, "pass, reason=triplet found, delay=310", name="unknown",
                address="203.0.113.5", more=", identity=group:big")  # fmt: skip
    quiet(log, DAY)
    group = "big=192.0.2.0/24,203.0.113.0/24"
    told = replay(log, "sender-group=other=198.51.100.0/24", sender_group=group, identity="name")
    assert told["log"]["decisions_equal"] == 2
    assert told["other"]["came_in"]["wait_seconds"]["longest"] > 310


def test_clients_that_are_never_auto_whitelisted_are_simulated(
    tmp_path: Path, log: MailLog, replay: Callable[..., Any]
) -> None:
    for number in range(4):
        begin, sender = number * HOUR * 2, f"s{'x' * number}@a.example"
        once_waited(log, begin, begin + 310, sender=sender)
    quiet(log, DAY)
    never = tmp_path / "never"
    never.write_text("192.0.2.0/24\n")
    told = replay(log, f"never-auto-whitelist={never}", auto_whitelist_clients=1)
    assert told["today"]["came_in"]["at_once"] == 3
    assert told["other"]["came_in"]["at_once"] == 0


def test_whitelisted_senders_are_simulated_by_the_log_the_names_and_dns(
    tmp_path: Path, log: MailLog, replay: Callable[..., Any]
) -> None:
    log.decided(0, "pass, reason=sender whitelist", "a@logged.example", name="unknown")
    once_waited(log, 10, 320, sender="b@example.com")
    log.decided(20, "greylist, reason=new", "c@spf.example", name="unknown")
    log.decided(330, "pass, reason=triplet found, delay=310", "c@spf.example", name="unknown")
    quiet(log, DAY)
    senders = tmp_path / "whitelist_senders"
    senders.write_text("logged.example\nexample.com\nspf.example\n")
    told = replay(log, f"whitelist-senders={senders}")
    assert reasons(told["other"])["pass sender whitelist"] == 2
    assert "no client has a sender that SPF proves" in told["complaints"]
    zone = {"spf.example": ['300 TXT "v=spf1 ip4:192.0.2.0/24 -all"']}
    with dns_server(zone) as server:
        told = replay(
            log, f"whitelist-senders={senders}", f"resolver={server.address}", options=["--dns"]
        )
    assert reasons(told["other"])["pass sender whitelist"] == 3


# What can't be done -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--with", "delay=soon"], "--with: delay=soon: expected a whole number"),
        (["--with", "delay"], "expected a value: delay=VALUE"),
        (
            ["--with", "store=redis://db1"],
            "expected NAME=VALUE, with a setting that affects decisions",
        ),
        (["--with", "dealy=5"], "expected NAME=VALUE, with a setting that affects decisions"),
        (["--with", "dnsbl=zen.spamhaus.org"], "add --dns"),
        (["--with", "identity=spf"], "add --dns"),
        (["--with", "auto-whitelist-identities=3"], "add it"),
        (["--with", "whitelist-clients=/nonexistent"], "/nonexistent: No such file"),
        (["--with", "never-auto-whitelist=/nonexistent"], "/nonexistent: No such file"),
        (["--with", "recipient-domain=*.example;delay=5"], "no wildcards"),
        (["--with", "sender-group=a=co.uk"], "whoever owns them, would be one sender"),
        (["--warm-up=tomorrow"], "--warm-up=tomorrow: expected a duration"),
        (["--warm-up=9d"], "make it shorter"),
        (["/nonexistent/mail.log"], "/nonexistent/mail.log: No such file"),
    ],
)
def test_what_can_t_be_done_is_one_line(log: MailLog, words: list[str], said: str) -> None:
    once_waited(log, 0, 310)
    done = run_here("replay", log.written(), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_a_value_that_means_another_is_said_to(log: MailLog, replay: Callable[..., Any]) -> None:
    once_waited(log, 0, 310)
    told = replay(log, "delay=0", delay=60)
    assert "--with: delay=0: using the default (5m)" in told["complaints"]


def test_a_log_without_mail_is_said_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text("action=greylist, reason=new, client_name=a, client_address=192.0.2.1, "
                    "sender=a@example.com, recipient=b@example.org\n")  # fmt: skip
    done = run_here("replay", path)
    assert done.returncode == 2
    assert "no decisions of greyd or postgrey, no mail: 1 line has no date" in done.stderr


@pytest.mark.parametrize("command", [["replay", "--with", "preset=recommended"], ["tune"]])
def test_the_verdict_comes_first_and_all_notes_follow_it(
    log: MailLog, tmp_path: Path, command: list[str]
) -> None:
    once_waited(log, 0, 100, 310)
    quiet(log, DAY)
    path = log.written()
    path.write_text(f"{path.read_text()}Nov 19 12:00:00 mx1 greyd[7]: action=maybe\n")
    words = [sys.executable, "-m", "greyd", command[0], str(path), *command[1:]]
    environment = {**environment_without_settings(), "GREYD_RUN_DIR": str(tmp_path), "TZ": "UTC"}
    # Both outputs are one pipe, as for "2>&1 | less".
    done = subprocess.run(
        words, cwd=CHECKOUT, env=environment, text=True, timeout=120, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert re.match(
        "preset=recommended would|Set --preset=recommended|Keep what you have", lines[0]
    )
    notes = [at for at, each in enumerate(lines) if each.startswith("greyd: ")]
    assert notes == list(range(len(lines) - len(notes), len(lines)))
    assert any("without --dns, no client is on a DNS list" in lines[at] for at in notes)


@pytest.mark.parametrize("words", [["--warm-up=9d"], ["--with", "dealy=5"]])
def test_notes_are_written_if_the_simulation_fails_too(
    log: MailLog, tmp_path: Path, words: list[str]
) -> None:
    once_waited(log, 0, 310)
    options = [] if "--with" in words else ["--with", "preset=recommended"]
    done = run_here("replay", str(log.written()), *words, *options, GREYD_RUN_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    said = done.stderr.splitlines()
    assert ("without --dns" in said[0]) is bool(options)
    assert "make it shorter" in said[-1] or "expected NAME=VALUE" in said[-1]


def test_people_see_both_side_by_side(log: MailLog) -> None:
    once_waited(log, 0, 100, 310)
    quiet(log, DAY)
    done = run_here("replay", log.written(), "--with", "delay=60", TZ="UTC")
    assert done.returncode == 0, done.stderr
    shown = [" ".join(line.split()) for line in done.stdout.replace("\xa0", " ").splitlines()]
    assert "2026-11-18 12:00:00 to 2026-11-19 12:00:00: attempts 3, mails 1," in shown[2]
    assert shown[0].startswith("delay=60 would make 1 mail wait 1 min 40 s in all instead of")
    assert shown[-2:] == [
        'In /etc/default/greyd: GREYD_OPTS="--delay=60" (add this to the existing options)',
        "or in greyd.toml: delay = 60",
    ]
    assert "Other settings: delay=60" in shown
    assert "longest 5 min 10 s 1 min 40 s −3 min 30 s" in shown
    assert "example.com 1 5 min 10 s 1 min 40 s" in shown


def test_names_of_strangers_steer_no_terminal(log: MailLog) -> None:
    log.decided(0, "greylist, reason=new", name="unknown", address="\x1b[31m192.0.2.7")
    log.decided(DAY, "greylist, reason=new", "\x1b[31m@spam.example")
    done = run_here("replay", log.written(), "--with", "delay=60")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout


# Any log ------------------------------------------------------------------------------------------

ODD = [
    b"action=greylist, reason=new, client_name=, client_address=, sender=, recipient=",
    b"action=pass, reason=triplet found, delay=-5, client_address=::1, recipient=b@example.org",
    b"action=greylist, reason=early-retry (9s missing), client_name=a.example.com, "
    b"client_address=192.0.2.7, sender=prvs=a=b=c@example.com, recipient=@, identity=x, signals=+",
    b"action=pass, reason=client AWL, client_address=2001:db8::1, sender=@, recipient=b@[1]",
    b"action=pass, reason=correspondent, client_address=192.0.2.7, sender=a@b, recipient=c@d",
    b"action=pass, reason=outbound, client_address=192.0.2.7, sender=a@b, recipient=c@d",
    b"NOQUEUE: reject: RCPT from a[192.0.2.7]: 450 4.2.0 <>: Greylisted; from=<> to=<> proto=SMTP",
    b"ABCDE12: client=a[999.1.1.1], sasl_username=",
    b"ABCDE12: client=a[192.0.2.7]",
    b"ABCDE12: from=<a@b>, size=1",
    b"ABCDE12: to=<c@d>, relay=none",
    b"ABCDE12: removed",
    b"warning: hostname  does not resolve to address :",
    b"warning: hostname a.b does not resolve to address 192.0.2.7",
]
PROGRAMS = [b"", b"greyd", b"postfix/smtpd", b"postfix/qmgr", b"postfix/local"]

some_lines = st.lists(
    st.builds(
        LogLine,
        st.one_of(
            st.floats(0, 40 * DAY, width=32).map(lambda at: START + at),
            st.sampled_from([0.0, START, START + 300, START + 600]),
        ),
        st.sampled_from(PROGRAMS),
        st.one_of(st.sampled_from(ODD), st.binary(max_size=60)),
    ),
    max_size=40,
)
TRIALS = [
    Settings(),
    Settings(delay_seconds=60, identity=("name",), auto_whitelist_identities=1),
    Settings(delay_seconds=6 * DAY, lookup_by_host=True, auto_whitelist_clients=1),
]


@given(some_lines, st.sampled_from(TRIALS))
def test_any_log_can_be_replayed_and_every_mail_is_counted_once(
    lines: list[LogLine], other: Settings
) -> None:
    nobody = Whitelists(ClientWhitelist(()), RecipientWhitelist(()))
    simulation = Simulation([SimulatedServer(each, nobody) for each in (Settings(), other)])
    reading = AttemptStatistics()
    before = 0
    for attempt in attempts_in(lines, reading):
        assert attempt.when >= before
        before = attempt.when
        simulation.replay(attempt, [NO_EVIDENCE] * 2)
    simulation.finish()
    assert 0 <= simulation.agreed <= simulation.compared <= simulation.attempts
    for result in simulation.results:
        came_in = result.at_once + len(result.waits) + result.lost
        never = result.kept_out + result.let_in
        assert came_in + never + simulation.open == simulation.mails
        assert all(wait > 0 for wait in result.waits)


def test_what_is_remembered_of_messages_and_clients_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from greyd.maillog import attempts as module

    monkeypatch.setattr(module, "MAX_QUEUED_MESSAGES", 100)

    def lines() -> Iterable[LogLine]:
        for number in range(1000):
            name = b"%05X" % number
            yield LogLine(START, b"postfix/smtpd", name + b": client=a.example.com[192.0.2.7]")
            yield LogLine(START, b"postfix/qmgr", name + b": from=<a@example.com>, size=1")
        for number in range(1000):
            yield LogLine(
                START, b"postfix/local", b"%05X: to=<b@example.org>, relay=local" % number
            )

    found: list[Attempt] = list(islice(attempts_in(lines(), AttemptStatistics()), 2000))
    assert len(found) == 100


# A provider's pool --------------------------------------------------------------------------------


def pool_log(log: MailLog, settings: Settings, evidence: Evidence) -> Waits:
    """Write the log of a simulated provider's mail; returns how long it waited."""

    def tell(at: float, client: bytes, mail: int, decision: Decision) -> None:
        sender, recipient = (each.decode() for each in envelope_of(mail))
        action = "pass" if decision.passes else "greylist"
        log.decided(
            int(at), f"{action}, reason={decision.reason}", sender, name="out.provider.com",
            address=client.decode(), recipient=recipient,
        )  # fmt: skip

    return simulate(settings, evidence, tell)


BY_NAME = Settings(identity=("name",))


def test_what_identity_would_bring_a_pool_is_what_it_brings(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    pool_log(log, Settings(), NO_EVIDENCE)
    told = replay(log, "identity=name", options=["--warm-up=1w"])
    real = simulate(BY_NAME, PROVIDER)
    waited = [wait for wait in real.seconds if wait]
    foretold = told["other"]["came_in"]
    assert told["today"]["came_in"]["wait_seconds"]["p50"] > 5 * HOUR
    assert foretold["wait_seconds"]["p50"] == pytest.approx(median(waited), rel=0.1)
    assert foretold["wait_seconds"]["p90"] == pytest.approx(waited[len(waited) * 9 // 10], rel=0.1)


def test_what_a_pool_would_lose_without_identity_is_told_roughly(
    log: MailLog, replay: Callable[..., Any]
) -> None:
    pool_log(log, BY_NAME, PROVIDER)
    told = replay(log, "identity=subnet", options=["--warm-up=1w"], identity="name")
    real = simulate(Settings(), NO_EVIDENCE)
    waited = [wait for wait in real.seconds if wait]
    assert told["today"]["came_in"]["wait_seconds"]["p50"] < 10 * MINUTE
    foretold = told["other"]["came_in"]["wait_seconds"]["p50"]
    assert median(waited) / 2 < foretold < median(waited) * 2
