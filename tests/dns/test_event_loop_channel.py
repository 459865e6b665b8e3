"""Channels to name servers: their sockets are closed when nobody needs them any more."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.config.vocabulary import Endpoint
from greyd.dns import channels
from greyd.dns.channels import DnsChannels
from greyd.dns.event_loop_channel import EventLoopChannel
from tests.dns_server import SILENT, Zone, dns_server

if TYPE_CHECKING:
    from collections.abc import Callable

WORLD: Zone = {"mx1.example.com": ["300 A 192.0.2.1"]}


def socket_count() -> int:
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(link.readlink()).startswith("socket:")
    return count


async def settle(is_done: Callable[[], bool]) -> None:
    """Wait for c-ares, which closes channels in a thread of its own."""
    async with asyncio.timeout(20):
        while not is_done():  # noqa: ASYNC110 - the thread offers no event
            await asyncio.sleep(0.05)


def test_a_replaced_channel_closes_its_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "CHANNEL_LOOKUPS", 2)

    async def run() -> None:
        with dns_server(WORLD) as server:
            used = DnsChannels([Endpoint("127.0.0.1", server.port)], 1.5)
            before = socket_count()
            for _ in range(20):
                await used.query("mx1.example.com", "A")
                await used.query_uncached("mx1.example.com", "A")
            await used.close()
            await settle(lambda: socket_count() <= before)

    asyncio.run(run())


def test_a_retired_channel_still_gets_the_answers_in_flight() -> None:
    async def run() -> None:
        with dns_server(WORLD) as server:
            channel = EventLoopChannel([server.address], 1, 3)
            future = channel.query("mx1.example.com", "A")
            channel.retire()
            assert (await future).answer

    asyncio.run(run())


def test_closing_ends_the_queries_in_flight() -> None:
    async def run() -> None:
        with dns_server({"mx1.example.com": SILENT}) as server:
            channel = EventLoopChannel([server.address], 1, 3)
            future = channel.query("mx1.example.com", "A")
            channel.close()
            channel.close()
            with pytest.raises(Exception, match="cancelled"):
                await asyncio.wait_for(future, 5)

    asyncio.run(run())


def test_a_name_that_c_ares_refuses_is_an_error_once() -> None:
    async def run() -> None:
        with dns_server(WORLD) as server:
            channel = EventLoopChannel([server.address], 1, 3)
            with pytest.raises(Exception, match="not found"):
                await channel.query("a.onion", "A")
            # The resolver never sends such a name.
            with pytest.raises(Exception, match="isformatted"):
                await channel.query("a" * 64 + ".example", "A")
            channel.close()

    asyncio.run(run())
