"""Reads options from arguments, environment variables, TOML tables and postgrey's variables."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.option import Arity, Option
from greyd.config.options import (
    BY_KEY,
    BY_NAME,
    BY_SPELLING,
    BY_VARIABLE,
    OF_POSTGREYS_PROCESS,
    OWN_OPTIONS,
)
from greyd.config.postgrey_variables import is_of_other_service, postgrey_variables
from greyd.config.toml_hints import key_hint
from greyd.config.values.header_text import parse_header
from greyd.config.values.parsers import parse_path, parse_store, parse_text, parse_unix_path
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class RawSetting:
    """The text of an option's value, and where it was set."""

    option: Option
    text: str
    where: str
    """Where it was set, for messages: ``--delay``, ``GREYD_DELAY`` or ``/etc/…: delay``."""


# Sources ----------------------------------------------------------------------------------------


def from_arguments(arguments: Sequence[str]) -> tuple[list[RawSetting], list[str]]:
    """Read a command line, without the names of program and command.

    Skips empty words, which Debian's init script passes.

    Returns:
        The values in their order; and the remaining words, from the first non-option on.

    Raises:
        SettingsError: an option is unknown, lacks its value, or has a value but takes none.
    """
    given: list[RawSetting] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word:
            continue
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            rest.insert(0, word)
            break
        given.append(_option(word, rest))
    return given, [word for word in rest if word]


def _option(word: str, rest: list[str]) -> RawSetting:
    """Read the option ``word``; remove its value from ``rest`` if that is a separate word."""
    name, equals, text = word.partition("=")
    option = BY_SPELLING.get(name)
    if option is None:
        raise SettingsError(f"{excerpt(name)}: unknown option; see greyd serve --help")
    if option.kind is Arity.FLAG:
        if equals:
            raise SettingsError(f"{name} takes no value")
        text = "yes"
    elif option.kind is Arity.OPTIONAL:
        if not equals and rest and not rest[0].startswith("-"):
            text = rest.pop(0)
        text = text or option.bare
    elif not equals:
        if not rest:
            raise SettingsError(f"{name} needs a value: {name}={option.metavar}")
        text = rest.pop(0)
    return RawSetting(option, text, name)


def from_environment(environment: Mapping[str, str]) -> tuple[list[RawSetting], list[str]]:
    """Read the ``GREYD_…`` variables; white space separates the values of a repeatable option.

    An empty variable counts as unset: Compose passes ``GREYD_DELAY=${DELAY}`` empty if DELAY is
    unset.

    Returns:
        The values, and the names of unknown variables.
    """
    given = []
    unknown = []
    for variable, text in environment.items():
        if not variable.startswith("GREYD_") or variable == OWN_OPTIONS or not text.strip():
            continue
        option = BY_VARIABLE.get(variable)
        if option is None:
            if not is_of_other_service(variable, text):
                unknown.append(variable)
            continue
        texts = text.split() if option.kind is Arity.MANY else [_without_margin(text, option)]
        given += [RawSetting(option, each, variable) for each in texts]
    return given, unknown


_WITH_SPACES = (parse_text, parse_path, parse_unix_path, parse_store, parse_header)
"""The parsers of texts that may begin or end with spaces."""


def _without_margin(text: str, option: Option) -> str:
    """Return a variable's value without what an environment file leaves around it.

    Docker keeps the carriage returns of a file with Windows line ends, and spaces at the ends of
    lines. Spaces may belong to a text or to a path.
    """
    return text.strip("\r\n" if option.read in _WITH_SPACES else None)


def from_words(environment: Mapping[str, str], variable: str) -> tuple[list[RawSetting], list[str]]:
    """Read a variable that holds options, split into words as systemd splits ``$VARIABLE``.

    Returns:
        The same as ``from_arguments``.

    Raises:
        SettingsError: an option is invalid, or a quotation mark is not closed.
    """
    try:
        given, ignored = from_arguments(shlex.split(environment.get(variable, "")))
    except (ValueError, SettingsError) as error:
        raise SettingsError(f"{variable}: {error}") from None
    return [replace(each, where=f"{variable}: {each.where}") for each in given], ignored


