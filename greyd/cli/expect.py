"""``greyd expect``: opens a window for expected mail, e.g. a login code."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import CommandContext, option_seconds
from greyd.cli.errors import CommandError
from greyd.cli.server_control import current_user, read_control, update_control
from greyd.config.durations import format_duration
from greyd.escaping import printable_text
from greyd.rules.control import MAX_WINDOW_SECONDS, Control, ControlError, ExpectWindow, window_key
from greyd.rules.names.internationalised import ascii_address
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable


_RECIPIENT = re.compile(r"(?=.{1,320}\Z)[^@\s]*@[^@\s]+")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE)


async def expect(
    context: CommandContext,
    recipient: Annotated[
        str | None,
        typer.Argument(help="Who expects mail: an address, or @example.org for a whole domain."),
    ] = None,
    for_: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long; at most 1d.")
    ] = "10m",
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DOMAIN", help="Expect only mail from senders of this domain."
        ),
    ] = None,
    close: Annotated[
        bool, typer.Option("--close", help="Close the recipient's windows now.")
    ] = False,
) -> None:
    """Let mail for a recipient pass at once for a while.

    Use it for mail that is urgent, such as a login code. All servers on the store apply the window
    within a second. While the window is open, mail from any sender passes, so name the sender's
    domain if you know it: then only mail from that domain passes, and only from clients that the
    domain's SPF record does not deny. Without a recipient, the command shows the open windows.

    Examples:

      greyd expect bob@example.org

      greyd expect bob@example.org --for 30m --from example.com

      greyd expect
    """
    now = int(time.time())
    if recipient is None:
        if close:
            raise CommandError("--close: name a recipient")
        async with context.open_store() as store:
            _print_windows(context, (await read_control(store)).without_old(now))
        return
    change = _parse_change(context, recipient, _parse_until(for_, now), from_, close=close, now=now)
    async with context.open_store(create=True) as store:
        try:
            control = await update_control(store, change, now)
        except ControlError as error:
            raise CommandError(str(error)) from None
    _print_windows(context, control)


def _parse_change(
    context: CommandContext,
    recipient: str,
    until: int,
    sender: str | None,
    *,
    close: bool,
    now: int,
) -> Callable[[Control], Control]:
    """Return the change to the control record that opens or closes the window.

    Raises:
        CommandError: the recipient or the sender's domain is invalid.
    """
    recipient = _in_ascii(recipient)
    if not _RECIPIENT.fullmatch(recipient):
        raise CommandError(f"{printable_text(recipient)}: expected an address, or @example.org")
    domain = _in_ascii("@" + (sender or "").strip()).rpartition("@")[2].rstrip(".")
    if sender and not _DOMAIN.fullmatch(domain):
        raise CommandError(
            f"--from={printable_text(sender)}: expected a domain such as example.com"
        )
    key = window_key(recipient, context.settings)
    # The store keeps the action too, and with --privacy it must not contain the name.
    whom = "mail" if context.settings.privacy else f"mail to {printable_text(recipient)}"
    if close:
        what = f"expects {whom} no longer"
        return partial(_close_window, key=key, what=what, now=now)
    what = f"expects {whom}{f' from {domain}' if domain else ''} until {format_timestamp(until)}"
    window = ExpectWindow(key, domain, until)
    return lambda control: control.with_window(window).with_action(current_user(), what, now)


def _in_ascii(address: str) -> str:
    """Return an address in lower case and with its domain in ASCII."""
    data = address.strip().lower().encode(errors="surrogateescape")
    return ascii_address(data).lower().decode(errors="surrogateescape")


def _close_window(control: Control, *, key: str, what: str, now: int) -> Control:
    return control.without_window(key).with_action(current_user(), what, now)


def _parse_until(text: str, now: int) -> int:
    length = option_seconds(text, "--for")
    if not 0 < length <= MAX_WINDOW_SECONDS:
        raise CommandError(
            f"--for={printable_text(text)}: expected a day at most; for longer use a whitelist"
        )
    return now + length


def _print_windows(context: CommandContext, control: Control) -> None:
    now = int(time.time())
    context.print_json(
        [
            {"recipient": each.recipient, "from": each.sender_domain or None, "until": each.until}
            for each in control.windows
        ]
    )
    if not control.windows:
        context.print("no mail is expected")
        return
    rows = [
        [
            printable_text(each.recipient),
            printable_text(each.sender_domain) or "anybody",
            format_duration(each.until - now),
            format_timestamp(each.until),
        ]
        for each in control.windows
    ]
    context.print_table(["mail to", "from", "still for", "until"], rows)
