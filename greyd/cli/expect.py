"""``greyd expect``: opens a window for expected mail, e.g. a login code."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

import typer

from greyd.cli.context import CommandContext, option_seconds
from greyd.cli.entries.confirmation import DryRun  # noqa: TC001 - typer reads it at run time
from greyd.cli.errors import CommandError
from greyd.cli.server_control import current_user, read_control, update_control
from greyd.cli.tables.column import Kind, TableColumn
from greyd.cli.typed_address.forms import DomainName, MailAddress
from greyd.cli.typed_address.options import read_domain, read_recipient_or_domain
from greyd.escaping import printable, printable_text
from greyd.rules.control import MAX_WINDOW_SECONDS, Control, ControlError, ExpectWindow, window_key
from greyd.terminal import format_timestamp

REPEATED_SECONDS = 60
"""A window whose end differs by less than this is the same: the command was repeated."""


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
    dry_run: DryRun = False,
) -> None:
    """Let mail for a recipient pass at once for a while.

    Use it for mail that is urgent, such as a login code. All servers on the store apply the window
    within a second. While the window is open, mail from any sender passes, so name the sender's
    domain if you know it: then only mail from that domain passes, and only from clients that the
    domain's SPF record does not deny. If such a window is already open, the command reports until
    when, and changes its end. Without a recipient, the command shows the open windows.

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
    async with context.open_store(create=not dry_run) as store:
        try:
            if dry_run:
                control = change(await read_control(store))
            else:
                control = await update_control(store, change, now)
        except ControlError as error:
            raise CommandError(str(error)) from None
    if dry_run:
        context.print("nothing was changed (--dry-run); these would be the open windows")
    context.print(change.result)
    _print_windows(context, control)


@dataclass
class _WindowChange:
    """Opens a window, or closes those of a recipient."""

    window: ExpectWindow
    """The window to open; to close, only its recipient counts."""
    shown: str
    """The recipient, for messages."""
    logged: str
    """The recipient, for the action in the store."""
    now: int
    closes: bool
    result: str = ""
    """What the last run changed: a transaction may run again."""

    def __call__(self, control: Control) -> Control:
        """Return the control record with the change."""
        control = control.without_old(self.now)
        return self._close(control) if self.closes else self._open(control)

    def _close(self, control: Control) -> Control:
        recipient = self.window.recipient
        if not any(each.recipient == recipient for each in control.windows):
            self.result = f"no mail to {self.shown} was expected"
            return control
        self.result = f"mail to {self.shown} is no longer expected"
        what = f"expects {self.logged} no longer"
        return control.without_window(recipient).with_action(current_user(), what, self.now)

    def _open(self, control: Control) -> Control:
        sender, until = self.window.sender_domain, self.window.until
        mail = f"mail to {self.shown}{f' from {printable_text(sender)}' if sender else ''}"
        same = next((e for e in control.windows if e.is_for_same_mail(self.window)), None)
        if same is not None and abs(until - same.until) < REPEATED_SECONDS:
            self.result = f"{mail} is already expected, until {format_timestamp(same.until)}"
            return control
        self.result = f"{mail} is expected until {format_timestamp(until)}"
        if same is not None:
            self.result += f"; it was already expected, until {format_timestamp(same.until)}"
        of_sender = f" from {sender}" if sender else ""
        what = f"expects {self.logged}{of_sender} until {format_timestamp(until)}"
        return control.with_window(self.window).with_action(current_user(), what, self.now)


def _parse_change(
    context: CommandContext,
    recipient: str,
    until: int,
    sender: str | None,
    *,
    close: bool,
    now: int,
) -> _WindowChange:
    """Return the change to the control record that opens or closes the window.

    Raises:
        CommandError: the recipient or the sender's domain is invalid.
    """
    name = _parse_recipient(recipient)
    domain = "" if sender is None else _decode(read_domain(sender, "--from"))
    window = ExpectWindow(window_key(name, context.settings), domain, until)
    shown = printable_text(name)
    # The store keeps the action too, and with --privacy it must not contain the name.
    logged = "mail" if context.settings.privacy else f"mail to {shown}"
    return _WindowChange(window, shown, logged, now, close)


def _parse_recipient(text: str) -> str:
    """Return the address of a recipient, or ``@`` and a domain, in lower case."""
    match read_recipient_or_domain(text, "RECIPIENT"):
        case MailAddress() as address:
            return _decode(address.text.lower())
        case DomainName(name, has_at=True):
            return f"@{_decode(name)}"
        case DomainName(name):
            shown = printable(name)
            raise CommandError(
                f"RECIPIENT={printable_text(text.strip())}: understood as the domain {shown};"
                f" write @{shown} to expect mail for all its recipients"
            )


def _decode(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


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
    columns: list[TableColumn[ExpectWindow]] = [
        TableColumn("mail to", Kind.ADDRESS, lambda each: each.recipient),
        TableColumn("from", Kind.NAME, lambda each: each.sender_domain or "anybody"),
        TableColumn("still for", Kind.DURATION, lambda each: each.until - now, priority=2),
        TableColumn("until", Kind.CLOCK, lambda each: each.until),
    ]
    context.print_rows(columns, control.windows)
