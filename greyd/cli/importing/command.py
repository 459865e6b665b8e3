"""``greyd import``: imports the entries of postgrey, sqlgrey or another greyd."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from greyd.cli.batches import in_index_order, transact_all
from greyd.cli.context import EXIT_NO, CommandContext, option_seconds
from greyd.cli.errors import CommandError
from greyd.cli.importing.counts import ImportCounts
from greyd.cli.importing.import_source import SourceOptions
from greyd.cli.importing.items import ImportOutcome
from greyd.cli.importing.sources import open_source
from greyd.cli.importing.timestamps import parse_zone
from greyd.cli.server_control import record_action
from greyd.config.secrets import read_secrets
from greyd.escaping import printable_text
from greyd.rules.entries import EntryKind
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator
    from datetime import tzinfo

    from greyd.cli.importing.import_source import ImportSource
    from greyd.store.contract import Store


Value = TypeVar("Value")

_PLURALS = {
    EntryKind.TRIPLET: "triplets",
    EntryKind.CLIENT: "clients",
    EntryKind.IDENTITY_TRIPLET: "identity triplets",
    EntryKind.IDENTITY: "identities",
    EntryKind.CORRESPONDENCE: "correspondences",
    EntryKind.OTHER: "notes",
}
_SINGULARS = {each: each.value for each in EntryKind} | {EntryKind.OTHER: "note"}


async def import_(
    context: CommandContext,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Postgrey's folder, or a dump of its databases; sqlgrey's SQLite file, or a dump"
            " of its MySQL or PostgreSQL database; milter-greylist's greylist.db; the URL of"
            " another greyd's store. - reads a dump from standard input.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, only show the counts.")
    ] = False,
    from_delay: Annotated[
        str | None,
        typer.Option(
            "--from-delay",
            metavar="DURATION",
            help="The source's greylisting delay; by default this server's --delay.",
        ),
    ] = None,
    from_timezone: Annotated[
        str | None,
        typer.Option(
            "--from-timezone",
            metavar="ZONE",
            help="The time zone of dates in the source that have none, e.g. UTC, +01:00 or"
            " Europe/Berlin; by default this machine's.",
        ),
    ] = None,
    from_key_prefix: Annotated[
        str | None,
        typer.Option(
            "--from-key-prefix",
            metavar="TEXT",
            help="The source's --key-prefix on Redis; by default this server's.",
        ),
    ] = None,
    from_password_file: Annotated[
        Path | None,
        typer.Option(
            "--from-password-file", metavar="FILE", help="File with the source's Redis password."
        ),
    ] = None,
) -> int:
    """Import entries of postgrey, sqlgrey, milter-greylist, greyd.

    Mail that has passed in the source does not wait again. The command merges imported entries with
    those of this store: a triplet keeps its earliest and latest attempt, a client its greater
    count. So a repeated import changes nothing, and the server may keep running. Expired entries
    are left out.

    The command only reads postgrey's folder: it recovers a copy with Berkeley DB's own programs
    (Debian package db5.3-util), and salvages a damaged one. Stop postgrey first, or its newest
    entries are missing. Postgrey's --ipv4cidr, --ipv6cidr, --lookup-by-host and --privacy must
    equal this server's.

    A dump may be compressed (gzip, bzip2, xz, zstd, lz4).

    The exit status is 1 if entries are lost or could not be read, or if this server's settings make
    some of them useless.

    Examples:

      greyd import /var/lib/postgrey --dry-run

      greyd import /var/lib/postgrey

      ssh mx2 'db5.3_dump -p copy/postgrey.db' | greyd import -

      greyd import /var/lib/sqlgrey/sqlgrey.db

      mysqldump sqlgrey | greyd import -

      greyd import sqlite:/var/lib/greyd/greyd.db --store=redis://10.0.0.5/0
    """
    settings = context.settings
    source_settings = replace(
        settings,
        key_prefix=settings.key_prefix if from_key_prefix is None else from_key_prefix,
        store_password_file=from_password_file,
        # Never send this server's credentials to another server.
        sentinel_user="",
        sentinel_password_file=None,
    )
    delay_seconds = settings.delay_seconds
    if from_delay is not None:
        delay_seconds = option_seconds(from_delay, "--from-delay")
    counts = ImportCounts(settings, int(time.time()), dry_run)
    options = SourceOptions(read_secrets(source_settings), delay_seconds, _zone(from_timezone))
    async with open_source(source, context, options) as opened_source:
        await import_entries(context, opened_source, counts)
        counts.warnings += opened_source.warnings()
    _print_result(context, opened_source.name, counts)
    return EXIT_NO if counts.has_problems else 0


def _zone(text: str | None) -> tzinfo | None:
    try:
        return None if text is None else parse_zone(text)
    except ValueError as error:
        raise CommandError(
            f"--from-timezone={printable_text(text or '')}: expected {error}"
        ) from None


def _is_absent(url: str) -> bool:
    try:
        return is_sqlite_url(url) and not sqlite_file(url).exists()
    except OSError:
        return False


async def import_entries(
    context: CommandContext, source: ImportSource, counts: ImportCounts
) -> None:
    """Merge the entries of a source into the server's store, and count them.

    Raises:
        StoreError: the store can't be opened, or fails.
    """
    with context.progress_bar("importing", source.entry_count) as advance:
        async with _open_target(context, dry_run=counts.dry_run) as store:
            async for items in source.batches:
                transactions = counts.transactions(items)
                if store is None:
                    counts.outcomes.update(
                        each.rule([None] * len(each.keys))[0] for each in transactions
                    )
                    continue
                async for outcomes in transact_all(store, in_index_order(store, transactions)):
                    counts.outcomes.update(outcomes)
                    advance(len(outcomes))
            if store is not None and counts.changes and not counts.dry_run:
                action = f"imported {format_counts(counts.changes)}"
                await record_action(store, context.settings, action, {})


@contextlib.asynccontextmanager
async def _open_target(context: CommandContext, *, dry_run: bool) -> AsyncIterator[Store | None]:
    """Open the server's store; yield None in a dry run if the store does not exist yet."""
    if dry_run and _is_absent(context.store_url):
        yield None
        return
    async with context.open_store(create=not dry_run, may_be_empty=True) as store:
        yield store


