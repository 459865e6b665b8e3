"""The store for several servers: Redis, or Valkey, alone, with Sentinel, or as a Cluster.

Optimistic: the rule is first asked about what was last known to be there, which is nothing for most
greylisted mail. One small script compares all that the rule has seen with what is there and then
stores the rule's changes, or returns what is there, and the rule is asked again. So a new triplet
costs one round trip, and so does one that was found there before; the first time costs two.

What is asked in one turn of the loop travels together, up to ``MAX_TOGETHER``: one call of the
script makes one swap after the other, each for itself. In a Cluster that goes for the keys of one
place.

Where the keys of a request lie on different nodes of a Cluster, they are read from all, and stored
node by node in the order of the keys; what has been stored is not decided again, only the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from greyd.lru import LruCache
from greyd.rules.transaction import Answer, Record
from greyd.store.contract import CONTENTION, MAX_ATTEMPTS, Store, StoreSize, call_when_done
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from greyd.rules.transaction import Change, Remembered, Rule
    from greyd.store.contract import DoneCallback

    Argument = bytes | str | int

    Send = Callable[..., Awaitable[Any]]

    ReplyCheck = Callable[[Any], bool]

    """Whether an answer is of the shape and the types that its command's has."""


_KEYS_PER_SCAN = 500
_KEYS_PER_FETCH = 100
"""Redis does nothing else meanwhile."""

MAX_BATCH_SIZE = 32
"""Swaps in one call of the script: Redis begins with a busy turn's first while others are read."""

MAX_CONNECTION_LOSSES = 3
"""Connections that may end under a swap, or answer it with nonsense, before the store gives up."""

MAX_CACHED_VALUES = 10_000
"""Entries of which it is kept what was last found there."""

COMPARE_AND_SET = b"""\
local key, argument, answers = 0, 0, {}
while argument < #ARGV do
  local keys, changes = tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 2])
  argument = argument + 2
  local found = redis.call('MGET', unpack(KEYS, key + 1, key + keys))
  local answer = 1
  for i = 1, keys do
    if (found[i] or '') ~= ARGV[argument + i] then answer = found end
  end
  argument = argument + keys
  if answer == 1 then
    for i = argument + 1, argument + 3 * changes, 3 do
      redis.call('SET', KEYS[key + tonumber(ARGV[i])], ARGV[i + 1], 'EX', ARGV[i + 2])
    end
  end
  argument = argument + 3 * changes
  key = key + keys
  answers[#answers + 1] = answer
end
return answers
"""
"""Some swaps, one after the other, each of some KEYS.

ARGV holds for each: the number of its keys and of its changes, what was seen under its keys (empty:
nothing), and of each change the key's place among its keys, the value and the time to live.

Returns for each 1 once stored, or the values that are there."""

FETCH = b"""\
local answers = {}
for place, key in ipairs(KEYS) do
  local value, left = redis.call('MGET', key)[1], redis.call('PTTL', key)
  answers[place] = {value, left}
  if not value and left ~= -2 then
    answers[place][3] = redis.pcall('TYPE', key).ok or 'unknown'
  end
end
return answers
"""
"""Returns the value of each of KEYS, and the milliseconds that it has to live (PTTL); of a key that
holds no text the type too. MGET, as GET fails for those."""

_COMPARE_AND_SET_SHA = hashlib.sha1(COMPARE_AND_SET, usedforsecurity=False).hexdigest().encode()


