"""Stores for the tests: real ones, one that fails on demand, and racing processes.

``python -m tests.stores URL PREFIX NUMBER ROUNDS`` is one of two processes that race on one store:
at each line of its standard input it takes its next step, and then writes how often mail passed
for the first time there.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greyd.config.settings import Settings
from greyd.config.vocabulary import HOUR
from greyd.policy.pending_reply import PendingReply
from greyd.rules.address import parse_address
from greyd.rules.greylist import Decision, decide
from greyd.rules.keys import request_keys
from greyd.rules.records import RememberedRecords
from greyd.rules.transaction import Answer, Change, Record
from greyd.store.contract import Store, StoreSize, call_when_done
from greyd.store.errors import StoreError
from greyd.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.policy.policy import Policy
    from greyd.rules.request import Request
    from greyd.rules.transaction import Remembered, Rule
    from greyd.store.contract import DoneCallback


@dataclass(frozen=True)
class Place:
    """The location of a store's data, which stores opened there share, unless it is in memory."""

    url: str
    prefix: str

    @contextlib.asynccontextmanager
    async def opened(self, prefix: str | None = None) -> AsyncIterator[Store]:
        """Open a store, and close it at the end."""
        settings = Settings(store=self.url, key_prefix=prefix or self.prefix)
        store = open_store(settings, Path("/nonexistent"))
        try:
            yield store
        finally:
            await store.close()


def put(key: bytes, value: bytes, ttl_seconds: int = 60) -> Rule[Remembered]:
    """Return a rule that stores a value and returns the records it read."""
    return lambda remembered: (list(remembered), [Change(key, value, ttl_seconds)])


def look(remembered: Remembered) -> tuple[Remembered, Sequence[Change]]:
    """A rule that returns the records it read and changes nothing."""
    return list(remembered), []


def count_up(key: bytes) -> Rule[int]:
    """Return a rule that increments a counter under a key."""

    def rule(remembered: Remembered) -> tuple[int, Sequence[Change]]:
        number = int(remembered[0] or 0) + 1
        return number, [Change(key, b"%d" % number, 60)]

    return rule


async def answer_of(policy: Policy, request: Request) -> bytes | None:
    """Return what a policy tells of a request."""
    told: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    policy.answer(request, PendingReply(told.set_result))
    return await told


@dataclass
class FakeStore(Store):
    """A store in a dict, which answers, fails or hangs on demand."""

    fault: Exception | None = None
    silent: bool = False
    read_only: bool = False
    asked: int = 0
    maintained: int = 0
    records_: dict[bytes, bytes] = field(default_factory=dict)
    _silence: list[asyncio.Future[Any]] = field(default_factory=list)

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        call_when_done(self._transact(keys, rule), done)

    async def _transact(self, keys: Sequence[bytes], rule: Rule[Answer]) -> Answer:
        self.asked += 1
        if self.silent:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._silence.append(future)
            await future
        if self.fault is not None:
            raise self.fault
        answer, changes = rule([self.records_.get(key) for key in keys])
        if changes and self.read_only:
            raise StoreError("read only")
        self.records_ |= {change.key: change.value for change in changes}
        return answer

    def speak(self) -> None:
        """Stop hanging, and answer the pending requests."""
        self.silent = False
        for future in self._silence:
            if not future.done():
                future.set_result(None)

    async def get(self, key: bytes) -> Record | None:
        value = (await self._transact([key], look))[0]
        return None if value is None else Record(key, value, 60)

    async def delete(self, keys: Sequence[bytes]) -> int:
        raise NotImplementedError

    async def count(self) -> int:
        return len(self.records_)

    async def size(self) -> StoreSize:
        raise NotImplementedError

    async def records(
        self,
        containing: Sequence[bytes] = (),  # noqa: ARG002 - nothing is stored
    ) -> AsyncIterator[Sequence[Record]]:
        raise NotImplementedError
        yield []

    async def maintain(self) -> None:
        self.maintained += 1
        if self.fault is not None:
            raise self.fault

    def abandon(self) -> None:
        for future in self._silence:
            if not future.done():
                future.set_exception(StoreError("abandoned"))

    async def close(self) -> None:
        self.abandon()


# Two processes ------------------------------------------------------------------------------------

RACE_START = 1_700_000_000
RACE_SENDERS = [f"{letter}@example.com" for letter in "abcdefghijklmnopqrst"]
ROUND_SECONDS = 2 * HOUR
_SETTINGS = Settings(auto_whitelist_clients=10**6)


async def _ask_all(store: Store, number: int, now: int) -> int:
    """Send the mail of a round; returns the number of first passes."""
    address = parse_address(b"192.0.2.10")
    assert address is not None

    async def ask(sender: str) -> Decision:
        recipient = b"bob@x%d.example" % number
        wanted = request_keys(address, sender.encode(), recipient, _SETTINGS)
        return await store.transact(
            (wanted.triplet, wanted.client),
            lambda remembered: decide(wanted, RememberedRecords(*remembered), now, _SETTINGS),
        )

    decisions = await asyncio.gather(*map(ask, RACE_SENDERS))
    return sum(decision.first_pass for decision in decisions)


async def _main(url: str, prefix: str, number: str, rounds: str) -> None:
    def say(text: object) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    async with Place(url, prefix).opened() as store:
        await store.transact([b"warm"], look)
        say("ready")
        for round_ in range(int(rounds)):
            # One of the two is a second behind the other, so that a lost update shows.
            start = RACE_START + round_ * ROUND_SECONDS + int(number)
            for now in (start, start + 300):
                await asyncio.to_thread(sys.stdin.readline)
                say(await _ask_all(store, round_, now))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
