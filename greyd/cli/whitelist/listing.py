"""``greyd whitelist list``: shows entries with their date, reason and hits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.check_whitelist.hits import read_hits
from greyd.cli.tables.column import Kind, TableColumn
from greyd.cli.tables.shorten import cell_width
from greyd.store.errors import StoreError
from greyd.terminal import print_error
from greyd.whitelist.entries import WhitelistEntry, display_text, parse_entries
from greyd.whitelist.local.covering import matching_entries
from greyd.whitelist.local.errors import LocalListError
from greyd.whitelist.local.local_list import LOCAL_LISTS, guess_list, local_list
from greyd.whitelist.local.notes import EntryNote, note_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.whitelist.hits import HitCount


MAX_WHOLE_ENTRY = 50
"""Up to this length, in characters, an entry is never shortened in the table."""


@dataclass(frozen=True, slots=True)
class _ListedEntry:
    which: str
    entry: WhitelistEntry
    note: EntryNote
    is_own: bool
    """Whether it is in the ``.local`` file."""


async def list_entries(
    context: CommandContext, texts: Sequence[str], which: str | None, *, all_files: bool
) -> int:
    """Print the entries of the ``.local`` files, or those that match the texts; return 0.

    Args:
        context: the command's context.
        texts: if given, show only entries of any file that contain one of them, or match it.
        which: the list; None for both.
        all_files: whether to show the entries of other files as well.
    """
    found, hidden, files, without_file = [], 0, [], []
    for name in LOCAL_LISTS if which is None else (which,):
        try:
            target = local_list(context.settings, name)
        except LocalListError as error:
            if which is not None:
                print_error(str(error))
            without_file.append(name)
            continue
        files.append(target.path)
        for source in target.sources():
            lines = source.content.split(b"\n")
            is_own = source.file == str(target.path)
            entries = list(parse_entries(source, []))
            fitting = _fitting(entries, texts, name) if texts else entries
            if not (is_own or all_files or texts):
                hidden += len(entries)
                continue
            found += [
                _ListedEntry(name, each, note_of(lines, each.line), is_own) for each in fitting
            ]
    hits = await _hits(context, found)
    if found:
        _print(context, found, hits)
    else:
        places = " and ".join(map(str, files)) or "no file"
        context.print(f"no entry in {places}" if not texts else "no such entry")
    if hidden:
        many = f"{hidden} entries in other files; --all shows them"
        context.print(many if hidden > 1 else "1 entry in other files; --all shows it")
    if which is None:
        for name in without_file:
            context.print(f"{name}: the server reads no .local file; --{name[:-1]} shows which")
    context.print_json({"entries": [_as_json(*each) for each in zip(found, hits, strict=True)]})
    return 0


def _fitting(
    entries: Sequence[WhitelistEntry], texts: Sequence[str], which: str
) -> list[WhitelistEntry]:
    """Return the entries that contain a text, or match it."""
    wanted = [text.strip().lower().encode(errors="surrogateescape") for text in texts]
    matching = {
        entry
        for text, one in zip(wanted, texts, strict=True)
        if guess_list(one) == which
        for entry in matching_entries(text, entries, which)
    }
    return [
        entry
        for entry in entries
        if entry in matching or any(text in entry.text.lower() for text in wanted)
    ]


async def _hits(context: CommandContext, found: Sequence[_ListedEntry]) -> list[HitCount | None]:
    """Return the hits of each entry; None for all if the store can't be read."""
    if not found:
        return []
    try:
        _, lines = await read_hits(context, [(each.which, each.entry) for each in found])
    except StoreError as error:
        print_error(f"hits are not known: {error}")
        return [None] * len(found)
    return [line.hit for line in lines]


def _print(
    context: CommandContext, found: Sequence[_ListedEntry], hits: Sequence[HitCount | None]
) -> None:
    columns: list[TableColumn[tuple[_ListedEntry, HitCount | None]]] = [
        TableColumn(
            "entry", Kind.NAME, lambda row: display_text(row[0].entry.text), label="",
            min_width=MAX_WHOLE_ENTRY,
        ),
        TableColumn("list", Kind.VERDICT, lambda row: row[0].which, priority=3),
        TableColumn("added", Kind.VERDICT, lambda row: row[0].note.date),
        TableColumn("by", Kind.NAME, lambda row: row[0].note.by, priority=5),
        TableColumn("reason", Kind.TEXT, lambda row: row[0].note.reason, min_width=12),
        TableColumn("hits", Kind.NUMBER, lambda row: row[1].count if row[1] else "?"),
        TableColumn("last hit", Kind.TIME, lambda row: _last_hit(row[1]), priority=4),
        # The file's name and the line's number stay whole, so that they can be copied.
        TableColumn(
            "where", Kind.PATH, lambda row: _place(row[0].entry), priority=2,
            min_width=max(map(_width_of_name, found), default=0),
        ),
    ]  # fmt: skip
    context.print_rows(columns, list(zip(found, hits, strict=True)))


def _last_hit(hit: HitCount | None) -> float | str:
    if hit is None:
        return "?"
    return hit.last_hit or "never"


def _width_of_name(listed: _ListedEntry) -> int:
    return cell_width(f"…/{_place(listed.entry).rpartition('/')[2]}")


def _place(entry: WhitelistEntry) -> str:
    return f"{entry.file}:{entry.line}"


def _as_json(each: _ListedEntry, hit: HitCount | None) -> dict[str, object]:
    return {
        "entry": display_text(each.entry.text),
        "list": each.which,
        "file": each.entry.file,
        "line": each.entry.line,
        "own": each.is_own,
        "added": each.note.date or None,
        "by": each.note.by or None,
        "reason": each.note.reason or None,
        "hits": None if hit is None else hit.count,
        "last_hit": (hit.last_hit or None) if hit else None,
    }
