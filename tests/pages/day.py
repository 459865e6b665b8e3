"""A day of mixed mail on the disposable machine: the store, and the log that goes with it."""

from __future__ import annotations

import os
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pages import stand_ins
from tests.processes import PolicyClient, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MINUTE, HOUR = 60, 3600
SPAM_COUNT = 120
_SERVERS = ("friends.example.net", "club.example", "school.example")
SETTINGS = Path("/etc/default/greyd")
GREYDS_LOG, MAIL_LOG = Path("/var/log/greyd.log"), Path("/var/log/mail.log")
_DECISION = re.compile(r"action=(?:pass|greylist), reason=")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver mail."""

    ago_seconds: int
    sender: str
    recipient: str
    address: str
    name: str


def make(type_: Callable[[str, str], object]) -> None:
    """Let greyd decide on a day's mail, as its unit runs it; leave it running."""
    # The pages' machine has a delay of a second; here it is the usual one.
    os.environ.pop("GREYD_DELAY", None)
    stand_ins.install_greyd()
    SETTINGS.write_text("GREYD_TEST_TIME=yes\n")
    type_("a day", "systemctl start greyd")
    attempts = sorted(_attempts(random.Random(1)), key=lambda each: -each.ago_seconds)
    now = int(time.time())
    with PolicyClient(10023) as client:
        for each in attempts:
            client.ask(_request(each, policy_test_time=str(now - each.ago_seconds)))
    wait_until(lambda: len(_decisions()) == len(attempts), "the decisions are in the log")
    heads = (_head(now - each.ago_seconds) for each in attempts)
    lines = [f"{head}{line}\n" for head, line in zip(heads, _decisions(), strict=True)]
    MAIL_LOG.write_text("".join(lines))
    SETTINGS.unlink()
    type_("a day", "systemctl stop greyd; systemctl start greyd")
    type_("a day", "greyd postfix-config >>/etc/postfix/main.cf && postfix start")
    with PolicyClient(10023) as client:
        for each in attempts:
            if each.ago_seconds < HOUR // 4:
                client.ask(_request(each))


def _attempts(chance: random.Random) -> Iterator[Attempt]:
    """Yield the attempts of servers that retry, of a provider with many, and of spamware."""
    for number in range(12):
        first = chance.randrange(HOUR, 23 * HOUR)
        server = number % len(_SERVERS)
        for ago in (first, first - 6 * MINUTE):
            yield Attempt(ago, f"friend{number}@{_SERVERS[server]}", "bob@example.org",
                          f"203.0.113.{20 + server}", f"mail.{_SERVERS[server]}")  # fmt: skip
    # Each retry of the provider's comes from another network.
    for mail in range(3):
        first = chance.randrange(6 * HOUR, 20 * HOUR)
        for server in range(4):
            yield Attempt(first - server * 20 * MINUTE, f"invoice{mail}@bulk.example.net",
                          "carol@example.org", f"198.51.{100 + server}.{10 + mail}",
                          f"out{server}.bulk.example.net")  # fmt: skip
    for number in range(SPAM_COUNT):
        address = f"192.0.2.{chance.randrange(1, 255)}"
        yield Attempt(chance.randrange(10 * MINUTE, 24 * HOUR), f"offer{number}@spam.example",
                      chance.choice(("bob", "carol", "info")) + "@example.org", address,
                      "unknown")  # fmt: skip
    # The mail that somebody asks for in the morning.
    yield Attempt(4 * MINUTE, "alice@example.com", "bob@example.org", "203.0.113.7",
                  "mail.example.com")  # fmt: skip


def _request(attempt: Attempt, **more: str) -> dict[str, str | bytes]:
    return request(
        sender=attempt.sender, recipient=attempt.recipient, client_address=attempt.address,
        client_name=attempt.name, **more,
    )  # fmt: skip


def _decisions() -> list[str]:
    return [line for line in GREYDS_LOG.read_text().splitlines() if _DECISION.search(line)]


def _head(when: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00 mx greyd[77]: ", time.gmtime(when))
