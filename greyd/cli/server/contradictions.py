"""Describes what the options, files and variables of a command set differently from the server."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from greyd.cli.server.notes import (
    MAX_LISTED_DIFFERENCES,
    MAX_LISTED_SERVERS,
    NOT_COMPARED,
    SELECTING_OPTIONS,
    describe_server,
)
from greyd.config.errors import SettingsError
from greyd.config.loading import with_changes
from greyd.config.options import BY_NAME, OWN_OPTIONS
from greyd.config.server_settings import options_of_first_process
from greyd.config.sources import from_arguments, from_environment, from_postgrey, from_words
from greyd.plurals import noun
from greyd.redaction import excerpt
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from greyd.config.running.run_record import RunningServer, RunRecord
    from greyd.config.settings import Settings
    from greyd.config.sources import RawSetting


def selections(options: Mapping[str, str | None]) -> list[str]:
    """Return the options that select a store, as typed, or the variables that do."""
    return list(filter(None, (_selection(name, options.get(name)) for name in SELECTING_OPTIONS)))


def _selection(name: str, text: str | None) -> str:
    """Return the place and value of an option, or else of its variables; empty if none sets it."""
    place = f"--{name}"
    if not text:
        with contextlib.suppress(SettingsError):
            words, _ = from_words(os.environ, OWN_OPTIONS)
            found = [each for each in words if each.option.name == name]
            place, text = (found[-1].where, found[-1].text) if found else (place, None)
    if not text:
        place = BY_NAME[name].variable
        text = os.environ.get(place, "").strip()
    return f"{place}={excerpt(redact_url(text) if name == 'store' else text)}" if text else ""


def unused_store(
    options: Mapping[str, str | None], store: str, servers: Iterable[RunningServer]
) -> str:
    """Return the note that no running server uses the store that options or variables select."""
    given = " ".join(selections(options))
    others = "; ".join(describe_server(each) for each in list(servers)[:MAX_LISTED_SERVERS])
    where = f"{given}: " if given else ""
    return f"{where}no running server uses {redact_url(store)}; running: {others}"


# Settings -----------------------------------------------------------------------------------------


def contradictions(
    options: Mapping[str, str | None], own: Settings | None, server: Settings, record: RunRecord
) -> Iterator[str]:
    """Yield what this command's file and variables set differently from the running server.

    All differences are in one line. A variable that can't be read is in a line of its own.

    Args:
        options: the shared options on the command line; None for those not given.
        own: the settings of a server that would start here now; None if they can't be read.
        server: the running server's settings, which apply.
        record: the server's record, which lacks secrets.
    """
    try:
        given = _given_by_variables(options)
        of_variables = with_changes(server, given) if given else server
    except SettingsError as error:
        given, of_variables = [], server
        yield f"{error}; the running server's settings apply"
    variables = {each.option.name: each.where.partition(":")[0] for each in given}
    places: list[str] = []
    differences: dict[str, str] = {}
    if own is not None and (config := _selection("config", options.get("config"))):
        # A file takes precedence over postgrey's variables only.
        in_file = {name for name, _ in own.given if not _is_greyds(variables.get(name))}
        differences |= _differences(in_file - {*record.withheld}, own, server)
        places += [config] if differences else []
    in_variables = variables.keys() - differences.keys() - {*record.withheld}
    found = _differences(in_variables, of_variables, server)
    places += dict.fromkeys(variables[name] for name in found)
    differences |= found
    if places:
        yield (
            f"{_listed(places, ' and ')} {noun(len(places), 'differs', 'differ')} from the running"
            f" server, whose settings apply: {_listed(list(differences.values()), ', ')}"
        )


def _is_greyds(variable: str | None) -> bool:
    return variable is not None and variable.startswith("GREYD_")


def _given_by_variables(options: Mapping[str, str | None]) -> list[RawSetting]:
    """Return what this process's variables set; of several for one option, those that apply.

    Raises:
        SettingsError: a variable has an invalid option.
    """
    words, _ = from_words(os.environ, OWN_OPTIONS)
    variables, _ = from_environment(os.environ)
    postgreys, _, _ = from_postgrey(os.environ)
    of_server, _ = from_arguments(options_of_first_process())
    known = {BY_NAME[name].field for name, text in options.items() if text is not None}
    known |= {each.option.field for each in of_server}
    given: list[RawSetting] = []
    for source in (words, variables, postgreys):
        given += [each for each in source if each.option.field not in known]
        known |= {each.option.field for each in source}
    return [each for each in given if each.option.name not in NOT_COMPARED]


def _differences(names: Collection[str], own: Settings, server: Settings) -> dict[str, str]:
    """Return those of the options that differ, each with both values in words."""
    return {
        name: f"{name} (here {_text(own, name)}, server {_text(server, name)})"
        for name in dict(own.given)
        if name in names
        and name not in NOT_COMPARED
        and getattr(own, BY_NAME[name].field) != getattr(server, BY_NAME[name].field)
    }


def _text(settings: Settings, name: str) -> str:
    values = " ".join(text for option, text in settings.given if option == name)
    return excerpt(values or BY_NAME[name].shown_default or "unset", 40)


def _listed(texts: Sequence[str], separator: str) -> str:
    more = len(texts) - MAX_LISTED_DIFFERENCES
    shown = separator.join(texts[:MAX_LISTED_DIFFERENCES])
    return f"{shown} and {more} more" if more > 0 else shown
