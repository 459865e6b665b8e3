"""Prints the plan of a switch: what was found, the steps, and what stays."""

from __future__ import annotations

import math
import re
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.switching.found_postgrey import SERVICE as POSTGREY
from greyd.cli.switching.found_postgrey import default_folder
from greyd.cli.switching.journal import FOLDER
from greyd.escaping import printable_text
from greyd.plurals import counted
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.cli.context import CommandContext
    from greyd.cli.switching.changes import FileToWrite
    from greyd.cli.switching.found_postgrey import FoundPostgrey
    from greyd.cli.switching.journal import SwitchJournal
    from greyd.cli.switching.planning import Planned
    from greyd.cli.switching.services.interface import ServiceManager

MAX_WIDTH = 88
IMPORT_BYTES_PER_SECOND = 5_000_000
"""How much of postgrey's database an import reads in a second."""

MIN_SHOWN_SECONDS = 5
_STOP = (
    "Stop postgrey. Until the next step, usually for a second, nothing greylists: Postfix answers"
    " 451, and senders retry; with default_action=DUNNO in main.cf the mail passes."
)
_CHECK = (
    "Send a probe through each socket: greyd has to answer, greylist new mail, and pass mail that"
    " has passed postgrey. The probe is not stored, logged or counted."
)
_NEW_ENTRIES = "Import what postgrey has learned since step 1"
_ROLLBACK = (
    "If a step fails, or you press Ctrl-C, everything is rolled back, and postgrey runs again."
    " Later: greyd switch-from postgrey --undo"
)
_HIDDEN = (
    "-v also shows where its options are set, its sockets and whitelists, the commands and lines of"
    " each step, and what stays the same."
)
_MAIN_FACTS = ("service", "options", "database")


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A step of the plan."""

    title: str
    commands: list[str]
    """The commands, or the changes of a file."""
    short: str
    """The title for a plan without commands."""


def print_plan(
    context: CommandContext, found: FoundPostgrey, planned: Planned, services: ServiceManager,
    *, verbose: bool,
) -> None:  # fmt: skip
    """Print the plan; on a terminal only what matters most, unless ``verbose``."""
    if verbose or not context.console.is_terminal:
        _print_whole_plan(context, found, planned, services)
    else:
        _print_short_plan(context, found, planned, services)
    context.print("")
    # Messages on standard error come after the plan, also in a pipe.
    sys.stdout.flush()


def _print_whole_plan(
    context: CommandContext, found: FoundPostgrey, planned: Planned, services: ServiceManager
) -> None:
    width = _width(context)
    context.print("postgrey on this machine")
    for name, text in _facts(found, services):
        context.print(*_wrapped(f"  {name:9}", text, width))
    context.print("", "the plan")
    for number, step in enumerate(plan_steps(found, planned, services), 1):
        context.print(*_wrapped(f"{number:3}. ", step.title, width))
        for command in step.commands:
            # Unwrapped, so that it can be copied.
            if not context.as_json:
                context.console.print(f"       {command}", soft_wrap=True)
    context.print("", "what stays the same")
    for text in _staying(found, planned):
        context.print(*_wrapped("  - ", text, width))
    _print_remarks(context, planned)


def _print_short_plan(
    context: CommandContext, found: FoundPostgrey, planned: Planned, services: ServiceManager
) -> None:
    width = _width(context)
    context.print("postgrey on this machine")
    for name, text in _facts(found, services):
        if name in _MAIN_FACTS:
            context.print(*_wrapped(f"  {name:9}", text, width))
    _print_remarks(context, planned)
    context.print("", "the plan")
    for number, step in enumerate(plan_steps(found, planned, services), 1):
        context.print(*_wrapped(f"{number:3}. ", step.short, width))
    context.print("", *_wrapped("", _ROLLBACK, width))
    context.print(*_wrapped("", _HIDDEN, width))


def _print_remarks(context: CommandContext, planned: Planned) -> None:
    if planned.remarks:
        context.print("", "what changes")
        for text in planned.remarks:
            context.print(*_wrapped("  - ", printable_text(text), _width(context)))


def _width(context: CommandContext) -> int:
    return min(context.console.width, MAX_WIDTH)


def print_undo(context: CommandContext, journal: SwitchJournal) -> None:
    """Print what ``--undo`` is about to do."""
    width = _width(context)
    when = format_timestamp(journal.started_at)
    for text in (
        f"Return to postgrey, as before the switch of {when}:",
        f"{len(journal.records)} changes are undone in reverse order: services, then files.",
        "What greyd has learned stays in its store, but postgrey does not get it: those senders"
        " wait once more.",
    ):
        context.print(*_wrapped("" if text.endswith(":") else "  - ", text, width))


def _wrapped(prefix: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=prefix, subsequent_indent=" " * len(prefix),
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _facts(found: FoundPostgrey, services: ServiceManager) -> Iterator[tuple[str, str]]:
    running = f"runs (process {found.process})" if found.process else "runs"
    state = running if found.state.is_running else "does not run"
    boot = "starts at boot" if found.state.is_enabled else "does not start at boot"
    yield "service", f"{services.name}: {state}, {boot}"
    yield "options", found.options.text() or "none: postgrey's defaults"
    yield "from", ", ".join(found.options_from)
    yield "sockets", ", ".join(str(each) for each in found.listeners)
    yield "lists", ", ".join(str(each) for each in found.lists) or "none"
    size_bytes = found.database_bytes
    yield "database", "none" if size_bytes is None else f"{found.folder}, {_size(size_bytes)}"


def _size(size_bytes: int) -> str:
    if not size_bytes:
        return "which only root may see"
    return f"{size_bytes / 2**20:.1f} MB" if size_bytes >= 2**20 else f"{size_bytes / 1024:.0f} kB"


def plan_steps(
    found: FoundPostgrey, planned: Planned, services: ServiceManager
) -> Iterator[PlanStep]:
    """Yield the steps."""
    plan = planned.switch
    import_command = f"greyd import {found.folder}"
    duration = _import_duration(found.database_bytes)
    if plan.imports:
        yield PlanStep(
            f"Import postgrey's database, while postgrey still answers{duration}.",
            [import_command],
            f"Import postgrey's database{duration}.",
        )
    if plan.greyd_was_running:
        title = "Stop the greyd that runs."
        yield PlanStep(title, [services.command("stop", *reversed(plan.starts))], title)
    for file in plan.files:
        verb = "Add to" if file.path.exists() else "Write"
        is_settings = file.path == planned.settings.path
        lines = planned.settings.lines if is_settings else _first_lines(file.content)
        yield PlanStep(
            f"{verb} {file.path}:",
            [f"+ {line}" for line in lines],
            f"{verb} {file.path}: {counted(_line_count(file, planned), 'line')}.",
        )
    if plan.was_running:
        yield PlanStep(
            _STOP,
            [services.command("stop", POSTGREY)],
            "Stop postgrey: nothing greylists for about a second.",
        )
    title = "Start greyd in its place."
    yield PlanStep(title, [services.command("start", *plan.starts)], title)
    if plan.imports and plan.was_running:
        title = f"{_NEW_ENTRIES}{', while greyd answers' if duration else ''}."
        yield PlanStep(title, [import_command], title)
    yield PlanStep(_CHECK, [], "Check by a probe that greyd greylists.")
    boot = [services.command("disable", POSTGREY)] if plan.was_enabled else []
    if not plan.greyd_was_enabled:
        boot.append(services.command("enable", *plan.starts))
    if boot:
        title = "Let greyd start at boot, not postgrey."
        yield PlanStep(title, boot, title)


def _import_duration(size_bytes: int | None) -> str:
    """Return how long the import of a large database takes; empty for a small one."""
    seconds = (size_bytes or 0) / IMPORT_BYTES_PER_SECOND
    if seconds < MIN_SHOWN_SECONDS:
        return ""
    if seconds < 60:
        return f" (about {math.ceil(seconds / 10) * 10} s)"
    return f" (about {math.ceil(seconds / 60)} min)"


def _line_count(file: FileToWrite, planned: Planned) -> int:
    if file.path == planned.settings.path:
        return len(planned.settings.lines)
    return len(file.content.splitlines())


def _first_lines(content: bytes) -> list[str]:
    lines = content.decode(errors="replace").splitlines()
    return lines if len(lines) <= 12 else [*lines[:3], f"… and {len(lines) - 3} more lines"]


def _staying(found: FoundPostgrey, planned: Planned) -> Iterator[str]:
    yield "Postfix's main.cf and master.cf: the socket stays the same."
    yield "postgrey's package, settings and database; greyd only reads them."
    if found.lists:
        yield (
            "the whitelists: greyd reads them where they are. Before you purge postgrey's package,"
            " copy them to /etc/greyd."
        )
    if not planned.settings.kept and not planned.settings.lines:
        yield f"{planned.settings.path}: greyd needs no other setting."
    yield f"a record of each change, and backups of changed files: {FOLDER}"
    yield _ROLLBACK


def manual_steps(options: str) -> list[str]:
    """Return the steps for a system whose services this command does not know.

    ``options`` are those of postgrey's process.
    """
    folder = re.search(r"--dbdir[= ](\S+)", options)
    import_command = f"greyd import {folder[1] if folder else default_folder()}"
    return [
        f"1. {import_command}",
        "2. stop postgrey with the program that started it, and disable it there",
        f"3. in its place start: greyd serve {options}".rstrip(),
        f"4. {import_command}",
        "5. greyd doctor",
    ]


def as_json(found: FoundPostgrey, planned: Planned, services: ServiceManager) -> dict[str, object]:
    """Return the plan for programs."""
    return {
        "services": services.name,
        "postgrey": {
            "running": found.state.is_running,
            "enabled": found.state.is_enabled,
            "process": found.process,
            "options": found.options.text(),
            "options_from": list(found.options_from),
            "sockets": [str(each) for each in found.listeners],
            "lists": [str(each) for each in found.lists],
            "database": str(found.folder) if found.database_bytes is not None else None,
        },
        "steps": [
            {"title": step.title, "commands": step.commands}
            for step in plan_steps(found, planned, services)
        ],
        "blockers": list(planned.blockers),
        "remarks": list(planned.remarks),
    }
