"""Checks that the running servers have put a mode in force."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from greyd.cli.server.choice import find_servers
from greyd.cli.server.confirmed_server import ConfirmedServer
from greyd.cli.server.notes import identity_of
from greyd.config.values.parsers import parse_endpoint
from greyd.config.vocabulary import MODES
from greyd.doctor.server_metrics import MetricsError, fetch_metrics, url_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.config.running.run_record import RunRecord

VERIFY_TIMEOUT_SECONDS = 3.0
"""Maximum time to wait until a server has the mode; it reads the mode once a second."""

_POLL_SECONDS = 0.1


def servers_on_store(context: CommandContext) -> list[RunRecord]:
    """Return the running servers of this machine on the command's store; empty without one."""
    if context.server is None:
        return []
    found, _ = find_servers(context.options)
    own = next((each for each in found.servers if each.record == context.server), None)
    if own is None:
        return []
    return [each.record for each in found.servers if identity_of(each) == identity_of(own)]


async def verify_mode(servers: Sequence[RunRecord], mode: str | None) -> list[ConfirmedServer]:
    """Wait until each server has a mode in force; return what is known of each.

    Args:
        servers: running servers on the store.
        mode: the mode; None for the one that each server is configured with.
    """
    return list(
        await asyncio.gather(*(_verify(each, mode or configured_mode(each)) for each in servers))
    )


def configured_mode(server: RunRecord) -> str:
    """Return the mode of a server's ``--mode``."""
    return dict(server.options).get("mode", "on")


async def _verify(server: RunRecord, mode: str) -> ConfirmedServer:
    if server.metrics is None:
        return _unverified(server, "it has no metrics port")
    url = url_of(parse_endpoint(server.metrics))
    deadline = time.monotonic() + VERIFY_TIMEOUT_SECONDS
    while True:
        try:
            metrics = await fetch_metrics(url)
        except MetricsError:
            return _unverified(server, "its metrics port does not answer")
        # Until all workers have the new mode, the old one is shown as well.
        modes = [name for name in MODES if metrics.value("greyd_mode", name) == 1]
        if modes == [mode]:
            return ConfirmedServer(server.pid, server.address, True)
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(_POLL_SECONDS)
    detail = (
        f"its mode is {' and '.join(modes)} after {VERIFY_TIMEOUT_SECONDS:g} s; greyd doctor checks"
        " whether it reaches its store"
    )
    return ConfirmedServer(server.pid, server.address, False, detail)


def _unverified(server: RunRecord, reason: str) -> ConfirmedServer:
    detail = f"{reason}; it applies the mode within a second, and its log has a line"
    return ConfirmedServer(server.pid, server.address, None, detail)