def format_counts(counts: Counter[EntryKind]) -> str:
    """Return numbers of entries as text: ``12 triplets, 3 clients``."""
    return ", ".join(
        f"{count} {_PLURALS[kind] if count != 1 else _SINGULARS[kind]}"
        for kind, count in counts.items()
    )


# Output -------------------------------------------------------------------------------------------

_COLUMNS = ("read", *(outcome.value for outcome in ImportOutcome))


def _print_result(context: CommandContext, source_name: str, counts: ImportCounts) -> None:
    rows = _table_rows(counts)
    context.print(f"{source_name}{': nothing is changed (--dry-run)' if counts.dry_run else ''}")
    context.print_table(
        ("", *_COLUMNS),
        [[name, *(f"{row[column]:,}" for column in _COLUMNS)] for name, row in rows.items()],
        numbers=_COLUMNS,
    )
    reasons = [(entry.reason, count) for entry, count in counts.skipped.most_common()]
    for reason, count in reasons:
        context.print(f"not taken over: {count:,} – {reason}")
    if counts.unreadable_count:
        context.print(f"unreadable: {counts.unreadable_count:,}, the first:")
        context.print(*(f"  {text}" for text in counts.excerpts))
    if not counts.outcomes and not counts.unreadable_count:
        print_error(f"{source_name}: no entry was found")
    for warning in counts.warnings:
        print_error(warning.text)
    context.print_json(
        {
            "source": source_name,
            "dry_run": counts.dry_run,
            "entries": {name: _json_keys(row) for name, row in _json_keys(rows).items()},
            "not_taken_over": [{"reason": reason, "count": count} for reason, count in reasons],
            "unreadable": {"count": counts.unreadable_count, "first": counts.excerpts},
            "remarks": [warning.text for warning in counts.warnings],
        }
    )


def _table_rows(counts: ImportCounts) -> dict[str, dict[str, int]]:
    """Return the counts by kind and column; always include triplets and clients."""
    rows = {}
    for kind, name in _PLURALS.items():
        row = {outcome.value: counts.outcomes[kind, outcome] for outcome in ImportOutcome}
        if any(row.values()) or kind in (EntryKind.TRIPLET, EntryKind.CLIENT):
            rows[name] = {"read": sum(row.values()), **row}
    return rows


def _json_keys(row: dict[str, Value]) -> dict[str, Value]:
    return {name.replace(" ", "_"): value for name, value in row.items()}
