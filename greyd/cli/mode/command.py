"""``greyd mode``: switches the mode of all servers on the store while they run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, CommandContext, option_seconds
from greyd.cli.entries.confirmation import DryRun  # noqa: TC001 - typer reads it at run time
from greyd.cli.errors import CommandError
from greyd.cli.mode.verification import configured_mode, servers_on_store, verify_mode
from greyd.cli.server.confirmed_server import servers_as_json
from greyd.cli.server_control import current_user, read_control, update_control
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable_text, shell_word
from greyd.rules.control import Control, ModeOverride
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.server.confirmed_server import ConfirmedServer
    from greyd.config.running.run_record import RunRecord

MAX_SHOWN_DOMAINS = 20
"""Maximum number of recipient domains with a mode of their own that the command shows."""


REPEATED_SECONDS = 60
"""A mode whose end differs by less than this is the same: the command was repeated."""


class RequestedMode(Enum):
    """A mode, or ``reset`` for the configured one."""

    ON = "on"
    LEARN = "learn"
    OFF = "off"
    RESET = "reset"


async def mode(
    context: CommandContext,
    switch: Annotated[
        RequestedMode | None,
        typer.Argument(
            metavar="MODE",
            case_sensitive=False,
            help="on, learn or off; reset returns to each server's --mode. Default: show the mode.",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Argument(metavar="[TIME]", help="How long, as with --for.", show_default=False),
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", help="How long, e.g. 30m, 2h, 1d. Default: until reset."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> int:
    """Switch greylisting on, off, or to learning.

    All servers that share the store apply the mode within a second, and log the change; the command
    waits until those of this machine have done so. learn: store triplets and log decisions, but let
    all mail pass. off: let all mail pass, and store nothing. learn and off apply to all recipients;
    with on, a recipient domain keeps a mode of its own. The mode lasts until it is reset, even
    across restarts, or for the time that you give. While off or learn has no end, one of the
    servers logs a warning once a day. If all servers on a SQLite store are configured with
    --mode=on, "on" without a time resets the mode.

    Examples:

      greyd mode

      greyd mode off 2h

      greyd mode reset
    """
    now, servers = int(time.time()), servers_on_store(context)
    if switch is None:
        async with context.open_store() as store:
            _print_mode(context, await read_control(store), now, servers)
        return 0
    if duration is not None and for_ is not None:
        raise CommandError("--for: the time is also given as an argument; leave out one of them")
    given = option_seconds(for_, "--for") if for_ else _argument_seconds(duration)
    is_reset_by_on = False
    if switch is RequestedMode.ON and not given and _are_all_configured_on(context, servers):
        switch, is_reset_by_on = RequestedMode.RESET, True
    change = _ModeChange(switch, now + given if given else 0, now)
    async with context.open_store(create=not dry_run) as store:
        if dry_run:
            control = change(await read_control(store))
        else:
            control = await update_control(store, change, now)
    verified: list[ConfirmedServer] = []
    if dry_run:
        context.print("nothing was changed (--dry-run); this would be the mode")
    else:
        own = control.mode if control.mode and control.mode.holds(now) else None
        verified = await verify_mode(servers, own.mode if own else None)
    if change.result:
        context.print(change.result)
    elif is_reset_by_on and not dry_run:
        context.print("the mode was reset: all servers are configured with --mode=on")
    _print_mode(context, control, now, servers, verified)
    return EXIT_ERROR if any(each.in_force is False for each in verified) else 0


def _argument_seconds(text: str | None) -> int:
    """Return the seconds of the argument; 0 without one.

    Raises:
        CommandError: the argument is not a duration.
    """
    return option_seconds(text, "TIME") if text is not None else 0


def _are_all_configured_on(context: CommandContext, servers: Sequence[RunRecord]) -> bool:
    """Whether all servers on the store have ``--mode=on``, as far as that is certain.

    Servers on other machines may use a Redis store, and their settings are unknown here.
    """
    return _configured_modes(servers) == ["on"] and not _may_have_remote_servers(context)


def _may_have_remote_servers(context: CommandContext) -> bool:
    return not context.store_url.startswith("sqlite:")


def _configured_modes(servers: Sequence[RunRecord]) -> list[str]:
    """Return the different modes that servers are configured with; empty without a server."""
    return list(dict.fromkeys(map(configured_mode, servers)))


@dataclass
class _ModeChange:
    """Sets or resets the mode."""

    mode: RequestedMode
    until: int
    now: int
    result: str = ""
    """What the last run found: a transaction may run again."""

    def __call__(self, control: Control) -> Control:
        """Return the control record with the mode; the same record if it already has this mode."""
        by, self.result = current_user(), ""
        before = control.mode if control.mode and control.mode.holds(self.now) else None
        if self.mode is RequestedMode.RESET:
            if before is None:
                self.result = "no mode was set; nothing was changed"
                return control
            # The servers log the user who switched the mode; a reset removes that from the record.
            return replace(control, mode=None).with_action(by, "mode reset", self.now)
        if before is not None and before.mode == self.mode.value and self._ends_with(before):
            self.result = "the mode was already set; nothing was changed"
            return control
        return replace(control, mode=ModeOverride(self.mode.value, self.until, by, self.now))

    def _ends_with(self, before: ModeOverride) -> bool:
        if not (self.until and before.until):
            return self.until == before.until
        return abs(self.until - before.until) < REPEATED_SECONDS


def _print_mode(
    context: CommandContext,
    control: Control,
    now: int,
    servers: Sequence[RunRecord],
    verified: Sequence[ConfirmedServer] = (),
) -> None:
    mode = control.mode if control.mode and control.mode.holds(now) else None
    told = None if mode is None else asdict(mode)
    if told is not None:
        del told["warned_at"]
    # Off and learn apply to all recipients.
    keeps_own = mode is None or mode.mode == "on"
    domains = context.settings.recipient_domains if keeps_own else ()
    own_modes = {each.domain: each.mode for each in domains if each.mode}
    context.print_json(
        {
            "mode": told and told["mode"],
            "configured": context.settings.mode,
            "told": told,
            "recipient_domains": own_modes,
            "servers": servers_as_json(verified),
        }
    )
    if mode is None:
        context.print(_configured_in_words(context, servers), *map(str, verified))
    else:
        until = _end_in_words(mode, now)
        context.print(
            f"{mode.mode}, {until}; by {printable_text(mode.by)} at {format_timestamp(mode.at)}",
            *map(str, verified),
        )
        if mode.is_forgettable:
            context.print(
                "all mail passes until the mode is changed; a server logs a warning once a day."
                f" To set an end: greyd mode {mode.mode} 2h"
            )
        if mode.mode == "on" and not mode.until:
            context.print("it applies to all servers on the store, whatever their --mode")
        # Unwrapped, so that the command can be pasted.
        shared = "".join(f" {shell_word(each)}" for each in context.repeated_options)
        if not context.as_json:
            context.console.print(f"to undo: greyd mode reset{shared}", soft_wrap=True)
    for domain, own in list(own_modes.items())[:MAX_SHOWN_DOMAINS]:
        context.print(f"{own} for mail to {printable_text(domain)} (--recipient-domain)")
    if len(own_modes) > MAX_SHOWN_DOMAINS:
        context.print(f"… and {len(own_modes) - MAX_SHOWN_DOMAINS} more domains")


def _end_in_words(mode: ModeOverride, now: int) -> str:
    if not mode.until:
        return "until it is reset"
    return (
        f"until {format_timestamp(mode.until)} (in {format_breakable_duration(mode.until - now)})"
    )


def _configured_in_words(context: CommandContext, servers: Sequence[RunRecord]) -> str:
    """Return the mode of the servers while no other one is set."""
    modes = _configured_modes(servers)
    if len(modes) > 1:
        return f"as configured on each server; here {', '.join(modes)}"
    others = ", as each other server's --mode says" if _may_have_remote_servers(context) else ""
    return f"{context.settings.mode}, as configured{' here' if others else ''}{others}"
