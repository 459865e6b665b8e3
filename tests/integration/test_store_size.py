"""A SQLite file that has grown to ``--max-store-size``, as the log, metrics and mail show it."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.processes import PolicyClient, encode, free_port, greyd, request, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

TOGETHER = 100
OPTIONS = ("--delay=3600", "--max-store-size=1M", "--auto-whitelist-clients=0")


def mail(number: int) -> dict[str, str | bytes]:
    """Return one of a flood of long triplets."""
    name = "".join("abcdefghij"[int(digit)] for digit in str(number))
    return request(sender=f"{name}@{'s' * 200}.example", recipient=f"{'r' * 200}@example.org")


def flood(client: PolicyClient, first: int, number: int) -> set[bytes | None]:
    """Send new triplets; returns the answers."""
    answers: set[bytes | None] = set()
    for start in range(first, first + number, TOGETHER):
        client.send(b"".join(encode(mail(each)) for each in range(start, start + TOGETHER)))
        answers |= {client.reply() for _ in range(TOGETHER)}
    return answers


def fill(server: Running, client: PolicyClient) -> None:
    """Send new triplets until the server says that the store is full."""
    sent = 0
    while "passing new triplets without greylisting" not in server.log():
        assert sent < 30_000, "the file grows on and on"
        flood(client, sent, 500)
        sent += 500


@pytest.mark.parametrize("on_failure", ["pass", "defer"])
def test_a_full_store_passes_new_mail_and_says_so(tmp_path: Path, on_failure: str) -> None:
    metrics = free_port()
    options = (*OPTIONS, f"--metrics=127.0.0.1:{metrics}", f"--on-store-failure={on_failure}")
    with (
        greyd(tmp_path, *options) as server,
        PolicyClient(server.port, timeout=30) as client,
    ):
        fill(server, client)
        assert "store away" not in server.log()

        assert flood(client, 50_000, TOGETHER) == {b"action=DUNNO"}
        assert "reason=store unavailable" in server.log()
        # What was stored before is decided as ever.
        assert "DEFER_IF_PERMIT" in str(client.ask(mail(0)))

        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=10) as page:
            text = page.read().decode()
        figures = dict(line.split(" ") for line in text.splitlines() if line.startswith("greyd_st"))
        assert float(figures["greyd_store_size_bytes"]) >= 2**20
        assert float(figures["greyd_store_max_size_bytes"]) == 2**20
        assert float(figures["greyd_store_up"]) == 1
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/readyz", timeout=10) as page:
            assert page.status == 200


def test_with_a_higher_limit_new_mail_is_greylisted_again(tmp_path: Path) -> None:
    with (
        greyd(tmp_path, *OPTIONS) as server,
        PolicyClient(server.port, timeout=30) as client,
    ):
        fill(server, client)
    bigger = [each.replace("1M", "1G") for each in OPTIONS]
    with greyd(tmp_path, *bigger) as server, PolicyClient(server.port) as client:
        wait_until(lambda: "listens on" in server.log(), "the server listens")
        assert "DEFER_IF_PERMIT" in str(client.ask(mail(70_000)))
        assert "store has" not in server.log()
