"""``greyd import``: takes over what another program, or another store, has remembered."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer

from greyd.cli.acts import note_act
from greyd.cli.batches import decide_all, near_together
from greyd.cli.context import EXIT_NO, CommandContext, seconds
from greyd.cli.errors import CommandError
from greyd.cli.importing import greyd_store, postgrey, sqlgrey
from greyd.cli.importing.merging import Found, Item, Outcome, Refused, is_expired, merging
from greyd.cli.opening import opened
from greyd.config.secrets import read_secrets
from greyd.escaping import printable
from greyd.redaction import redacted
from greyd.rules.entries import EntryKind
from greyd.store.contract import scan
from greyd.store.errors import UnusableStoreError
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.store.sqlite.file_identity import NewerStoreError, identify, kind_of_file
from greyd.store.url import StoreUrlError, parse_redis_url
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from greyd.cli.context import Question
    from greyd.config.settings import Settings
    from greyd.store.contract import Store

Value = TypeVar("Value")

_SHOWN = 5
"""Unreadable entries that are shown."""

_TOGETHER = 20_000
"""Entries that come from another Redis at a time."""

_PLURALS = {
    EntryKind.TRIPLET: "triplets",
    EntryKind.CLIENT: "clients",
    EntryKind.IDENTITY_TRIPLET: "identity triplets",
    EntryKind.IDENTITY: "identities",
    EntryKind.CORRESPONDENCE: "correspondences",
    EntryKind.OTHER: "notes",
}


async def import_(
    context: CommandContext,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Postgrey's folder; a file with a dump of it, or - for standard input; sqlgrey's"
            " SQLite file; the URL of another greyd's store.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, only say what would be.")
    ] = False,
    from_delay: Annotated[
        str | None,
        typer.Option(
            "--from-delay",
            metavar="DURATION",
            help="How long a triplet had to wait there; this server's --delay unless given.",
        ),
    ] = None,
    from_key_prefix: Annotated[
        str | None,
        typer.Option(
            "--from-key-prefix",
            metavar="TEXT",
            help="The other Redis's --key-prefix; this server's unless given.",
        ),
    ] = None,
    from_password_file: Annotated[
        Path | None,
        typer.Option(
            "--from-password-file", metavar="FILE", help="Holds the other Redis's password."
        ),
    ] = None,
) -> int:
    """Take over what postgrey, sqlgrey or another greyd has remembered.

    Nobody who is known there waits anew here. What is known here stays: of a triplet the earliest
    and the latest sight count, of a client the greatest count. So a second import of the same
    changes nothing, and the server may run meanwhile. What has become too old is left out.

    Postgrey's folder is copied and its copy recovered, by Berkeley DB's own programs (Debian:
    db5.3-util); the original is only read. Stop postgrey before, so that nothing is missing. Its
    --ipv4cidr, --ipv6cidr, --lookup-by-host and --privacy have to be this server's too.

    Exit status 1 where something could not be read, or will not be found by this server.

    Examples:

      greyd import /var/lib/postgrey --dry-run

      greyd import /var/lib/postgrey

      ssh mx2 'db5.3_dump -p copy/postgrey.db' | greyd import -

      greyd import /var/lib/sqlgrey/sqlgrey.db

      greyd import sqlite:/var/lib/greyd/greyd.db --store=redis://10.0.0.5/0
    """
    settings = context.settings
    there = replace(
        settings,
        key_prefix=settings.key_prefix if from_key_prefix is None else from_key_prefix,
        store_password_file=from_password_file,
        # This server's secrets are nobody else's.
        sentinel_user="",
        sentinel_password_file=None,
    )
    delay = settings.delay_seconds if from_delay is None else seconds(from_delay, "--from-delay")
    tally = Tally(settings, int(time.time()), dry_run)
    async with _opened_source(source, context, read_secrets(there), delay) as opened_source:
        await _take_over(context, opened_source, tally)
        tally.remarks += opened_source.remarks()
    _tell(context, opened_source.what, tally)
    return EXIT_NO if tally.is_wrong else 0


# Sources ------------------------------------------------------------------------------------------

Diagnostic = tuple[str, bool]
"""What is to be said of a source, and whether it is wrong."""


class Source(NamedTuple):
    """Where entries come from."""

    what: str
    groups: AsyncIterator[Iterable[Item]]
    total: int | None = None
    """How many there are; None where that is not known before."""
    remarks: Callable[[], Sequence[Diagnostic]] = tuple
    """Known once all have been read."""


@contextlib.asynccontextmanager
async def _opened_source(
    text: str, context: CommandContext, there: Settings, delay: int
) -> AsyncIterator[Source]:
    """Open what the argument names.

    Raises:
        AdminError: it can't be read, or nobody knows what it is.
        StoreError: the other store can't be opened.
    """
    settings = context.settings
    if _is_url(text):
        if text[:6].lower() != "memory":
            _require_url(text)
        if greyd_store.is_the_same(text, context.store_url) and (
            there.key_prefix == settings.key_prefix
        ):
            raise CommandError("that is this server's own store; name another as the source")
        # The password of this server's store is nobody else's.
        async with opened(text, there) as store:
            yield Source("another greyd's Redis", _from_store(store, settings, delay))
        return
    with contextlib.ExitStack() as stack:
        yield _local_source(text, context, delay, stack)


def _is_url(text: str) -> bool:
    """Whether a source is a Redis, also where its URL is mistyped: that is no name of a file."""
    if is_sqlite_url(text):
        return False
    return "://" in text or (redacted(text) != text and not Path(text).exists())


def _require_url(text: str) -> None:
    try:
        parse_redis_url(text)
    except StoreUrlError as error:
        raise CommandError(str(error).replace("--store", "the source", 1)) from None


def _local_source(
    text: str, context: CommandContext, delay: int, stack: contextlib.ExitStack
) -> Source:
    if text == "-":
        return _dump(sys.stdin.buffer, context.settings, delay)
    path = Path(text)
    if is_sqlite_url(text):
        path = sqlite_file(text)
        _require_file(path)
    if path.is_dir():
        return _postgreys_folder(path, context.settings, delay, stack)
    try:
        stream = stack.enter_context(path.open("rb"))
        begin = stream.peek(16)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    if begin.startswith(b"SQLite format 3\0"):
        return _sqlite_file(path, context, delay, stack)
    if begin.startswith(b"VERSION="):
        return _dump(stream, context.settings, delay)
    raise CommandError(
        f"{path}: neither a dump by db_dump -p nor a SQLite file; of postgrey's databases name the"
        " folder"
    )


def _require_file(path: Path) -> None:
    """See that a path names a file: a FIFO, say, would not end.

    Raises:
        AdminError: it does not.
    """
    try:
        other = kind_of_file(path.stat().st_mode)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    if other:
        raise CommandError(f"{path}: is {other}; name a SQLite file")


def _dump(stream: IO[bytes], settings: Settings, delay: int) -> Source:
    reading = postgrey.Reading(settings, delay)
    pairs = postgrey.read_dump(stream)
    return Source(
        "a dump of postgrey's databases",
        _at_once(reading.understand_all(pairs)),
        remarks=lambda: [*reading.networks.remarks()],
    )


def _postgreys_folder(
    path: Path, settings: Settings, delay: int, stack: contextlib.ExitStack
) -> Source:
    folder = stack.enter_context(postgrey.open_folder(path))
    reading = postgrey.Reading(settings, delay)
    return Source(
        "postgrey's databases",
        _at_once(reading.understand_all(folder.pairs())),
        folder.count(),
        lambda: [*((remark, True) for remark in folder.remarks), *reading.networks.remarks()],
    )


def _sqlite_file(
    path: Path, context: CommandContext, delay: int, stack: contextlib.ExitStack
) -> Source:
    is_greyds = _is_greyds(path)
    connection = stack.enter_context(sqlgrey.open_read_only(path))
    settings = context.settings
    tables = sqlgrey.tables(connection)
    if {"connect", "from_awl", "domain_awl"} <= tables:
        items = sqlgrey.read_sqlgrey(connection, settings)
        return Source("sqlgrey's database", _at_once(items), sqlgrey.count(connection))
    if not is_greyds:
        raise CommandError(f"{path}: neither sqlgrey's database nor greyd's store")
    if _is_own(path, context.store_url):
        raise CommandError("that is this server's own store; name another with --store")
    items = (
        greyd_store.understand(record, settings, delay)
        for record in greyd_store.records(connection)
    )
    return Source("another greyd's file", _at_once(items), greyd_store.count(connection))


def _is_greyds(path: Path) -> bool:
    """Whether a file is a store of greyd's.

    Raises:
        NewerStoreError: it is, and this version can't read it.
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


