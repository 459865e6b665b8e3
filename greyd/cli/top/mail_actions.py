"""Changes that an administrator makes to one waiting mail; each is described before it is made.

``describe`` states exactly what ``apply`` will do; ``apply`` returns what has changed, in
one sentence. Texts contain only what ``greyd.escaping`` has escaped.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from greyd.cli.server_control import record_action
from greyd.escaping import printable_text
from greyd.rules.reserved_keys import SHADOW_PREFIX
from greyd.rules.site_rules.recipient_settings import settings_to_release
from greyd.rules.triplets import ReleaseOutcome
from greyd.rules.triplets import release as released
from greyd.terminal import new_console
from greyd.whitelist.list_names import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.top.waiting_mail import ListedMail
    from greyd.rules.transaction import Change, Remembered

_OUTCOMES = {
    ReleaseOutcome.RELEASED: "released: the sender's next attempt passes",
    ReleaseOutcome.ALREADY_RELEASED: "already released: the sender's next attempt passes",
    ReleaseOutcome.DELAY_OVER: "not released: its delay is over, the next attempt passes anyway",
    ReleaseOutcome.NOT_WAITING: "not released: it has passed or expired in the meantime",
}


class MailAction(Protocol):
    """A change to make after a confirmation."""

    def describe(self, context: CommandContext) -> str:
        """Return what ``apply`` will do, as sentences.

        Raises:
            GreydError: it can't be done.
        """

    async def apply(self, context: CommandContext) -> str:
        """Make the change; return what has changed.

        Raises:
            GreydError: the change failed.
        """


def route_of(mail: ListedMail) -> str:
    """Return the sender and the recipient of a mail; its hash with ``--privacy``."""
    if mail.entry.is_hidden:
        return f"the mail with the hash {mail.client}"
    return f"{mail.sender} to {mail.recipient}"


def _options(mail: ListedMail) -> dict[str, str | None]:
    """Return the options of the command that would select this mail, for the log."""
    return {"client": mail.client, "sender": mail.sender, "recipient": mail.recipient}


@dataclass(frozen=True, slots=True)
class ReleaseMail:
    """Releases one mail."""

    mail: ListedMail

    def describe(self, _context: CommandContext) -> str:
        """Return what will be released."""
        return (
            f"Release {route_of(self.mail)} from {self.mail.client}? The sender's next attempt"
            " passes. The mail is still in its sender's queue; greyd can't speed it up."
        )

    async def apply(self, context: CommandContext) -> str:
        """Release the mail."""
        settings, key = context.settings, self.mail.key

        def rule(remembered: Remembered) -> tuple[ReleaseOutcome, Sequence[Change]]:
            (text,) = remembered
            return released(key, text, int(time.time()), settings_to_release(key, settings))

        async with context.open_store(writable=True) as store:
            outcome = await store.transact([key], rule)
            if outcome is ReleaseOutcome.RELEASED:
                action = "released 1 waiting triplets"
                await record_action(store, settings, action, _options(self.mail))
        return f"{route_of(self.mail)} {_OUTCOMES[outcome]}"


@dataclass(frozen=True, slots=True)
class ForgetMail:
    """Forgets the triplet of one mail."""

    mail: ListedMail

    def describe(self, _context: CommandContext) -> str:
        """Return what will be forgotten."""
        return (
            f"Forget that {route_of(self.mail)} from {self.mail.client} has been seen? Its next"
            " attempt is greylisted as new. Nothing else is forgotten."
        )

    async def apply(self, context: CommandContext) -> str:
        """Delete the triplet, and that of the shadow."""
        key = self.mail.key
        async with context.open_store(writable=True) as store:
            deleted_count = await store.delete([key])
            await store.delete([SHADOW_PREFIX + key])
            if deleted_count:
                # As greyd forget does, leave the names out of the log: they were just forgotten.
                await record_action(store, context.settings, "forgot 1 entries", {})
        if not deleted_count:
            return f"{route_of(self.mail)} was forgotten already"
        return f"{route_of(self.mail)} forgotten: its next attempt is greylisted as new"


@dataclass(frozen=True, slots=True)
class ExpectMail:
    """Opens a window in which mail for a recipient passes at once."""

    recipient: str
    """An address, or ``@`` and a domain, as typed."""
    duration: str
    sender_domain: str
    """Only mail from this domain; empty for any sender."""

    def describe(self, _context: CommandContext) -> str:
        """Return which mail will pass, and for how long."""
        sender = printable_text(self.sender_domain) or "anybody"
        return (
            f"Let all mail from {sender} to {printable_text(self.recipient)} pass at once for the"
            f" next {printable_text(self.duration)}?"
        )

    async def apply(self, context: CommandContext) -> str:
        """Open the window."""
        from greyd.cli.expect import expect

        text = await output_of(
            expect,
            context,
            self.recipient,
            for_=self.duration,
            from_=self.sender_domain or None,
        )
        return text.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class AddToWhitelist:
    """Adds an entry to one of the site's own whitelists."""

    entry: str
    which: str
    """The list: ``clients`` or ``recipients``."""
    reason: str

    def describe(self, context: CommandContext) -> str:
        """Return which entry will be added, and to which list."""
        from greyd.whitelist.local.addition import plan_entry

        planned = plan_entry(context.settings, self.entry, self.which)
        what = "from clients that it matches" if self.which == CLIENTS else "to it"
        remarks = "".join(
            f" {each.severity}: {each.problem}; {each.remedy}." for each in planned.findings
        )
        return printable_text(
            f"Add {self.entry} to {planned.target.path}? Mail {what} is never greylisted again."
            f"{remarks}"
        )

    async def apply(self, context: CommandContext) -> str:
        """Add the entry, and have the servers read the list."""
        from greyd.cli.whitelist.adding import add_one

        return "; ".join(await add_one(context, self.entry, self.which, self.reason))


async def output_of(
    command: Any, context: CommandContext, *arguments: Any, width: int = 400, **options: Any
) -> str:
    """Run the function of a command; return what it prints as text, without colours.

    Raises:
        GreydError: the command failed.
    """
    stream = io.StringIO()
    console = new_console(stream)
    console.width = width
    # The notes on where the store was found were printed when the context was made.
    own = replace(context, as_json=False, search_note="", _consoles=[console])
    await command(own, *arguments, **options)
    return stream.getvalue().rstrip()
