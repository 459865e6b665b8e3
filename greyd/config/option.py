"""One option: its names, how many values it takes, and its parser."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from greyd.config.values.parsers import Parser


class Arity(Enum):
    """How many values an option takes on the command line."""

    VALUE = "value"
    FLAG = "flag"
    OPTIONAL = "optional"
    """``--name``, ``--name=value`` or ``--name value``."""
    MANY = "many"
    """The option may be repeated; each use adds a value."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting, with its names and its parser."""

    name: str
    """Its name on the command line, without dashes."""
    field: str
    """Its field in ``Settings``."""
    read: Parser
    help: str
    kind: Arity = Arity.VALUE
    metavar: str = ""
    spellings: tuple[str, ...] = ()
    """Other names; a single letter is a short option."""
    zero_is_default: bool = False
    """``0`` means the default, as for postgrey; greyd then logs a warning."""
    empty_is_default: bool = False
    """An empty value means the default; greyd then logs a warning."""
    bare: str = ""
    """The value of an ``OPTIONAL`` option if only its name is given."""
    default: str = ""
    """The default, as one would type it."""
    default_note: str = ""
    """The default in words, if it depends on the machine."""
    choices: tuple[str, ...] = ()
    """Words that complete its value."""
    has_several: bool = False
    """Whether its value is a list of such words, separated by commas."""
    read_tables: Callable[[object, str], Iterable[tuple[str, str]]] | None = None
    """For an option with tables in TOML: converts a value and its place in the file to texts, each
    with its own place.
    """

    @property
    def shown_default(self) -> str:
        """The default for display: as one would type it, or in words; empty if there is none."""
        return self.default or self.default_note

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return "GREYD_" + self.name.upper().replace("-", "_")

    @property
    def key(self) -> str:
        """The key in the TOML file."""
        return self.name.replace("-", "_")
