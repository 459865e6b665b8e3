"""The c-ares channels through which the resolver sends its queries, and when they are replaced.

A channel has an unbounded cache that pycares cannot turn off, and that keeps an empty answer for an
hour whatever its SOA record says. Therefore a channel is used only for a limited time and number of
queries. It is also replaced within ``RESOLV_CONF_CHECK_SECONDS`` of a change to /etc/resolv.conf:
c-ares detects only a replaced file, and not if the file is a symbolic link or mounted into a
container.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.dns.event_loop_channel import EventLoopChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pycares

    from greyd.config.vocabulary import Endpoint

    ResponseFuture = asyncio.Future[pycares.DNSResult]

TRIES = 3
"""Number of queries that c-ares sends to each server; each waits twice as long as the previous."""

MIN_TRY_SECONDS = 0.25
"""Minimum time-out of the first query; c-ares waits longer for a server that has been slow."""

CHANNEL_SECONDS = 60
CHANNEL_LOOKUPS = 10_000
"""A channel is replaced after this time or this number of queries."""

RESOLV_CONF_CHECK_SECONDS = 1
"""Minimum time between two checks whether /etc/resolv.conf has changed."""

CLOSE_SECONDS = 1
"""Maximum time that ``close`` waits for c-ares to end cancelled queries."""

RESOLV_CONF = Path("/etc/resolv.conf")


class DnsChannels:
    """Sends queries through a channel that is replaced from time to time."""

    def __init__(
        self,
        servers: Sequence[Endpoint],
        timeout_seconds: float,
        now: Callable[[], float] = time.monotonic,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        """Create the channels of a resolver; none is open before the first query.

        Args:
            servers: the name servers; if empty, those in ``resolv_conf``.
            timeout_seconds: the time that callers wait. The time-out of the first query is such
                that two repeats fit into it.
            now: returns the time of a monotonic clock, in seconds.
            resolv_conf: the file from which c-ares reads the servers, watched for changes.
        """
        self._servers = [_server_text(each) for each in servers]
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._resolv_conf = resolv_conf
        self._in_use: dict[ResponseFuture, EventLoopChannel] = {}
        self._channel: EventLoopChannel | None = None
        self._until = 0.0
        self._query_count = 0
        self._check_at = 0.0
        self._file_version: tuple[int, ...] = ()

    def query(self, name: str, record_type: str) -> ResponseFuture:
        """Send a query through the current channel.

        Raises:
            pycares.AresError: the query can't be sent.
        """
        return self._send(self._current(), name, record_type)

    def query_uncached(self, name: str, record_type: str) -> ResponseFuture:
        """Send a query through a channel of its own, whose cache is empty.

        Raises:
            pycares.AresError: the query can't be sent.
        """
        channel = self._open()
        future = self._send(channel, name, record_type)
        channel.retire()
        return future

    def reset(self) -> None:
        """Use a new channel for the next query: the old one holds failures and waits longer."""
        if self._channel is not None:
            self._channel.retire()
        self._channel = None

    def _send(self, channel: EventLoopChannel, name: str, record_type: str) -> ResponseFuture:
        future = channel.query(name, record_type)
        self._in_use[future] = channel
        future.add_done_callback(self._in_use.pop)
        return future

    def _current(self) -> EventLoopChannel:
        now = self._now()
        if (
            self._channel is None
            or now >= self._until
            or self._query_count >= CHANNEL_LOOKUPS
            or (now >= self._check_at and self._file_has_changed(now))
        ):
            self._file_version = self._read_file_version()
            self._check_at = now + RESOLV_CONF_CHECK_SECONDS
            self.reset()
            self._channel = self._open()
            self._until = now + CHANNEL_SECONDS
            self._query_count = 0
        self._query_count += 1
        return self._channel

    def _file_has_changed(self, now: float) -> bool:
        self._check_at = now + RESOLV_CONF_CHECK_SECONDS
        return self._read_file_version() != self._file_version

    def _read_file_version(self) -> tuple[int, ...]:
        """Return numbers that change whenever the file is replaced or rewritten."""
        if self._servers:
            return ()
        try:
            status = self._resolv_conf.stat()
        except OSError:
            return ()
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def _open(self) -> EventLoopChannel:
        return EventLoopChannel(
            self._servers, max(self._timeout_seconds / 5, MIN_TRY_SECONDS), TRIES
        )

    async def close(self) -> None:
        """Cancel all queries, and wait up to ``CLOSE_SECONDS`` for their end."""
        channels = set(self._in_use.values())
        if self._channel is not None:
            channels.add(self._channel)
        for channel in channels:
            channel.close()
        # c-ares reports cancelled queries from its own thread through the event loop, so the loop
        # must outlive them.
        if self._in_use:
            await asyncio.wait(list(self._in_use), timeout=CLOSE_SECONDS)


def _server_text(server: Endpoint) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
