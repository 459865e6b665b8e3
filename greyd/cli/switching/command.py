"""``greyd switch-from``: puts greyd in postgrey's place on this machine, and back."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, EXIT_NO, CommandContext
from greyd.cli.entries.confirmation import ask
from greyd.cli.errors import CommandError
from greyd.cli.server_control import current_user
from greyd.cli.switching.found_postgrey import (
    SERVICE,
    postgrey_processes,
    started_by_script,
    started_by_unit,
)
from greyd.cli.switching.journal import SWITCHED, SwitchJournal
from greyd.cli.switching.machine_site import MachineSite, parse_listener
from greyd.cli.switching.output import as_json, manual_steps, print_plan, print_undo
from greyd.cli.switching.planning import find_services, plan_switch
from greyd.cli.switching.services.systemd import SystemdServices
from greyd.cli.switching.switch import GREYD, Switch
from greyd.escaping import printable_text
from greyd.terminal import format_timestamp, print_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from greyd.cli.switching.found_postgrey import FoundPostgrey
    from greyd.cli.switching.planning import Planned
    from greyd.cli.switching.services.interface import ServiceManager
    from greyd.cli.switching.switch import SwitchOutcome

_IMPORTED_ONLY = ("sqlgrey", "milter-greylist", "rspamd", "gross")


def switch_from(
    context: CommandContext,
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="The server to replace: postgrey.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan; change nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Switch without asking for confirmation.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Return to postgrey, and undo all changes.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="On a terminal, show the whole plan with its commands, too."
        ),
    ] = False,
) -> int:
    """Replace postgrey with greyd on this machine.

    Finds postgrey's service, options, whitelists, sockets and database, shows the plan, and asks.
    Then it imports what postgrey has learned, starts greyd with the same options on the same
    sockets, and sends a probe through them. If a step fails, or you press Ctrl-C, it undoes
    everything, and postgrey runs as before. Postfix's configuration stays as it is.

    On a terminal the plan is short; -v adds the commands, and what stays the same.

    --undo returns to postgrey later. What greyd has learned in the meantime can't be exported:
    those senders wait once more.

    Works with systemd, and with Debian's init scripts where systemd does not run. Run it as root;
    --dry-run needs no root rights. To import from other servers see greyd import.

    Examples:

      greyd switch-from postgrey --dry-run

      greyd switch-from postgrey

      greyd switch-from postgrey --undo
    """
    if server != SERVICE:
        raise CommandError(_other_server(server))
    if undo and dry_run:
        raise CommandError("--undo and --dry-run: give one of them")
    if os.geteuid() != 0 and not dry_run:
        raise CommandError("switching stops and starts services: run it as root (sudo)")
    if undo:
        return _undo(context, yes=yes)
    journal = SwitchJournal.load() if os.geteuid() == 0 else None
    if journal is not None:
        if journal.state == SWITCHED:
            return _already_switched(context, journal)
        _resume(context, journal, yes=yes, dry_run=dry_run)
    return _plan_and_switch(context, yes=yes, dry_run=dry_run, verbose=verbose)


def _plan_and_switch(context: CommandContext, *, yes: bool, dry_run: bool, verbose: bool) -> int:
    services = _require_services()
    found = _found(services)
    if not (found.state.is_running or found.state.is_enabled) and services.state(GREYD).is_running:
        context.print(
            "greyd runs here, and postgrey neither runs nor starts at boot: nothing to do"
        )
        return 0
    planned = plan_switch(found, services)
    document = as_json(found, planned, services)
    print_plan(context, found, planned, services, verbose=verbose)
    if planned.blockers:
        for each in planned.blockers:
            print_error(f"can't switch yet: {printable_text(each)}")
        context.print_json(document)
        return EXIT_ERROR
    if dry_run:
        context.print("nothing was changed (--dry-run)")
        context.print_json(document)
        return 0
    _confirm(context, "switch from postgrey to greyd now", yes=yes)
    outcome = _switch(context, found, planned, services)
    context.print_json({**document, "error": outcome.error, "not_rolled_back": outcome.problems})
    return EXIT_ERROR if outcome.error else 0


def _other_server(name: str) -> str:
    shown = printable_text(name)[:60]
    if name == GREYD:
        return "greyd can't be switched from; --undo returns from greyd to postgrey"
    if name in _IMPORTED_ONLY:
        return f"{shown} can't be replaced by a command: see greyd import, and docs/migrating.md"
    return f"{shown}: only postgrey can be replaced by this command; for others see greyd import"


# Finding ------------------------------------------------------------------------------------------


def _require_services() -> ServiceManager:
    """Return what starts postgrey here.

    Raises:
        CommandError: there is no postgrey, or it has no service that this command can stop.
    """
    services = find_services()
    if services is not None and services.state(SERVICE).exists:
        return services
    processes = postgrey_processes()
    if not processes:
        raise CommandError(
            "postgrey was not found: no process is running, and neither systemd nor Debian's init"
            " scripts have it; for other systems see docs/replacing-postgrey.md"
        )
    reason = "neither systemd nor one of Debian's init scripts runs it"
    raise CommandError(
        f"postgrey runs (process {min(processes)}), but {reason}; follow these steps yourself:",
        manual_steps(processes[min(processes)]),
    )


def _found(services: ServiceManager) -> FoundPostgrey:
    processes, state = postgrey_processes(), services.state(SERVICE)
    if isinstance(services, SystemdServices):
        return started_by_unit(services, state, processes)
    return started_by_script(state, processes)


def _confirm(context: CommandContext, action: str, *, yes: bool) -> None:
    """Ask before anything is changed.

    Raises:
        CommandError: the user declines, or there is no terminal.
    """
    if yes:
        return
    if context.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(f"to {action}, run this in a terminal, or add --yes")
    ask(action)


# Switching ----------------------------------------------------------------------------------------


def _switch(
    context: CommandContext, found: FoundPostgrey, planned: Planned, services: ServiceManager
) -> SwitchOutcome:
    target = CommandContext(planned.greyds_settings, as_json=context.as_json)
    site = MachineSite.of(services, target, found)
    journal = SwitchJournal(by=current_user(), started_at=int(time.time()))
    journal.sockets = [str(each) for each in site.listeners]
    journal.lock()
    with _SignalsOnce() as signals:
        outcome = Switch(site, journal, _reporter(context), signals.ignore).run(planned.switch)
    if outcome.error:
        _report_rollback(outcome.problems)
        return outcome
    context.print(
        "",
        "greyd now runs in place of postgrey.",
        f"Watch it:  greyd doctor; {services.log_command}",
        "Go back:   greyd switch-from postgrey --undo",
    )
    return outcome


def _report_rollback(problems: list[str]) -> None:
    if not problems:
        print_error("rolled back: everything is as before")
    for each in problems:
        print_error(f"not rolled back: {printable_text(each)}")
    if problems:
        print_error("try again: greyd switch-from postgrey --undo")


def _reporter(context: CommandContext) -> Callable[[str], None]:
    """Return a function that prints a line; a terminal that has gone must not stop a rollback."""

    def report(line: str) -> None:
        with contextlib.suppress(OSError):
            context.print(printable_text(line))

    return report


class _SignalsOnce:
    """Lets the first Ctrl-C, SIGTERM or SIGHUP interrupt a switch, and ignores those that follow.

    Nothing must interrupt the rollback. A connection of ssh that breaks causes a SIGHUP.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._ignores = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._interrupt) for number in self._NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """Ignore all signals from now on."""
        self._ignores = True

    def _interrupt(self, *_: object) -> None:
        if not self._ignores:
            self._ignores = True
            raise KeyboardInterrupt


