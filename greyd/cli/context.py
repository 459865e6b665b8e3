"""Gives each command the server's settings, its store and the output.

A command is a function of a ``CommandContext`` and of arguments that typer parses. It returns
the exit status: 0 or None for success; ``EXIT_NO`` for a negative answer (nothing found, or a
problem found); ``EXIT_ERROR`` for a failure. ``greyd.cli.app`` adds the options of all commands.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.progress import LateProgressBar
from greyd.cli.server.choice import choose_server, store_url
from greyd.cli.server.notes import unusable_record
from greyd.cli.store_access import open_store_for_command
from greyd.config.durations import parse_duration
from greyd.config.errors import SecretError
from greyd.config.secrets import read_secrets
from greyd.config.settings import Settings
from greyd.escaping import printable_text
from greyd.redaction import redacted
from greyd.rules.site_rules.settings_check import check_settings
from greyd.terminal import new_console, print_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType

    from greyd.cli.tables.column import Row, TableColumn
    from greyd.cli.tables.rendering import TableWriter
    from greyd.config.running.run_record import RunRecord
    from greyd.store.contract import Store


EXIT_NO = 1
"""Exit status for a negative answer."""

EXIT_ERROR = 2
"""Exit status for a failure."""

STORE_TIMEOUT_SECONDS = 5.0
"""Timeout of one store operation. Longer than the server's: no mail waits for a command."""

SHARED_OPTIONS = (
    "config", "store", "store-password-file", "sentinel-user", "sentinel-password-file", "dbdir",
    "key-prefix", "run-dir",
)  # fmt: skip
"""The server's options that every command accepts."""


