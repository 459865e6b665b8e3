"""Reads the options that a service starts postgrey with."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.option import Arity
from greyd.config.options import BY_NAME, OF_POSTGREYS_PROCESS
from greyd.config.settings import merge_settings
from greyd.config.sources import from_arguments
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.config.sources import RawSetting

_WHOLE_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class PostgreyOptions:
    """The options of postgrey, and what greyd does not understand of them."""

    given: tuple[RawSetting, ...]
    """All options that greyd knows."""
    unknown: tuple[str, ...] = ()
    """Words that greyd does not know, or rejects, each with the reason."""

    @property
    def for_greyd(self) -> tuple[RawSetting, ...]:
        """The options that greyd is to have: those that do not concern postgrey's own process."""
        return tuple(each for each in self.given if each.option.name not in OF_POSTGREYS_PROCESS)

    @property
    def settings(self) -> Settings:
        """The settings of a greyd with these options."""
        return merge_settings(self.given)

    def text(self) -> str:
        """Return the options as one would type them."""
        return " ".join(shlex.quote(_typed(each)) for each in self.given)


def _typed(given: RawSetting) -> str:
    name = f"--{given.option.name}"
    return name if given.option.kind is Arity.FLAG else f"{name}={given.text}"


def variable_names(words: Sequence[str]) -> list[str]:
    """Return the names of the variables in a command line of a unit."""
    found = [_WHOLE_VARIABLE.fullmatch(word) for word in words]
    whole = [each[1] or each[2] for each in found if each]
    return [*whole, *_VARIABLE.findall(" ".join(words))]


def expand_variables(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Expand the variables in a command line as systemd does.

    ``$NAME`` alone becomes as many words as its value has; ``${NAME}`` stays within its word.
    """
    expanded: list[str] = []
    for word in words:
        whole = _WHOLE_VARIABLE.fullmatch(word)
        if whole and whole[1]:
            expanded += split_words(environment.get(whole[1], ""))
        else:
            expanded.append(_VARIABLE.sub(lambda it: environment.get(it[1], ""), word))
    return expanded


def split_words(text: str) -> list[str]:
    """Split text into words as a shell does; at white space alone if a quotation mark is open."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def read_postgrey_options(words: Sequence[str]) -> PostgreyOptions:
    """Read postgrey's options.

    A word that greyd does not know, or whose value it rejects, is left out and reported.
    """
    given: list[RawSetting] = []
    unknown: list[str] = []
    rest = [word for word in words if word]
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            unknown.append(f"{excerpt(word)}: not an option")
            continue
        group = [word]
        # A following word may be the option's value.
        if rest and not rest[0].startswith("-"):
            group.append(rest.pop(0))
        try:
            read, left = from_arguments(group)
            # A rejected value must not stop the other options.
            merge_settings(read)
        except SettingsError as error:
            unknown.append(str(error).partition("; see greyd")[0])
            continue
        given += read
        unknown += [f"{excerpt(each)}: not an option" for each in left]
    return PostgreyOptions(_last_values(given), tuple(unknown))


def _last_values(given: Sequence[RawSetting]) -> tuple[RawSetting, ...]:
    """Return the options without those that a later one replaces."""
    last = {each.option.name: each for each in given}
    return tuple(
        each for each in given
        if each.option.kind is Arity.MANY or last[each.option.name] is each
    )  # fmt: skip


def toml_line(name: str, texts: Sequence[str]) -> str:
    """Return the line of greyd.toml that sets an option to these texts."""
    option = BY_NAME[name]
    if option.kind is Arity.FLAG:
        return f"{option.key} = true"
    if option.kind is Arity.MANY:
        return f"{option.key} = [{', '.join(map(_toml_string, texts))}]"
    text = texts[-1]
    is_number = re.fullmatch(r"0|[1-9][0-9]{0,8}", text)
    return f"{option.key} = {text if is_number else _toml_string(text)}"


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(map(_toml_character, escaped))}"'


def _toml_character(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08X}"
