"""``greyd whitelist add``: checks entries, writes them, and puts them in force."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from greyd.cli.context import EXIT_ERROR, EXIT_NO
from greyd.cli.errors import CommandError
from greyd.cli.server.confirmed_server import servers_as_json
from greyd.cli.server_control import current_user
from greyd.cli.whitelist.output import (
    confirm,
    described,
    print_container_note,
    put_in_force,
    require_reachable_server,
)
from greyd.whitelist.entries import display_text
from greyd.whitelist.list_names import CLIENTS
from greyd.whitelist.local.addition import add_entries, is_safe_entry, plan_entry
from greyd.whitelist.local.errors import UselessEntryError
from greyd.whitelist.local.local_list import describe_coverage, describe_guess, guess_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.whitelist.local.addition import PlannedEntry

MAX_SHOWN_COVERED = 3
"""Maximum number of entries shown that a new one makes redundant."""


async def add(
    context: CommandContext,
    texts: Sequence[str],
    which: str | None,
    reason: str,
    *,
    dry_run: bool,
    yes: bool,
) -> int:
    """Add entries to the ``.local`` files, after a check of all; return the exit status.

    Raises:
        CommandError: an entry would match nothing, or the user declines.
        LocalListError: a file can't be read or changed.
    """
    require_reachable_server(context)
    planned = [_plan(context, text, which) for text in texts]
    new = [each for each in planned if each.covered_by is None]
    for each in planned:
        _print_plan(context, each)
    if not new:
        context.print_json(_as_json(planned, [], changed=False))
        return EXIT_NO
    doubtful = [each for each in new if each.needs_confirmation]
    if dry_run:
        context.print("nothing was changed (--dry-run)")
        context.print_json(_as_json(planned, [], changed=False))
        return 0
    if doubtful:
        confirm(context, f"add {_names(doubtful)} anyway", yes=yes)
    return await _write(context, planned, new, reason)


def _plan(context: CommandContext, text: str, which: str | None) -> PlannedEntry:
    listed = which or guess_list(text)
    if which is None:
        context.print(
            f"{display_text(text.encode(errors='replace'))}: {describe_guess(text, listed)}"
        )
    try:
        return plan_entry(context.settings, text, listed)
    except UselessEntryError as error:
        lines = [line_to_paste(*each) for each in error.alternatives]
        raise CommandError(str(error), [f"  {line}" for line in lines if line]) from None


def _print_plan(context: CommandContext, planned: PlannedEntry) -> None:
    shown = display_text(planned.text.encode(errors="surrogateescape"))
    if (other := planned.covered_by) is not None:
        relation = "is already listed" if planned.is_same else "is already covered"
        context.print(f"{shown} {relation}: {described(other)}")
        return
    for finding in planned.findings:
        context.print(f"{finding.severity}: {shown} – {finding.problem}; {finding.remedy}")
    for entry in planned.covers[:MAX_SHOWN_COVERED]:
        context.print(f"{shown} also covers {described(entry)}")
    if (more := len(planned.covers) - MAX_SHOWN_COVERED) > 0:
        context.print(f"… and {more} more")


async def _write(
    context: CommandContext,
    planned: Sequence[PlannedEntry],
    new: Sequence[PlannedEntry],
    reason: str,
) -> int:
    now, by = time.time(), current_user()
    servers = []
    for path in dict.fromkeys(each.target.path for each in new):
        of_file = [each for each in new if each.target.path == path]
        add_entries(of_file, now, by, reason)
        covered = ", ".join(
            describe_coverage(_shown(each.text), each.target.which) for each in of_file
        )
        context.print(f"added to {path}: {covered}")
        servers += await put_in_force(context, path)
    context.print_json(_as_json(planned, servers_as_json(servers), changed=True))
    print_container_note(context, [each.target.path for each in new])
    if not context.as_json:
        # Unwrapped, so that it can be pasted.
        line = line_to_undo([each.text for each in new])
        context.console.print(f"to undo: {line}", soft_wrap=True)
    return EXIT_ERROR if any(each.in_force is False for each in servers) else 0


def _names(planned: Sequence[PlannedEntry]) -> str:
    return ", ".join(_shown(each.text) for each in planned)


def _shown(text: str) -> str:
    return display_text(text.encode(errors="surrogateescape"))


def _as_json(
    planned: Sequence[PlannedEntry], servers: list[dict[str, object]], *, changed: bool
) -> dict[str, object]:
    return {
        "changed": changed,
        "entries": [
            {
                "entry": each.text,
                "list": each.target.which,
                "file": str(each.target.path),
                "added": changed and each.covered_by is None,
                "covered_by": each.covered_by and described(each.covered_by),
                "findings": [f"{found.problem}; {found.remedy}" for found in each.findings],
            }
            for each in planned
        ],
        "servers": servers,
    }


# For other commands -------------------------------------------------------------------------------


def line_to_paste(entry: str, which: str, reason: str = "") -> str | None:
    """Return the command that adds an entry; None if the linter has a finding for the entry.

    Args:
        entry: an address, a network or a domain.
        which: the list, ``clients`` or ``recipients``.
        reason: the reason to record with it.
    """
    if not is_safe_entry(entry, which):
        return None
    options = []
    if guess_list(entry) != which:
        options.append("--client" if which == CLIENTS else "--recipient")
    if reason:
        options += ["--reason", reason]
    # After "--" there are only entries.
    given = [*options, "--", entry] if entry.startswith("-") else [entry, *options]
    return shlex.join(["greyd", "whitelist", "add", *given])


def line_to_undo(entries: Sequence[str]) -> str:
    """Return the command that removes entries; one may begin like an option."""
    marker = ["--"] if any(each.startswith("-") for each in entries) else []
    return shlex.join(["greyd", "whitelist", "remove", *marker, *entries])


async def add_one(context: CommandContext, entry: str, which: str, reason: str = "") -> list[str]:
    """Add an entry that the user has confirmed; return what happened, one line each.

    The lines name the file, and for each server whether the entry is in force. Nothing is printed.

    Raises:
        CommandError: a server runs whose files this command can't find.
        LocalListError: the entry would match nothing, or the file can't be changed.
    """
    from greyd.cli.whitelist.reload import reload_servers

    require_reachable_server(context)
    planned = plan_entry(context.settings, entry, which)
    if planned.covered_by is not None:
        return [f"{entry} is already covered: {described(planned.covered_by)}"]
    add_entries([planned], time.time(), current_user(), reason)
    servers = await reload_servers(context, planned.target.path)
    return [f"added to {planned.target.path}: {entry}", *map(str, servers)]
