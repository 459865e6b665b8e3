"""Logs of real servers, replayed: what they have decided is decided again."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_replay import traffic
from tests.commands import answer_of
from tests.integration.postfix import Client, attempt, postfix
from tests.mail_log import START, MailLog
from tests.processes import PolicyClient, greyd, postgrey, request, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

ATTEMPTS = 1500


def ask_all(server: Running, log: MailLog) -> None:
    """Send a month of mail, and write what the server says of it with the times it was told."""
    clocks = []
    with PolicyClient(server.port) as client:
        for at, address, sender, recipient in traffic(2):
            name = "unknown" if address.endswith(".1") else f"mx{address[-1]}.provider.com"
            asked = request(
                client_address=address, client_name=name, reverse_client_name=name,
                helo_name=name, sender=sender, recipient=recipient, instance=str(at),
                policy_test_time=str(START + at),
            )  # fmt: skip
            client.ask(asked)
            clocks.append(at)

    def decisions() -> list[str]:
        return re.findall(r"action=\w+, reason=.*", server.log())

    wait_until(lambda: len(decisions()) == ATTEMPTS, "all decisions are logged")
    for at, line in zip(clocks, decisions(), strict=True):
        log.add(at, "greyd", line)


def configured(folder: Path, *options: str) -> list[str]:
    """Write the settings of today's server; returns the option that names them."""
    path = folder / "today.toml"
    words = [option.removeprefix("--").partition("=") for option in options]
    lines = [f'{name} = "{value}"\n' for name, _, value in words]
    lines += [f'whitelist-{kind} = ["{folder}/empty"]\n' for kind in ("clients", "recipients")]
    path.write_text("".join(lines))
    return [f"--config={path}"]


@pytest.mark.parametrize(
    "options",
    [[], ["--delay=60", "--retry-window=2h", "--auto-whitelist-clients=2"],
     ["--identity=name", "--auto-whitelist-identities=2"]],
)  # fmt: skip
def test_what_greyd_has_decided_is_decided_again(tmp_path: Path, options: list[str]) -> None:
    log = MailLog(tmp_path)
    with greyd(tmp_path, "--test-time", *options) as server:
        ask_all(server, log)
    told = answer_of("replay", log.written(), *configured(tmp_path, *options))["log"]
    assert told["attempts"] == told["decisions_compared"] == told["decisions_equal"] == ATTEMPTS


def test_what_postgrey_has_decided_is_decided_again(tmp_path: Path) -> None:
    log = MailLog(tmp_path)
    with postgrey(tmp_path) as server:
        ask_all(server, log)
    told = answer_of("replay", log.written(), *configured(tmp_path))["log"]
    assert told["attempts"] == told["decisions_compared"] == told["decisions_equal"] == ATTEMPTS


def test_postfixs_own_log_tells_of_the_same_mail(tmp_path: Path) -> None:
    stranger, spammer = Client("192.0.2.7", "mx.example.com"), Client("203.0.113.9")
    with contextlib.ExitStack() as ends:
        server = ends.enter_context(greyd(tmp_path, "--delay=2"))
        check = f"check_policy_service inet:127.0.0.1:{server.port}"
        mta = ends.enter_context(postfix(tmp_path, plain=check))
        attempt(mta.ports["plain"], stranger, "alice@example.com", "bob@example.org")
        attempt(mta.ports["plain"], spammer, "", "bob@example.org")
        time.sleep(2.1)  # greylisting is about real time
        taken = attempt(
            mta.ports["plain"], stranger, "alice@example.com", "bob@example.org"
        )  # fmt: skip
        assert taken.taken
        mta.sink.wait_for(taken.subject)
        wait_until(lambda: ": removed" in mta.maillog.read_text(), "the queue is empty")
        text = mta.maillog.read_text()
    path = tmp_path / "mail.log"
    path.write_text(text)
    today = configured(tmp_path, "--delay=2")
    told = answer_of("replay", path, *today)
    assert (told["log"]["attempts"], told["log"]["mails"], told["log"]["decisions"]) == (3, 2, 0)
    assert told["log"]["decisions_equal"] == 3
    assert told["today"]["came_in"]["waited"] == 1
    # With greyd's lines among them it is the same mail still.
    decided = [line for line in server.log().splitlines() if "action=" in line]
    heads = [line for line in text.splitlines() if ": reject:" in line or ": client=" in line]
    assert len(decided) == len(heads) == 3
    both = [
        re.sub(r"postfix/smtpd\[\d+\]: .*", lambda _, line=said: f"greyd[7]: {line}", head)
        for said, head in zip(decided, heads, strict=True)
    ]
    lines = sorted([*text.splitlines(), *both], key=lambda line: line[:15])
    path.write_text("".join(f"{line}\n" for line in lines))
    os.utime(path)
    told = answer_of("replay", path, *today)
    assert (told["log"]["attempts"], told["log"]["mails"], told["log"]["decisions"]) == (3, 2, 3)
