"""``--shadow`` of real servers: with workers, on SQLite and Redis, and with a silent DNS."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.rules.reserved_keys import SHADOW_PREFIX
from greyd.store.opening import open_store
from tests.commands import run_here
from tests.integration.lives import get, nothing_left_of, ready
from tests.integration.test_workers import connections_to_each, page, value, with_workers
from tests.processes import PolicyClient, Running, free_port, redis_server, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.integration

START = 1_000_000
"""A time to begin at, on the tests' own clock (``--test-time``)."""

SENDERS = [f"user{number}@example.com" for number in range(4)]
ROUNDS = {START: "greylist", START + 100: "greylist", START + 400: "pass"}
"""When all mail is tried, by ``--delay=300``, and what the server answers."""


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The store's URL; empty for SQLite in the server's folder."""
    if request.param == "sqlite":
        yield ""
        return
    with redis_server(tmp_path) as redis:
        yield f"redis://127.0.0.1:{redis.port}/0"


def mail(sender: str, at: int) -> dict[str, str | bytes]:
    return request(
        client_address="192.0.2.7", client_name="mail.example.com", sender=sender,
        recipient="bob@example.org", policy_test_time=str(at), instance=f"{sender}.{at}",
    )  # fmt: skip


def ask_all(clients: Sequence[PolicyClient], at: int) -> list[str]:
    """Ask about all mail, each time over another connection; return the replies without a date."""
    replies = [
        clients[(number + at // 100) % len(clients)].ask(mail(sender, at))
        for number, sender in enumerate(SENDERS)
    ]
    return [(each or "").partition(" by greyd")[0] for each in replies]


def entries(store: str, folder: Path, prefix: str) -> dict[bytes, bytes]:
    """Return the values of all entries about mail, by key: in a key of these is an address."""

    async def read() -> dict[bytes, bytes]:
        opened = open_store(Settings(store=store, key_prefix=prefix), folder)
        try:
            return {
                each.key: each.value
                async for some in opened.records()
                for each in some
                if b"192.0.2." in each.key
            }
        finally:
            await opened.close()

    return asyncio.run(read())


def decided(server: Running) -> int:
    """Return how many requests the shadow has decided, by all workers."""
    found = re.findall(r"^greyd_shadow_requests_total\{.*\} (\S+)$", page(server), re.MULTILINE)
    return int(sum(map(float, found)))


def all_decided(server: Running, count: int) -> None:
    """Wait until the shadow has decided so many requests."""
    wait_until(lambda: decided(server) == count, f"{count} decisions of the shadow")


def options(store: str, prefix: str, *more: str) -> list[str]:
    named = [f"--store={store}"] if store else []
    return [*named, f"--key-prefix={prefix}", "--delay=300", "--test-time", *more]


def test_the_shadows_of_workers_count_as_one_and_change_nothing(tmp_path: Path, store: str) -> None:
    with_shadow = options(store, "with:", "--shadow=delay=60")
    with nothing_left_of(tmp_path), with_workers(tmp_path, 2, *with_shadow) as server:
        replies = []
        with connections_to_each(server, 2) as clients:
            for at in ROUNDS:
                replies.append(ask_all(clients, at))
                # The shadow works after the replies, in whichever worker has replied.
                all_decided(server, len(clients) + len(SENDERS) * len(replies))
        compared = {
            (answer, shadow): value(
                server, f'greyd_shadow_compared_total{{answer="{answer}",shadow="{shadow}"}}'
            )
            for answer in ("pass", "greylist")
            for shadow in ("pass", "greylist")
        }
        # At 100 s the server says that it is too early, and the shadow would have passed it.
        assert compared == {
            ("greylist", "greylist"): 4, ("greylist", "pass"): 4, ("pass", "pass"): 4 + 4,
            ("pass", "greylist"): 0,
        }  # fmt: skip
        assert value(server, 'greyd_shadow_delayed_mail_total{shadow="delayed"}') == 4
        assert value(server, "greyd_shadow_skipped_total") == 0
        assert server.log().count("shadow=") == 8
        port = int(server.extra["metrics"])
        wait_until(
            lambda: "0 of 4 delayed good mails would not have waited" in get(port, "/")[1],
            "the page's section",
        )
        report_shows_the_shadow(server, tmp_path)
    beside = tmp_path / "beside"
    with ready(beside, *options(store, "without:")) as plain, PolicyClient(plain.port) as client:
        assert replies == [ask_all([client], at) for at in ROUNDS]
    mixed = entries(store, tmp_path, "with:")
    own = {key for key in mixed if key.startswith(SHADOW_PREFIX)}
    rest = {key: each for key, each in mixed.items() if key not in own}
    assert rest == entries(store, beside, "without:")
    assert {key.removeprefix(SHADOW_PREFIX) for key in own} == set(rest)
    assert any(mixed[key] != mixed[key.removeprefix(SHADOW_PREFIX)] for key in own)


def report_shows_the_shadow(server: Running, folder: Path) -> None:
    stamp = "2026-03-01T12:{:02}:00+00:00 gw greyd[1]: {}"
    lines = [each for each in server.log().splitlines() if "answer=" in each or "action=" in each]
    log = folder / "mail.log"
    log.write_text("".join(stamp.format(n, each) + "\n" for n, each in enumerate(lines)))
    report = run_here("report", str(log))
    assert report.returncode == 0, report.stderr
    assert "0 of 4 delayed good mails would not have waited" in report.stdout


def test_a_shadow_whose_dns_is_silent_decides_after_each_answer(tmp_path: Path, store: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = f"--resolver=127.0.0.1:{silent.getsockname()[1]}"
        metrics = free_port()
        more = ["--shadow=preset=recommended", resolver, f"--metrics=127.0.0.1:{metrics}"]
        with nothing_left_of(tmp_path), ready(tmp_path, *options(store, "g:", *more)) as server:
            server.extra["metrics"] = metrics
            with PolicyClient(server.port) as client:
                for at, action in ROUNDS.items():
                    begins = {"greylist": "action=DEFER_IF_PERMIT", "pass": "action=PREPEND"}
                    for reply in ask_all([client], at):
                        assert reply.startswith(begins[action])
            all_decided(server, len(SENDERS) * len(ROUNDS))
            wait_until(lambda: server.log().count("shadow=") == 8, "the shadow's lines")
    lines = server.log().splitlines()
    for sender in SENDERS:
        kinds = [each.partition("=")[0] for each in lines if f"sender={sender}," in each]
        assert sorted(kinds) == ["action"] * 3 + ["shadow"] * 2
        assert kinds[0] == "action"
