"""``greyd whitelist remove``: finds entries, removes them, and puts the change in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.context import EXIT_ERROR, EXIT_NO
from greyd.cli.errors import CommandError
from greyd.cli.server.confirmed_server import servers_as_json
from greyd.cli.whitelist.output import (
    confirm,
    described,
    print_container_note,
    put_in_force,
    require_reachable_server,
)
from greyd.whitelist.entries import display_text
from greyd.whitelist.local.covering import covering_entry, matching_entries
from greyd.whitelist.local.errors import LocalListError
from greyd.whitelist.local.local_list import LOCAL_LISTS, guess_list, local_list
from greyd.whitelist.local.removal import find_entries, remove_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.whitelist.entries import WhitelistEntry
    from greyd.whitelist.local.local_list import LocalList
    from greyd.whitelist.local.removal import EntriesToRemove

_OPTIONS = {"clients": "--client", "recipients": "--recipient"}


async def remove(
    context: CommandContext,
    texts: Sequence[str],
    which: str | None,
    *,
    dry_run: bool,
    yes: bool,
) -> int:
    """Remove entries from the ``.local`` files; return the exit status.

    Raises:
        CommandError: the user declines, or several entries match.
        LocalListError: a file can't be changed.
    """
    require_reachable_server(context)
    lists = _lists(context, which)
    chosen: dict[str, tuple[LocalList, list[WhitelistEntry]]] = {}
    for text in texts:
        found = [find_entries(each, text) for each in lists]
        selected = _selected(text, found, context)
        if selected is None:
            return EXIT_NO
        target, entries = selected
        chosen.setdefault(target.which, (target, []))[1].extend(entries)
        if not any(entries[0] in each.exact for each in found):
            context.print(f"{described(entries[0])} matches {_shown(text)}")
            if not dry_run:
                confirm(context, f"remove {display_text(entries[0].text)}", yes=yes)
    if dry_run:
        for _, entries in chosen.values():
            context.print(*(f"would remove {described(each)}" for each in entries))
        context.print("nothing was changed (--dry-run)")
        context.print_json({"changed": False, "removed": [], "servers": []})
        return 0
    return await _write(context, list(chosen.values()))


def _lists(context: CommandContext, which: str | None) -> list[LocalList]:
    """Return the lists to search; one that has no ``.local`` file is left out if it can be."""
    if which is not None:
        return [local_list(context.settings, which)]
    lists, errors = [], []
    for each in LOCAL_LISTS:
        try:
            lists.append(local_list(context.settings, each))
        except LocalListError as error:
            errors.append(error)
    if not lists:
        raise errors[0]
    return lists


def _selected(
    text: str, found: Sequence[EntriesToRemove], context: CommandContext
) -> tuple[LocalList, list[WhitelistEntry]] | None:
    """Return the entries to remove, which have one text; None if there are none.

    Raises:
        CommandError: entries of both lists have the text, or several entries match.
    """
    exact = [each for each in found if each.exact]
    if len(exact) > 1:
        raise CommandError(
            f"{_shown(text)} is on both lists; choose one:",
            [f"  {_OPTIONS[each.target.which]}: {described(each.exact[0])}" for each in exact],
        )
    if exact:
        return exact[0].target, list(exact[0].exact)
    # Matching depends on the form: a domain is compared with clients, an address with recipients.
    likely = [each for each in found if len(found) == 1 or each.target.which == guess_list(text)]
    matching = [(each.target, entry) for each in likely for entry in each.matching]
    if len({entry.text for _, entry in matching}) > 1:
        raise CommandError(
            f"{len(matching)} entries match {_shown(text)}; name one of them:",
            [f"  {described(entry)}" for _, entry in matching],
        )
    if matching:
        return matching[0][0], [entry for _, entry in matching]
    elsewhere = [entry for each in likely for entry in each.elsewhere]
    for entry in elsewhere:
        context.print(f"{described(entry)} matches it, in a file that this command does not edit")
    files = ", ".join(str(each.target.path) for each in found)
    context.print(f"{_shown(text)}: no such entry in {files}; nothing was changed")
    context.print_json({"changed": False, "removed": [], "servers": []})
    return None


async def _write(
    context: CommandContext, chosen: Sequence[tuple[LocalList, list[WhitelistEntry]]]
) -> int:
    removed, servers = [], []
    for target, entries in chosen:
        note = ""
        for line in map(display_text, remove_entries(target, entries)):
            if line.startswith("#"):
                note = f" ({line.lstrip('# ')})"
            else:
                context.print(f"removed from {target.path}: {line}{note}")
                note = ""
        for each in dict.fromkeys(entry.text for entry in entries):
            removed.append({"entry": each.decode(errors="replace"), "file": str(target.path)})
            left = target.entries()
            others = covering_entry(each, left, target.which)
            for other in [others] if others else matching_entries(each, left, target.which):
                context.print(f"{display_text(each)} is still whitelisted: {described(other)}")
        servers += await put_in_force(context, target.path)
    print_container_note(context, [target.path for target, _ in chosen])
    context.print_json({"changed": True, "removed": removed, "servers": servers_as_json(servers)})
    return EXIT_ERROR if any(each.in_force is False for each in servers) else 0


def _shown(text: str) -> str:
    return display_text(text.encode(errors="surrogateescape"))