class RedisTransport(Protocol):
    """Carries commands to Redis. Raises ``StoreError`` for what can't be carried or is refused."""

    is_divided: bool
    """Whether keys may lie in several places."""

    def send(
        self, key: bytes, *command: Argument, is_valid: ReplyCheck | None = None
    ) -> Awaitable[Any]:
        """Send a command to the node that holds ``key``.

        An answer that does not fit is ``BadReply`` and costs the connection.
        """

    def slot(self, key: bytes) -> int:
        """Tell which keys one script can take together: those of one place."""

    async def nodes(self) -> Sequence[Send]:
        """Return for each node that holds keys a function that sends it a command."""

    async def connect(self) -> None:
        """Make the connections that commands will need."""

    def abandon(self) -> None:
        """Give up what is under way, but for a connection that is being made."""

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return what is known of why answers take longer than ``timeout_seconds``."""

    async def close(self) -> None:
        """Close all connections."""


class ConnectionLostError(StoreError):
    """The connection ended before the answer came; whether the command was done is not known."""


class InvalidReplyError(ConnectionLostError):
    """The answer was not one to the command that was sent; the connection has been closed."""

    def __init__(self, text: str, reply: Any) -> None:
        super().__init__(text)
        self.reply = reply


class SlotMigrationError(StoreError):
    """A Cluster is moving the keys of one place, and some are here, some there (TRYAGAIN)."""


class ScriptNotLoadedError(StoreError):
    """Redis does not know the script (NOSCRIPT): it was restarted, or its scripts were flushed."""


class CompareAndSet(NamedTuple):
    """Changes that are to be made where all is still as it was seen, and whose they are."""

    keys: Sequence[bytes]
    seen: Remembered
    changes: Sequence[Change]
    rule: Rule[Any]
    answer: Any
    """What the rule has said of ``seen``."""
    on_done: DoneCallback
    attempts: int
    connection_losses: int
    """Connections that have ended before its answer came."""


class RedisStore(Store):
    """A store in Redis."""

    def __init__(self, transport: RedisTransport, prefix: bytes) -> None:
        self._transport = transport
        self._prefix = prefix
        self._queued: list[CompareAndSet] = []
        self._warning = ""
        # Never more than a first guess: another server may have changed it meanwhile.
        self._cached: LruCache[bytes] = LruCache(MAX_CACHED_VALUES)

    # The contract -------------------------------------------------------------------------------

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Decide and store; see ``greyd.store.contract.Transacting``."""
        if self._transport.is_divided and len({self._slot(key) for key in keys}) > 1:
            call_when_done(self._transact_across(keys, rule), on_done)
        else:
            self._begin(keys, [self._cached.get(key) for key in keys], rule, on_done)

    async def connect(self) -> None:
        """Connect, so that the first request need not wait for it."""
        await self._transport.connect()

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``."""
        return (await self._records([key]))[0]

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Forget what is under ``keys``."""
        return sum([await self._send(key, _is_int, "DEL", self._prefix + key) for key in keys])

    async def count(self) -> int:
        """Return the number of entries; a walk through all of Redis's keys."""
        return sum([len(group) async for group in self._keys()])

    async def size(self) -> StoreSize:
        """Return the number of all keys, and the memory in use, of all nodes together."""
        entries, data = 0, 0
        try:
            for send in await self._transport.nodes():
                entries += await send("DBSIZE", is_valid=_is_int)
                data += _memory_in(await send("INFO", "memory"))
        except StoreError:
            # An ACL may well not let this user know.
            return StoreSize(None, None)
        return StoreSize(entries, data or None)

    async def records(self) -> AsyncIterator[Sequence[Record]]:
        """Go through all entries in the order of Redis's SCAN."""
        async for group in self._keys():
            yield [record for record in await self._records(group) if record is not None]

    async def maintain(self) -> None:
        """Do nothing: Redis forgets by itself."""

    def abandon(self) -> None:
        """Close the connections: what still comes over them is nobody's answer any more."""
        self._queued = []
        self._transport.abandon()

    def pop_warning(self) -> str:
        """Return what Redis has lately answered that was no answer."""
        pop_warning, self._warning = self._warning, ""
        return pop_warning

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return whether it is still connecting, or how long a round trip takes."""
        return self._transport.explain_delay(timeout_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    # How ----------------------------------------------------------------------------------------

    def _send(self, key: bytes, is_valid: ReplyCheck, *command: Argument) -> Awaitable[Any]:
        return self._transport.send(self._prefix + key, *command, is_valid=is_valid)

    def _slot(self, key: bytes) -> int:
        return self._transport.slot(self._prefix + key)

    def _begin(
        self,
        keys: Sequence[bytes],
        seen: Remembered,
        rule: Rule[Answer],
        on_done: DoneCallback,
        attempts: int = 1,
        connection_losses: int = 0,
    ) -> None:
        """Ask the rule about what is there, or believed to be there, and store its changes."""
        try:
            answer, changes = rule(seen)
        except Exception as error:  # noqa: BLE001 - goes to who asked; the others' work goes on
            on_done(None, error)
            return
        if not changes and attempts > 1:
            on_done(answer, None)
        elif attempts > MAX_ATTEMPTS:
            on_done(None, StoreError(CONTENTION))
        else:
            self._queue(
                CompareAndSet(
                    keys, seen, changes, rule, answer, on_done, attempts, connection_losses
                )
            )

    def _queue(self, request: CompareAndSet) -> None:
        """Let a swap travel with others of this turn of the loop."""
        if not self._queued:
            asyncio.get_running_loop().call_soon(self._send_queued)
        self._queued.append(request)
        if len(self._queued) == MAX_BATCH_SIZE:
            self._send_queued()

    def _send_queued(self) -> None:
        queued, self._queued = self._queued, []
        for together in self._by_slot(queued):
            self._send_batch(together)

    def _by_slot(self, batch: list[CompareAndSet]) -> Iterable[list[CompareAndSet]]:
        if not self._transport.is_divided:
            return [batch] if batch else []
        slots: dict[int, list[CompareAndSet]] = {}
        for request in batch:
            slots.setdefault(self._slot(request.keys[0]), []).append(request)
        return slots.values()

    def _send_batch(self, batch: list[CompareAndSet], *, send_script: bool = False) -> None:
        complete = partial(self._complete_batch, batch, send_script)
        try:
            call_when_done(
                self._call([request[:3] for request in batch], send_script=send_script), complete
            )
        except Exception as error:  # noqa: BLE001 - goes to who asked
            complete(None, error)

    def _complete_batch(
        self, batch: list[CompareAndSet], send_script: bool, outcomes: Any, error: Exception | None
    ) -> None:
        """Tell who waits what has become of it; who came too late is asked again."""
        if isinstance(error, ScriptNotLoadedError) and not send_script:
            self._send_batch(batch, send_script=True)
        elif isinstance(error, InvalidReplyError):
            self._complete_valid(batch, error)
        elif error is not None:
            for request in batch:
                self._call_safely(self._retry, request, error)
        else:
            for request, found in zip(batch, outcomes, strict=True):
                self._call_safely(self._complete_one, request, found)

    def _complete_valid(self, batch: list[CompareAndSet], error: InvalidReplyError) -> None:
        """Settle those whose outcome is one, and send each of the others again by itself."""
        self._warning = f"{error}; the connection was closed, and what was asked is asked again"
        reply = error.reply
        if type(reply) is not list or len(reply) != len(batch):
            reply = [None] * len(batch)
        for request, found in zip(batch, reply, strict=True):
            if _is_outcome(found, len(request.keys)):
                self._call_safely(self._complete_one, request, found)
            elif request.connection_losses == MAX_CONNECTION_LOSSES:
                self._call_safely(request.on_done, None, error)
            else:
                self._send_batch(
                    [request._replace(connection_losses=request.connection_losses + 1)]
                )

    def _call_safely(self, complete: Callable[..., None], *arguments: Any) -> None:
        """Settle one swap; what goes wrong there is not the others' concern."""
        try:
            complete(*arguments)
        except Exception as error:  # noqa: BLE001 - the loop's handler logs it as greyd's own
            asyncio.get_running_loop().call_exception_handler(
                {"message": "internal error, Redis", "exception": error}
            )

    def _complete_one(self, request: CompareAndSet, found: Any) -> None:
        if found == 1:
            for key, value, _ in request.changes:
                if self._cached.get(key) is not None:
                    self._cached.put(key, value)
            request.on_done(request.answer, None)
        else:
            self._update_cache(request.keys, found)
            self._begin(
                request.keys,
                found,
                request.rule,
                request.on_done,
                request.attempts + 1,
                request.connection_losses,
            )

    def _update_cache(self, keys: Sequence[bytes], found: Remembered) -> None:
        """Keep what was found where something else was believed to be."""
        for key, value in zip(keys, found, strict=True):
            if value is None:
                self._cached.pop(key)
            else:
                self._cached.put(key, value)

    def _retry(self, request: CompareAndSet, error: Exception) -> None:
        """Go on with a swap whose call failed, where there is another way."""
        if isinstance(error, SlotMigrationError):
            slots = [[key] for key in request.keys]
            call_when_done(
                self._transact_by_slot(request.keys, slots, request.rule), request.on_done
            )
        elif (
            isinstance(error, ConnectionLostError)
            and request.connection_losses < MAX_CONNECTION_LOSSES
        ):
            # Again over a new one. If the changes were stored all the same, they will be found
            # there, and the rule decides on them as on any other server's.
            self._queue(request._replace(connection_losses=request.connection_losses + 1))
        else:
            request.on_done(None, error)

    def _call(
        self,
        batch: Sequence[tuple[Sequence[bytes], Remembered, Sequence[Change]]],
        *,
        send_script: bool = False,
    ) -> Awaitable[Any]:
        """Call the script for keys, what was seen and changes; send it, where it is missing."""
        prefix = self._prefix
        names: list[bytes] = []
        arguments: list[Argument] = []
        for keys, seen, changes in batch:
            names += [prefix + key for key in keys]
            arguments += (len(keys), len(changes))
            arguments += [value or b"" for value in seen]
            for key, value, ttl_seconds in changes:
                arguments += (keys.index(key) + 1, value, ttl_seconds)
        script = (b"EVAL", COMPARE_AND_SET) if send_script else (b"EVALSHA", _COMPARE_AND_SET_SHA)
        is_valid = partial(_are_outcomes, [len(keys) for keys, _, _ in batch])
        return self._transport.send(
            names[0], *script, len(names), *names, *arguments, is_valid=is_valid
        )

    async def _compare_and_set(
        self, keys: Sequence[bytes], seen: Remembered, changes: Sequence[Change]
    ) -> Remembered | None:
        """Make changes if all is as it was seen; returns what is there where it is not."""
        batch = [(keys, seen, changes)]
        try:
            (found,) = await self._call(batch)
        except ScriptNotLoadedError:
            (found,) = await self._call(batch, send_script=True)
        return None if found == 1 else found

    async def _transact_across(self, keys: Sequence[bytes], rule: Rule[Answer]) -> Answer:
        """Decide on keys of several nodes; the first node's state decides, the others follow."""
        slots: dict[int, list[bytes]] = {}
        for key in keys:
            slots.setdefault(self._slot(key), []).append(key)
        return await self._transact_by_slot(keys, list(slots.values()), rule)

    async def _transact_by_slot(
        self, keys: Sequence[bytes], slots: Sequence[Sequence[bytes]], rule: Rule[Answer]
    ) -> Answer:
        """Decide, and store place by place."""
        # MGET, since GET fails for what is no text.
        found = [await self._send(key, _is_one, "MGET", self._prefix + key) for key in keys]
        seen = {key: values[0] for key, values in zip(keys, found, strict=True)}
        first, *others = slots
        answer = await self._transact_in_slot(keys, first, seen, rule)
        for slot in others:
            await self._transact_in_slot(keys, slot, seen, rule)
        return answer

    async def _transact_in_slot(
        self,
        keys: Sequence[bytes],
        slot: Sequence[bytes],
        seen: dict[bytes, bytes | None],
        rule: Rule[Answer],
    ) -> Answer:
        """Store the rule's changes on one node; ``seen`` keeps what the rule last saw there."""
        for _ in range(MAX_ATTEMPTS):
            answer, changes = rule([seen[key] for key in keys])
            here = [change for change in changes if change.key in slot]
            if not here:
                return answer
            found = await self._compare_and_set(slot, [seen[key] for key in slot], here)
            if found is None:
                return answer
            seen.update(zip(slot, found, strict=True))
        raise StoreError(CONTENTION)

    async def _keys(self) -> AsyncIterator[Sequence[bytes]]:
        pattern = b"".join(
            b"\\" + bytes([byte]) if byte in b"*?[]\\^-" else bytes([byte]) for byte in self._prefix
        )
        scan: tuple[Argument, ...] = ("MATCH", pattern + b"*", "COUNT", _KEYS_PER_SCAN)
        for send in await self._transport.nodes():
            cursor: Argument = 0
            while True:
                cursor, keys = await send("SCAN", cursor, *scan, is_valid=_is_step)
                yield [key[len(self._prefix) :] for key in keys]
                if int(cursor) == 0:
                    break

    async def _records(self, keys: Sequence[bytes]) -> list[Record | None]:
        found: list[Sequence[Any]] = []
        if self._transport.is_divided:
            for reply in [self._fetch([key]) for key in keys]:
                found += await reply
        else:
            # One after the other, so that others have their turn in between.
            for start in range(0, len(keys), _KEYS_PER_FETCH):
                found += await self._fetch(keys[start : start + _KEYS_PER_FETCH])
        return [_record(key, *each) for key, each in zip(keys, found, strict=True)]

    def _fetch(self, keys: Sequence[bytes]) -> Awaitable[Any]:
        names = [self._prefix + key for key in keys]
        is_valid = partial(_are_found, len(names))
        return self._transport.send(names[0], "EVAL", FETCH, len(names), *names, is_valid=is_valid)


