"""The store that several servers share: Redis or Valkey, alone, with Sentinel, or as a Cluster.

The store is optimistic: the rule first runs on the cached values of the keys, which for most
greylisted mail are none. A script compares these with the current values. If they are equal, it
stores the rule's changes; otherwise it returns the current values, and the rule runs again. So a
request with a new triplet or with cached values costs one round trip, and any other costs two.

The requests of one turn of the event loop form batches of up to ``MAX_BATCH_SIZE``. One call of the
script handles a batch, request by request. In a Cluster, a batch has the requests of one slot.

If the keys of a request are in different slots of a Cluster, greyd fetches all values first, and
stores the changes slot by slot, in the order of the keys. If a value has changed meanwhile, the
rule runs again for its slot and the following ones.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from greyd.lru import LruCache
from greyd.rules.transaction import Answer, Record
from greyd.store.contract import (
    CONTENTION,
    MAX_ATTEMPTS,
    Store,
    StoreMemory,
    StoreSize,
    call_when_done,
)
from greyd.store.errors import StoreError
from greyd.store.key_filter import may_contain
from greyd.store.redis.contents import other_contents
from greyd.store.redis.errors import (
    ConnectionLostError,
    InvalidReplyError,
    ScriptNotLoadedError,
    SlotMigrationError,
)
from greyd.store.redis.replies import info_number, is_int, is_scan_step, is_single_value
from greyd.store.redis.scripts import (
    CompareAndSet,
    compare_and_set_command,
    fetch_check,
    fetch_command,
    is_outcome,
    outcome_check,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from greyd.rules.transaction import Remembered, Rule
    from greyd.store.contract import DoneCallback
    from greyd.store.redis.transport import Argument, RedisTransport, ReplyCheck

_KEYS_PER_SCAN = 500
_KEYS_PER_FETCH = 100
"""Few, because Redis does nothing else while it runs a script."""

MAX_BATCH_SIZE = 32
"""The maximum number of requests in one call of the script. In a busy turn, Redis can start on the
first batch while greyd still reads requests for the next one."""

MAX_CONNECTION_LOSSES = 3
"""Connections that may be lost during one request before it fails."""

MAX_CACHED_VALUES = 10_000


@dataclass(slots=True)
class _Request(CompareAndSet):
    """A compare-and-set in progress, with the caller's rule and callback."""

    rule: Rule[Any]
    answer: Any
    """The rule's answer to the expected values."""
    on_done: DoneCallback
    attempts: int
    connection_losses: int