@dataclass(frozen=True)
class CommandContext:
    """The settings, store and output of one command."""

    settings: Settings
    """The server's settings, with a longer timeout of the store."""
    as_json: bool = False
    server: RunRecord | None = None
    """The running server that the settings are from; None if no running server uses the store."""
    search_note: str = ""
    """Where the command searched for a running server; empty unless its store is a default."""
    server_store_timeout_seconds: float = field(
        default_factory=lambda: Settings().store_timeout_seconds
    )
    """The timeout of the store that applies to the server."""
    repeated_options: Sequence[str] = ()
    """The shared options of this command line, for commands that it proposes; without passwords."""
    options: Mapping[str, str | None] = field(default_factory=dict)
    """The values of the shared options by name; None for those not given."""
    _consoles: list[Console] = field(default_factory=list)
    _printed_notes: list[str] = field(default_factory=list)

    @classmethod
    def from_options(
        cls,
        options: Mapping[str, str | None],
        *,
        as_json: bool = False,
        is_server_optional: bool = False,
    ) -> CommandContext:
        """Return the context for the server that the shared options select.

        Args:
            options: the values of the shared options by name; None for those not given.
            as_json: whether the output is JSON.
            is_server_optional: whether the command can do without a server.

        Raises:
            SettingsError: the server's settings are invalid.
            SecretError: a password file can't be read.
            StoreError: the store's URL is invalid.
            CommandError: several servers run, and the options select none of them.
        """
        choice = choose_server(options, is_optional=is_server_optional)
        try:
            settings = read_secrets(choice.settings)
        except SecretError as error:
            remedy = unusable_record(choice.server) if choice.server else ""
            raise SecretError(f"{error}{remedy}") from None
        check_settings(settings)
        for note in choice.notes:
            print_error(note)
        return cls(
            replace(settings, store_timeout_seconds=STORE_TIMEOUT_SECONDS),
            as_json,
            server=choice.server.record if choice.server else None,
            search_note=choice.search_note,
            server_store_timeout_seconds=settings.store_timeout_seconds,
            options=options,
            repeated_options=[
                f"--{name}={value}"
                for name, value in options.items()
                if value is not None and redacted(value) == value
            ],
        )

    # The store ----------------------------------------------------------------------------------

    @property
    def store_url(self) -> str:
        """The URL of the server's store; it may contain a password."""
        return store_url(self.settings)

    @contextlib.asynccontextmanager
    async def open_store(
        self, *, writable: bool = False, create: bool = False, may_be_empty: bool = False
    ) -> AsyncIterator[Store]:
        """Open the server's store, read-only unless ``writable`` or ``create``.

        With ``create``, a missing SQLite file is created. Unless a running server uses the store,
        or it ``may_be_empty``, a store without entries causes a warning.

        Raises:
            StoreError: the store does not exist, or can't be opened.
        """
        self.print_search_note()
        async with open_store_for_command(
            self.store_url, self.settings, writable=writable, create=create
        ) as store:
            if self.server is None and not may_be_empty:
                from greyd.cli.empty_store import empty_store_warning

                self._print_once(await empty_store_warning(store, self.store_url, self.settings))
            yield store

    def _print_once(self, note: str) -> None:
        """Print a note once, unless it is empty: greyd top opens the store repeatedly."""
        if note and note not in self._printed_notes:
            self._printed_notes.append(note)
            print_error(note)

    def print_search_note(self) -> None:
        """Print once where the command searched, if it found no running server."""
        self._print_once(self.search_note)

    # Output -------------------------------------------------------------------------------------

    @property
    def console(self) -> Console:
        """Standard output, for text and tables."""
        if not self._consoles:
            self._consoles.append(new_console(sys.stdout))
        return self._consoles[0]

    def print(self, *lines: RenderableType) -> None:
        """Print lines or tables; nothing with ``--json``.

        On a terminal lines wrap between words; in a pipe no line wraps.
        """
        if self.as_json:
            return
        from greyd.cli.tables.rendering import plain_text, print_line
        from greyd.cli.tables.shorten import wrap_words

        console = self.console
        for line in lines:
            text = plain_text(line)
            if text is None or not console.is_terminal:
                console.print(line, soft_wrap=not console.is_terminal)
                continue
            for part in wrap_words(text[0], console.width, shorten=False):
                print_line(console, [(part, text[1])])

    def print_json(self, document: object) -> None:
        """Print a JSON document; nothing without ``--json``."""
        if self.as_json:
            # ASCII only: text from the network must not control the terminal.
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()

    def print_rows(
        self,
        columns: Sequence[TableColumn[Row]],
        rows: Iterable[Row],
        *,
        is_total: Callable[[Row], bool] | None = None,
        now: float | None = None,
    ) -> None:
        """Print a table that fits the terminal, see ``greyd.cli.tables``; nothing with ``--json``.

        Args:
            columns: the columns, which take their values from a row.
            rows: the rows.
            is_total: whether a row is a sum, which is printed in bold.
            now: the time for relative times, in seconds since 1970; None for the clock's.
        """
        if self.as_json:
            return
        writer = self.table_writer(columns, is_total=is_total, now=now)
        writer.write(rows)
        writer.end()

    def table_writer(
        self,
        columns: Sequence[TableColumn[Row]],
        *,
        is_total: Callable[[Row], bool] | None = None,
        now: float | None = None,
        fill: bool = False,
    ) -> TableWriter[Row]:
        """Return a writer for rows that come in groups; the arguments are those of its class."""
        from greyd.cli.tables.rendering import TableWriter

        return TableWriter(columns, self.console, now=now, is_total=is_total, fill=fill)

    def print_table(
        self, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
    ) -> None:
        """Print a table of texts; the columns named in ``numbers`` are aligned right.

        ``print_rows`` does more: it shortens addresses, shows relative times, and colours.
        """
        from greyd.cli.tables.column import Kind, TableColumn

        columns = [
            TableColumn(name, Kind.NUMBER if name in numbers else Kind.TEXT, itemgetter(at))
            for at, name in enumerate(head)
        ]
        self.print_rows(columns, rows)

    @contextlib.contextmanager
    def progress_bar(
        self, title: str, total: float | None = None
    ) -> Iterator[Callable[[float], None]]:
        """Show a progress bar on standard error after a second; yield what advances it."""
        console = new_console(sys.stderr)
        if self.as_json or not console.is_terminal:
            yield lambda _: None
            return
        bar = LateProgressBar(title, total, console)
        try:
            yield bar.advance
        finally:
            bar.stop()


def option_seconds(text: str, option: str) -> int:
    """Parse the value of a duration option; return seconds.

    Raises:
        CommandError: the value is not a duration.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}={printable_text(text)}: expected {error}") from None
