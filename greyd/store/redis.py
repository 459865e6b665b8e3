"""The store for several servers: Redis, or Valkey, alone, with Sentinel, or as a Cluster.

Optimistic: the rule is first asked as if nothing were there, since most greylisted mail is new.
One small script compares all that the rule has seen with what is there and then stores the rule's
changes, or returns what is there, and the rule is asked again. So a new triplet costs one round
trip, a known one two.

Where the keys of a request lie on different nodes of a Cluster, they are read from all, and stored
node by node in the order of the keys; what has been stored is not decided again, only the rest.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from greyd.store import MOST_ATTEMPTS, Answer, Record, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from greyd.greylist import Change
    from greyd.store import Remembered, Rule

    Argument = bytes | str | int
    Send = Callable[..., Awaitable[Any]]

_KEYS_A_STEP = 500

SWAP = b"""\
local found = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do
  if (found[i] or '') ~= ARGV[i] then return found end
end
for i = #KEYS + 1, #ARGV, 3 do
  redis.call('SET', KEYS[tonumber(ARGV[i])], ARGV[i + 1], 'EX', ARGV[i + 2])
end
return 1
"""
"""KEYS are compared with as many ARGV (empty: absent); then come index, value, TTL of each change.

Returns 1 once stored, or the values that are there."""

_SWAP_SHA = hashlib.sha1(SWAP, usedforsecurity=False).hexdigest().encode()


class Carrier(Protocol):
    """Carries commands to Redis. Raises ``StoreError`` for what can't be carried or is refused."""

    divided: bool
    """Whether keys may lie in several places."""

    def send(self, key: bytes, *command: Argument) -> Awaitable[Any]:
        """Send a command to the node that holds ``key``."""

    def place(self, key: bytes) -> int:
        """Tell which keys one script can take together: those of one place."""

    async def nodes(self) -> Sequence[Send]:
        """Return for each node that holds keys a function that sends it a command."""

    def abandon(self) -> None:
        """Give up what is under way."""

    async def close(self) -> None:
        """Close all connections."""


class ConnectionLost(StoreError):
    """The connection ended before the answer came; whether the command was done is not known."""


class KeysApart(StoreError):
    """A Cluster is moving the keys of one place, and some are here, some there (TRYAGAIN)."""


class ScriptMissing(StoreError):
    """Redis does not know the script (NOSCRIPT): it was restarted, or its scripts were flushed."""


