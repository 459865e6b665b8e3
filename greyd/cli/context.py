"""The administrator's commands: what all of them share. Each has a file of its own beside this.

A command is a function that gets an ``CommandContext`` and its own arguments, declared for typer,
and
returns the exit status: 0 (also by None) when all is well, 1 when the answer is no (nothing found,
something wrong), 2 when it can't be done. ``greyd.cli.app`` adds the options that every command
has: those that say which server it is about, and ``--json``.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from greyd.cli.errors import CommandError
from greyd.cli.opening import opened
from greyd.config.durations import parse_duration
from greyd.config.secrets import read_secrets
from greyd.config.server_settings import read_server_settings
from greyd.config.store_folder import default_folder
from greyd.escaping import printable_text
from greyd.store.url import validate_url
from greyd.terminal import new_console

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType

    from greyd.config.settings import Settings
    from greyd.rules.transaction import Rule
    from greyd.store.contract import Store

    Question = tuple[Sequence[bytes], Rule[Any]]


EXIT_NO = 1
"""Exit status: the answer is no."""

EXIT_ERROR = 2
"""Exit status: it can't be done."""

STORE_TIMEOUT_SECONDS = 5.0
"""How long a command waits for the store at a time; mail does not wait for it."""

SHARED_OPTIONS = (
    "config", "store", "store-password-file", "sentinel-user", "sentinel-password-file", "dbdir",
    "key-prefix",
)  # fmt: skip
"""Options of the server that every command takes."""


@dataclass(frozen=True)
class CommandContext:
    """What a command works with."""

    settings: Settings
    """The server's."""
    as_json: bool = False
    _output: list[Console] = field(default_factory=list)

    @classmethod
    def of(cls, given: Mapping[str, str | None], *, as_json: bool = False) -> CommandContext:
        """Return one for the server that the options name.

        Raises:
            SettingsError: the server's settings can't be read.
            SecretError: nor can its secrets.
            StoreError: the URL of its store means nothing.
        """
        words = [f"--{name}={text}" for name, text in given.items() if text is not None]
        settings = read_secrets(read_server_settings(words))
        validate_url(settings.store)
        return cls(replace(settings, store_timeout_seconds=STORE_TIMEOUT_SECONDS), as_json)

    # The store ----------------------------------------------------------------------------------

    @property
    def store_url(self) -> str:
        """The URL of the server's store; it may hold a password."""
        folder = self.settings.dbdir or default_folder()
        return self.settings.store or f"sqlite:{folder / 'greyd.db'}"

    @contextlib.asynccontextmanager
    async def store(self, *, writes: bool = False, make: bool = False) -> AsyncIterator[Store]:
        """Open the server's store: to read, to write, or with ``make`` one that may be new.

        Raises:
            StoreError: there is none, or it can't be opened.
        """
        async with opened(self.store_url, self.settings, writes=writes, make=make) as store:
            yield store

    # What is told -------------------------------------------------------------------------------

    @property
    def console(self) -> Console:
        """Standard output, for people."""
        if not self._output:
            self._output.append(new_console(sys.stdout))
        return self._output[0]

    def print(self, *lines: RenderableType) -> None:
        """Show something to people; left out where a program reads."""
        if not self.as_json:
            for line in lines:
                self.console.print(line)

    def print_json(self, thing: object) -> None:
        """Show something to a program; left out where people read."""
        if self.as_json:
            # In ASCII: what came from the network can't steer a terminal.
            sys.stdout.write(json.dumps(thing) + "\n")
            sys.stdout.flush()

    def print_table(
        self, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
    ) -> None:
        """Show a table; the columns named in ``numbers`` stand to the right."""
        from rich.table import Table

        shown = Table(box=None, pad_edge=False, header_style="bold")
        for name in head:
            shown.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
        for row in rows:
            shown.add_row(*row)
        self.print(shown)

    @contextlib.contextmanager
    def progress_bar(
        self, what: str, total: float | None = None
    ) -> Iterator[Callable[[float], None]]:
        """Show a bar on standard error while work is done; yields what is told each piece done."""
        from rich.progress import Progress

        console = new_console(sys.stderr)
        shown = console.is_terminal and not self.as_json
        with Progress(console=console, transient=True, disable=not shown) as bars:
            task = bars.add_task(what, total=total)
            yield lambda done: bars.advance(task, done)


def seconds(text: str, option: str) -> int:
    """Return the seconds of a duration that an option names.

    Raises:
        AdminError: it is none.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}={printable_text(text)}: write {error}") from None
