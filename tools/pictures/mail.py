"""Generates a week of mail: sites that write regularly and retry, and bots that do not."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 18

BOT_NAME = "unknown"
"""The host name of all bots, as Postfix has it without a name in DNS."""

_SITES = 8000
_QUARTER_SECONDS = 900
_RECIPIENTS = ("anna", "bob", "carla", "david", "emma", "info", "office", "orders", "support")
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris",
          "juniper", "krill", "lotus", "maple", "north", "olive", "prairie", "quartz", "river",
          "sierra", "tundra", "umber", "valley", "willow", "yarrow", "zephyr")  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """An attempt to deliver a mail."""

    when: float
    """In seconds since the beginning."""
    address: str
    name: str
    sender: str
    recipient: str

    def request(self, when: int | None) -> bytes:
        """Return the policy request; with ``when`` for a server with --test-time."""
        lines = {
            "request": "smtpd_access_policy",
            "client_address": self.address,
            "client_name": self.name,
            "sender": self.sender,
            "recipient": self.recipient,
            **({} if when is None else {"policy_test_time": str(when)}),
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items()).encode() + b"\n"


class Mail:
    """The attempts in order; a site retries what was greylisted."""

    def __init__(self, begins_at: int, seconds: int) -> None:
        """Generate the first attempts of a period; it begins at a time in seconds since 1970."""
        self._begins_at = begins_at
        # A generator with a seed makes the same mail each time.
        self._random = random.Random(SEED)  # noqa: S311 - no secret
        self._due = sorted(self._first_attempts(seconds))
        heapq.heapify(self._due)

    def until(self, when: float) -> Iterator[Attempt]:
        """Yield and remove the attempts before a time; later calls yield their retries, too."""
        while self._due and self._due[0].when < when:
            yield heapq.heappop(self._due)

    def greylisted(self, attempt: Attempt) -> None:
        """Schedule the retry of an attempt that was greylisted, if its client retries."""
        is_bot = attempt.name == BOT_NAME
        if is_bot and self._random.random() < 0.85:
            return
        wait = self._random.uniform(20, 90) if is_bot else self._random.uniform(180, 1500)
        heapq.heappush(
            self._due,
            Attempt(attempt.when + wait, attempt.address, attempt.name, attempt.sender,
                    attempt.recipient),
        )  # fmt: skip

    def _first_attempts(self, seconds: int) -> Iterator[Attempt]:
        for start in range(0, seconds, _QUARTER_SECONDS):
            hour = (start + self._begins_at) % 86400 / 3600
            load = 1 + 0.8 * math.sin((hour - 8) / 24 * 2 * math.pi)
            for _ in range(self._count(26 * load)):
                yield self._of_site(start)
            # Bots send around the clock, in waves.
            wave = 2.2 if start // 86400 == 4 and 2 <= hour < 5 else 1.0
            for _ in range(self._count(24 * wave)):
                yield self._of_bot(start)

    def _count(self, mean: float) -> int:
        return max(0, round(self._random.gauss(mean, math.sqrt(mean))))

    def _of_site(self, start: int) -> Attempt:
        # A few sites write much of the mail, and many write rarely.
        number = min(int(self._random.paretovariate(0.35)) - 1, _SITES - 1)
        domain = f"{_WORDS[number % len(_WORDS)]}{number // len(_WORDS) or ''}.example"
        sender = f"{self._random.choice(_RECIPIENTS)}@{domain}"
        address = f"198.18.{number}.25" if number < 256 else f"2001:db8:{number:x}::25"
        return self._attempt(start, address, f"mail.{domain}", sender)

    def _of_bot(self, start: int) -> Attempt:
        octets = (self._random.randrange(256), self._random.randrange(1, 255))
        sender = f"{self._random.randbytes(4).hex()}@{self._random.choice(_WORDS)}.invalid"
        return self._attempt(start, f"198.19.{octets[0]}.{octets[1]}", BOT_NAME, sender)

    def _attempt(self, start: int, address: str, name: str, sender: str) -> Attempt:
        when = start + self._random.uniform(0, _QUARTER_SECONDS)
        recipient = f"{self._random.choice(_RECIPIENTS)}@example.org"
        return Attempt(when, address, name, sender, recipient)