class RedisStore:
    """A store in Redis."""

    def __init__(self, carrier: Carrier, prefix: bytes) -> None:
        self._carrier = carrier
        self._prefix = prefix

    # The contract -------------------------------------------------------------------------------

    async def transact(self, keys: Sequence[bytes], rule: Rule[Answer]) -> Answer:
        """Decide and store; see ``greyd.store.Store``."""
        remembered: Remembered = [None] * len(keys)
        answer, changes = rule(remembered)
        if self._carrier.divided and len({self._place(key) for key in keys}) > 1:
            return await self._transact_across(keys, rule)
        lost = False
        for _ in range(MOST_ATTEMPTS):
            try:
                found = await self._swap(keys, remembered, changes)
            except KeysApart:
                return await self._settle_apart(keys, [[key] for key in keys], rule)
            except ConnectionLost:
                # Once more over a new one. If the changes were stored all the same, they will be
                # found there, and the rule decides on them as on any other server's.
                if lost:
                    raise
                lost = True
                continue
            if found is None:
                return answer
            remembered = found
            answer, changes = rule(remembered)
            if not changes:
                return answer
        raise StoreError("others change the same entries all the time")

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``."""
        return (await self._records([key]))[0]

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Forget what is under ``keys``."""
        return sum([await self._send(key, "DEL", self._prefix + key) for key in keys])

    async def count(self) -> int:
        """Return the number of entries; a walk through all of Redis's keys."""
        return sum([len(group) async for group in self._keys()])

    async def records(self) -> AsyncIterator[Sequence[Record]]:
        """Go through all entries in the order of Redis's SCAN."""
        async for group in self._keys():
            yield [record for record in await self._records(group) if record is not None]

    async def maintain(self) -> None:
        """Do nothing: Redis forgets by itself."""

    def abandon(self) -> None:
        """Close the connections: what still comes over them is nobody's answer any more."""
        self._carrier.abandon()

    async def close(self) -> None:
        """Close the connections."""
        await self._carrier.close()

    # How ----------------------------------------------------------------------------------------

    def _send(self, key: bytes, *command: Argument) -> Awaitable[Any]:
        return self._carrier.send(self._prefix + key, *command)

    def _place(self, key: bytes) -> int:
        return self._carrier.place(self._prefix + key)

    async def _swap(
        self, keys: Sequence[bytes], seen: Remembered, changes: Sequence[Change]
    ) -> Remembered | None:
        """Store ``changes`` if all is as ``seen``; returns what is there where it is not."""
        arguments: list[Argument] = [len(keys)]
        arguments += [self._prefix + key for key in keys]
        arguments += [value or b"" for value in seen]
        for key, value, ttl_seconds in changes:
            arguments += (keys.index(key) + 1, value, ttl_seconds)
        try:
            reply = await self._send(keys[0], b"EVALSHA", _SWAP_SHA, *arguments)
        except ScriptMissing:
            reply = await self._send(keys[0], b"EVAL", SWAP, *arguments)
        return None if reply == 1 else reply

    async def _transact_across(self, keys: Sequence[bytes], rule: Rule[Answer]) -> Answer:
        """Decide on keys of several nodes; the first node's state decides, the others follow."""
        places: dict[int, list[bytes]] = {}
        for key in keys:
            places.setdefault(self._place(key), []).append(key)
        return await self._settle_apart(keys, list(places.values()), rule)

    async def _settle_apart(
        self, keys: Sequence[bytes], places: Sequence[Sequence[bytes]], rule: Rule[Answer]
    ) -> Answer:
        """Decide, and store place by place."""
        seen = {key: await self._send(key, "GET", self._prefix + key) for key in keys}
        first, *others = places
        answer = await self._settle_place(keys, first, seen, rule)
        for place in others:
            await self._settle_place(keys, place, seen, rule)
        return answer

    async def _settle_place(
        self,
        keys: Sequence[bytes],
        place: Sequence[bytes],
        seen: dict[bytes, bytes | None],
        rule: Rule[Answer],
    ) -> Answer:
        """Store the rule's changes on one node; ``seen`` keeps what the rule last saw there."""
        for _ in range(MOST_ATTEMPTS):
            answer, changes = rule([seen[key] for key in keys])
            here = [change for change in changes if change.key in place]
            if not here:
                return answer
            found = await self._swap(place, [seen[key] for key in place], here)
            if found is None:
                return answer
            seen.update(zip(place, found, strict=True))
        raise StoreError("others change the same entries all the time")

    async def _keys(self) -> AsyncIterator[Sequence[bytes]]:
        pattern = b"".join(
            b"\\" + bytes([octet]) if octet in b"*?[]\\^-" else bytes([octet])
            for octet in self._prefix
        )
        scan: tuple[Argument, ...] = ("MATCH", pattern + b"*", "COUNT", _KEYS_A_STEP)
        for send in await self._carrier.nodes():
            cursor: Argument = 0
            while True:
                cursor, keys = await send("SCAN", cursor, *scan)
                yield [key[len(self._prefix) :] for key in keys]
                if int(cursor) == 0:
                    break

    async def _records(self, keys: Sequence[bytes]) -> list[Record | None]:
        values = [self._send(key, "GET", self._prefix + key) for key in keys]
        times = [self._send(key, "PTTL", self._prefix + key) for key in keys]
        records: list[Record | None] = []
        for key, value, ttl in zip(keys, values, times, strict=True):
            text, milliseconds = await value, await ttl
            there = text is not None and milliseconds > 0
            records.append(Record(key, text, -(-milliseconds // 1000)) if there else None)
        return records


class _InMemory:
    """Carries commands to fakeredis in this process."""

    divided = False

    def __init__(self) -> None:
        from fakeredis import FakeAsyncRedis

        self._redis = FakeAsyncRedis()

    async def send(self, key: bytes, *command: Argument) -> Any:  # noqa: ARG002
        from redis.exceptions import NoScriptError, RedisError

        try:
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError as error:
            raise ScriptMissing(str(error)) from error
        except RedisError as error:
            raise StoreError(f"memory: {error}") from error

    def place(self, key: bytes) -> int:  # noqa: ARG002 - all keys are in one place
        return 0

    async def nodes(self) -> Sequence[Send]:
        return [partial(self.send, b"")]

    def abandon(self) -> None:
        pass

    async def close(self) -> None:
        await self._redis.aclose()


def in_memory() -> Carrier:
    """Return a carrier to a Redis of this process's own."""
    return _InMemory()
