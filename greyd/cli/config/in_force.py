"""Collects the options in force, where their values come from, and what a restart would change."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from greyd.cli.config.value_text import shown_texts
from greyd.cli.server.choice import store_url
from greyd.config.errors import SettingsError
from greyd.config.loading import merge_sources, read_sources, settings_of_server
from greyd.config.option import Arity
from greyd.config.options import OPTIONS
from greyd.config.running.running_servers import MAX_COMMAND_LINE_BYTES, PROCESSES
from greyd.config.server_settings import read_server_sources, service_environment
from greyd.config.setting_origins import SettingOrigin, SourceKind, origins_of
from greyd.config.settings import Settings
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from greyd.config.loading import SettingSources
    from greyd.config.option import Option
    from greyd.config.running.run_record import RunRecord

MAX_ENVIRONMENT_BYTES = 2**20

_NOT_COMPARED = (
    "config", "daemonize", "dbdir", "group", "pidfile", "run-dir", "store", "user",
)  # fmt: skip
"""Options that a server's record does not contain, because they concern only its process."""

_DEFAULTS = {each.name: each.default for each in fields(Settings) if each.init}


@dataclass(frozen=True, slots=True)
class OptionInForce:
    """An option: its value, where that comes from, and its value after a restart."""

    option: Option
    values: tuple[str, ...]
    """The value, or several, as one would type them; empty if there is none."""
    kind: SourceKind
    place: str
    next_values: tuple[str, ...] | None = None
    """The value after a restart, if it differs; None if it does not."""
    next_place: str = ""
    """Where that value comes from."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All options in force, and the warnings about their sources."""

    options: tuple[OptionInForce, ...]
    warnings: tuple[str, ...] = ()
    """What is unknown or ignored in the sources."""
    fault: str = ""
    """Why the sources can't be read or used, so that no origin is known; empty if they can."""


def configuration_without_server(arguments: Sequence[str]) -> Configuration:
    """Return the options that a server started now would have.

    Raises:
        SettingsError: a setting is invalid.
    """
    read = read_server_sources(arguments)
    settings = merge_sources(read)
    found = (_from_origin(each, settings) for each in origins_of(read))
    return Configuration(tuple(found), settings.warnings)


def configuration_of_server(server: RunRecord) -> Configuration:
    """Return the options of a running server, and what its files would change at a restart.

    Raises:
        SettingsError: the server's record can't be used by this version.
    """
    running = replace(settings_of_server((), server.options), store=server.store)
    try:
        with folder_of(server):
            read = _without_secret_store(sources_of_server(server), server)
            wanted = replace(merge_sources(read), store=server.store)
            # Both have absolute paths, and the same places in their values.
            comparable = settings_of_server((), wanted.given)
            origins = origins_of(read)
    except OSError as error:
        fault = f"can't read the server's command line ({error.strerror}); run this with sudo"
        return Configuration(tuple(_recorded(server, running)), fault=fault)
    except SettingsError as error:
        fault = f"a restart would fail, or its effect is unknown: {error}"
        return Configuration(tuple(_recorded(server, running)), fault=fault)
    recorded = {each.option.name: each for each in _recorded(server, running)}
    options = []
    for origin in origins:
        now = recorded[origin.option.name]
        after = _from_origin(origin, wanted)
        field = origin.option.field
        is_compared = origin.option.name not in (*_NOT_COMPARED, *server.withheld)
        if is_compared and getattr(running, field) != getattr(comparable, field):
            now = replace(now, next_values=after.values, next_place=after.place)
            options.append(now)
        else:
            options.append(after)
    return Configuration(tuple(options), wanted.warnings)


def sources_of_server(server: RunRecord) -> SettingSources:
    """Read the sources of a running server's settings as they are now.

    Raises:
        OSError: this user may not read the server's command line or environment.
        SettingsError: an option is unknown, or a file can't be read.
    """
    folder = PROCESSES / str(server.pid)
    words = _texts(folder / "cmdline", MAX_COMMAND_LINE_BYTES)
    variables = _texts(folder / "environ", MAX_ENVIRONMENT_BYTES)
    environment = dict(each.split("=", 1) for each in variables if "=" in each)
    if "INVOCATION_ID" in environment and _parent(folder) == 1:
        # systemd reads these files again at a restart.
        environment |= service_environment()
    arguments = words[words.index("serve") + 1 :] if "serve" in words else []
    return read_sources(arguments, environment)


def _texts(file: Path, max_bytes: int) -> list[str]:
    with file.open("rb") as opened:
        return os.fsdecode(opened.read(max_bytes)).split("\0")[:-1]


def _parent(folder: Path) -> int:
    lines = (folder / "status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("PPid:")))


@contextlib.contextmanager
def folder_of(server: RunRecord) -> Iterator[None]:
    """Work in the folder of a server: its options may have relative paths."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(contextlib.chdir(PROCESSES / str(server.pid) / "cwd"))
        yield


def _without_secret_store(read: SettingSources, server: RunRecord) -> SettingSources:
    """Replace the store's URL: the server overwrites passwords in its command line."""
    sources = tuple(
        [
            replace(each, text=server.store) if each.option.name == "store" else each
            for each in source
        ]
        for source in read.sources
    )
    return replace(read, sources=sources)


def _from_origin(origin: SettingOrigin, settings: Settings) -> OptionInForce:
    values = _values(origin, settings)
    return OptionInForce(origin.option, tuple(values), origin.kind, origin.place)


def _recorded(server: RunRecord, running: Settings) -> Iterator[OptionInForce]:
    """Yield the options of a server's record, whose origins are unknown."""
    texts: dict[str, list[str]] = {}
    for name, text in server.options:
        texts.setdefault(name, []).append(text)
    for option in OPTIONS:
        given = tuple(texts.get(option.name, ()))
        if option.kind is not Arity.MANY:
            given = given[-1:]
        is_default = not given and _field(running, option) == _DEFAULTS[option.field]
        kind = SourceKind.DEFAULT if is_default else SourceKind.PRESET
        place = "default" if is_default else "preset"
        if given or option.name == "store":
            kind, place = SourceKind.COMMAND_LINE, "given at startup"
        origin = SettingOrigin(option, given, kind, place)
        yield OptionInForce(option, tuple(_values(origin, running)), kind, place)


def _values(origin: SettingOrigin, settings: Settings) -> list[str]:
    if origin.option.name == "store":
        return [redact_url(store_url(settings))]
    value = _field(settings, origin.option)
    return shown_texts(origin, value, _DEFAULTS[origin.option.field])


def _field(settings: Settings, option: Option) -> Any:
    return getattr(settings, option.field)


def as_json(options: Sequence[OptionInForce]) -> list[Mapping[str, object]]:
    """Return options for ``--json``."""
    return [
        {
            "name": each.option.name,
            "values": list(each.values),
            "source": each.kind.value,
            "place": each.place,
            "default": each.option.shown_default or None,
            "after_restart": None
            if each.next_values is None
            else {"values": list(each.next_values), "place": each.next_place},
        }
        for each in options
    ]
