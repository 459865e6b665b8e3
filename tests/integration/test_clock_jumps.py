"""A machine's clock that jumps, or is wrong at the start: nobody who is known waits for it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.fake_clock import FakeClock, fake_clock
from tests.processes import PolicyClient, greyd, redis_server, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

KNOWN = 50
DELAY = 1
OPTIONS = [f"--delay={DELAY}", "--auto-whitelist-clients=0", "--store-timeout=5"]
GREYLISTED, HEADER, KNOWN_PASSES = "DEFER_IF_PERMIT", "PREPEND", "DUNNO"


@pytest.fixture
def clock(tmp_path: Path) -> FakeClock:
    return fake_clock(tmp_path)


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the option that names an empty store; Redis has a clock of its own."""
    if request.param == "sqlite":
        yield f"--store=sqlite:{tmp_path / 'greyd.db'}"
    else:
        with redis_server(tmp_path / "redis") as server:
            yield f"--store=redis://127.0.0.1:{server.port}/0"


@contextlib.contextmanager
def server(folder: Path, clock: FakeClock, store: str) -> Iterator[Running]:
    with greyd(folder, store, *OPTIONS, environment=clock.environment) as running:
        yield running


def verb(client: PolicyClient, name: str) -> str:
    """Ask for a mail of ``name``; returns the action's first word."""
    mail = request(sender=f"{name}@example.com", instance=None)
    return str(client.ask(mail)).removeprefix("action=").split()[0]


def verbs(client: PolicyClient) -> set[str]:
    """Ask for all known mails; returns the actions' first words."""
    # In letters: of digits that stand alone greyd would make one sender.
    return {verb(client, f"known{'abcdefghij'[n % 10] * (1 + n // 10)}") for n in range(KNOWN)}


def learn(client: PolicyClient) -> None:
    """Let the known mails pass once."""
    assert verbs(client) == {GREYLISTED}
    time.sleep(DELAY + 0.1)
    assert verbs(client) == {HEADER}


@pytest.mark.parametrize("jump", ["+40d", "-30d", "@1970-01-01 00:01:00"])
def test_a_clock_that_jumps_for_seconds_makes_nobody_wait(
    tmp_path: Path, clock: FakeClock, store: str, jump: str
) -> None:
    with server(tmp_path, clock, store) as running, PolicyClient(running.port) as client:
        learn(client)
        clock.set(jump)
        # The sweep of SQLite runs once a second.
        time.sleep(2.5)
        assert verbs(client) == {KNOWN_PASSES}
        assert verb(client, "new") == GREYLISTED
        time.sleep(DELAY + 0.1)
        assert verb(client, "new") == HEADER
        clock.set("+0")
        assert verbs(client) == {KNOWN_PASSES}
        assert verb(client, "new") == KNOWN_PASSES


@pytest.mark.parametrize("wrong", ["+40d", "@1970-01-01 00:01:00"])
def test_a_start_under_a_wrong_clock_deletes_nothing(
    tmp_path: Path, clock: FakeClock, store: str, wrong: str
) -> None:
    with server(tmp_path, clock, store) as running, PolicyClient(running.port) as client:
        learn(client)
        # By then SQLite has been swept, and has kept the time of that.
        time.sleep(2.5)
    clock.set(wrong)
    with server(tmp_path, clock, store) as running, PolicyClient(running.port) as client:
        time.sleep(2.5)
        assert verb(client, "new") == GREYLISTED
    clock.set("+0")
    with server(tmp_path, clock, store) as running, PolicyClient(running.port) as client:
        assert verbs(client) == {KNOWN_PASSES}


@pytest.mark.parametrize("wrong", ["@1970-01-01 00:01:00"])
def test_who_is_known_passes_before_the_clock_is_set_and_after(
    tmp_path: Path, clock: FakeClock, store: str, wrong: str
) -> None:
    with server(tmp_path, clock, store) as running, PolicyClient(running.port) as client:
        learn(client)
    clock.set(wrong)
    with server(tmp_path, clock, store) as running, PolicyClient(running.port) as client:
        assert verbs(client) == {KNOWN_PASSES}
        clock.set("+0")
        assert verbs(client) == {KNOWN_PASSES}