def _is_absent(url: str) -> bool:
    try:
        return is_sqlite_url(url) and not sqlite_file(url).exists()
    except OSError:
        return False


async def _at_once(items: Iterable[Item]) -> AsyncIterator[Iterable[Item]]:
    yield items


async def _from_store(
    store: Store, settings: Settings, delay: int
) -> AsyncIterator[Iterable[Item]]:
    gathered: list[Item] = []
    async for group in scan(store):
        gathered += [greyd_store.understand(record, settings, delay) for record in group]
        if len(gathered) >= _TOGETHER:
            yield gathered
            gathered = []
    yield gathered


# Taking over --------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What becomes of the entries, counted."""

    settings: Settings
    now: int
    dry_run: bool
    counts: Counter[tuple[EntryKind, Outcome]] = field(default_factory=Counter)
    reasons: Counter[Refused] = field(default_factory=Counter)
    unreadable: int = 0
    shown: list[str] = field(default_factory=list)
    """The first of what is unreadable."""
    remarks: list[Diagnostic] = field(default_factory=list)

    def questions(self, items: Iterable[Item]) -> Iterator[Question]:
        """Yield what is to be decided in the store; the rest is counted."""
        for item in items:
            if isinstance(item, Found):
                if is_expired(item.record, self.now, self.settings):
                    self.counts[item.kind, Outcome.EXPIRED] += 1
                else:
                    rule = merging(item, self.now, self.settings, dry_run=self.dry_run)
                    yield item.keys, rule
            elif isinstance(item, Refused):
                self.counts[item.kind, Outcome.NOT_TAKEN_OVER] += 1
                self.reasons[item] += 1
            else:
                self.unreadable += 1
                if len(self.shown) < _SHOWN:
                    self.shown.append(printable(item.data))

    @property
    def changed(self) -> Counter[EntryKind]:
        """How many entries the store has now that it did not have so."""
        changed: Counter[EntryKind] = Counter()
        for (kind, outcome), number in self.counts.items():
            if outcome in (Outcome.IMPORTED, Outcome.MERGED):
                changed[kind] += number
        return changed

    @property
    def is_wrong(self) -> bool:
        """Whether not all came over that could have."""
        refused = any(each.is_wrong for each in self.reasons)
        return bool(self.unreadable or refused or any(wrong for _, wrong in self.remarks))


