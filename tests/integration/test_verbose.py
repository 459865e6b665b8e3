"""``--verbose``: a line for each step of a decision, and none without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import has_said
from tests.processes import PolicyClient, greyd, request

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

BEGINNING = "step: 192.0.2.7, alice@example.com, bob@example.org: "


def test_each_step_of_a_decision_has_its_line(tmp_path: Path) -> None:
    with greyd(tmp_path, "--verbose") as server, PolicyClient(server.port) as client:
        client.ask(request())
        has_said(server, "action=greylist")
        steps = [
            line.removeprefix(BEGINNING)
            for line in server.log().splitlines()
            if line.startswith("step: ")
        ]
    key = "{192.0.2.0}/alice@example.com/bob@example.org"
    begin = [
        "asked request=smtpd_access_policy", "no list or option lets it pass",
        f"remembered {key}: nothing", "remembered {192.0.2.0}:192.0.2.7: nothing",
        f"stored {key}: ", "decided: new, waits 300 s more", "answered DEFER_IF_PERMIT",
    ]  # fmt: skip
    assert len(steps) == len(begin)
    assert all(map(str.startswith, steps, begin)), steps


def test_the_line_of_a_whitelist_is_named(tmp_path: Path) -> None:
    file = tmp_path / "clients"
    file.write_text("# ours\n192.0.2.0/24\n")
    options = ("--verbose", f"--whitelist-clients={file}")
    with greyd(tmp_path, *options) as server, PolicyClient(server.port) as client:
        assert client.ask(request()) == "action=DUNNO"
        has_said(server, f"{BEGINNING}exempt: client whitelist, {file}:2: 192.0.2.0/24")


def test_without_it_there_is_no_such_line(tmp_path: Path) -> None:
    with greyd(tmp_path) as server, PolicyClient(server.port) as client:
        client.ask(request())
        has_said(server, "action=greylist")
        assert "step: " not in server.log()


def test_what_applies_to_this_mail_alone_is_named(tmp_path: Path) -> None:
    never, senders = tmp_path / "never", tmp_path / "senders"
    never.write_text("192.0.2.0/24\n")
    senders.write_text("example.com\n")
    options = (
        "--verbose", "--recipient-domain=example.org;delay=60", "--sender-group=big=192.0.2.0/24",
        f"--never-auto-whitelist={never}", f"--whitelist-senders={senders}", "--dns-timeout=0.1",
        "--resolver=127.0.0.1:9",
    )  # fmt: skip
    with greyd(tmp_path, *options) as server, PolicyClient(server.port) as client:
        client.ask(request(client_name="unknown"))
        has_said(server, f"{BEGINNING}the recipient domain example.org has its own settings")
        has_said(server, f"{BEGINNING}the client belongs to the sender group big")
        has_said(server, f"{BEGINNING}never auto-whitelisted: {never}:1: 192.0.2.0/24")
        has_said(server, f"{BEGINNING}the sender is whitelisted but not proven: ")
