"""The page for people, from a real server, also as a real browser sees it."""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import get, ready
from tests.processes import PolicyClient, free_port, program, redis_server, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@contextmanager
def site(folder: Path, *options: str) -> Iterator[tuple[PolicyClient, int]]:
    """Run greyd; yields a client of it and its metrics port."""
    port = free_port()
    with (
        ready(folder, f"--metrics=127.0.0.1:{port}", *options) as server,
        PolicyClient(server.port) as client,
    ):
        yield client, port


def page(port: int) -> str:
    """Return the page with the spaces that a browser shows."""
    status, body = get(port, "/")
    assert status == 200
    return body.replace("\u00a0", " ")


def words(page: str) -> str:
    """Return the words of a page, without its tags."""
    return " ".join(re.sub("<[^>]*>", " ", page).split())


def in_a_browser(folder: Path, port: int) -> str:
    """Return the page as a browser has understood it."""
    command = [
        program("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
        f"--user-data-dir={folder / 'profile'}", f"http://127.0.0.1:{port}/",
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.replace("&nbsp;", " ")


def test_it_shows_what_has_just_happened(tmp_path: Path) -> None:
    now = int(time.time())
    with site(tmp_path, "--test-time") as (client, port):
        client.ask(request(policy_test_time=str(now - 9)))
        client.ask(request(policy_test_time=str(now - 5)))
        client.ask(request(sender="carol@example.com"))
        text = words(page(port))
        assert "greylisted: first contact new 2 66.7 %" in text
        assert "greylisted: retried too early early-retry 1 33.3 %" in text
        assert "2 triplets waiting" in text
        assert f"sqlite:{tmp_path / 'greyd.db'}" in text


def test_a_browser_shows_names_and_runs_nothing_that_a_stranger_sent(tmp_path: Path) -> None:
    with site(tmp_path, "--status-details") as (client, port):
        client.ask(request(sender="<script>document.title='stolen'</script>@example.com"))
        shown = in_a_browser(tmp_path, port)
        assert re.search("<title>[^<]* – greyd on ", shown)
        assert "&lt;script&gt;document.title='stolen'&lt;/script&gt;@example.com" in shown
        assert "bob@example.org" in shown
        assert "1 triplet waiting" in shown


def test_a_browser_without_details_learns_no_name(tmp_path: Path) -> None:
    with site(tmp_path) as (client, port):
        client.ask(request())
        shown = in_a_browser(tmp_path, port)
        assert "1 triplet waiting" in shown
        assert "example.com" not in shown
        assert "example.org" not in shown
        assert "192.0.2" not in shown


def test_all_workers_count(tmp_path: Path) -> None:
    with site(tmp_path, "--workers=2") as (client, port):
        # Several connections: both workers take some.
        for number in range(8):
            with PolicyClient(client.socket.getpeername()[1]) as another:
                another.ask(request(sender=f"{'x' * number}@example.com"))
        for _ in range(4):
            assert "greylisted: first contact new 8 100.0 %" in words(page(port))


def test_a_redis_that_is_away_is_shown_at_once_and_its_password_never(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "very-secret") as redis:
        store = f"redis://:very-secret@127.0.0.1:{redis.port}/0"
        with site(tmp_path, f"--store={store}") as (client, port):
            client.ask(request())
            assert "1 triplet waiting" in page(port)
            redis.stop()
            client.ask(request(sender="carol@example.com"))
            wait_until(lambda: "Something is broken" in page(port), "it says so")
            assert "secret" not in page(port)
