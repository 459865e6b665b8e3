"""What ``add`` and ``remove`` share: servers that can't be reached, confirmation, the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.entries.confirmation import ask, can_ask
from greyd.cli.errors import CommandError
from greyd.cli.server.notes import hidden_server
from greyd.cli.whitelist.reload import reload_servers
from greyd.config.running.running_servers import find_running_servers, is_server_command
from greyd.config.server_settings import FIRST_PROCESS
from greyd.whitelist.entries import display_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.server.confirmed_server import ConfirmedServer
    from greyd.whitelist.entries import WhitelistEntry


def require_reachable_server(context: CommandContext) -> None:
    """Check that no server runs whose files this command can't find.

    Raises:
        CommandError: a server runs in a container, or as another user; its own files are unknown.
    """
    if context.server is not None or context.settings.run_dir is not None:
        return
    found = find_running_servers(())
    if not found.servers and (hidden := hidden_server(found)):
        raise CommandError(f"nothing was changed: {hidden}")


def confirm(context: CommandContext, action: str, *, yes: bool) -> None:
    """Ask whether to do what ``action`` says, unless ``yes`` answers the question.

    Raises:
        CommandError: the user declines, or there is no terminal.
        typer.Abort: the user presses Ctrl-C.
    """
    if yes:
        return
    if not can_ask(context):
        raise CommandError("nothing was changed: there is no terminal to confirm it; add --yes")
    ask(action)


async def put_in_force(context: CommandContext, file: Path) -> list[ConfirmedServer]:
    """Make the servers read a changed file again; print the outcome for each."""
    servers = await reload_servers(context, file)
    for each in servers:
        context.print(str(each))
    if not servers:
        context.print("no running server reads the file; it takes effect at the next start")
    return servers


def print_container_note(context: CommandContext, files: Sequence[Path]) -> None:
    """Print a note for folders that are lost when their container is recreated."""
    for folder in dict.fromkeys(file.parent for file in files):
        if _is_in_container_layer(folder):
            context.print(
                f"{folder} is part of this container, and lost with it; mount a volume there"
            )


def _is_in_container_layer(folder: Path) -> bool:
    """Whether greyd is a container's first process, and a folder is not in a volume."""
    try:
        words = FIRST_PROCESS.read_text(errors="surrogateescape").split("\0")
        return is_server_command(words) and folder.stat().st_dev == Path("/").stat().st_dev
    except OSError:
        return False


def described(entry: WhitelistEntry) -> str:
    """Return an entry with its file and line."""
    return f"{entry.file}:{entry.line}: {display_text(entry.text)}"
