"""Opens the files and folders from which entries are imported, according to their content."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.greyd_store import convert_record, count_records, read_records
from greyd.cli.importing.import_source import ImportSource, single_batch
from greyd.cli.importing.input_stream import PEEK_BYTES, open_input
from greyd.cli.importing.items import SourceWarning
from greyd.cli.importing.milter_greylist import MilterGreylistDump, is_milter_greylist_dump
from greyd.cli.importing.postgrey.decoder import PostgreyDecoder
from greyd.cli.importing.postgrey.dump import is_dump, is_salvaged, read_dump
from greyd.cli.importing.postgrey.folder import (
    DATABASES,
    MAX_HEADER_BYTES,
    is_berkeley_db,
    recovered_copy,
)
from greyd.cli.importing.sql.rows import is_sql
from greyd.cli.importing.sqlgrey import SqlgreyDatabase
from greyd.cli.importing.sqlgrey_dump import open_dump
from greyd.cli.importing.sqlite_file import open_sqlite_file
from greyd.escaping import printable
from greyd.store.errors import UnusableStoreError
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.store.sqlite.file_identity import NewerStoreError, identify, kind_of_file

if TYPE_CHECKING:
    import contextlib
    import sqlite3
    from collections.abc import Iterator

    from greyd.cli.context import CommandContext
    from greyd.cli.importing.import_source import SourceOptions
    from greyd.cli.importing.input_stream import InputStream

_SQLITE = b"SQLite format 3\0"

_OTHER_FORMS = (
    (b"PGDMP", "pg_dump's custom format: use pg_restore -f - FILE | greyd import -"),
    (b"toc.dat\0", "pg_dump's tar format: use pg_restore -f - FILE | greyd import -"),
    (
        b"** This file contains an SQLite 2",
        "a file of SQLite 2: use sqlite FILE .dump | greyd import -",
    ),
    (b"\xff\xfe", "UTF-16: use iconv -f UTF-16 -t UTF-8 FILE | greyd import -"),
    (b"\xfe\xff", "UTF-16: use iconv -f UTF-16 -t UTF-8 FILE | greyd import -"),
)
"""Files that another program has to convert, by their first bytes."""

_SALVAGED = SourceWarning(
    "the dump was salvaged (db_dump -r or -R): it does not show how many entries are lost",
    is_problem=False,
)


@dataclass(frozen=True, slots=True)
class LocalSources:
    """Opens the sources on this machine; they are closed with ``stack``."""

    context: CommandContext
    options: SourceOptions
    stack: contextlib.ExitStack

    def open(self, text: str) -> ImportSource:
        """Open a file, a folder, or standard input for ``-``.

        Raises:
            CommandError: the source can't be read, or is of an unknown kind.
            StoreError: another greyd's file can't be opened.
        """
        path = None if text == "-" else Path(text)
        if is_sqlite_url(text):
            path = sqlite_file(text)
            _require_file(path)
        if path is not None and path.is_dir():
            return self._postgrey(path)
        raw, stream = open_input(path, self.stack)
        begin = stream.peek(PEEK_BYTES)
        if begin.startswith(_SQLITE):
            return self._sqlite(_plain_file(path, begin, "SQLite"))
        if is_berkeley_db(begin):
            return self._postgrey(_source_of(_plain_file(path, begin, "Berkeley DB")))
        opened = self._text(path, raw, stream, begin)
        return replace(opened, warnings=lambda: [*opened.warnings(), *_damage(raw)])

    def _text(
        self, path: Path | None, raw: InputStream, stream: IO[bytes], begin: bytes
    ) -> ImportSource:
        name = "standard input" if path is None else str(path)
        if not begin:
            raise CommandError(
                f"{name}: empty"
                + ("; the command before the pipe printed nothing" if path is None else "")
            )
        for magic, remedy in _OTHER_FORMS:
            if begin.startswith(magic):
                raise CommandError(f"{name}: {remedy}")
        if is_dump(begin):
            return self._postgrey_dump(stream, begin)
        if is_milter_greylist_dump(begin):
            return self._milter_greylist(stream)
        if is_sql(begin):
            return self._sqlgrey_dump(raw, stream, begin)
        raise CommandError(
            f"{name}: neither a dump by db_dump, nor an SQL dump, nor milter-greylist's file, nor a"
            f' SQLite file; it begins with "{printable(begin[:40])}"; for postgrey\'s databases'
            " name their folder"
        )

    def _postgrey_dump(self, stream: IO[bytes], begin: bytes) -> ImportSource:
        decoder = PostgreyDecoder(self.context.settings, self.options.delay_seconds)
        salvaged = [_SALVAGED] if is_salvaged(begin) else []
        return ImportSource(
            "a dump of postgrey's databases",
            single_batch(decoder.decode_all(read_dump(stream))),
            warnings=lambda: [*salvaged, *decoder.network_prefixes.warnings()],
        )

    def _postgrey(self, path: Path) -> ImportSource:
        copy = self.stack.enter_context(recovered_copy(path))
        databases = copy.open_databases()
        decoder = PostgreyDecoder(self.context.settings, self.options.delay_seconds)
        pairs = itertools.chain.from_iterable(each.read_pairs(copy.problems) for each in databases)
        return ImportSource(
            "postgrey's databases",
            single_batch(decoder.decode_all(pairs)),
            sum(each.entry_count or 0 for each in databases) or None,
            lambda: [
                *(SourceWarning(text, is_problem=True) for text in copy.problems),
                *decoder.network_prefixes.warnings(),
            ],
        )

    def _milter_greylist(self, stream: IO[bytes]) -> ImportSource:
        dump = MilterGreylistDump(
            self.context.settings, self.options.delay_seconds, self.options.zone, int(time.time())
        )
        return ImportSource(
            "milter-greylist's file",
            single_batch(dump.read(stream)),
            warnings=lambda: [*dump.warnings()],
        )

    def _sqlgrey_dump(self, raw: InputStream, stream: IO[bytes], begin: bytes) -> ImportSource:
        with self.context.progress_bar("reading", raw.size) as advance:
            raw.on_bytes = advance
            dump = self.stack.enter_context(open_dump(stream, begin, self.options.zone))
        problems = [SourceWarning(dump.problem, is_problem=True)] if dump.problem else []
        return self._sqlgrey(dump.connection, "a dump of sqlgrey's database", problems)

    def _sqlgrey(
        self, connection: sqlite3.Connection, name: str, problems: list[SourceWarning]
    ) -> ImportSource:
        database = SqlgreyDatabase(
            connection, self.context.settings, self.options.zone, int(time.time())
        )
        return ImportSource(
            name,
            single_batch(database.items()),
            database.count_rows(),
            lambda: [*problems, *database.warnings()],
        )

    def _sqlite(self, path: Path) -> ImportSource:
        is_greyd_store = _is_greyd_store(path)
        salvage = f"to import what can be read: sqlite3 {path} .dump | greyd import -"
        connection = self.stack.enter_context(
            open_sqlite_file(path, "" if is_greyd_store else salvage)
        )
        if SqlgreyDatabase.has_tables(connection):
            return self._sqlgrey(connection, "sqlgrey's database", [])
        if not is_greyd_store:
            raise CommandError(f"{path}: neither sqlgrey's database nor a greyd store")
        if _is_own(path, self.context.store_url):
            raise CommandError(
                "SOURCE is this server's own store; name another target with --store"
            )
        settings, delay_seconds = self.context.settings, self.options.delay_seconds
        items = (
            convert_record(record, settings, delay_seconds) for record in read_records(connection)
        )
        return ImportSource("another greyd's file", single_batch(items), count_records(connection))


def _plain_file(path: Path | None, begin: bytes, program: str) -> Path:
    """Return the path of a file that another program has to open itself, so it can't be a stream.

    Raises:
        CommandError: the file is standard input, or compressed.
    """
    if path is not None:
        with path.open("rb") as file:
            if file.read(MAX_HEADER_BYTES) == begin[:MAX_HEADER_BYTES]:
                return path
    raise CommandError(f"{program} can't read its file from a stream: name the plain file")


def _source_of(path: Path) -> Path:
    """Return the folder of a database that has postgrey's name, otherwise the path itself.

    The folder contains postgrey's other database and its log files.
    """
    is_in_folder = path.name in DATABASES and (path.parent / DATABASES[0]).exists()
    return path.parent if is_in_folder else path


def _damage(raw: InputStream) -> Iterator[SourceWarning]:
    if raw.damage:
        yield SourceWarning(raw.damage, is_problem=True)


def _require_file(path: Path) -> None:
    """Check that a path is a regular file: reading another kind, e.g. a FIFO, may never end.

    Raises:
        CommandError: the path is not a regular file.
    """
    try:
        file_type = kind_of_file(path.stat().st_mode)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    if file_type:
        raise CommandError(f"{path}: is {file_type}; name a SQLite file")


def _is_greyd_store(path: Path) -> bool:
    """Whether a file is a store that greyd wrote.

    Raises:
        NewerStoreError: a newer version of greyd wrote the store, and this one can't read it.
    """
    try:
        identify(str(path))
    except NewerStoreError:
        raise
    except UnusableStoreError:
        return False
    return True


def _is_own(path: Path, url: str) -> bool:
    return is_sqlite_url(url) and sqlite_file(url).exists() and sqlite_file(url).samefile(path)
