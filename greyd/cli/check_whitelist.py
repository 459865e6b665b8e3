"""``greyd check-whitelist``: checks whitelist files, and shows how often their lines match."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greyd.cli.batches import StoreTransaction, transact_all
from greyd.cli.context import EXIT_ERROR, EXIT_NO, CommandContext
from greyd.cli.errors import CommandError
from greyd.redaction import excerpt
from greyd.terminal import format_timestamp, print_error
from greyd.whitelist.entries import (
    WhitelistEntry,
    WhitelistFile,
    parse_entries,
    read_whitelist_file,
)
from greyd.whitelist.errors import WhitelistError
from greyd.whitelist.files import files_in_force, is_absent_local
from greyd.whitelist.hits import (
    CLIENTS,
    RECIPIENTS,
    SINCE_KEY,
    HitCount,
    hit_key,
    load_counting_since,
)
from greyd.whitelist.lint.findings import ERROR, LintFinding
from greyd.whitelist.lint.linter import lint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greyd.rules.transaction import Remembered


SORTS = ("file", "hits")


@dataclass(frozen=True, slots=True)
class _WhitelistFiles:
    """The whitelist files to check."""

    sources: Mapping[str, Sequence[WhitelistFile]]
    """The sources of each list, by the list's name."""
    unreadable: int

    def entries(self) -> Iterator[tuple[str, WhitelistEntry]]:
        """Yield all entries, each with the name of its list."""
        for which, sources in self.sources.items():
            for source in sources:
                for entry in parse_entries(source, []):
                    yield which, entry


async def check_whitelist(
    context: CommandContext,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE…", show_default=False)] = None,
    clients: Annotated[
        bool, typer.Option("--clients", help="The files list clients, whatever their names.")
    ] = False,
    recipients: Annotated[
        bool, typer.Option("--recipients", help="The files list recipients, whatever their names.")
    ] = False,
    hits: Annotated[
        bool,
        typer.Option(
            "--hits", help="Show how often each line let mail pass, and when it did last."
        ),
    ] = False,
    sort: Annotated[
        str, typer.Option("--sort", metavar="ORDER", help="Order of --hits: file or hits.")
    ] = "file",
) -> int:
    """Find whitelist lines that never match, match everything, or mean something unexpected.

    Without a FILE, the command checks the server's own files. The beginning of a file's name
    (whitelist_clients… or whitelist_recipients…) decides whether it lists clients or recipients.
    Lines that never match or match everything are errors; other findings are notes. The exit status
    is 1 for any finding, and 2 if a file can't be read.

    The server counts how often each line lets mail pass, and keeps a count for a year after the
    last hit. --hits shows "never" for lines without a hit.

    Examples:

      greyd check-whitelist

      greyd check-whitelist /etc/greyd/whitelist_clients.local

      greyd check-whitelist --recipients /tmp/vips

      greyd check-whitelist --hits --sort hits
    """
    if sort not in SORTS:
        raise CommandError(f"--sort={sort}: expected one of {', '.join(SORTS)}")
    read = _read_files(context, files or [], clients=clients, recipients=recipients)
    found = await _print_hits(context, read, sort) if hits else _print_findings(context, read)
    return EXIT_ERROR if read.unreadable else found


# The files ----------------------------------------------------------------------------------------


def _read_files(
    context: CommandContext, files: Sequence[str], *, clients: bool, recipients: bool
) -> _WhitelistFiles:
    settings = context.settings
    if clients and recipients:
        raise CommandError("--clients and --recipients: a file lists either one or the other")
    wanted = [
        (_list_of(file, clients=clients, recipients=recipients), Path(file)) for file in files
    ]
    if not files:
        in_force = {
            CLIENTS: files_in_force(settings.whitelist_clients, "whitelist_clients"),
            RECIPIENTS: files_in_force(settings.whitelist_recipients, "whitelist_recipients"),
        }
        only = CLIENTS if clients else RECIPIENTS if recipients else None
        wanted = [
            (which, path)
            for which, paths in in_force.items()
            for path in paths
            if only in (None, which) and not is_absent_local(path)
        ]
    sources: dict[str, list[WhitelistFile]] = {CLIENTS: [], RECIPIENTS: []}
    unreadable = 0
    for which, path in wanted:
        try:
            sources[which].append(read_whitelist_file(str(path)))
        except WhitelistError as error:
            print_error(str(error))
            unreadable += 1
    return _WhitelistFiles(sources, unreadable)


def _list_of(file: str, *, clients: bool, recipients: bool) -> str:
    name = Path(file).name
    if recipients or ("recipient" in name and not clients):
        return RECIPIENTS
    if clients or "client" in name:
        return CLIENTS
    raise CommandError(
        f"{file}: add --clients or --recipients, as its name does not tell which it lists"
    )


# Findings -----------------------------------------------------------------------------------------


def _print_findings(context: CommandContext, read: _WhitelistFiles) -> int:
    findings = [
        (which, finding)
        for which, sources in read.sources.items()
        for finding in lint(sources, which)
    ]
    for _, finding in findings:
        if not context.as_json:
            # Print directly: the console folds lines, but grep and editors need whole ones.
            sys.stdout.write(f"{finding}\n")
    number = sum(1 for _ in read.entries())
    errors = sum(1 for _, finding in findings if finding.severity == ERROR)
    names = ", ".join(source.file for sources in read.sources.values() for source in sources)
    notes = len(findings) - errors
    verdict = f"{errors} errors, {notes} notes" if findings else "no findings"
    context.print(f"{number} entries in {names or 'no file'}: {verdict}")
    context.print_json(
        {
            "files": [
                {"file": source.file, "list": which}
                for which, sources in read.sources.items()
                for source in sources
            ],
            "entries": number,
            "errors": errors,
            "notes": notes,
            "findings": [_as_json(which, finding) for which, finding in findings],
        }
    )
    return EXIT_NO if findings else 0


def _as_json(which: str, finding: LintFinding) -> dict[str, Any]:
    return {
        "list": which,
        "file": finding.file,
        "line": finding.line,
        "text": finding.text,
        "severity": finding.severity,
        "what": finding.problem,
        "remedy": finding.remedy,
    }


# Hits ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _EntryHits:
    """A whitelist entry with its hits."""

    which: str
    entry: WhitelistEntry
    hit: HitCount
    same_as: WhitelistEntry | None
    """The earlier line with the same text, which gets the hits of both; None if unique."""


async def _print_hits(context: CommandContext, read: _WhitelistFiles, sort: str) -> int:
    since, lines = await _read_hits(context, list(read.entries()))
    if sort == "hits":
        lines.sort(key=lambda line: -line.hit.count)
    texts = [(line, excerpt(line.entry.text.decode(errors="backslashreplace"))) for line in lines]
    never = sum(1 for line in lines if not (line.hit.count or line.same_as))
    context.print_table(
        ("hits", "last hit", "where", "entry"),
        [
            (str(line.hit.count), _last_hit(line), f"{line.entry.file}:{line.entry.line}", text)
            for line, text in texts
        ],
        numbers=("hits",),
    )
    if since:
        context.print(
            f"Counted since {format_timestamp(since)}: {never} of {len(lines)} entries never hit."
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


def _last_hit(line: _EntryHits) -> str:
    if line.same_as:
        return f"as line {line.same_as.line}"
    return format_timestamp(line.hit.last_hit) or "never"


async def _read_hits(
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
