"""Chooses the server that a command works with, and the settings that apply to it.

A running server's record decides (``greyd.config.running.run_record``). Without one, the settings
are those that a server would have if it were started now with the same options and files.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.server.contradictions import contradictions, selections, unused_store
from greyd.cli.server.notes import (
    SELECTING_OPTIONS,
    describe_in_row,
    describe_server,
    hidden_server,
    identity_of,
    note_on_others,
    nothing_found,
    server_list,
    store_identity,
    unusable_record,
    without_keys,
)
from greyd.config.errors import SettingsError
from greyd.config.loading import settings_of_server
from greyd.config.options import BY_NAME
from greyd.config.running import running_servers
from greyd.config.running.running_servers import find_running_servers
from greyd.config.server_settings import read_server_settings
from greyd.config.store_folder import default_folder
from greyd.config.values.parsers import parse_endpoint
from greyd.store.errors import StoreError
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.store.url import validate_url
from greyd.terminal import error_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from greyd.config.running.run_record import RunningServer, RunRecord
    from greyd.config.running.running_servers import FoundServers
    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """The settings for a command, and the running server that they come from."""

    settings: Settings
    server: RunningServer | None
    """None if no running server uses the store."""
    notes: tuple[str, ...] = ()
    """One line each: which server and store the command works with, and what contradicts it."""
    search_note: str = ""
    """Where it searched; empty if a server was found, or if the options select a store."""


def choose_server(options: Mapping[str, str | None], *, is_optional: bool = False) -> ServerChoice:
    """Return the running server that the shared options select, or the only one.

    Args:
        options: the values of the shared options by name; None for those not given.
        is_optional: the command can work without a server, e.g. on a file; if several servers run,
            it uses the settings of none.

    Raises:
        SettingsError: no server runs, and the settings are invalid.
        StoreError: the store's URL is invalid.
        CommandError: several servers run, and the options select none of them.
    """
    arguments = [f"--{name}={text}" for name, text in options.items() if text is not None]
    try:
        own = read_server_settings(arguments)
    except SettingsError as error:
        # E.g. this user may not read the service's files; a running server's record is enough.
        found = _search(None, options)
        server = None
        with contextlib.suppress(*((CommandError,) if is_optional else ())):
            server = None if selections(options) else _only_one(found)
        if server is None:
            if hidden := hidden_server(found):
                raise SettingsError(f"{error}; {hidden}") from None
            raise
        settings = _settings_of(server, arguments, None)
        notes = [_line(server, found), *contradictions(options, None, settings, server.record)]
        return ServerChoice(settings, server, tuple(notes))
    validate_url(own.store)
    found = _search(own, options)
    selects = bool(selections(options)) or (bool(options.get("config")) and _has_store(own))
    try:
        server = _with_store(found, own) if selects else _only_one(found)
    except CommandError:
        if not is_optional:
            raise
        note = f"{len(found.servers)} servers run here; --dbdir or --store uses the settings of one"
        return ServerChoice(own, None, (note,))
    if server is None:
        if is_optional and not selects:
            return ServerChoice(own, None)
        return _without_server(found, own, options, selects=selects)
    settings = _settings_of(server, arguments, own)
    notes = [_line(server, found), *contradictions(options, own, settings, server.record)]
    notes += _missing_from_record(server, own)
    return ServerChoice(settings, server, tuple(notes))


def find_servers(options: Mapping[str, str | None]) -> tuple[FoundServers, list[str]]:
    """Return the running servers that the shared options select, and what is wrong with those.

    Without an option that selects a store, these are all servers of this machine.
    """
    arguments = [f"--{name}={text}" for name, text in options.items() if text is not None]
    own, faults = None, []
    try:
        own = read_server_settings(arguments)
        validate_url(own.store)
    except (SettingsError, StoreError) as error:
        faults.append(str(error))
    found = _search(own, options)
    if own is not None and (selections(options) or (options.get("config") and _has_store(own))):
        wanted = store_identity(store_url(own)), own.key_prefix
        servers = tuple(each for each in found.servers if identity_of(each) == wanted)
        found = replace(found, servers=servers)
    return found, faults


def _missing_from_record(server: RunningServer, own: Settings) -> Iterator[str]:
    """Yield what the command lacks because the record has no secrets."""
    if server.record.has_login and store_identity(store_url(own)) != identity_of(server)[0]:
        yield (
            "the server's store needs a login or options, which its record lacks; give --store or"
            " --config, or run the command with sudo"
        )
    if server.record.withheld:
        yield without_keys(server)


def _line(server: RunningServer, found: FoundServers) -> str:
    note = note_on_others(server, found.servers)
    if note:
        return f"{describe_server(server)} ({note})"
    width = error_width()
    return describe_in_row(server, None if width is None else width - len("greyd: "))


def _without_server(
    found: FoundServers, own: Settings, options: Mapping[str, str | None], *, selects: bool
) -> ServerChoice:
    store = store_url(own)
    if found.servers:
        return ServerChoice(own, None, (unused_store(options, store, found.servers),))
    if not selects and (hidden := hidden_server(found)):
        return ServerChoice(own, None, (hidden,))
    note = "" if selects else nothing_found(found, store, list(_other_databases(store)))
    return ServerChoice(own, None, search_note=note)


def _other_databases(url: str) -> Iterator[Path]:
    """Yield the databases in the usual folders, except the one of this URL."""
    for folder in running_servers.STORE_FOLDERS:
        file = folder / "greyd.db"
        try:
            exists = file.is_file()
        except OSError:
            continue
        if exists and store_identity(f"sqlite:{file}") != store_identity(url):
            yield file


# Searching ----------------------------------------------------------------------------------------


def _search(own: Settings | None, options: Mapping[str, str | None]) -> FoundServers:
    folders = []
    given = options.get("run-dir") or os.environ.get(BY_NAME["run-dir"].variable)
    run_dir = (own.run_dir if own else None) or given
    if run_dir:
        folders.append(Path(run_dir))
    if own is not None:
        folders.append(_store_folder(own))
    return find_running_servers(folders, everywhere=not run_dir)


def _store_folder(settings: Settings) -> Path:
    if is_sqlite_url(settings.store):
        return sqlite_file(settings.store).absolute().parent
    return settings.dbdir or default_folder()


def _has_store(settings: Settings) -> bool:
    return any(name in SELECTING_OPTIONS for name, _ in settings.given)


def store_url(settings: Settings) -> str:
    """Return the URL of the store that settings select; it may contain a password."""
    folder = settings.dbdir or default_folder()
    return settings.store or f"sqlite:{folder / 'greyd.db'}"


def _with_store(found: FoundServers, own: Settings) -> RunningServer | None:
    wanted = store_identity(store_url(own)), own.key_prefix
    return next((each for each in found.servers if identity_of(each) == wanted), None)


def _only_one(found: FoundServers) -> RunningServer | None:
    """Return the first of the running servers, which must all use one store.

    Raises:
        CommandError: they use several stores.
    """
    if len({identity_of(each) for each in found.servers}) > 1:
        raise CommandError(
            f"{len(found.servers)} servers run here; choose one with --store, --dbdir or"
            " --run-dir:",
            server_list(found.servers),
        )
    return found.servers[0] if found.servers else None


# Settings -----------------------------------------------------------------------------------------


def _settings_of(server: RunningServer, arguments: Sequence[str], own: Settings | None) -> Settings:
    """Return the server's settings and addresses; the login of the store is this command's."""
    try:
        settings = settings_of_server(arguments, server.record.options)
    except SettingsError as error:
        raise SettingsError(f"{error}{unusable_record(server)}") from None
    store = server.record.store
    if own is not None and store_identity(store_url(own)) == store_identity(store):
        # The record lacks the login and the options of the URL.
        store = store_url(own)
    return _with_addresses(replace(settings, store=store), server.record)


def _with_addresses(settings: Settings, record: RunRecord) -> Settings:
    """Return settings with the addresses of the server's sockets, e.g. if systemd opened them."""
    return replace(
        settings,
        inet=tuple(map(parse_endpoint, _after("inet:", record.sockets))),
        unix=tuple(map(Path, _after("unix:", record.sockets))),
        metrics=parse_endpoint(record.metrics) if record.metrics else None,
    )


def _after(prefix: str, texts: Iterable[str]) -> Iterator[str]:
    return (text.removeprefix(prefix) for text in texts if text.startswith(prefix))
