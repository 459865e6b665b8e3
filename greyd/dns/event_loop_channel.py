"""A c-ares channel whose sockets the event loop watches.

c-ares can also watch its sockets in a thread of its own, and aiodns uses that. But then each answer
needs the interpreter lock twice and a wake-up of the event loop, which takes more than half of the
time of a lookup.
"""

from __future__ import annotations

import asyncio
import weakref
from functools import partial
from typing import TYPE_CHECKING

import aiodns
import pycares

if TYPE_CHECKING:
    from collections.abc import Sequence

    ResponseFuture = asyncio.Future[pycares.DNSResult]

MAX_TICK_SECONDS = 1.0
"""Maximum time between two checks of c-ares for queries to repeat, while a query is in flight."""

_TYPES = {
    name: getattr(pycares, f"QUERY_TYPE_{name}") for name in ("A", "AAAA", "MX", "NS", "PTR", "TXT")
}


class EventLoopChannel:
    """Sends queries to name servers."""

    def __init__(self, servers: Sequence[str], timeout_seconds: float, tries: int) -> None:
        """Open a channel in the running event loop.

        Args:
            servers: the name servers; if empty, those of the system.
            timeout_seconds: the time-out of the first query.
            tries: the number of queries to each server; each waits twice as long as the previous.
        """
        self._loop = asyncio.get_running_loop()
        self._tick_seconds = min(timeout_seconds / 2, MAX_TICK_SECONDS)
        self._readers: set[int] = set()
        self._writers: set[int] = set()
        self._in_flight: set[ResponseFuture] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_retired = self._is_closed = False
        # A strong reference would keep the channel alive until the garbage collector finds it.
        watch = weakref.WeakMethod(self._watch)

        def on_socket_state(descriptor: int, readable: bool, writable: bool) -> None:
            if (method := watch()) is not None:
                method(descriptor, readable, writable)

        self._channel = pycares.Channel(
            sock_state_cb=on_socket_state, timeout=timeout_seconds, tries=tries
        )
        if servers:
            self._channel.servers = servers

    def query(self, name: str, record_type: str) -> ResponseFuture:
        """Send a query; the future gets the response, or a ``DNSError`` of aiodns.

        Raises:
            pycares.AresError: the query can't be sent.
        """
        future: ResponseFuture = self._loop.create_future()
        self._in_flight.add(future)
        try:
            self._channel.query(name, _TYPES[record_type], callback=partial(self._complete, future))
        except pycares.AresError:
            # c-ares reports some errors twice, e.g. of names below "onion".
            if not future.done():
                self._in_flight.discard(future)
                raise
        if self._timer is None and self._in_flight:
            self._timer = self._loop.call_later(self._tick_seconds, self._tick)
        return future

    def _complete(
        self, future: ResponseFuture, result: pycares.DNSResult, number: int | None
    ) -> None:
        self._in_flight.discard(future)
        if self._is_retired and not self._in_flight:
            # c-ares must not lose its channel while it calls this function.
            self._loop.call_soon(self.close)
        if future.done():
            return
        if number is None:
            future.set_result(result)
        else:
            future.set_exception(aiodns.error.DNSError(number, pycares.errno.strerror(number)))

    def _watch(self, descriptor: int, readable: bool, writable: bool) -> None:
        """Watch a socket of c-ares, or stop watching it."""
        channel, none = self._channel, pycares.ARES_SOCKET_BAD
        if readable:
            self._loop.add_reader(descriptor, channel.process_fd, descriptor, none)
            self._readers.add(descriptor)
        elif descriptor in self._readers:
            self._loop.remove_reader(descriptor)
            self._readers.discard(descriptor)
        if writable:
            self._loop.add_writer(descriptor, channel.process_fd, none, descriptor)
            self._writers.add(descriptor)
        elif descriptor in self._writers:
            self._loop.remove_writer(descriptor)
            self._writers.discard(descriptor)

    def _tick(self) -> None:
        """Let c-ares repeat or give up queries that got no response in time."""
        self._timer = None
        self._channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        if self._in_flight:
            self._timer = self._loop.call_later(self._tick_seconds, self._tick)

    def retire(self) -> None:
        """Close the channel once no query is in flight; it gets no further ones."""
        self._is_retired = True
        if not self._in_flight:
            self.close()

    def close(self) -> None:
        """Cancel all queries, and close the sockets."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._channel.cancel()
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)
        for descriptor in self._writers:
            self._loop.remove_writer(descriptor)
        self._readers.clear()
        self._writers.clear()
        self._channel.close()
