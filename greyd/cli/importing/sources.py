"""Opens the source of an import: a file, a folder, standard input or a Redis store."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing import rspamd
from greyd.cli.importing.greyd_store import convert_record, is_same_database
from greyd.cli.importing.import_source import ImportSource, SourceOptions
from greyd.cli.importing.items import SkippedEntry
from greyd.cli.importing.local_sources import LocalSources
from greyd.cli.store_access import open_store_for_command
from greyd.redaction import redacted
from greyd.rules.entries import EntryKind
from greyd.store.contract import scan
from greyd.store.opening import is_sqlite_url
from greyd.store.url import StoreUrlError, parse_redis_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from greyd.cli.context import CommandContext
    from greyd.cli.importing.items import ImportItem
    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store


_BATCH_ENTRIES = 20_000
"""The number of entries of another Redis store that are sorted and imported together."""


@contextlib.asynccontextmanager
async def open_source(
    text: str, context: CommandContext, options: SourceOptions
) -> AsyncIterator[ImportSource]:
    """Open the source that ``SOURCE`` names.

    Raises:
        CommandError: the source can't be read, or is of an unknown kind.
        StoreError: the other store can't be opened.
    """
    if not _is_url(text):
        with contextlib.ExitStack() as stack:
            yield LocalSources(context, options, stack).open(text)
        return
    if text[:6].lower() != "memory":
        _validate_url(text)
    if is_same_database(text, context.store_url) and (
        options.settings.key_prefix == context.settings.key_prefix
    ):
        raise CommandError("SOURCE is this server's own store; name another one")
    async with open_store_for_command(text, options.settings) as store:
        batches = _scan_batches(store, text, options, context.settings)
        yield ImportSource("another greyd's Redis", batches)


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


async def _scan_batches(
    store: Store, url: str, options: SourceOptions, settings: Settings
) -> AsyncIterator[Iterable[ImportItem]]:
    batch: list[ImportItem] = []
    is_empty = True
    async for group in scan(store):
        is_empty = is_empty and not group
        batch += [_convert(record, options, settings) for record in group]
        if len(batch) >= _BATCH_ENTRIES:
            yield batch
            batch = []
    if is_empty and await rspamd.has_greylisting_entries(url, options.settings):
        raise CommandError(
            f"{redacted(url)}: no entries of greyd's, but {rspamd.HASHES_ONLY}; nothing can be"
            " imported: let greyd learn for some days (greyd mode learn --for 3d)"
        )
    yield batch


def _convert(record: Record, options: SourceOptions, settings: Settings) -> ImportItem:
    if rspamd.is_greylisting_entry(record):
        return SkippedEntry(EntryKind.OTHER, rspamd.HASHES_ONLY)
    return convert_record(record, settings, options.delay_seconds)
