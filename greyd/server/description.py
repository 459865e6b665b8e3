"""Describes this server for the commands; see ``greyd.config.running.run_record``."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd import __version__
from greyd.config.running.run_record import RunRecord
from greyd.config.store_folder import own_state_folder
from greyd.redaction import contains_list_key
from greyd.server.sockets import address_of
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.store.url import parse_redis_url, redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.config.settings import Settings

_NOT_RECORDED = ("config", "daemonize", "dbdir", "group", "pidfile", "run-dir", "store", "user")
"""Options that concern only the process, or have their own field in the record."""


def run_file_folders(settings: Settings, store_folder: Path) -> Iterator[Path]:
    """Yield the folders for the record, in order of preference."""
    if settings.run_dir is not None:
        yield settings.run_dir
        return
    for name in os.environ.get("RUNTIME_DIRECTORY", "").split(":"):
        if name:
            yield Path(name)
    if is_sqlite_url(settings.store):
        yield sqlite_file(settings.store).absolute().parent
    yield store_folder
    if (folder := own_state_folder()) is not None:
        yield folder


def record_of(
    settings: Settings,
    store_folder: Path,
    sockets: Sequence[socket.socket],
    metrics_sockets: Sequence[socket.socket],
) -> RunRecord:
    """Return the record of this process, with its options and the addresses that it listens on."""
    store = redact_url(_absolute(settings.store or f"sqlite:{store_folder / 'greyd.db'}"))
    given = [each for each in settings.given if each[0] not in _NOT_RECORDED]
    options = [each for each in given if not contains_list_key(each[1])]
    withheld = {name: None for name, text in given if contains_list_key(text)}
    options.append(("dbdir", str(store_folder.absolute())))
    return RunRecord(
        pid=os.getpid(),
        version=__version__,
        started_at=int(time.time()),
        sockets=tuple(map(_name, sockets)),
        metrics=address_of(metrics_sockets[0]) if metrics_sockets else None,
        store=store,
        options=tuple(options),
        has_login=_has_login(settings.store),
        withheld=tuple(withheld),
    )


def _absolute(url: str) -> str:
    return f"sqlite:{sqlite_file(url).absolute()}" if is_sqlite_url(url) else url


def _has_login(url: str) -> bool:
    if not url or is_sqlite_url(url) or url.startswith("memory:"):
        return False
    parsed = parse_redis_url(url)
    return bool(parsed.username or parsed.password or parsed.options)


def _name(listening: socket.socket) -> str:
    if listening.family == socket.AF_UNIX:
        address = address_of(listening)
        return f"unix:{address if address.startswith('@') else Path(address).absolute()}"
    return f"inet:{address_of(listening)}"
