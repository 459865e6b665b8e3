"""A Redis far away, and one whose answers make no sense, as Postfix sees them."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.fake_redis import DelayingProxy, FakeRedis, Told
from tests.integration.lives import has_said
from tests.integration.load import (
    GREYLISTED,
    HEADER,
    PASSED,
    Load,
    Mails,
    Site,
    acknowledged,
    ask_all,
    trial,
)
from tests.processes import PolicyClient, free_port, greyd, redis_server, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

NOW = 1_700_000_000
DELAY = 300


# Far away -----------------------------------------------------------------------------------------


@pytest.fixture
def far(tmp_path: Path) -> Iterator[DelayingProxy]:
    password = ("--requirepass", "geheim")
    with redis_server(tmp_path, *password) as redis, DelayingProxy(redis.port, 0) as proxy:
        yield proxy


def life_of_mail(server: Running, name: str) -> list[str]:
    """Return what a mail is told when it is new, early, in time, and known."""
    mail = request(sender=f"{name}@example.com", instance=name)
    with PolicyClient(server.port) as client:
        moments = [str(NOW + seconds) for seconds in (0, 1, DELAY, DELAY + 1)]
        replies = [str(client.ask({**mail, "policy_test_time": moment})) for moment in moments]
    return [reply.removeprefix("action=").split()[0] for reply in replies]


@pytest.mark.parametrize(
    ("round_trip_seconds", "timeout"),
    [(0.07, "0.3"), (0.25, "1"), (0.6, "2.5")],
)
def test_a_redis_far_away_is_connected_to_once_and_greylists(
    tmp_path: Path, far: DelayingProxy, round_trip_seconds: float, timeout: str
) -> None:
    far.round_trip_seconds = round_trip_seconds
    metrics = free_port()
    # Of all that connecting takes the most: a password, and a database that is selected.
    options = [
        f"--store=redis://:geheim@127.0.0.1:{far.port}/5", f"--store-timeout={timeout}",
        "--test-time", f"--metrics=127.0.0.1:{metrics}",
    ]  # fmt: skip
    with greyd(tmp_path, *options) as server:
        for name in ("alice", "bob"):
            assert life_of_mail(server, name) == [GREYLISTED, GREYLISTED, HEADER, PASSED]
        assert far.connections == 1, "connecting does not begin afresh"
        assert Site(metrics).sample("greyd_store_errors_total") == 0
        assert "store away" not in server.log()


def test_a_redis_too_far_away_is_told_with_both_numbers(tmp_path: Path, far: DelayingProxy) -> None:
    far.round_trip_seconds = 0.35
    options = [f"--store=redis://:geheim@127.0.0.1:{far.port}/0", "--store-timeout=0.3"]
    with greyd(tmp_path, *options) as server:
        has_said(server, "no answer within 0.3 s (a round trip to ")
        line = next(line for line in server.log().splitlines() if "round trip" in line)
        assert "takes 35" in line or "takes 36" in line or "takes 37" in line or "takes 4" in line
        assert "--store-timeout=0.3 is too short, set 1." in line
        with PolicyClient(server.port) as client:
            assert client.ask(request()) == "action=DUNNO"
        time.sleep(3)
        assert sum("store away" in line for line in server.log().splitlines()) <= 5


def test_a_redis_that_moves_away_while_greyd_runs(tmp_path: Path, far: DelayingProxy) -> None:
    store = f"--store=redis://:geheim@127.0.0.1:{far.port}/0"
    with trial("Redis moves away", tmp_path, store, "--store-timeout=0.3") as mail:
        mail.normal()
        far.round_trip_seconds = 1.5
        has_said(mail.server, "store away: no answer within 0.3 s")
        has_said(mail.server, "round trip to")
        far.round_trip_seconds = 0
        mail.returns(20)


def test_a_redis_that_never_finishes_connecting_is_given_up_and_tried_again(
    tmp_path: Path,
) -> None:
    with FakeRedis() as redis:
        # As a Redis that was stopped in the middle, or a firewall that forgets.
        redis.answer("CLIENT", Told(b""))
        options = [f"--store={redis.store}", "--store-timeout=0.3", "--store-connect-timeout=4"]
        with greyd(tmp_path, *options) as server:
            has_said(server, "no answer within 0.3 s (still connecting to ")
            has_said(server, "the store is back")
            with PolicyClient(server.port) as client:
                assert GREYLISTED in str(client.ask(request()))
        assert redis.connections == 2


# Nonsense -----------------------------------------------------------------------------------------

NONSENSE = {
    "empty list": b"*0\r\n",
    "number": b":1\r\n",
    "queued": b"+QUEUED\r\n",
    "nil": b"$-1\r\n",
    "half a redirection": b"-MOVED 1\r\n",
    "wrong outcome": b"*1\r\n:2\r\n",
    "push": b">2\r\n+message\r\n+x\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "all memory": b"*4294967295\r\n",
}


def passed_lines(server: Running) -> list[str]:
    """The log's lines about mail that was not greylisted, and its warnings."""
    return [line for line in server.log().splitlines() if "action=greylist" not in line]