# Afterwards ---------------------------------------------------------------------------------------


def _already_switched(context: CommandContext, journal: SwitchJournal) -> int:
    when = format_timestamp(journal.started_at)
    context.print_json({"state": journal.state, "by": journal.by, "at": journal.started_at})
    context.print(f"already switched, {when} by {printable_text(journal.by)}")
    services = find_services()
    if services is not None and not services.state(GREYD).is_running:
        print_error(f"greyd does not run: {services.command('start', GREYD)}")
        return EXIT_NO
    context.print("greyd runs; back to postgrey: greyd switch-from postgrey --undo")
    return 0


def _resume(context: CommandContext, journal: SwitchJournal, *, yes: bool, dry_run: bool) -> None:
    """Roll back a switch that a crash or a power failure stopped; a new one then starts afresh.

    Raises:
        CommandError: the user declines, or the rollback fails.
    """
    when = format_timestamp(journal.started_at)
    text = f"a switch that {printable_text(journal.by)} began {when} was interrupted"
    if dry_run:
        raise CommandError(f"{text}: greyd switch-from postgrey --undo rolls it back")
    print_error(text)
    _confirm(context, "roll it back first", yes=yes)
    journal.lock()
    if _roll_back(context, journal, keeps_store=False):
        raise CommandError("try again: greyd switch-from postgrey --undo")


def _undo(context: CommandContext, *, yes: bool) -> int:
    journal = SwitchJournal.load()
    if journal is None:
        raise CommandError(
            "no switch is recorded here, so nothing can be undone; by hand: systemctl disable --now"
            " greyd && systemctl enable --now postgrey"
        )
    print_undo(context, journal)
    _confirm(context, "return to postgrey now", yes=yes)
    journal.lock()
    keeps_store = journal.state == SWITCHED
    if _roll_back(context, journal, keeps_store=keeps_store):
        return EXIT_ERROR
    context.print("postgrey runs as before the switch")
    context.print_json({"state": "undone"})
    return 0


def _roll_back(context: CommandContext, journal: SwitchJournal, *, keeps_store: bool) -> list[str]:
    """Undo a switch; return the problems, which are printed."""
    services = find_services()
    if services is None:
        raise CommandError("neither systemd nor Debian's init scripts are here; undo it by hand")
    site = MachineSite(services, context, None, tuple(map(parse_listener, journal.sockets)))
    with _SignalsOnce() as signals:
        switch = Switch(site, journal, _reporter(context), signals.ignore)
        problems = switch.undo(keeps_store=keeps_store)
    for each in problems:
        print_error(f"not undone: {printable_text(each)}")
    return problems
