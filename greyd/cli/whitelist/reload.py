"""Makes the running servers read a whitelist again, and checks that they have done so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.server.confirmed_server import ConfirmedServer
from greyd.config.errors import SettingsError
from greyd.config.loading import settings_of_server
from greyd.config.running.running_servers import find_running_servers
from greyd.config.values.parsers import parse_endpoint
from greyd.doctor.server_metrics import MetricsError, fetch_metrics, url_of
from greyd.whitelist.local.local_list import local_paths

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.cli.context import CommandContext
    from greyd.config.running.run_record import RunRecord

VERIFY_TIMEOUT_SECONDS = 5.0
"""Maximum time to wait until a server has read its whitelists again."""

_POLL_SECONDS = 0.1
_RELOADS = "greyd_whitelist_reloads_total"


@dataclass(frozen=True, slots=True)
class _Counts:
    success: float
    failure: float


async def reload_servers(context: CommandContext, file: Path) -> list[ConfirmedServer]:
    """Make all running servers that read ``file`` read their whitelists again (SIGHUP).

    Their metrics ports show whether they have. The list is empty if no running server reads it.
    """
    servers = [each for each in _running_servers(context) if _reads(each, file)]
    return list(await asyncio.gather(*map(_reload, servers)))


def _running_servers(context: CommandContext) -> Iterable[RunRecord]:
    """Return the server of the command, and the others of this machine."""
    run_dir = context.settings.run_dir
    folders = [Path(run_dir)] if run_dir else []
    found = find_running_servers(folders, everywhere=not run_dir)
    records = {each.record.pid: each.record for each in found.servers}
    if context.server is not None:
        records[context.server.pid] = context.server
    return records.values()


def _reads(server: RunRecord, file: Path) -> bool:
    try:
        paths = local_paths(settings_of_server((), server.options))
    except SettingsError:
        return False
    wanted = os.path.realpath(file)
    return any(os.path.realpath(path) == wanted for path in paths)


async def _reload(server: RunRecord) -> ConfirmedServer:
    before = await _counts(server)
    try:
        os.kill(server.pid, signal.SIGHUP)
    except PermissionError:
        remedy = f"no permission to signal it; run as root: kill -HUP {server.pid}"
        return ConfirmedServer(server.pid, server.address, False, remedy)
    except ProcessLookupError:
        return ConfirmedServer(server.pid, server.address, False, "it has stopped; start it")
    if before is None:
        remedy = "its metrics can't be read; its log says whether it has read the whitelists again"
        return ConfirmedServer(server.pid, server.address, None, remedy)
    workers = int(dict(server.options).get("workers", "1"))
    deadline = time.monotonic() + VERIFY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        now = await _counts(server)
        if now is None:
            continue
        if now.failure > before.failure:
            reason = "it could not read a file; its log names it: journalctl -u greyd"
            return ConfirmedServer(server.pid, server.address, False, reason)
        if now.success - before.success >= workers:
            return ConfirmedServer(server.pid, server.address, True)
    reason = f"no reload within {VERIFY_TIMEOUT_SECONDS:g} s; see its log: journalctl -u greyd"
    return ConfirmedServer(server.pid, server.address, None, reason)


async def _counts(server: RunRecord) -> _Counts | None:
    """Return how often a server has reloaded its whitelists; None if its metrics can't be read."""
    if server.metrics is None:
        return None
    with contextlib.suppress(MetricsError):
        metrics = await fetch_metrics(url_of(parse_endpoint(server.metrics)))
        return _Counts(
            metrics.value(_RELOADS, "success") or 0, metrics.value(_RELOADS, "failure") or 0
        )
    return None
