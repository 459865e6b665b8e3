"""A store with entries that greyd has not written: mail is decided, and every command goes on.

Somebody's script, another program, another version, a restored backup or a slip in redis-cli may
put anything under greyd's prefix.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from tests.commands import fill, run_here
from tests.processes import PolicyClient, free_port, greyd, redis_server, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

NOW = int(time.time())
TRIPLET = "{192.0.2.0}/alice@example.com/%s"
BY_MAIL = ("192.0.2.7", "alice@example.com")
DEFERRED, PASSED = "action=DEFER_IF_PERMIT", "action=DUNNO"


def text(value: str | bytes, ex: int | None = 100_000) -> Callable[[Redis, str], Any]:
    return lambda redis, key: redis.set(key, value, ex=ex)


FOREIGN: dict[str, Callable[[Redis, str], Any]] = {
    "hash": lambda redis, key: redis.hset(key, "a", "b"),
    "list": lambda redis, key: redis.rpush(key, "a"),
    "set": lambda redis, key: redis.sadd(key, "a"),
    "zset": lambda redis, key: redis.zadd(key, {"a": 1}),
    "stream": lambda redis, key: redis.xadd(key, {"a": "b"}),
}

UNREADABLE: dict[str, Callable[[Redis, str], Any]] = {
    **FOREIGN,
    "empty": text(""),
    "word": text("rubbish"),
    "octets": text(b"\xff\xfe\x00\x1b[31m"),
    "surrogate": text("1".encode("utf-16-be")),
    "json": text('{"version": 2, "first_seen": 1}'),
    "version": text("v2;1700000000;5"),
    "long-number": text("9" * 5000),
    "long-second": text(f"{NOW - 60},{'9' * 16}"),
    "fraction": text(".5"),
    "without-end": text("rubbish", ex=None),
}
"""What counts as if it were not there: the triplet is new, and its mail waits."""

READABLE: dict[str, tuple[Callable[[Redis, str], Any], str]] = {
    "waited": (text(f"{NOW - 8000}"), PASSED),
    "waited-without-end": (text(f"{NOW - 8000}", ex=None), PASSED),
    "waits-without-end": (text(f"{NOW - 10}", ex=None), DEFERRED),
    "more-fields": (text(f"{NOW - 8000},{NOW - 10};later"), PASSED),
    "future": (text(f"{NOW + 10**9}"), DEFERRED),
    "huge": (text("9" * 15), DEFERRED),
    "negative": (text("-5,-5,-5"), DEFERRED),
    "always-known": (text(f"-{'9' * 15},{NOW - 10}"), PASSED),
    "old-without-end": (text(f"{NOW - 90 * 86400}", ex=None), DEFERRED),
}
"""What counts as it says."""

CLIENTS = {
    "{192.0.2.0}:192.0.2.50": FOREIGN["hash"],
    "{192.0.2.0}:192.0.2.51": text("rubbish", ex=None),
    "{192.0.2.0}:192.0.2.52": text(f"{'9' * 15},{NOW}", ex=None),
    "{192.0.2.0}:192.0.2.53": text(f"-7,{NOW}"),
    "{example.com}:example.com": FOREIGN["zset"],
    "{example.com}~0123": FOREIGN["set"],
    "{example.com}~4567": text("rubbish", ex=None),
}

OTHERS = {
    "": text("no name"),
    "foo": FOREIGN["hash"],
    "{": text("x"),
    "}/": FOREIGN["list"],
    "{192.0.2.0}/no-recipient": text("x", ex=None),
    "note of bob@example.org": FOREIGN["list"],
    "probe": FOREIGN["hash"],
    "{hits}!since": FOREIGN["hash"],
    "{hits}!clients!00": FOREIGN["stream"],
}

RAW = {b"strange:\xff\xfe": b"\xff", b"strange:{\xed\xa0\x80}:x": b"1,2", b"\x00": b"1"}
"""Keys that are no UTF-8, under the prefix and beside it."""


def every_put() -> dict[str, Callable[[Redis, str], Any]]:
    triplets = {TRIPLET % f"{name}@example.org": put for name, put in UNREADABLE.items()}
    triplets |= {TRIPLET % f"{name}@example.org": put for name, (put, _) in READABLE.items()}
    return triplets | CLIENTS | OTHERS


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def strange(redis: Running) -> Iterator[Redis]:
    """A Redis full of such things under ``strange:``."""
    with Redis(port=redis.port) as client:
        client.flushall()
        for key, put in every_put().items():
            put(client, f"strange:{key}")
        client.mset(RAW)
        client.set("strangers:foo", "not under the prefix")
        yield client


@pytest.fixture
def options(redis: Running) -> list[str]:
    return [f"--store=redis://127.0.0.1:{redis.port}/0", "--key-prefix=strange:"]


# Mail ---------------------------------------------------------------------------------------------


def test_mail_is_decided_as_if_they_were_not_there_or_as_they_say(
    strange: Redis, options: list[str], tmp_path: Path
) -> None:
    expected = dict.fromkeys(UNREADABLE, DEFERRED)
    expected |= {name: action for name, (_, action) in READABLE.items()}
    metrics = free_port()
    # The delay does not end while other tests run before this one.
    delays = ["--delay=7200", "--auto-whitelist-clients=99"]
    with greyd(tmp_path, *options, f"--metrics={metrics}", *delays) as server:
        with PolicyClient(server.port) as client:
            answers = {
                name: str(
                    client.ask(
                        request(
                            client_address=BY_MAIL[0], sender=BY_MAIL[1], instance="1",
                            recipient=f"{name}@example.org",
                        )
                    )
                ).split(" ")[0].replace("action=PREPEND", PASSED)
                for name in expected
            }  # fmt: skip
            assert answers == expected, server.log()
            for address in ("192.0.2.50", "192.0.2.51", "192.0.2.53"):
                mail = request(client_address=address, recipient="new@example.org")
                assert str(client.ask(mail)).startswith(DEFERRED)
            known = request(client_address="192.0.2.52", recipient="new@example.org")
            assert client.ask(known) == PASSED
        assert "internal error" not in server.log()
        # What mail has met is greyd's own again, and has an end.
        assert strange.ttl("strange:" + TRIPLET % "hash@example.org") > 0
        assert strange.ttl("strange:" + TRIPLET % "waited-without-end@example.org") > 0


CONTROLS = [
    pytest.param(FOREIGN["hash"], "on", id="hash"),
    pytest.param(FOREIGN["stream"], "on", id="stream"),
    pytest.param(text("rubbish"), "on", id="rubbish"),
    pytest.param(text(b"\xff\xfe"), "on", id="octets"),
    pytest.param(text("[" * 60_000), "on", id="nested"),
    pytest.param(text("9" * 60_000), "on", id="digits"),
    pytest.param(text('"off"'), "on", id="no table"),
    pytest.param(text('{"mode": "off"}'), "on", id="no mode"),
    pytest.param(
        text('{"mode": {"is": "\\ud800", "until": 0, "by": "x", "at": 1}}'), "on", id="odd mode"
    ),
    pytest.param(
        text('{"mode": {"is": "off", "until": 0, "by": "\\ud800", "at": 1}}'), "on", id="odd who"
    ),
    pytest.param(
        text('{"mode": {"is": "off", "until": 1e99, "by": "x", "at": 1}}'), "on", id="odd time"
    ),
    pytest.param(
        text('{"mode": {"is": "off", "until": 0, "by": "x\\n\\u001b[31m", "at": 1}}', ex=None),
        "off", id="without end",
    ),
    pytest.param(
        text('{"mode": {"is": "off", "until": 99999999999, "by": "x", "at": 99999999999}}'),
        "off", id="far away",
    ),
    pytest.param(
        text(
            '{"expected": [{"recipient": "new@example.org", "from": "\\ud800", "until":'
            ' 9999999999},'
            ' {"recipient": "\\udfff", "from": "", "until": 9999999999}, 7],'
            ' "acts": [{"number": 1, "at": 1, "by": "\\ud800", "what": "\\ud800"}]}'
        ),
        "on", id="surrogates",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("put", "mode"), CONTROLS)
def test_server_and_commands_read_a_strange_control_alike(
    redis: Running, options: list[str], tmp_path: Path, put: Callable[[Redis, str], Any], mode: str
) -> None:
    with Redis(port=redis.port) as client:
        client.flushall()
        put(client, "strange:control")
    metrics = free_port()
    with greyd(tmp_path, *options, f"--metrics={metrics}") as server:

        def says(action: str) -> bool:
            with PolicyClient(server.port) as client:
                mail = request(recipient="new@example.org")
                return str(client.ask(mail)).startswith(action)

        wait_until(lambda: says(DEFERRED if mode == "on" else PASSED), f"mode {mode}")
        told = json.loads(succeeds("mode", "--json", *options))
        assert (told["mode"] or "on") == mode
        assert "\x1b" not in succeeds("mode", *options)
        succeeds("expect", *options)
        # Whatever stands there can be told otherwise.
        succeeds("expect", "carol@example.org", *options)
        succeeds("mode", "learn", *options)
        wait_until(lambda: says(PASSED), "learn")
        assert "internal error" not in server.log()
        assert "\x1b" not in server.log()


# Commands -----------------------------------------------------------------------------------------


def succeeds(*words: str, status: int = 0) -> str:
    done = run_here(*words)
    assert done.returncode == status, (words, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout


def test_list_shows_all_of_them(strange: Redis, options: list[str]) -> None:
    found = {
        each["key"]: each for each in json.loads(succeeds("list", "--json", *options))["entries"]
    }
    for name in UNREADABLE:
        entry = found[TRIPLET % f"{name}@example.org"]
        assert (entry["state"], entry["recipient"]) == ("unreadable", f"{name}@example.org")
    for key in ("", "foo", "}/", "{example.com}~0123", "note of bob@example.org"):
        assert found[key]["state"] == "unreadable"
    assert found[TRIPLET % "waited-without-end@example.org"]["no_end"] is True
    assert found[TRIPLET % "old-without-end@example.org"]["no_end"] is True
    assert "no_end" not in found[TRIPLET % "waited@example.org"]
    assert not {"control", "probe", "{hits}!since"} & set(found), "greyd's own notes"
    listed = succeeds("list", "--limit=0", *options)
    assert "never returned, no end" in listed or "waiting, no end" in listed
    assert "\x1b" not in listed
    only = json.loads(succeeds("list", "--unreadable", "--json", *options))["entries"]
    assert {each["state"] for each in only} == {"unreadable"}
    assert len(only) >= len(UNREADABLE)


@pytest.mark.parametrize("key", [key for key in every_put() if key])
def test_show_shows_each_of_them(strange: Redis, options: list[str], key: str) -> None:
    shown = json.loads(succeeds("show", key, "--json", *options))["entries"]
    assert shown
    assert shown[0]["key"] == key
    lines = succeeds("show", key, *options)
    assert "leaves store" in lines
    if strange.ttl(f"strange:{key}") == -1:
        assert shown[0]["ttl_seconds"] is None
        assert "never: it has no time to live" in lines
    kind = strange.type(f"strange:{key}").decode()
    if kind != "string":
        assert f"a Redis {kind}, not written by greyd" in lines


EVERY_COMMAND = [
    ["list"], ["list", "--waiting"], ["list", "--client=192.0.2.0/24"], ["list", "--keys"],
    ["list", "--sender=alice@example.com", "--recipient=example.org"],
    ["show", "192.0.2.7"], ["show", "192.0.2.50"], ["show", "example.com"],
    ["show", *BY_MAIL, "hash@example.org"],
    ["release", "--recipient=waits-without-end@example.org"],
    ["release", "--sender=alice@example.com", "--dry-run"],
    ["explain", "--client-address=192.0.2.7", "--sender=alice@example.com",
     "--recipient=hash@example.org"],
    ["explain", "--client-address=192.0.2.52", "--sender=a@b.example",
     "--recipient=word@example.org"],
    ["mode"], ["expect"], ["expect", "bob@example.org"], ["mode", "reset"],
    ["check-whitelist", "--hits"],
    ["forget", "--client=192.0.2.50", "--dry-run"],
    ["forget", "--recipient=huge@example.org"],
]  # fmt: skip


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["people", "json"])
@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_every_command_goes_on(
    strange: Redis, options: list[str], words: list[str], as_json: list[str]
) -> None:
    done = run_here(*words, *as_json, *options)
    assert done.returncode in (0, 1), done.stderr
    assert "WRONGTYPE" not in done.stderr
    assert done.stdout
    if as_json:
        json.loads(done.stdout)


def test_stats_counts_them(strange: Redis, options: list[str]) -> None:
    done = run_here("stats", "--json", *options)
    entries = json.loads(done.stdout)["store"]["entries"]
    assert entries["unreadable"] >= len(UNREADABLE) + len(FOREIGN)
    assert entries["without_end"] >= 10
    assert "unreadable" in run_here("stats", *options).stdout


def test_forget_removes_what_names_an_address_whatever_it_is(
    strange: Redis, options: list[str]
) -> None:
    strange.set("strange:comment", "written by bob@example.org, long ago")
    strange.set("strange:other", "written by jacob@example.org and bob@example.org.uk")
    for name in [*UNREADABLE, *READABLE]:
        succeeds("forget", f"--address={name}@example.org", *options)
        assert not strange.exists("strange:" + TRIPLET % f"{name}@example.org"), name
    told = json.loads(succeeds("forget", "--address=bob@example.org", "--json", *options))
    assert told["other"] == 2
    assert not strange.exists("strange:comment")
    assert strange.exists("strange:other") == strange.exists("strangers:foo") == 1
    assert strange.exists("strange:foo") == 1, "it names nobody"


def test_forget_removes_what_can_t_be_read(strange: Redis, options: list[str]) -> None:
    before = json.loads(succeeds("forget", "--unreadable", "--dry-run", "--json", *options))
    assert before["entries"] >= len(UNREADABLE) + len(FOREIGN)
    assert strange.exists("strange:foo")
    assert json.loads(succeeds("forget", "--unreadable", "--yes", "--json", *options))["entries"]
    succeeds("forget", "--unreadable", *options, status=1)
    assert not strange.exists("strange:foo", "strange:", "strange:" + TRIPLET % "hash@example.org")
    assert strange.exists("strange:" + TRIPLET % "waited@example.org") == 1
    assert strange.exists("strangers:foo") == 1


def test_an_address_in_a_record_of_what_was_told_that_nobody_understands_goes_too(
    strange: Redis, options: list[str]
) -> None:
    strange.set("strange:control", '{"version": 9, "for": "bob@example.org"}')
    succeeds("forget", "--address=bob@example.org", *options)
    assert b"bob" not in strange.get("strange:control")


def test_import_takes_over_what_can_be_read_and_says_what_can_t(
    strange: Redis, redis: Running, options: list[str], tmp_path: Path
) -> None:
    target = f"--store=sqlite:{tmp_path}/greyd.db"
    done = run_here(
        "import", f"redis://127.0.0.1:{redis.port}/0", "--from-key-prefix=strange:", target
    )
    assert done.returncode == 1, done.stderr
    assert "WRONGTYPE" not in done.stderr + done.stdout
    keys = {each["key"] for each in json.loads(succeeds("list", "--json", target))["entries"]}
    assert TRIPLET % "waited-without-end@example.org" in keys
    assert not any("hash@" in key for key in keys)


def test_the_status_page_shows_the_rest(strange: Redis, options: list[str], tmp_path: Path) -> None:
    from urllib.request import urlopen

    metrics = free_port()

    def page() -> str:
        with urlopen(f"http://127.0.0.1:{metrics}/", timeout=10) as answer:
            return str(answer.read().decode())

    with greyd(tmp_path, *options, f"--metrics={metrics}", "--status-details") as server:
        wait_until(lambda: "unreadable entries" in page(), "the store was looked through", 60)
        assert "waits-without-end@example.org" in page()
        assert "internal error" not in server.log()


# SQLite -------------------------------------------------------------------------------------------


def test_the_same_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/greyd.db"
    values = {"word": b"rubbish", "octets": b"\xff\xfe", "long": b"9" * 5000, "empty": b""}
    fill(
        url,
        {(TRIPLET % f"{name}@example.org").encode(): value for name, value in values.items()}
        | {b"foo": b"x", b"\xff": b"x", b"": b"x"},
    )
    found = json.loads(succeeds("list", "--unreadable", "--json", f"--store={url}"))["entries"]
    assert len(found) == 7
    succeeds("forget", "--address=word@example.org", f"--store={url}")
    assert (
        json.loads(succeeds("forget", "--unreadable", "--json", f"--store={url}"))["entries"] == 6
    )
    for words in EVERY_COMMAND:
        assert run_here(*words, f"--store={url}").returncode in (0, 1)
    with greyd(tmp_path, f"--store={url}") as server, PolicyClient(server.port) as client:
        mail = request(client_address=BY_MAIL[0], sender=BY_MAIL[1], recipient="word@example.org")
        assert str(client.ask(mail)).startswith(DEFERRED)
        assert "internal error" not in server.log()
