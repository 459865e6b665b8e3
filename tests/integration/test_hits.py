"""Real servers count hits of their whitelists; what lint says of a line is so in postgrey too."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.lint.findings import ERROR
from greyd.whitelist.lint.linter import lint
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS
from tests.commands import answer_of
from tests.integration.test_whitelist_differential import Seen, both, compare
from tests.processes import PolicyClient, greyd, redis_server, request
from tests.whitelist.test_lint import OF_CLIENTS, OF_RECIPIENTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration


def write_lists(folder: Path) -> tuple[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "clients").write_text("a.example\nb.example\n192.0.2.0/24\n")
    (folder / "recipients").write_text("bob@\n")
    return (
        f"--whitelist-clients={folder / 'clients'}",
        f"--whitelist-recipients={folder / 'recipients'}",
    )


def send(server: Running, name: str, number: int, **attributes: str) -> None:
    with PolicyClient(server.port) as client:
        for _ in range(number):
            reply = client.ask(
                request(client_name=name, client_address="198.51.100.7", **attributes)
            )
            assert reply == "action=DUNNO"


def hits(folder: Path, store: str) -> dict[str, int]:
    answer: Any = answer_of(
        "check-whitelist", "--hits", f"--store={store}",
        GREYD_WHITELIST_CLIENTS=str(folder / "clients"),
        GREYD_WHITELIST_RECIPIENTS=str(folder / "recipients"),
    )  # fmt: skip
    assert answer["since"]
    return {each["text"]: each["hits"] for each in answer["entries"]}


def test_a_server_that_is_stopped_has_stored_its_hits(tmp_path: Path) -> None:
    options = write_lists(tmp_path)
    store = f"sqlite:{tmp_path / 'greyd.db'}"
    for _ in range(2):
        with greyd(tmp_path, *options) as server:
            send(server, "mx.a.example", 3)
            send(server, "other.example", 1, recipient="bob@example.net")
            assert server.stop() == 0
    assert hits(tmp_path, store) == {"a.example": 6, "b.example": 0, "192.0.2.0/24": 0, "bob@": 2}


def test_workers_and_exchangers_on_one_redis_add_up(tmp_path: Path) -> None:
    options = write_lists(tmp_path)
    with redis_server(tmp_path) as redis:
        store = f"redis://127.0.0.1:{redis.port}/0"
        servers = (greyd(tmp_path / name, *options, f"--store={store}", *more)
                   for name, more in (("one", ("--workers=2",)), ("two", ())))  # fmt: skip
        for each in servers:
            with each as server:
                for _ in range(10):
                    send(server, "mx.b.example", 2)
                server.signal(signal.SIGTERM)
                assert server.process.wait(10) == 0
        assert hits(tmp_path, store)["b.example"] == 40


PEOPLE = [
    Seen(name, address, recipient)
    for name in ("mail.example.com", "example.com", "a.example", "mx.example.com", "foo.bar.com")
    for address in ("192.0.2.7", "198.51.100.7", "10.0.0.1", "10.20.30.40")
    for recipient in ("x@y.test",)
]
RECIPIENTS_SEEN = [
    Seen(recipient=text)
    for text in (
        "bob@example.org", "x@example.org", "x@sub.example.org", "bob@sub.example.org",
        "alarm@x.test", "abc@x.test",
    )
]  # fmt: skip


@pytest.mark.parametrize("which", [CLIENTS, RECIPIENTS])
def test_lines_that_are_said_to_match_nobody_do_so_in_postgrey_too(
    tmp_path: Path, which: str
) -> None:
    cases = OF_CLIENTS if which == CLIENTS else OF_RECIPIENTS
    lines = [
        line
        for line, severity, _ in cases
        if severity == ERROR
        and line.isascii()
        and "never" in lint([WhitelistFile("w", line.encode())], which)[0].problem
        # postgrey searches it, and finds it in any name with such an end.
        and not line.startswith("/(?=")
    ]
    assert len(lines) > 5
    (tmp_path / "list").write_text("\n".join(lines) + "\n")
    seen = PEOPLE if which == CLIENTS else RECIPIENTS_SEEN
    with both(tmp_path, f"--whitelist-{which}={tmp_path / 'list'}") as respondents:
        assert compare(respondents, seen) == set()


def test_what_is_said_of_two_bytes_and_of_host_bits_is_so_in_postgrey_too(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("10.20\n192.0.2.5/24\n")
    addresses = ("10.20.0.9", "10.20.30.40", "192.0.2.200", "192.0.3.5")
    with both(tmp_path, f"--whitelist-clients={tmp_path / 'list'}") as respondents:
        passed = compare(respondents, [Seen(address=address) for address in addresses])
    assert {each.address for each in passed} == {"10.20.0.9", "192.0.2.200"}
