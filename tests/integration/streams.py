"""Seeded streams of policy requests in which the same few things meet again and again.

A stream is a small world of clients in a few networks, senders under several spellings, and
recipients, whose mail comes at times around the thresholds of the settings it is made for, now
and then with the clock set back. It keeps to what postgrey and greyd are to decide alike: times
within max-age, readable addresses that are not IPv4-mapped, no ``/`` in a sender or recipient,
fewer than ten messages at a time. Everything here is pure; a seed gives the same stream anywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOUR = 3600
DAY = 86400
START = 1_700_000_000
CONNECTIONS = 3
MESSAGES_AT_A_TIME = 4


@dataclass(frozen=True, slots=True)
class Pace:
    """The thresholds around which times are chosen."""

    delay_seconds: int = 300
    window_seconds: int = 2 * DAY
    max_age_seconds: int = 35 * DAY


class Asked(NamedTuple):
    """One request, over which connection it goes, and what belongs together as a triplet."""

    attributes: dict[str, bytes]
    connection: int
    triplet: tuple[bytes, bytes, bytes]


class _Message(NamedTuple):
    name: bytes
    addresses: Sequence[bytes]
    family: Sequence[bytes]
    sender: bytes
    instance: bytes | None
    queue_id: bytes | None
    etrn_domain: bytes | None


def _clients(seed: int) -> list[list[bytes]]:
    """Return addresses in few networks, each with its spellings; seeds share only the odd ones."""
    groups = [f"{seed + 1:x}", f"{seed + 1:04X}", f"{seed + 1:04x}"]
    spelled = [
        [f"10.{seed}.16.7"],
        [f"10.{seed}.16.8"],
        [f"10.{seed}.17.7"],
        [f"10.{seed}.31.255"],
        [f"10.{seed}.32.0"],
        [f"203.0.113.{seed}"],
        [
            f"2001:db8:{groups[0]}:1::1",
            f"2001:DB8:{groups[1]}:1:0:0:0:1",
            f"2001:0db8:{groups[2]}:0001:0000:0000:0000:0001",
        ],
        [f"2001:db8:{groups[0]}:1:ffff::2", f"2001:db8:{groups[0]}:1:FFFF:0:0.0.0.2"],
        [f"2001:db8:{groups[0]}:2::1"],
        [f"2001:db8:{groups[0]}:ffff:ffff:ffff:ffff:ffff"],
        ["::1", "0:0:0:0:0:0:0:1"],
        [f"2001:db8:0:ff9b::192.0.2.{seed}", f"2001:db8:0:ff9b::c000:2{seed:02X}"],
    ]
    return [[spelling.encode() for spelling in spellings] for spellings in spelled]


# Each line is one sender to postgrey, or looks very much like it.
SENDERS: tuple[tuple[bytes, ...], ...] = (
    (
        b"bob@example.org",
        b"Bob+list-7@Example.ORG",
        b"prvs=0123456789=bob@example.org",
        b"prvs=bob=0123456789x@example.org",
        b"prvs=0123456789=bob=@example.org",
        b"prvs=bob=0123456789=@example.org",
        b"prvs=0123456789=bob+x=@example.org",
        b"prvs=bob=012345678@example.org",
        b"PRVS=0123456789=bob@example.org",
        b"prvs=bob=ABCDEFGHIJ@example.org",
    ),
    (
        b"list-17-bounce@lists.example",
        b"list-18-bounce+x@lists.example",
        b"LIST-0-bounce@lists.example",
        b"list-18a-bounce@lists.example",
        b"list_18_bounce@lists.example",
        b"list-19a-bounce@lists.example",
        b"list_19_bounce@lists.example",
    ),
    (b"",),
    (b"postmaster", b"POSTMASTER", b"postmaster+x", b"no-at-12"),
    (b"m\xfcller-12@example.de", b"m\xfcller-13+y@example.de", b"M\xfcLLER-1@EXAMPLE.de"),
    ("é12@example.fr".encode(), "É12@example.fr".encode(), "é12a@example.fr".encode()),
    (b"12@34.example", b"56@34.example", b"12@35.example", b"a@12@34.example"),
    (b"SRS0=AbC4=12=orig.example=user@fwd.example", b"srs0=aBc4=99=orig.example=USER@fwd.example"),
    (b"prvs==bob@example.org", b"prvs=bob=@example.org", b"prvs=a=b=c@example.org"),
    (
        b"prvs=a=b==@example.org",
        b"prvs=0123456789==@example.org",
        b"prvs=0123456789=a=b=@x.example",
    ),
    (b"50%off-1@shop.example", b"50%off-2@shop.example", b"50%%off@shop.example"),
    (b"+ext@example.org", b"@example.org", b"@", b"12@", b"1.2.3@example.org"),
    (b"tab\tin-1@example.org", b" blank@example.org", b"a=1=b@example.org"),
    (b"s" * 600, b"s" * 512, b"S" * 511 + b"@example.org", b"s" * 511 + b"+x@example.org"),
)

RECIPIENTS: tuple[tuple[bytes, ...], ...] = (
    (b"r@example.com", b"R@Example.COM"),
    (b"r+list-99@example.com", b"r+list-98@example.com"),
    (b"postmaster@example.net", b"Postmaster@EXAMPLE.net"),
    (b"noat", b"NoAt"),
    (b"",),
    (b"a@b@c.example", b"a@"),
    (b"\xfc@m\xfcnchen.example", "ü@münchen.example".encode()),
    (b"u@b%s.example", b"u@%r.example "),
)

NAMES = (
    b"mx.example.net", b"MX.Example.NET", b"unknown", b"", b"m\xfcx.example", b"a.b.c.example",
    b"300.1.2.3", b"mx.300.1.2.3", b"bbb.example", b"b{,3}.example",
)  # fmt: skip


class Stream:
    """The requests of one seed."""

    def __init__(self, seed: int, pace: Pace) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self._pace = pace
        self._now = START
        self._clients = self._random.sample(_clients(seed), 5)
        self._senders = self._random.sample(SENDERS, 3)
        self._recipients = self._random.sample(RECIPIENTS, 3)
        self._messages: list[_Message] = []
        self._begun = 0
        self._seen: dict[tuple[bytes, bytes, bytes], int] = {}
        self._client_seen: dict[bytes, int] = {}

    def requests(self, length: int) -> Iterator[Asked]:
        """Yield ``length`` requests."""
        for _ in range(length):
            yield self._request()

    def _request(self) -> Asked:
        choose = self._random
        message = self._message()
        recipients = choose.choice(self._recipients)
        triplet = (message.addresses[0], message.family[0], recipients[0])
        self._now = self._time(triplet)
        self._seen[triplet] = self._client_seen[message.addresses[0]] = self._now
        values: dict[str, bytes | None] = {
            "request": b"smtpd_access_policy",
            "protocol_state": b"RCPT",
            "client_name": message.name,
            "client_address": choose.choice(message.addresses),
            "sender": message.sender,
            "recipient": choose.choice(recipients),
            "instance": message.instance,
            "queue_id": message.queue_id,
            "etrn_domain": message.etrn_domain,
            "sasl_username": b"",
            "policy_test_time": b"%d" % self._now,
        }
        if choose.random() < 0.03:
            values[choose.choice(("client_address", "client_name", "sender", "recipient"))] = None
        attributes = [(name, value) for name, value in values.items() if value is not None]
        choose.shuffle(attributes)
        return Asked(dict(attributes), choose.randrange(CONNECTIONS), triplet)

    def _message(self) -> _Message:
        """Go on with a message under way, or begin one; few are under way at a time."""
        choose = self._random
        if self._messages and choose.random() < 0.4:
            return choose.choice(self._messages)
        self._begun += 1
        family = choose.choice(self._senders)
        instance = b"%x.%x.%d" % (self._seed, self._begun, choose.randrange(10))
        message = _Message(
            name=choose.choice(NAMES),
            addresses=choose.choice(self._clients),
            family=family,
            sender=choose.choice(family),
            instance=choose.choice((instance, instance, instance, None)),
            queue_id=choose.choice((None, b"", b"4Abc%d" % self._begun, b"q\xfc%")),
            etrn_domain=choose.choice((None, b"", b"", b"x.example")),
        )
        self._messages = [*self._messages, message][-MESSAGES_AT_A_TIME:]
        return message

    def _time(self, triplet: tuple[bytes, bytes, bytes]) -> int:
        choose = self._random
        delay, window = self._pace.delay_seconds, self._pace.window_seconds
        kind = choose.random()
        if kind < 0.35:
            now = self._now + choose.choice((0, 0, 1, 2))
        elif kind < 0.55:
            now = self._now + choose.randint(1, max(delay, 60))
        elif kind < 0.80:
            thresholds = (delay - 1, delay, delay, delay + 1, window, window + 1, 0, 1)
            now = self._around(self._seen.get(triplet, self._now), thresholds)
        elif kind < 0.93:
            hours = (HOUR - 1, HOUR, HOUR + 1, 2 * HOUR, DAY)
            now = self._around(self._client_seen.get(triplet[0], self._now), hours)
        elif kind < 0.97:
            now = self._now + choose.choice((DAY, window, 2 * window + 1, 5 * HOUR))
        else:
            now = self._now - choose.choice((1, abs(delay), HOUR, DAY))
        last = START + self._pace.max_age_seconds
        return now if START <= now <= last else START + choose.randrange(HOUR)

    def _around(self, seen: int, offsets: Sequence[int]) -> int:
        now = seen + self._random.choice(offsets)
        if now < self._now and self._random.random() < 0.7:
            return self._now + self._random.randrange(60)
        return now
