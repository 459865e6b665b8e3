"""``greyd mode``: switches the mode of all servers on the store while they run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Annotated

import typer

from greyd.cli.context import CommandContext, option_seconds
from greyd.cli.entries.confirmation import DryRun  # noqa: TC001 - typer reads it at run time
from greyd.cli.server_control import current_user, read_control, update_control
from greyd.escaping import printable_text
from greyd.rules.control import Control, ModeOverride
from greyd.terminal import format_timestamp

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
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", help="How long, e.g. 30m, 2h, 1d. Default: until reset."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Switch greylisting on, off, or to learning.

    All servers that share the store apply the mode within a second, and log the change. learn:
    store triplets and log decisions, but let all mail pass. off: let all mail pass, and store
    nothing. learn and off apply to all recipients; with on, a recipient domain keeps a mode of its
    own. The mode lasts until it is reset, even across restarts, or for the time of --for. While off
    or learn has no end, one of the servers logs a warning once a day.

    Examples:

      greyd mode

      greyd mode off --for 2h

      greyd mode reset
    """
    now = int(time.time())
    if switch is None:
        async with context.open_store() as store:
            _print_mode(context, await read_control(store), now)
        return
    change = _ModeChange(switch, now + option_seconds(for_, "--for") if for_ else 0, now)
    async with context.open_store(create=not dry_run) as store:
        if dry_run:
            control = change(await read_control(store))
        else:
            control = await update_control(store, change, now)
    if dry_run:
        context.print("nothing was changed (--dry-run); this would be the mode")
    if change.result:
        context.print(change.result)
    _print_mode(context, control, now)


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
            self.result = "the mode was set already; nothing was changed"
            return control
        return replace(control, mode=ModeOverride(self.mode.value, self.until, by, self.now))

    def _ends_with(self, before: ModeOverride) -> bool:
        if not (self.until and before.until):
            return self.until == before.until
        return abs(self.until - before.until) < REPEATED_SECONDS


def _print_mode(context: CommandContext, control: Control, now: int) -> None:
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
        }
    )
    if mode is None:
        context.print(f"as configured on each server; here {context.settings.mode}")
    else:
        until = f"until {format_timestamp(mode.until)}" if mode.until else "until it is reset"
        context.print(
            f"{mode.mode}, {until}; by {printable_text(mode.by)} at {format_timestamp(mode.at)}"
        )
        if mode.is_forgettable:
            context.print(
                "all mail passes without an end; a server warns of it in its log once a day."
                f" To give it an end: greyd mode {mode.mode} --for 2h"
            )
    for domain, own in list(own_modes.items())[:MAX_SHOWN_DOMAINS]:
        context.print(f"{own} for mail to {printable_text(domain)} (--recipient-domain)")
    if len(own_modes) > MAX_SHOWN_DOMAINS:
        context.print(f"… and {len(own_modes) - MAX_SHOWN_DOMAINS} more domains")
