"""Reads the argument with which a command selects entries, instead of options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.cli.entries.selection import Selection, client_selection, sender_text
from greyd.cli.errors import CommandError
from greyd.cli.typed_address.decoration import NotUnderstoodError
from greyd.cli.typed_address.forms import DomainName, MailAddress, NullSender, recognise
from greyd.escaping import printable, printable_text, shell_word

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from greyd.rules.entries import EntryState, StoredEntry


def parse_what(
    what: str,
    options: Sequence[str | None],
    states: Collection[EntryState] = (),
    since: int = 0,
) -> Selection:
    """Return the selection of a client, or of an address or a domain in either role.

    Args:
        what: the argument.
        options: the values of the options that select entries, too.
        states: the states of the entries.
        since: the time in seconds since 1970; older entries are left out.

    Raises:
        CommandError: the argument is neither, or an option is given, too.
    """
    if any(each is not None for each in options):
        raise CommandError(
            f"{printable_text(what)}: give an argument, or --client, --sender and --recipient"
        )
    try:
        found = recognise(what)
    except NotUnderstoodError as error:
        raise CommandError(f"{error}; expected a client, a mail address or a domain") from None
    match found:
        case NullSender():
            selection = Selection(sender=sender_text(found))
        case MailAddress() | DomainName():
            selection = Selection(either=sender_text(found))
        case _:
            selection = client_selection(found)
    return replace(selection, states=states, since=since)


def check_one_role(command: str, selection: Selection, entries: Iterable[StoredEntry]) -> Selection:
    """Return the selection with the role that the address has in all entries.

    Raises:
        CommandError: the address is the sender of some entries, and the recipient of others.
    """
    if not selection.either:
        return selection
    as_sender, as_recipient = selection.in_each_role()
    found = list(entries)
    senders = sum(as_sender.matches_names(each) for each in found)
    recipients = sum(as_recipient.matches_names(each) for each in found)
    if senders and recipients:
        word = shell_word(selection.either)
        raise CommandError(
            f"{printable(selection.either)} is the sender of {senders:,} of them and the recipient"
            f" of {recipients:,}; choose: greyd {command} --sender={word}, or greyd {command}"
            f" --recipient={word}"
        )
    return as_recipient if recipients else as_sender
