"""Opens the source of an import: postgrey's folder, a dump, a SQLite file or a Redis store."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.greyd_store import (
    convert_record,
    count_records,
    is_same_database,
    read_records,
)
from greyd.cli.importing.input_stream import PEEK_BYTES, open_input
from greyd.cli.importing.items import SourceWarning
from greyd.cli.importing.postgrey.decoder import PostgreyDecoder
from greyd.cli.importing.postgrey.dump import is_dump, is_salvaged, read_dump
from greyd.cli.importing.postgrey.folder import (
    DATABASES,
    MAX_HEADER_BYTES,
    is_berkeley_db,
    recovered_copy,
)
from greyd.cli.importing.sqlgrey import TABLES, count_rows, read_items
from greyd.cli.importing.sqlite_file import open_sqlite_file, table_names
from greyd.cli.store_access import open_store_for_command
from greyd.redaction import redacted
from greyd.store.contract import scan
from greyd.store.errors import UnusableStoreError
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.store.sqlite.file_identity import NewerStoreError, identify, kind_of_file
from greyd.store.url import StoreUrlError, parse_redis_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.importing.input_stream import InputStream
    from greyd.cli.importing.items import ImportItem
    from greyd.config.settings import Settings
    from greyd.store.contract import Store


_BATCH_ENTRIES = 20_000
"""The number of entries of another Redis store that are sorted and imported together."""


_SQLITE = b"SQLite format 3\0"

_SALVAGED = SourceWarning(
    "the dump was salvaged (db_dump -r or -R): it does not show how many entries are lost",
    is_problem=False,
)


@dataclass(frozen=True, slots=True)
class ImportSource:
    """An open source, with its entries in batches."""

    name: str
    batches: AsyncIterator[Iterable[ImportItem]]
    entry_count: int | None = None
    """The number of entries; None if unknown."""
    warnings: Callable[[], Sequence[SourceWarning]] = tuple
    """Returns the warnings about the source; call it after the last batch."""


@contextlib.asynccontextmanager
async def open_source(
    text: str, context: CommandContext, source_settings: Settings, delay_seconds: int
) -> AsyncIterator[ImportSource]:
    """Open the source that ``SOURCE`` names, with the source's own settings and delay.

    Raises:
        CommandError: the source can't be read, or is of an unknown kind.
        StoreError: the other store can't be opened.
    """
    settings = context.settings
    if _is_url(text):
        if text[:6].lower() != "memory":
            _validate_url(text)
        if is_same_database(text, context.store_url) and (
            source_settings.key_prefix == settings.key_prefix
        ):
            raise CommandError("SOURCE is this server's own store; name another one")
        async with open_store_for_command(text, source_settings) as store:
            yield ImportSource(
                "another greyd's Redis", _scan_batches(store, settings, delay_seconds)
            )
        return
    with contextlib.ExitStack() as stack:
        yield _open_local(text, context, delay_seconds, stack)


def _is_url(text: str) -> bool:
    """Whether a source is a Redis URL, even a mistyped one; otherwise it is a path."""
    if is_sqlite_url(text):
        return False
    return "://" in text or (redacted(text) != text and not Path(text).exists())


def _validate_url(text: str) -> None:
    try:
        parse_redis_url(text)
    except StoreUrlError as error:
        raise CommandError(str(error).replace("--store", "the source", 1)) from None


def _open_local(
    text: str, context: CommandContext, delay_seconds: int, stack: contextlib.ExitStack
) -> ImportSource:
    path = None if text == "-" else Path(text)
    if is_sqlite_url(text):
        path = sqlite_file(text)
        _require_file(path)
    if path is not None and path.is_dir():
        return _postgrey_source(path, context.settings, delay_seconds, stack)
    raw, stream = open_input(path, stack)
    begin = stream.peek(PEEK_BYTES)
    if begin.startswith(_SQLITE):
        if path is None or not _begins_with(path, _SQLITE):
            raise CommandError("SQLite can't read its file from a stream: name the plain file")
        return _sqlite_source(path, context, delay_seconds, stack)
    if is_berkeley_db(begin):
        if path is None or not _begins_with(path, begin[:MAX_HEADER_BYTES]):
            raise CommandError("Berkeley DB can't read its file from a stream: name the plain file")
        # Postgrey's other database and its log files are beside a file with postgrey's name.
        is_in_folder = path.name in DATABASES and (path.parent / DATABASES[0]).exists()
        source = path.parent if is_in_folder else path
        return _postgrey_source(source, context.settings, delay_seconds, stack)
    if is_dump(begin):
        opened = _dump_source(stream, begin, context.settings, delay_seconds)
    else:
        raise CommandError(
            f"{path or 'standard input'}: neither a dump by db_dump -p nor a SQLite file; for"
            " postgrey's databases name their folder"
        )
    return replace(opened, warnings=lambda: [*opened.warnings(), *_damage(raw)])


def _begins_with(path: Path, begin: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(begin)) == begin


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


def _dump_source(
    stream: IO[bytes], begin: bytes, settings: Settings, delay_seconds: int
) -> ImportSource:
    decoder = PostgreyDecoder(settings, delay_seconds)
    salvaged = [_SALVAGED] if is_salvaged(begin) else []
    return ImportSource(
        "a dump of postgrey's databases",
        _single_batch(decoder.decode_all(read_dump(stream))),
        warnings=lambda: [*salvaged, *decoder.network_prefixes.warnings()],
    )


def _postgrey_source(
    path: Path, settings: Settings, delay_seconds: int, stack: contextlib.ExitStack
) -> ImportSource:
    copy = stack.enter_context(recovered_copy(path))
    databases = copy.open_databases()
    decoder = PostgreyDecoder(settings, delay_seconds)
    pairs = itertools.chain.from_iterable(each.read_pairs(copy.problems) for each in databases)
    return ImportSource(
        "postgrey's databases",
        _single_batch(decoder.decode_all(pairs)),
        sum(each.entry_count or 0 for each in databases) or None,
        lambda: [
            *(SourceWarning(text, is_problem=True) for text in copy.problems),
            *decoder.network_prefixes.warnings(),
        ],
    )


def _sqlite_source(
    path: Path, context: CommandContext, delay_seconds: int, stack: contextlib.ExitStack
) -> ImportSource:
    is_greyd_store = _is_greyd_store(path)
    connection = stack.enter_context(open_sqlite_file(path))
    settings = context.settings
    if table_names(connection) >= TABLES:
        items = read_items(connection, settings)
        return ImportSource("sqlgrey's database", _single_batch(items), count_rows(connection))
    if not is_greyd_store:
        raise CommandError(f"{path}: neither sqlgrey's database nor a store of greyd's")
    if _is_own(path, context.store_url):
        raise CommandError("SOURCE is this server's own store; name another target with --store")
    items = (convert_record(record, settings, delay_seconds) for record in read_records(connection))
    return ImportSource("another greyd's file", _single_batch(items), count_records(connection))


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


async def _single_batch(items: Iterable[ImportItem]) -> AsyncIterator[Iterable[ImportItem]]:
    yield items


async def _scan_batches(
    store: Store, settings: Settings, delay_seconds: int
) -> AsyncIterator[Iterable[ImportItem]]:
    batch: list[ImportItem] = []
    async for group in scan(store):
        batch += [convert_record(record, settings, delay_seconds) for record in group]
        if len(batch) >= _BATCH_ENTRIES:
            yield batch
            batch = []
    yield batch
