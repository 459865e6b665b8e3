"""``greyd whitelist``: adds and removes entries of the administrator's own whitelists."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from greyd.cli.context import CommandContext  # noqa: TC001 - typer reads it at run time
from greyd.cli.errors import CommandError
from greyd.cli.whitelist.adding import add
from greyd.cli.whitelist.listing import list_entries
from greyd.cli.whitelist.removing import remove
from greyd.escaping import shell_word
from greyd.redaction import excerpt
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS

MAX_ENTRIES = 100
"""Maximum number of entries in one command."""


class WhitelistAction(Enum):
    """What to do with the entries."""

    ADD = "add"
    REMOVE = "remove"
    LIST = "list"


async def whitelist(
    context: CommandContext,
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="add|remove|list",
            help="What to do; by default list the entries.",
            autocompletion=lambda: [each.value for each in WhitelistAction],
        ),
    ] = None,
    entries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ENTRY…",
            show_default=False,
            help="An address, a network, a domain, user@domain or a /pattern/. list shows the"
            " entries that contain or match it.",
        ),
    ] = None,
    client: Annotated[
        bool, typer.Option("--client", help="The list of clients, whatever the entry's form.")
    ] = False,
    recipient: Annotated[
        bool, typer.Option("--recipient", help="The list of recipients, whatever the entry's form.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="The reason, written above the entry.")
    ] = "",
    all_files: Annotated[
        bool, typer.Option("--all", help="list: show the entries of the other files too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be changed; change nothing.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Add or remove without asking for confirmation."),
    ] = False,
) -> int:
    """Add, remove or list this site's own whitelist entries.

    Mail that an entry matches is never greylisted. add writes to whitelist_clients.local or
    whitelist_recipients.local, beside the file that a package installs, with the date, your name
    and the reason as a comment. An entry with an @ is for recipients, any other for clients. An
    entry that would let strangers pass is added only after a confirmation. remove takes the text of
    an entry, or a client or recipient that it matches. The server then reads its whitelists again,
    and the command checks that. The file as it was before is kept as FILE~.

    The exit status is 1 if there was nothing to change, and 2 if the change failed.

    Examples:

      greyd whitelist add 192.0.2.25 --reason "their gateway never retries"

      greyd whitelist add outbound.example.com

      greyd whitelist remove outbound.example.com

      greyd whitelist
    """
    if client and recipient:
        raise CommandError("--client and --recipient: an entry is on one list")
    chosen = _read_action(action)
    which = CLIENTS if client else RECIPIENTS if recipient else None
    texts = list(dict.fromkeys(entries or []))
    if len(texts) > MAX_ENTRIES:
        raise CommandError(f"{len(texts)} entries: at most {MAX_ENTRIES} in one command")
    if chosen is WhitelistAction.LIST:
        return await list_entries(context, texts, which, all_files=all_files)
    if not texts:
        raise CommandError(f"{chosen.value}: name the entry, as in greyd whitelist add 192.0.2.25")
    if chosen is WhitelistAction.REMOVE:
        return await remove(context, texts, which, dry_run=dry_run, yes=yes)
    return await add(context, texts, which, reason, dry_run=dry_run, yes=yes)


def _read_action(text: str | None) -> WhitelistAction:
    """Return the action that the first word names.

    Raises:
        CommandError: it names none; the message proposes the commands for an entry.
    """
    try:
        return WhitelistAction((text or WhitelistAction.LIST.value).lower())
    except ValueError:
        shown = excerpt(text or "")
        message = f'"{shown}" is not an action: expected add, remove or list'
        if not any(each in shown for each in ".:@/"):
            raise CommandError(message) from None
        word = shell_word(shown)
        choices = [f"  greyd whitelist list {word}", f"  greyd whitelist add {word}"]
        raise CommandError(f"{message}, as in", choices) from None
