"""Describes the servers that a command has found, or that it has found none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greyd import __version__
from greyd.config.options import BY_NAME
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from greyd.config.running.run_record import RunningServer
    from greyd.config.running.running_servers import FoundServers

SELECTING_OPTIONS = ("store", "dbdir", "key-prefix")
"""The options that select a store, and with it a server."""

MAX_LISTED_SERVERS = 10
MAX_LISTED_DIFFERENCES = 5

NOT_COMPARED = (
    *SELECTING_OPTIONS, "config", "run-dir", "inet", "unix", "metrics", "daemonize", "pidfile",
    "user", "group", "store-timeout", "store-password-file", "sentinel-user",
    "sentinel-password-file", "shadow",
)  # fmt: skip
"""Options that concern the server's process, or access to the store."""


def describe_server(server: RunningServer) -> str:
    """Return a server and its store in a few words."""
    record = server.record
    return f"server {record.pid} on {record.address}, store {record.store}"


_MIN_STORE_WIDTH = 16


def describe_in_row(server: RunningServer, width: int | None) -> str:
    """Return a server and its store in one row of a terminal; whole in a pipe.

    Args:
        server: the server.
        width: the room, in columns; None for a pipe.
    """
    whole = describe_server(server)
    if width is None or len(whole) <= width:
        return whole
    from greyd.cli.tables.shorten import shorten_path

    record = server.record
    for beginning in (f"server {record.pid} on {record.address}, store ", f"server {record.pid}, "):
        if width - len(beginning) >= _MIN_STORE_WIDTH:
            return f"{beginning}{shorten_path(record.store, width - len(beginning))}"
    return whole


def store_identity(url: str) -> str:
    """Return a text that is the same for two URLs of one store."""
    if is_sqlite_url(url):
        return f"sqlite:{os.path.realpath(sqlite_file(url))}"
    return redact_url(url)


def identity_of(server: RunningServer) -> tuple[str, str]:
    """Return what identifies a server's store: its URL, and the prefix of its keys."""
    prefix = dict(server.record.options).get("key-prefix", BY_NAME["key-prefix"].default)
    return store_identity(server.record.store), prefix


def unusable_record(server: RunningServer) -> str:
    """Return the remedy, after ``; ``, if the settings of a record can't be used here."""
    if server.record.version != __version__:
        return (
            f"; this is greyd {__version__}, and the server that {server.path} describes is"
            f" {server.record.version}: use its commands"
        )
    return "" if os.geteuid() == 0 else "; run the command with sudo, or as the server's user"


def without_keys(server: RunningServer) -> str:
    """Return that the record lacks DNS lists, because a key is part of their names."""
    names = ", ".join(f"--{name}" for name in server.record.withheld)
    return (
        f"the record lacks values of the server's {names}, because they contain the key of a DNS"
        " list, so this command does without them; write {key} in its place, and name a file with"
        " the key as key_file (docs/dns-lists.md)"
    )


# Several servers ----------------------------------------------------------------------------------


def selecting_options(server: RunningServer) -> str:
    """Return the options that select one server among several."""
    url, prefix = identity_of(server)
    if server.record.has_login or url.startswith("memory:"):
        return f"--run-dir={server.path}"
    if not is_sqlite_url(url):
        is_default = prefix == BY_NAME["key-prefix"].default
        return f"--store={server.record.store}{'' if is_default else f' --key-prefix={prefix}'}"
    file = sqlite_file(server.record.store)
    return f"--dbdir={file.parent}" if file.name == "greyd.db" else f"--store=sqlite:{file}"


def server_list(servers: Sequence[RunningServer]) -> Iterator[str]:
    """Yield a line for each server, with the options that select it."""
    for server in servers[:MAX_LISTED_SERVERS]:
        yield f"  {selecting_options(server)}: {describe_server(server)}"
    if len(servers) > MAX_LISTED_SERVERS:
        yield f"  and {len(servers) - MAX_LISTED_SERVERS} more"


def note_on_others(server: RunningServer, servers: Iterable[RunningServer]) -> str:
    """Return a note if other servers share the store; empty if none does."""
    others = [
        each for each in servers if each is not server and identity_of(each) == identity_of(server)
    ]
    if not others:
        return ""
    own = set(server.record.options)
    differing = {name for each in others for name, _ in own ^ set(each.record.options)}
    names = sorted(differing - {*NOT_COMPARED})
    note = f"{len(others) + 1} servers use this store"
    if names:
        shown = ", ".join(names[:MAX_LISTED_DIFFERENCES])
        note += f", and differ in {shown}; --run-dir={others[0].path} selects another one"
    return note


# No server ----------------------------------------------------------------------------------------


def hidden_server(found: FoundServers) -> str:
    """Describe a running server that can't be used, and what to do; empty if there is none."""
    if found.unreadable:
        return (
            f"a server runs, but this user can't read its record {found.unreadable[0]}; run the"
            " command with sudo, or as the server's user"
        )
    if found.processes:
        remedy = (
            "it keeps no record: name its store with --dbdir or --store"
            if os.geteuid() == 0
            else "run the command with sudo, or as the server's user"
        )
        return f"process {found.processes[0]} looks like a server, but {_no_record(remedy)}"
    if found.faulty:
        file, reason = found.faulty[0]
        return f"{file}: {reason}"
    if found.contained:
        return (
            f"process {found.contained[0]} is a server in a container; run the command there, as in"
            " docker exec CONTAINER greyd"
        )
    return ""


def _no_record(remedy: str) -> str:
    return remedy if remedy.startswith("it ") else f"this user can't read its record; {remedy}"


def nothing_found(found: FoundServers, settings_store: str, elsewhere: Sequence[Path]) -> str:
    """Return the note that no server runs, where the command searched, and what to specify.

    Args:
        found: the result of the search.
        settings_store: the URL of the store that the command uses instead.
        elsewhere: databases of greyd in other usual folders.
    """
    places = ", ".join(map(str, found.searched))
    processes = " and the processes" if found.everywhere else ""
    text = f"no running server in {places}{processes}; using {redact_url(settings_store)}"
    if elsewhere:
        return f"{text}; --dbdir={elsewhere[0].parent} selects {elsewhere[0]}"
    return f"{text}; select another one with --dbdir or --store"
