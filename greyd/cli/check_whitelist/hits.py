"""Shows how often the lines of whitelist files have let mail pass (``--hits``)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from greyd.cli.batches import StoreTransaction, transact_all
from greyd.cli.tables.column import Kind, TableColumn
from greyd.plurals import counted
from greyd.redaction import excerpt
from greyd.terminal import format_timestamp
from greyd.whitelist.hits import SINCE_KEY, HitCount, hit_key, load_counting_since
from greyd.whitelist.list_names import WHITELISTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.check_whitelist.files import CheckedFiles
    from greyd.cli.context import CommandContext
    from greyd.rules.transaction import Remembered
    from greyd.whitelist.entries import WhitelistEntry


@dataclass(frozen=True, slots=True)
class _EntryHits:
    """A whitelist entry with its hits."""

    which: str
    entry: WhitelistEntry
    hit: HitCount
    same_as: WhitelistEntry | None
    """The earlier line with the same text, which gets the hits of both; None if unique."""


async def print_hits(context: CommandContext, files: CheckedFiles, sort: str) -> int:
    """Print the entries with their hits, in the order of the files or by hits; return 0."""
    entries = [(which, entry) for which, entry in files.entries() if which in WHITELISTS]
    since, lines = await read_hits(context, entries)
    if sort == "hits":
        lines.sort(key=lambda line: -line.hit.count)
    texts = [(line, excerpt(line.entry.text.decode(errors="backslashreplace"))) for line in lines]
    never = sum(1 for line in lines if not (line.hit.count or line.same_as))
    context.print_rows(
        [
            TableColumn("hits", Kind.NUMBER, lambda row: row[0].hit.count),
            TableColumn("last hit", Kind.TIME, lambda row: _last_hit(row[0]), priority=2),
            TableColumn("where", Kind.NAME, lambda row: _where(row[0]), label="", priority=3),
            TableColumn("entry", Kind.NAME, itemgetter(1), label=""),
        ],
        texts,
    )
    if since:
        context.print(
            f"Counted since {format_timestamp(since)}: {never} of"
            f" {counted(len(lines), 'entry', 'entries')} never hit."
        )
    else:
        context.print("Nothing has been counted yet. A server on this store counts the hits.")
    context.print_json(
        {
            "since": since or None,
            "never": never,
            "entries": [
                {
                    "list": line.which,
                    "file": line.entry.file,
                    "line": line.entry.line,
                    "text": text,
                    "hits": line.hit.count,
                    "last_hit": line.hit.last_hit or None,
                    "same_as": line.same_as and f"{line.same_as.file}:{line.same_as.line}",
                }
                for line, text in texts
            ],
        }
    )
    return 0


def _where(line: _EntryHits) -> str:
    return f"{line.entry.file}:{line.entry.line}"


def _last_hit(line: _EntryHits) -> str | int:
    if line.same_as:
        return f"as line {line.same_as.line}"
    return line.hit.last_hit or "never"


async def read_hits(
    context: CommandContext, entries: Sequence[tuple[str, WhitelistEntry]]
) -> tuple[int, list[_EntryHits]]:
    """Return the Unix time when counting began (0: not yet), and the hits of each entry."""
    first: dict[bytes, WhitelistEntry] = {}
    keys = [hit_key(which, entry.text) for which, entry in entries]
    for key, (_, entry) in zip(keys, entries, strict=True):
        first.setdefault(key, entry)

    def read(remembered: Remembered) -> tuple[bytes | None, tuple[()]]:
        (text,) = remembered
        return text, ()

    wanted = [SINCE_KEY, *first]
    stored: list[bytes | None] = []
    async with context.open_store() as store:
        async for answers in transact_all(store, (StoreTransaction([key], read) for key in wanted)):
            stored += answers
    known = dict(zip(wanted, stored, strict=True))
    lines = []
    for key, (which, entry) in zip(keys, entries, strict=True):
        other = first[key] if first[key] is not entry else None
        hit = HitCount() if other else HitCount.load(known[key])
        lines.append(_EntryHits(which, entry, hit, other))
    return load_counting_since(known[SINCE_KEY], int(time.time())), lines