def from_postgrey(
    environment: Mapping[str, str],
) -> tuple[list[RawSetting], list[RawSetting], list[str]]:
    """Read the variables that are set for postgrey, e.g. those of Debian's /etc/default/postgrey.

    Options that concern postgrey's own process (its files, its user) are returned separately: they
    do not apply to greyd, which may lack the permissions for them.

    Returns:
        The values for greyd; the values that concern postgrey's process; and the remaining words,
        from the first non-option on.

    Raises:
        SettingsError: an option is invalid, or a quotation mark is not closed.
    """
    found: list[RawSetting] = []
    ignored: list[str] = []
    for each in postgrey_variables(environment):
        if each.option is None:
            words, rest = from_words(environment, each.name)
            found += words
            ignored += rest
        elif each.option.kind is Arity.MANY:
            found += [RawSetting(each.option, text, each.name) for text in each.text.split()]
        else:
            text = _without_margin(each.text, each.option)
            found.append(RawSetting(each.option, text, each.name))
    of_process = [each for each in found if each.option.name in OF_POSTGREYS_PROCESS]
    return [each for each in found if each not in of_process], of_process, ignored


def from_table(table: Mapping[str, object], file: str) -> list[RawSetting]:
    """Read the keys of a TOML file; ``file`` is its name for messages.

    Raises:
        SettingsError: a key is unknown, or a value has an unsupported type.
    """
    given = []
    for key, value in table.items():
        option = BY_KEY.get(key) or BY_NAME.get(key)
        where = f"{file}: {excerpt(key)}"
        if option is None or option.name == "config":
            remedy = "name no other file" if option else key_hint(key, value)
            raise SettingsError(f"{where}: unknown setting; {remedy}")
        if option.read_tables and not _is_text(value):
            tables = option.read_tables(value, where)
            given += [RawSetting(option, text, place) for place, text in tables]
            continue
        values = value if isinstance(value, list) and option.kind is Arity.MANY else [value]
        if option.name == "shadow" and isinstance(value, dict):
            values = list(_changes_of_table(value, where))
        for each in values:
            _check_type(each, option, where)
            given.append(RawSetting(option, _toml_text(each, where), where))
    return given


def _check_type(value: object, option: Option, where: str) -> None:
    """Raise SettingsError if a truth value or number stands where only text is allowed."""
    is_path = option.read in (parse_path, parse_unix_path, parse_store)
    if (isinstance(value, bool) and (is_path or option.read is parse_text)) or (
        isinstance(value, int | float) and is_path
    ):
        example = option.shown_default or option.metavar or "TEXT"
        raise SettingsError(
            f"{where}={_toml_text(value, where)}: expected a string in quotation marks, such as"
            f' "{example}"; leave it out for the default'
        )


def _changes_of_table(table: Mapping[str, object], where: str) -> Iterator[str]:
    """Yield the settings of the table ``shadow`` as the command line has them: ``NAME=VALUE``."""
    for key, value in table.items():
        for each in value if isinstance(value, list) else [value]:
            yield f"{key}={_toml_text(each, f'{where}.{excerpt(key)}')}"


def _is_text(value: object) -> bool:
    """Whether a value is a text, or a list of texts, as on the command line."""
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(each, str) for each in values)


def _toml_text(value: object, where: str) -> str:
    if isinstance(value, dict) and isinstance(zone := value.get("zone"), str):
        rest = {name: each for name, each in value.items() if name != "zone"}
        return ";".join([zone, *(f"{name}={_toml_list(rest[name], where)}" for name in rest)])
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise SettingsError(f"{where}: use a string, a number, true or false")


def _toml_list(value: object, where: str) -> str:
    values = value if isinstance(value, list) else [value]
    return ",".join(_toml_text(each, where) for each in values)
