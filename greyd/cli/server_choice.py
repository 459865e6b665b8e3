"""Chooses the server that a command works with, and the settings that apply to it.

A running server's record decides (``greyd.config.running.run_record``). Without one, the settings
are those that a server would have if it were started now with the same options and files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.config.errors import SettingsError
from greyd.config.loading import settings_of_server
from greyd.config.options import BY_NAME, OWN_OPTIONS
from greyd.config.running.running_servers import find_running_servers
from greyd.config.server_settings import read_server_settings
from greyd.config.store_folder import default_folder
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.store.url import redact_url, validate_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.running.run_record import RunningServer
    from greyd.config.running.running_servers import FoundServers
    from greyd.config.settings import Settings


SELECTING_OPTIONS = ("config", "store", "dbdir", "key-prefix")
"""The options that select a store, and with it a server."""

MAX_LISTED_SERVERS = 10


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """The settings for a command, and the running server that they are from."""

    settings: Settings
    server: RunningServer | None
    """None if no running server uses the store."""
    found: FoundServers


def choose_server(options: Mapping[str, str | None]) -> ServerChoice:
    """Return the running server that the shared options select, or the only one.

    Args:
        options: the values of the shared options by name; None for those not given.

    Raises:
        SettingsError: no server runs, and the settings are invalid.
        StoreError: the store's URL is invalid.
        CommandError: several servers run, and the options select none of them.
    """
    arguments = [f"--{name}={text}" for name, text in options.items() if text is not None]
    try:
        own = read_server_settings(arguments)
    except SettingsError:
        # E.g. this user must not read the service's files; a running server's record has it all.
        found = _search(None, options)
        server = None if _selects_store(options) else _only_one(found)
        if server is None:
            raise
        return ServerChoice(_settings_of(server, arguments, None), server, found)
    validate_url(own.store)
    found = _search(own, options)
    server = _with_store(found, own) if _selects_store(options) else _only_one(found)
    settings = own if server is None else _settings_of(server, arguments, own)
    return ServerChoice(settings, server, found)


def _search(own: Settings | None, options: Mapping[str, str | None]) -> FoundServers:
    folders = []
    run_dir = (own.run_dir if own else None) or options.get("run-dir")
    if run_dir:
        folders.append(Path(run_dir))
    if own is not None:
        folders.append(_store_folder(own))
    return find_running_servers(folders, everywhere=not run_dir)


def _store_folder(settings: Settings) -> Path:
    if is_sqlite_url(settings.store):
        return sqlite_file(settings.store).absolute().parent
    return settings.dbdir or default_folder()


def _selects_store(options: Mapping[str, str | None]) -> bool:
    variables = (OWN_OPTIONS, *(BY_NAME[name].variable for name in SELECTING_OPTIONS))
    return any(options.get(name) for name in SELECTING_OPTIONS) or any(
        os.environ.get(variable) for variable in variables
    )


def store_url(settings: Settings) -> str:
    """Return the URL of the store that settings select; it may contain a password."""
    folder = settings.dbdir or default_folder()
    return settings.store or f"sqlite:{folder / 'greyd.db'}"


def _store_identity(url: str) -> str:
    """Return a text that is the same for two URLs of one store."""
    if is_sqlite_url(url):
        return f"sqlite:{os.path.realpath(sqlite_file(url))}"
    return redact_url(url)


def _key_prefix(server: RunningServer) -> str:
    given = dict(server.record.options)
    return given.get("key-prefix", BY_NAME["key-prefix"].default)


def _with_store(found: FoundServers, own: Settings) -> RunningServer | None:
    wanted = _store_identity(store_url(own)), own.key_prefix
    for server in found.servers:
        if (_store_identity(server.record.store), _key_prefix(server)) == wanted:
            return server
    return None


def _only_one(found: FoundServers) -> RunningServer | None:
    """Return the first of the running servers, which must all use one store.

    Raises:
        CommandError: they use several stores.
    """
    stores = {(_store_identity(each.record.store), _key_prefix(each)) for each in found.servers}
    if len(stores) > 1:
        lines = [describe_server(each) for each in found.servers[:MAX_LISTED_SERVERS]]
        raise CommandError(
            f"{len(found.servers)} servers run here; choose one with --store, --dbdir or"
            f" --run-dir: {'; '.join(lines)}"
        )
    return found.servers[0] if found.servers else None


def describe_server(server: RunningServer) -> str:
    """Return a server and its store in a few words, for messages."""
    record = server.record
    return f"server {record.pid} on {record.address}, store {record.store}"


def _settings_of(server: RunningServer, arguments: Sequence[str], own: Settings | None) -> Settings:
    """Return the server's settings, with the login of the store from this command's sources."""
    settings = settings_of_server(arguments, server.record.options)
    store = server.record.store
    if own is not None and _store_identity(store_url(own)) == _store_identity(store):
        # The record lacks the login and the options of the URL.
        store = store_url(own)
    return replace(settings, store=store)
