"""From postgrey to greyd: what the real postgrey has learned, greyd knows.

Postgrey gets its time from ``policy_test_time``; what it is told here has happened in the last
days, so that ``greyd import``, which looks at the clock, finds it as fresh as it would.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import answer_of
from tests.integration.load import MAX_SECONDS, Load, Mails
from tests.integration.side_by_side import Respondent, ask
from tests.integration.streams import CONNECTIONS, HOUR, Asked, Pace, Stream
from tests.integration.test_differential import story
from tests.processes import (
    PolicyClient,
    greyd,
    postgrey,
    program,
    redis_server,
    request,
    slowness,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

TERM, KILL = signal.SIGTERM, signal.SIGKILL

ODD_SENDERS = (
    b"alice@example.com",
    b"",
    b"noat",
    b"prvs=0123456789=bob@example.com",
    b"prvs=a=b+c=d@example.com",
    b"PRVS=0123456789=Carol@Example.COM",
    b"bob+tag@example.com",
    b"list-12-7@example.com",
    b"a/b@example.com",
    b"/@example.com",
    b'"x@y.example/z"@example.com',
    b"caf\xe9@example.com",
    b'x\\41\\y%2f%25"q,{}@example.com',
    b" a b\t@example.com",
    b"x=y@example.com",
    b"x" * 600 + b"@example.com",
)
ADDRESSES = (b"192.0.2.7", b"2001:db8:0:1::7", b"2001:db8:9::192.0.2.9")
RECIPIENTS = (b"Bob@Example.org", b"dept/bob@example.org")


@pytest.fixture(autouse=True)
def need_programs() -> None:
    program("db5.3_dump")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def end(server: Running, number: signal.Signals) -> None:
    """Stop postgrey by a signal. It may sleep through a SIGTERM that comes just after a request."""

    def is_gone() -> bool:
        if server.process.poll() is None:
            server.signal(number)
        return server.process.poll() is not None

    wait_until(is_gone, "postgrey does not end")


def everybody(now: int) -> Iterator[dict[str, str | bytes]]:
    """Yield a request of each sender from each client to each recipient."""
    for sender in ODD_SENDERS:
        for address in ADDRESSES:
            for recipient in RECIPIENTS:
                yield request(
                    sender=sender,
                    client_address=address,
                    recipient=recipient,
                    policy_test_time=str(now),
                )


def ask_all(server: Running, requests: Iterator[dict[str, str | bytes]]) -> list[str | None]:
    with PolicyClient(server.port, timeout=30) as client:
        return [client.ask(each) for each in requests]


def learned(folder: Path, number: signal.Signals, *options: str) -> tuple[Path, int]:
    """Have postgrey learn: all senders have passed, and one waits; returns its folder, and now."""
    now = int(time.time())
    with postgrey(folder, "--auto-whitelist-clients=0", *options) as server:
        ask_all(server, everybody(now - HOUR))
        ask_all(server, everybody(now - HOUR // 2))
        waiting = request(sender="new@example.com", policy_test_time=str(now - 100))
        assert ask_all(server, iter([waiting]))[0] != "action=DUNNO"
        end(server, number)
    return folder / "postgrey-db", now


def import_all(source: Path, *arguments: str, options: Sequence[str] = ()) -> Any:
    """Import into the store of a server with these options; returns what the command says."""
    return answer_of("import", source, *arguments, POSTGREY_OPTS=" ".join(options))


# What postgrey knows, greyd knows -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "options", "ours"),
    [
        (TERM, (), ()),
        (KILL, (), ()),
        (TERM, ("--privacy",), ("--privacy",)),
        (KILL, ("--lookup-by-host",), ("--lookup-by-host",)),
        (KILL, ("--lookup-by-host", "--privacy"), ("--lookup-by-host", "--privacy")),
        (TERM, ("--ipv4cidr=20", "--ipv6cidr=48"), ("--ipv4cidr=20", "--ipv6cidr=48")),
        (TERM, (), ("--privacy",)),
        (KILL, ("--lookup-by-host",), ()),
    ],
    ids=[
        "SIGTERM",
        "SIGKILL",
        "private",
        "by host",
        "private by host",
        "networks",
        "hashed",
        "cut",
    ],
)
def test_nobody_whom_postgrey_knows_waits_again_and_who_waits_waits_for_the_rest(
    number: signal.Signals, options: tuple[str, ...], ours: tuple[str, ...], tmp_path: Path
) -> None:
    folder, now = learned(tmp_path / "postgrey", number, *options)
    told = import_all(folder, f"--dbdir={tmp_path}", options=ours)
    assert told["unreadable"]["count"] == 0
    assert told["entries"]["triplets"]["imported"] > len(ODD_SENDERS)
    more = ("--auto-whitelist-clients=0", "--test-time", "--greylist-text=%s seconds")
    with greyd(tmp_path, *ours, *more) as server:
        answers = ask_all(server, everybody(now))
        assert answers == ["action=DUNNO"] * len(answers)
        for after, answer in (
            (0, "action=DEFER_IF_PERMIT 4.2.0 200 seconds"),
            (200, "action=PREP"),
        ):
            waiting = request(sender="new@example.com", policy_test_time=str(now + after))
            (told_now,) = ask_all(server, iter([waiting]))
            assert (told_now or "").startswith(answer)


@pytest.mark.parametrize(
    ("store", "number", "options", "pace"),
    [
        ("sqlite", TERM, (), Pace()),
        ("redis", KILL, (), Pace()),
        ("sqlite", KILL, ("--privacy", "--auto-whitelist-clients=2"), Pace()),
        ("redis", TERM, ("--lookup-by-host", "--auto-whitelist-clients=2"), Pace()),
        (
            "sqlite",
            TERM,
            ("--delay=60", "--retry-window=6h", "--ipv4cidr=20"),
            Pace(60, 6 * HOUR),
        ),
    ],
)
def test_greyd_goes_on_as_postgrey_does_with_what_it_had_learned(
    store: str,
    number: signal.Signals,
    options: tuple[str, ...],
    pace: Pace,
    tmp_path: Path,
    redis: Running,
) -> None:
    """Both are asked on, with every reply to the octet the same: how long was waited, and is to."""
    options = (*options, "--x-greylist-header=X-Greylist: delayed %t seconds")
    streams = [list(Stream(seed, pace).requests(260)) for seed in range(6)]
    started = int(time.time())
    with (
        postgrey(tmp_path / "postgrey", *options) as server,
        Respondent("postgrey", server, CONNECTIONS) as learner,
    ):
        for stream in streams:
            for asked in in_our_days(stream, started)[:LEARNED]:
                ask([learner], asked.attributes, asked.connection)
        end(server, number)
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    if store == "redis":
        url = f"redis://127.0.0.1:{redis.port}/1"
    # Of this case alone: some keys are the same in all.
    place = (f"--store={url}", f"--key-prefix={tmp_path.name}:")
    told = import_all(tmp_path / "postgrey" / "postgrey-db", *place, options=options)
    assert told["entries"]["triplets"]["imported"] > 40
    assert told["entries"]["clients"]["imported"] > 5
    # What was too old when it was imported is to be so later too.
    begin = int(time.time())
    ours = (*options, "--test-time", "--store-timeout=20", *place)
    with (
        postgrey(tmp_path / "postgrey", *options) as reference,
        greyd(tmp_path / "greyd", *ours) as server,
        Respondent("postgrey", reference, CONNECTIONS) as expected,
        Respondent("greyd", server, CONNECTIONS) as found,
    ):
        passed = 0
        for stream in streams:
            now = in_our_days(stream, started, begin)
            for turn, asked in list(enumerate(now))[LEARNED:]:
                replies = ask([expected, found], asked.attributes, asked.connection)
                assert replies[0] == replies[1], story(now, turn)
                passed += replies[0] == b"action=DUNNO"
    assert passed > 100


LEARNED = 160
"""Requests of each stream that postgrey has seen before it is stopped."""


def in_our_days(stream: Sequence[Asked], now: int, begin: int = 0) -> list[Asked]:
    """Return a stream whose learned part ends now, and whose rest is not before ``begin``."""
    times = [int(asked.attributes["policy_test_time"]) for asked in stream]
    shift = now - max(times[:LEARNED])
    moved = []
    for place, (asked, when) in enumerate(zip(stream, times, strict=True)):
        then = when + shift if place < LEARNED else max(when + shift, begin)
        attributes = {**asked.attributes, "policy_test_time": b"%d" % then}
        moved.append(asked._replace(attributes=attributes))
    return moved


# While the server runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_mail_is_answered_while_a_large_database_is_imported(
    store: str, tmp_path: Path, redis: Running
) -> None:
    now = int(time.time())
    dump = tmp_path / "dump"
    with dump.open("w") as file:
        file.write("VERSION=3\nformat=print\nHEADER=END\n")
        for number in range(30_000):
            network = f"172.{number >> 8 & 15}.{number & 255}.0"
            file.write(f" {network}/s{number}@example.com/bob@example.org\n {now - 900},{now}\n")
        file.write("DATA=END\n")
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    if store == "redis":
        url = f"redis://127.0.0.1:{redis.port}/2"
    done: list[Any] = []

    def import_it() -> None:
        done.append(import_all(dump, f"--store={url}"))

    with greyd(tmp_path, f"--store={url}", "--store-timeout=5") as server:
        importing = threading.Thread(target=import_it)
        begin = time.monotonic()
        with Load(server.port, connections=10, mails=Mails("load")) as load:
            importing.start()
            importing.join()
        figures = load.since(begin)
    sys.stdout.write(f"{store}: {figures}\n")
    assert done[0]["entries"]["triplets"]["imported"] == 30_000
    assert (load.dropped, load.unanswered) == (0, 0)
    assert set(figures.actions) == {"DEFER_IF_PERMIT"}, "all of it is new mail or too early"
    assert figures.longest < MAX_SECONDS * slowness()
