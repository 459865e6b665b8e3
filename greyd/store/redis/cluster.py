"""Sends commands to the nodes of a Redis Cluster, and keeps its topology up to date.

The topology (which node has which slot) comes from the nodes themselves, by ``CLUSTER SLOTS``. A
slot without a node, a redirection or a failed node causes a new query, which all requests that need
it share.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.crc import key_slot

from greyd.store.errors import StoreError
from greyd.store.redis.errors import (
    AbandonedError,
    RedirectionError,
    ScriptNotLoadedError,
    SlotMigrationError,
)
from greyd.store.redis.single_flight import SingleFlight
from greyd.store.redis.transport import RedisTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.store.redis.node import RedisNode
    from greyd.store.redis.transport import Argument, ReplyCheck, Send


SLOTS = 16384

MAX_REDIRECTIONS = 5
"""Redirections of one command after which greyd assumes a loop."""

MAX_QUERIED_NODES = 20
"""The maximum number of nodes to query for the topology at once."""

_MAX_PORT = 65535


class NodeAddress(NamedTuple):
    """The address of a node; a tuple, whose hash is cheap, because each request looks it up."""

    host: str
    port: int


class ClusterTransport(RedisTransport):
    """Sends each command to the node that has its key."""

    is_divided = True

    def __init__(
        self,
        hosts: Sequence[tuple[str, int]],
        node_at: Callable[[str, int], RedisNode],
        timeout_seconds: float,
    ) -> None:
        """Set up without connecting.

        Args:
            hosts: some of the Cluster's nodes, which know the others.
            node_at: returns the node at a host and port, not connected yet.
            timeout_seconds: how long a query of the topology may take.
        """
        self._hosts = [NodeAddress(*host) for host in hosts]
        self._node_at = node_at
        self._timeout_seconds = timeout_seconds
        self._nodes: dict[NodeAddress, RedisNode] = {}
        self._slots: list[NodeAddress | None] | None = None
        self._refreshing = SingleFlight(self._refresh)

    async def send(self, key: bytes, *command: Argument, is_valid: ReplyCheck | None = None) -> Any:
        """Send a command to the node that has ``key``; follow redirections."""
        address = await self._address_of(key_slot(key))
        ask = False
        for _ in range(MAX_REDIRECTIONS):
            node = self._node(address)
            try:
                if ask:
                    return await node.send_asking(*command, is_valid=is_valid)
                return await node.send(*command, is_valid=is_valid)
            except RedirectionError as moved:
                address, ask = NodeAddress(moved.host or address.host, moved.port), moved.ask
                if not ask:
                    self._refreshing.start()
            except (AbandonedError, SlotMigrationError, ScriptNotLoadedError):
                raise
            except StoreError:
                # The node may have failed, and another one may have taken over its keys.
                self._refreshing.start()
                raise
        self._refreshing.start()
        raise StoreError("redis+cluster: the nodes redirect in a circle")

    async def _address_of(self, slot: int) -> NodeAddress:
        address = self._slots[slot] if self._slots is not None else None
        if address is None:
            # The topology is unknown, or no node had the slot at the last query.
            address = (await self._refreshing.result())[slot]
        if address is None:
            raise StoreError(f"redis+cluster: no node has slot {slot}")
        return address

    def slot(self, key: bytes) -> int:
        """Return the key's slot."""
        return int(key_slot(key))

    async def nodes(self) -> Sequence[Send]:
        """Return a function for each node that holds keys, which sends commands to that node."""
        slots = self._slots or await self._refreshing.result()
        return [self._node(each).send for each in dict.fromkeys(slots) if each is not None]

    async def connect(self) -> None:
        """Fetch the topology, and connect to all nodes that have slots."""
        slots = self._slots or await self._refreshing.result()
        nodes = [self._node(each) for each in dict.fromkeys(slots) if each is not None]
        await asyncio.gather(*(node.connect() for node in nodes))

    def _node(self, address: NodeAddress) -> RedisNode:
        if address not in self._nodes:
            self._nodes[address] = self._node_at(*address)
        return self._nodes[address]

    async def _refresh(self) -> list[NodeAddress | None]:
        """Fetch the topology, and close the connections to nodes that are no longer part of it.

        Raises:
            StoreError: no node answered.
        """
        slots = await self._fetch_topology()
        self._slots = slots
        # These have left the Cluster, or only a redirection has named them.
        for address in self._nodes.keys() - {*slots, *self._hosts}:
            if not self._nodes[address].is_busy:
                self._nodes.pop(address).close()
        return slots

    async def _fetch_topology(self) -> list[NodeAddress | None]:
        """Query the nodes; return the first complete topology, else the one with the most slots."""
        best: list[NodeAddress | None] = []
        reason = "no answer in time"
        queried = list(dict.fromkeys([*self._hosts, *self._nodes]))[:MAX_QUERIED_NODES]
        queries = [asyncio.ensure_future(self._fetch_slots(each)) for each in queried]
        try:
            async with asyncio.timeout(self._timeout_seconds):
                for next_answer in asyncio.as_completed(queries):
                    try:
                        slots = await next_answer
                    except StoreError as error:
                        reason = str(error)
                        continue
                    if None not in slots:
                        return slots
                    best = max(best, slots, key=_assigned_slot_count)
        except TimeoutError:
            pass
        finally:
            for task in queries:
                task.cancel()
            await asyncio.gather(*queries, return_exceptions=True)
        if not best:
            raise StoreError(f"redis+cluster: {reason}")
        return best

    async def _fetch_slots(self, address: NodeAddress) -> list[NodeAddress | None]:
        while True:
            # The requests that needed the topology are abandoned, but the next ones need it.
            with contextlib.suppress(AbandonedError):
                reply = await self._node(address).send("CLUSTER", "SLOTS", is_valid=_are_slots)
                return _read_slots(reply, address.host)

    def abandon(self) -> None:
        """Give up all requests, and fetch the topology again."""
        self._refreshing.abandon()
        for node in self._nodes.values():
            node.abandon()
        self._refreshing.start()

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return why replies may take longer than ``timeout_seconds``; empty if unknown."""
        reasons = (node.explain_delay(timeout_seconds) for node in self._nodes.values())
        return next(filter(None, reasons), "")

    async def close(self) -> None:
        """Close all connections."""
        self._refreshing.cancel()
        for node in self._nodes.values():
            node.close()


def _assigned_slot_count(slots: Sequence[NodeAddress | None]) -> int:
    return sum(each is not None for each in slots)


def _are_slots(reply: Any) -> bool:
    """Whether a reply has the form of ``CLUSTER SLOTS``: ranges, each with master and replicas."""
    return type(reply) is list and all(_is_range(each) for each in reply)


def _is_range(each: Any) -> bool:
    if type(each) is not list or len(each) < 3:
        return False
    first, last, master = each[:3]
    return (
        type(first) is int
        and type(last) is int
        and 0 <= first <= last < SLOTS
        and type(master) is list
        and len(master) >= 2
        and (master[0] is None or type(master[0]) is bytes)
        and type(master[1]) is int
        and 0 < master[1] <= _MAX_PORT
    )


def _read_slots(reply: Sequence[Any], asked_host: str) -> list[NodeAddress | None]:
    """Return the node of each slot; a node without a host name is on ``asked_host``."""
    slots: list[NodeAddress | None] = [None] * SLOTS
    for first, last, master, *_ in reply:
        host = (master[0] or b"").decode("ascii", "replace")
        # Redis writes "?" for a host name that it does not know.
        address = NodeAddress(asked_host if host in ("", "?") else host, master[1])
        slots[first : last + 1] = [address] * (last + 1 - first)
    return slots