@pytest.mark.parametrize("policy", ["pass", "defer"])
def test_nonsense_now_and_then_lets_no_mail_pass_and_loses_none(
    tmp_path: Path, policy: str
) -> None:
    metrics = free_port()
    with FakeRedis() as redis, ExitStack() as ends:
        options = [
            f"--store={redis.store}", "--test-time", f"--metrics=127.0.0.1:{metrics}",
            f"--on-store-failure={policy}",
        ]  # fmt: skip
        server = ends.enter_context(greyd(tmp_path, *options))
        for connections in (1, 20):
            name = f"nonsense{connections}"
            with Load(server.port, connections, Mails(name, NOW)) as load:
                for reply in NONSENSE.values():
                    for does in (True, False):
                        redis.answer("EVALSHA", Told(reply, does))
                        wait_until(lambda: redis.has_answered, "it has been answered")
                        # Now and then: a request that meets nonsense three times fails.
                        calm = len(load.answers) + 3 * connections
                        wait_until(lambda: len(load.answers) > calm, "mail is decided again")  # noqa: B023 - called at once
            assert set(load.since(0).actions) == {GREYLISTED}, passed_lines(server)
            assert load.dropped == load.unanswered == 0
            ends.callback(load.stop)
            mails = acknowledged(load)
            later = Mails(name, NOW + DELAY + 1)
            actions = ask_all(server.port, [later(mail) for mail in mails])
            assert {action.split()[0] for action in actions} == {HEADER}
        assert Site(metrics).sample("greyd_store_up") == 1
        assert Site(metrics).sample("greyd_store_errors_total") == 0
        log = server.log()
        assert "store away" not in log
        assert "internal error" not in log
        # Nobody noticed, but whoever reads the log can.
        # Of several kinds within a second, one is logged.
        has_said(server, "; closed the connection and sent the requests again")


def test_a_request_of_nonsense_over_and_over_is_answered_and_then_greylisting_is_back(
    tmp_path: Path,
) -> None:
    with FakeRedis() as redis:
        options = [f"--store={redis.store}", "--store-timeout=0.5"]
        with greyd(tmp_path, *options) as server:
            redis.answer("EVALSHA", *[Told(NONSENSE["queued"], does=False)] * 40)
            replies: list[str] = []

            def ask(number: int) -> None:
                with PolicyClient(server.port) as client:
                    mail = request(sender=f"s{number}@example.com")
                    replies.extend(str(client.ask(mail)) for _ in range(5))

            threads = [threading.Thread(target=ask, args=[number]) for number in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert len(replies) == 50
            wait_until(lambda: redis.has_answered, "it has been answered", 30)
            has_said(server, "the store is back")
            with PolicyClient(server.port) as client:
                assert GREYLISTED in str(client.ask(request(sender="last@example.com")))