_NO_END, _NOTHING = -1, -2
"""What PTTL says of a key without a time to live, and of one that is not there."""


def _record(
    key: bytes, value: bytes | None, milliseconds: int, foreign_type: bytes | None = None
) -> Record | None:
    if milliseconds in (0, _NOTHING):
        return None
    ttl_seconds = None if milliseconds == _NO_END else -(-milliseconds // 1000)
    return Record(key, value or b"", ttl_seconds, (foreign_type or b"").decode("ascii", "replace"))


# What answers look like. Exact types: True is an int, and what RESP 3 pushes is a list.


def _is_int(reply: Any) -> bool:
    return type(reply) is int


def _is_value(reply: Any) -> bool:
    return reply is None or type(reply) is bytes


def _is_one(reply: Any) -> bool:
    return type(reply) is list and len(reply) == 1 and _is_value(reply[0])


def _is_outcome(found: Any, size: int) -> bool:
    """Whether it tells of a swap of so many keys: 1, or the values that are there."""
    if type(found) is int:
        return found == 1
    return type(found) is list and len(found) == size and all(map(_is_value, found))


def _are_outcomes(sizes: Sequence[int], reply: Any) -> bool:
    return type(reply) is list and len(reply) == len(sizes) and all(map(_is_outcome, reply, sizes))


def _are_found(number: int, reply: Any) -> bool:
    """Whether it tells of so many keys the values and the times to live."""
    return type(reply) is list and len(reply) == number and all(map(_is_found, reply))


def _is_found(each: Any) -> bool:
    return (
        type(each) is list
        and 2 <= len(each) <= 3
        and _is_value(each[0])
        and type(each[1]) is int
        and all(type(foreign) is bytes for foreign in each[2:])
    )


def _is_step(reply: Any) -> bool:
    """Whether it is an answer to SCAN: where to go on, and keys."""
    if type(reply) is not list or len(reply) != 2:
        return False
    cursor, keys = reply
    return (
        type(cursor) is bytes
        and cursor.isdigit()
        and len(cursor) <= 20
        and type(keys) is list
        and all(type(key) is bytes for key in keys)
    )


def _memory_in(info: object) -> int:
    """Return what ``INFO memory`` says of the memory in use; 0 where it says nothing."""
    text = info if isinstance(info, bytes) else b""
    found = re.search(rb"^used_memory:([0-9]{1,18})", text, re.MULTILINE)
    return int(found[1]) if found else 0


class _InMemoryTransport:
    """Carries commands to fakeredis in this process."""

    is_divided = False

    def __init__(self) -> None:
        from fakeredis import FakeAsyncRedis

        self._redis = FakeAsyncRedis()

    async def send(
        self,
        key: bytes,  # noqa: ARG002 - all keys are in one place
        *command: Argument,
        is_valid: ReplyCheck | None = None,  # noqa: ARG002 - it is in this process
    ) -> Any:
        from redis.exceptions import NoScriptError, RedisError

        try:
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError as error:
            raise ScriptNotLoadedError(str(error)) from error
        except RedisError as error:
            raise StoreError(f"memory: {error}") from error

    def slot(self, key: bytes) -> int:  # noqa: ARG002 - all keys are in one place
        return 0

    async def nodes(self) -> Sequence[Send]:
        return [partial(self.send, b"")]

    async def connect(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def explain_delay(self, timeout_seconds: float) -> str:  # noqa: ARG002 - nothing is between
        return ""

    async def close(self) -> None:
        await self._redis.aclose()


def in_memory() -> RedisTransport:
    """Return a carrier to a Redis of this process's own."""
    return _InMemoryTransport()