async def _take_over(context: CommandContext, source: Source, tally: Tally) -> None:
    with context.progress_bar("importing", source.total) as advance:
        async with _target(context, dry_run=tally.dry_run) as store:
            async for group in source.groups:
                questions = tally.questions(group)
                if store is None:
                    tally.counts.update(rule([None] * len(keys))[0] for keys, rule in questions)
                    continue
                async for answers in decide_all(store, near_together(store, questions)):
                    tally.counts.update(answers)
                    advance(len(answers))
            if store is not None and tally.changed and not tally.dry_run:
                await note_act(store, context.settings, f"imported {_listed(tally.changed)}", {})


@contextlib.asynccontextmanager
async def _target(context: CommandContext, *, dry_run: bool) -> AsyncIterator[Store | None]:
    """Open the server's store; None where nothing is there, and nothing is to be made."""
    if dry_run and _is_absent(context.store_url):
        yield None
        return
    async with context.store(make=not dry_run) as store:
        yield store


def _listed(numbers: Counter[EntryKind]) -> str:
    return ", ".join(f"{number} {_PLURALS[kind]}" for kind, number in numbers.items())


# What is told -------------------------------------------------------------------------------------

_COLUMNS = ("read", *(outcome.value for outcome in Outcome))


def _tell(context: CommandContext, what: str, tally: Tally) -> None:
    rows = _rows(tally)
    context.print(f"{what}{': nothing is changed (--dry-run)' if tally.dry_run else ''}")
    if rows:
        context.print_table(
            ("", *_COLUMNS),
            [[name, *(f"{row[column]:,}" for column in _COLUMNS)] for name, row in rows.items()],
            numbers=_COLUMNS,
        )
    reasons = [(each.reason, number) for each, number in tally.reasons.most_common()]
    for reason, number in reasons:
        context.print(f"not taken over: {number:,} – {reason}")
    if tally.unreadable:
        context.print(f"unreadable: {tally.unreadable:,}, the first:")
        context.print(*(f"  {text}" for text in tally.shown))
    for remark, _ in tally.remarks:
        print_error(remark)
    context.print_json(
        {
            "source": what,
            "dry_run": tally.dry_run,
            "entries": {name: _plain_names(row) for name, row in _plain_names(rows).items()},
            "not_taken_over": [{"reason": reason, "count": number} for reason, number in reasons],
            "unreadable": {"count": tally.unreadable, "first": tally.shown},
            "remarks": [remark for remark, _ in tally.remarks],
        }
    )


def _rows(tally: Tally) -> dict[str, dict[str, int]]:
    """Return what became of each kind; triplets and clients are always told of."""
    rows = {}
    for kind, name in _PLURALS.items():
        row = {outcome.value: tally.counts[kind, outcome] for outcome in Outcome}
        if any(row.values()) or kind in (EntryKind.TRIPLET, EntryKind.CLIENT):
            rows[name] = {"read": sum(row.values()), **row}
    return rows


def _plain_names(row: dict[str, Value]) -> dict[str, Value]:
    """Return it with names as programs like them."""
    return {name.replace(" ", "_"): value for name, value in row.items()}