class RedisStore(Store):
    """A store in Redis."""

    def __init__(self, transport: RedisTransport, prefix: bytes) -> None:
        """Use Redis over ``transport``; all keys begin with ``prefix``."""
        self._transport = transport
        self._prefix = prefix
        self._queued: list[_Request] = []
        self._warning = ""
        # Only a first guess: another server may have changed the value since.
        self._cache: LruCache[bytes] = LruCache(MAX_CACHED_VALUES)

    # The contract -------------------------------------------------------------------------------

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Apply a rule and store its changes; see ``greyd.store.contract.TransactionalStore``."""
        if self._transport.is_divided and len({self._slot(key) for key in keys}) > 1:
            call_when_done(self._transact_across_slots(keys, rule), on_done)
        else:
            self._decide(keys, [self._cache.get(key) for key in keys], rule, on_done)

    async def connect(self) -> None:
        """Connect in advance, so that the first request need not wait for the connection."""
        await self._transport.connect()

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``; None if it does not exist."""
        return (await self._fetch_records([key]))[0]

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete the entries under ``keys``; return how many existed."""
        return sum([await self._send(key, is_int, "DEL", self._prefix + key) for key in keys])

    async def count(self) -> int:
        """Return the number of entries, which takes a scan of all keys in Redis."""
        return sum([len(group) async for group in self._scan_keys()])

    async def size(self) -> StoreSize:
        """Return the number of all keys and the memory in use, over all nodes."""
        entry_count, size_bytes = 0, 0
        try:
            for send in await self._transport.nodes():
                entry_count += await send("DBSIZE", is_valid=is_int)
                size_bytes += info_number(await send("INFO", "memory"), b"used_memory")
        except StoreError:
            # An ACL may forbid these commands.
            return StoreSize(None, None)
        return StoreSize(entry_count, size_bytes or None)

    async def memory(self) -> StoreMemory | None:
        """Return the memory in use, over all nodes; None if ``INFO`` fails."""
        used_bytes, limits, evicted = 0, list[int](), 0
        try:
            for send in await self._transport.nodes():
                memory, stats = await send("INFO", "memory"), await send("INFO", "stats")
                used_bytes += info_number(memory, b"used_memory")
                limits.append(info_number(memory, b"maxmemory"))
                evicted += info_number(stats, b"evicted_keys")
        except StoreError:
            # An ACL may forbid it.
            return None
        # A node without a limit may grow, whatever the others' limits.
        return StoreMemory(used_bytes, sum(limits) if all(limits) else 0, evicted)

    async def other_contents(self) -> Sequence[str]:
        """Return other databases with keys, and prefixes of keys that look like greyd's."""
        return await other_contents(self._transport, self._prefix)

    async def records(self, containing: Sequence[bytes] = ()) -> AsyncIterator[Sequence[Record]]:
        """Yield all entries in the order of Redis's SCAN."""
        async for keys in self._scan_keys():
            group = [each for each in keys if may_contain(each, containing)]
            yield [record for record in await self._fetch_records(group) if record is not None]

    async def maintain(self) -> None:
        """Do nothing: Redis deletes expired entries itself."""

    def abandon(self) -> None:
        """Give up all requests."""
        self._queued = []
        self._transport.abandon()

    def pop_warning(self) -> str:
        """Return a warning of the last invalid reply, and forget it; empty if there was none."""
        warning, self._warning = self._warning, ""
        return warning

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return why replies may take longer than ``timeout_seconds``; empty if unknown."""
        return self._transport.explain_delay(timeout_seconds)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    # One request --------------------------------------------------------------------------------

    def _send(self, key: bytes, is_valid: ReplyCheck, *command: Argument) -> Awaitable[Any]:
        return self._transport.send(self._prefix + key, *command, is_valid=is_valid)

    def _slot(self, key: bytes) -> int:
        return self._transport.slot(self._prefix + key)

    def _decide(
        self,
        keys: Sequence[bytes],
        values: Remembered,
        rule: Rule[Answer],
        on_done: DoneCallback,
        attempts: int = 1,
        connection_losses: int = 0,
    ) -> None:
        """Apply the rule to known or cached values, and queue its changes."""
        try:
            answer, changes = rule(values)
        except Exception as error:  # noqa: BLE001 - goes to the caller; other requests go on
            on_done(None, error)
            return
        if not changes and attempts > 1:
            on_done(answer, None)
        elif attempts > MAX_ATTEMPTS:
            on_done(None, StoreError(CONTENTION))
        else:
            self._queue(
                _Request(keys, values, changes, rule, answer, on_done, attempts, connection_losses)
            )

    def _complete(self, request: _Request, found: Any) -> None:
        if found == 1:
            for key, value, _ in request.changes:
                if self._cache.get(key) is not None:
                    self._cache.put(key, value)
            request.on_done(request.answer, None)
        else:
            self._update_cache(request.keys, found)
            self._decide(
                request.keys, found, request.rule, request.on_done,
                request.attempts + 1, request.connection_losses,
            )  # fmt: skip

    def _update_cache(self, keys: Sequence[bytes], values: Remembered) -> None:
        for key, value in zip(keys, values, strict=True):
            if value is None:
                self._cache.pop(key)
            else:
                self._cache.put(key, value)

    def _fail(self, request: _Request, error: Exception) -> None:
        """Retry a failed request if that can help; otherwise pass the error to its caller."""
        if isinstance(error, SlotMigrationError):
            single_keys = [[key] for key in request.keys]
            transaction = self._transact_in_order(request.keys, single_keys, request.rule)
            call_when_done(transaction, request.on_done)
        elif isinstance(error, ConnectionLostError):
            self._retry(request, error, self._queue)
        else:
            request.on_done(None, error)

    def _retry(self, request: _Request, error: Exception, send: Callable[[_Request], None]) -> None:
        """Send a request again over a new connection.

        If Redis had stored the changes nevertheless, the script finds them, and the rule runs on
        them as on the changes of another server.
        """
        if request.connection_losses >= MAX_CONNECTION_LOSSES:
            request.on_done(None, error)
        else:
            request.connection_losses += 1
            send(request)

    # Batches ------------------------------------------------------------------------------------

    def _queue(self, request: _Request) -> None:
        """Add a request to the batch of this turn of the event loop."""
        if not self._queued:
            asyncio.get_running_loop().call_soon(self._send_queued)
        self._queued.append(request)
        if len(self._queued) == MAX_BATCH_SIZE:
            self._send_queued()

    def _send_queued(self) -> None:
        queued, self._queued = self._queued, []
        for batch in self._by_slot(queued):
            self._send_batch(batch)

    def _by_slot(self, requests: list[_Request]) -> Iterable[list[_Request]]:
        if not self._transport.is_divided:
            return [requests] if requests else []
        slots: dict[int, list[_Request]] = {}
        for request in requests:
            slots.setdefault(self._slot(request.keys[0]), []).append(request)
        return slots.values()

    def _send_batch(self, batch: list[_Request], *, with_script: bool = False) -> None:
        on_reply = partial(self._on_reply, batch, with_script)
        try:
            call_when_done(self._compare_and_set(batch, with_script=with_script), on_reply)
        except Exception as error:  # noqa: BLE001 - goes to the callers
            on_reply(None, error)

    def _compare_and_set(
        self, batch: Sequence[CompareAndSet], *, with_script: bool
    ) -> Awaitable[Any]:
        command = compare_and_set_command(self._prefix, batch, with_script=with_script)
        return self._send(batch[0].keys[0], outcome_check(batch), *command)

    def _on_reply(
        self, batch: list[_Request], with_script: bool, outcomes: Any, error: Exception | None
    ) -> None:
        if isinstance(error, ScriptNotLoadedError) and not with_script:
            self._send_batch(batch, with_script=True)
        elif isinstance(error, InvalidReplyError):
            self._complete_valid_outcomes(batch, error)
        elif error is not None:
            for request in batch:
                self._call_safely(self._fail, request, error)
        else:
            for request, found in zip(batch, outcomes, strict=True):
                self._call_safely(self._complete, request, found)

    def _complete_valid_outcomes(self, batch: list[_Request], error: InvalidReplyError) -> None:
        """Complete the requests whose part of the reply is valid; send each of the others alone."""
        self._warning = f"{error}; closed the connection and sent the requests again"
        reply = error.reply
        if type(reply) is not list or len(reply) != len(batch):
            reply = [None] * len(batch)
        for request, found in zip(batch, reply, strict=True):
            if is_outcome(found, len(request.keys)):
                self._call_safely(self._complete, request, found)
            else:
                self._call_safely(self._retry, request, error, self._send_alone)

    def _send_alone(self, request: _Request) -> None:
        self._send_batch([request])

    def _call_safely(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call ``call``; report its failure, which must not affect other requests of the batch."""
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001 - the loop's handler logs it as greyd's own
            asyncio.get_running_loop().call_exception_handler(
                {"message": "internal error, Redis", "exception": error}
            )

    # Several slots ------------------------------------------------------------------------------

    async def _transact_across_slots(self, keys: Sequence[bytes], rule: Rule[Answer]) -> Answer:
        slots: dict[int, list[bytes]] = {}
        for key in keys:
            slots.setdefault(self._slot(key), []).append(key)
        return await self._transact_in_order(keys, list(slots.values()), rule)

    async def _transact_in_order(
        self, keys: Sequence[bytes], groups: Sequence[Sequence[bytes]], rule: Rule[Answer]
    ) -> Answer:
        """Apply the rule and store its changes group by group; return the first group's answer."""
        # All at once, so that they take no longer than one. MGET, because GET fails for a key that
        # holds no string.
        found = await asyncio.gather(
            *(self._send(key, is_single_value, "MGET", self._prefix + key) for key in keys)
        )
        values = {key: reply[0] for key, reply in zip(keys, found, strict=True)}
        first, *others = groups
        answer = await self._store_group(keys, first, values, rule)
        for group in others:
            await self._store_group(keys, group, values, rule)
        return answer

    async def _store_group(
        self,
        keys: Sequence[bytes],
        group: Sequence[bytes],
        values: dict[bytes, bytes | None],
        rule: Rule[Answer],
    ) -> Answer:
        """Store the rule's changes to one group of keys; update changed ``values``."""
        for _ in range(MAX_ATTEMPTS):
            answer, changes = rule([values[key] for key in keys])
            here = [change for change in changes if change.key in group]
            if not here:
                return answer
            found = await self._compare_and_set_alone(
                CompareAndSet(group, [values[key] for key in group], here)
            )
            if found == 1:
                return answer
            values.update(zip(group, found, strict=True))
        raise StoreError(CONTENTION)

    async def _compare_and_set_alone(self, request: CompareAndSet) -> Any:
        """Run one compare-and-set; return 1 if it stored the changes, else the current values."""
        try:
            (outcome,) = await self._compare_and_set([request], with_script=False)
        except ScriptNotLoadedError:
            (outcome,) = await self._compare_and_set([request], with_script=True)
        return outcome

    # Entries ------------------------------------------------------------------------------------

    async def _scan_keys(self) -> AsyncIterator[Sequence[bytes]]:
        pattern = b"".join(
            b"\\" + bytes([byte]) if byte in b"*?[]\\^-" else bytes([byte]) for byte in self._prefix
        )
        options: tuple[Argument, ...] = ("MATCH", pattern + b"*", "COUNT", _KEYS_PER_SCAN)
        for send in await self._transport.nodes():
            cursor: Argument = 0
            while True:
                cursor, keys = await send("SCAN", cursor, *options, is_valid=is_scan_step)
                yield [key[len(self._prefix) :] for key in keys]
                if int(cursor) == 0:
                    break

    async def _fetch_records(self, keys: Sequence[bytes]) -> list[Record | None]:
        found: list[Sequence[Any]] = []
        if self._transport.is_divided:
            for reply in [self._fetch([key]) for key in keys]:
                found += await reply
        else:
            # One after the other, so that other requests have their turn in between.
            for start in range(0, len(keys), _KEYS_PER_FETCH):
                found += await self._fetch(keys[start : start + _KEYS_PER_FETCH])
        return [_record(key, *each) for key, each in zip(keys, found, strict=True)]

    def _fetch(self, keys: Sequence[bytes]) -> Awaitable[Any]:
        command = fetch_command([self._prefix + key for key in keys])
        return self._send(keys[0], fetch_check(len(keys)), *command)


_NO_EXPIRY, _NO_KEY = -1, -2
"""PTTL's replies for a key without a time to live, and for a key that does not exist."""


def _record(
    key: bytes, value: bytes | None, milliseconds: int, foreign_type: bytes | None = None
) -> Record | None:
    if milliseconds in (0, _NO_KEY):
        return None
    ttl_seconds = None if milliseconds == _NO_EXPIRY else -(-milliseconds // 1000)
    return Record(key, value or b"", ttl_seconds, (foreign_type or b"").decode("ascii", "replace"))
