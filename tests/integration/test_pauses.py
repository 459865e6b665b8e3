"""greyd is held up itself: it must not take that for a store that is away and let mail pass."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import has_said
from tests.integration.load import GREYLISTED, Load
from tests.processes import greyd, redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

# Longer than the default, for a machine that is busy with other tests.
TIMEOUT_SECONDS = 0.6


@contextlib.contextmanager
def stopped(*servers: Running) -> Iterator[None]:
    """Hold processes up, as a debugger, a quota or a virtual machine's host does."""
    for server in servers:
        server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for server in servers:
            server.signal(signal.SIGCONT)


def pause(server: Running, store: Running | None) -> None:
    """Stop greyd alone for longer than the deadline."""
    for _ in range(2):
        with stopped(server):
            time.sleep(2 * TIMEOUT_SECONDS)
        time.sleep(0.3)


def pause_the_machine(server: Running, store: Running | None) -> None:
    """Stop greyd, and its store, which goes on a little later."""
    for _ in range(2):
        with contextlib.ExitStack() as goes_on:
            if store is not None:
                goes_on.enter_context(stopped(store))
            with stopped(server):
                time.sleep(2 * TIMEOUT_SECONDS)
            time.sleep(TIMEOUT_SECONDS / 4)
        time.sleep(0.3)


def ration(server: Running, store: Running | None) -> None:
    """Let greyd run for a tenth of the time, as a container with a CPU quota."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        with stopped(server):
            time.sleep(0.18)
        time.sleep(0.02)


def reload(server: Running, store: Running | None) -> None:
    """Let greyd read a long whitelist again."""
    said = server.log().count("whitelists: ")
    server.signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while server.log().count("whitelists: ") == said:
        assert time.monotonic() < deadline, server.log()[-2000:]
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("kind", "hold_up"),
    [
        *(("redis", each) for each in (pause, pause_the_machine, ration, reload)),
        *(("sqlite", each) for each in (pause, ration, reload)),
        *(("memory", each) for each in (pause, ration)),
    ],
)
def test_a_pause_of_greyd_lets_no_mail_pass(
    tmp_path: Path, kind: str, hold_up: Callable[[Running, Running | None], None]
) -> None:
    patterns = tmp_path / "patterns"
    lines = (f"/^host[0-9]+-{number}\\.(dyn|dial)\\.example[0-9]*$/\n" for number in range(20_000))
    patterns.write_text("".join(lines) if hold_up is reload else "")
    with contextlib.ExitStack() as ends:
        store = ends.enter_context(redis_server(tmp_path)) if kind == "redis" else None
        url = {"sqlite": f"sqlite:{tmp_path}/greyd.db", "memory": "memory://"}.get(
            kind, f"redis://127.0.0.1:{store.port if store else 0}/0"
        )
        options = [f"--store={url}", f"--store-timeout={TIMEOUT_SECONDS}"]
        server = ends.enter_context(greyd(tmp_path, *options, f"--whitelist-clients={patterns}"))
        for connections in (1, 50):
            with Load(server.port, connections) as load:
                time.sleep(0.2)
                hold_up(server, store)
            assert set(load.since(0).actions) == {GREYLISTED}, server.log()[-2000:]
            assert load.dropped == load.unanswered == 0
        assert "store away" not in server.log()


def test_a_store_that_hangs_while_greyd_is_paused_is_noticed_when_it_goes_on(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path) as redis:
        options = [f"--store=redis://127.0.0.1:{redis.port}/0", "--store-timeout=0.3"]
        with greyd(tmp_path, *options) as server, Load(server.port, 10) as load:
            time.sleep(0.2)
            with stopped(redis):
                with stopped(server):
                    time.sleep(0.5)
                has_said(server, "store away: no answer within 0.3 s")
            has_said(server, "the store is back")
            load.stop()
            assert load.dropped == load.unanswered == 0
