"""``greyd release``: lets the next attempt of waiting mail pass."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.batches import StoreTransaction, transact_all
from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.confirmation import DryRun, Yes, ask, can_ask, confirm
from greyd.cli.entries.releasing.spam_signs import NetworkHistory, SpamLikelihood, SpamSign
from greyd.cli.entries.search.key_texts import texts_of_clients, texts_of_selection
from greyd.cli.entries.search.typed_word import check_one_role, parse_what
from greyd.cli.entries.selection import Selection, parse_selection
from greyd.cli.entries.table import name_columns
from greyd.cli.errors import CommandError
from greyd.cli.server_control import record_action
from greyd.cli.tables.column import Kind, TableColumn
from greyd.cli.tables.limit import more_line
from greyd.escaping import shell_word
from greyd.plurals import counted, noun
from greyd.rules.entries import EntryState, interpret
from greyd.rules.records import Triplet
from greyd.rules.site_rules.recipient_settings import settings_to_release
from greyd.rules.triplets import ReleaseOutcome
from greyd.rules.triplets import release as released
from greyd.store.contract import scan
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.contract import Store


MAX_SHOWN = 20
"""The maximum number of mails that are shown."""

MAX_UNASKED = 5
"""The number of mails that a terminal's user can release without a question."""

_WAITING = (EntryState.WAITING, EntryState.NEVER_RETURNED)


@dataclass(slots=True)
class _Mail:
    """A waiting triplet."""

    entry: StoredEntry
    sign: SpamSign
    outcome: ReleaseOutcome
    """The outcome of the release; before the release, the expected outcome."""

    @property
    def is_due(self) -> bool:
        """Whether a release changes it."""
        return self.outcome is ReleaseOutcome.RELEASED

    @property
    def is_spam(self) -> bool:
        """Whether it is probably spam, and a release would change it."""
        return self.is_due and self.sign.likelihood is SpamLikelihood.SPAM


async def release(
    context: CommandContext,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLIENT | ADDRESS | DOMAIN]",
            show_default=False,
            help="What to release, instead of options.",
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="ADDRESS|NETWORK|NAME", help="Mail of this client."),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("--sender", metavar="ADDRESS|DOMAIN", help="Mail from this sender."),
    ] = None,
    recipient: Annotated[
        str | None,
        typer.Option("--recipient", metavar="ADDRESS|DOMAIN", help="Mail to this recipient."),
    ] = None,
    without_spam: Annotated[
        bool,
        typer.Option("--without-spam", help="Leave out mail that is probably spam."),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> int:  # fmt: skip
    """Let the next attempt of waiting mail pass.

    An address or domain as an argument may be the sender or the recipient; if it is both, an option
    has to choose. A triplet must match all options. The mail itself is still in its sender's queue.
    It arrives at the sender's next attempt, which greyd can't hasten. Mail that was released
    before, or has waited for its delay, is reported and left as it is.

    Probable spam is shown first: mail of networks from which nothing has passed, and from
    which other mail never returned or has three sender domains or more. --without-spam leaves it
    waiting. On a terminal the command
    asks before it releases more than 5 triplets or probable spam, unless you name both a sender and
    a recipient; --yes skips the question. Without a terminal, more than 20 triplets need --yes.
    The exit status is 1 if no matching mail waits. With --privacy you can release one triplet, by
    its client's address, its sender and its recipient.

    Examples:

      greyd release alice@example.com

      greyd release --recipient bob@example.org

      greyd release --recipient example.org --without-spam

      greyd release --client 192.0.2.0/24 --sender example.com

      greyd release --sender alice@example.com --recipient bob@example.org --dry-run
    """
    selection = (
        parse_selection(client, sender, recipient, _WAITING)
        if what is None
        else parse_what(what, (client, sender, recipient), _WAITING)
    )
    if not selection.names_somebody:
        raise CommandError(
            "select the mail: greyd release ADDRESS, or --client, --sender or --recipient"
        )
    shows_all = _list_command(context, what, client, sender, recipient)
    async with context.open_store(writable=not dry_run) as store:
        found = await _find_mails(context, store, selection)
        mails = [mail for mail in found if not (without_spam and mail.is_spam)]
        role = check_one_role("release", selection, (mail.entry for mail in mails))
        due = [mail for mail in mails if mail.is_due]
        asked = not (dry_run or yes) and _must_ask(context, due, selection)
        action = f"release {counted(len(due), 'waiting triplet')}"
        if asked:
            _print_mails(context, due, shows_all)
            ask(action + _spam_count(due))
        elif not dry_run:
            confirm(context, len(due), action, yes=yes)
        if not dry_run:
            await _release_mails(store, mails, context.settings)
        number = sum(mail.is_due for mail in mails)
        if number and not dry_run:
            named = {"client": client, "sender": sender, "recipient": recipient}
            if what is not None:
                named = _named_by_argument(what, role)
            action = f"released {number} waiting triplets"
            await record_action(store, context.settings, action, named)
    _print_released(context, mails, due, shows_all, dry_run=dry_run, is_shown=asked)
    if spam := len(found) - len(mails):
        context.print(f"{spam:,} not released: probably spam (--without-spam)")
    return 0 if mails else EXIT_NO


def _named_by_argument(what: str, role: Selection) -> dict[str, str | None]:
    """Return the options that select what the argument selects, for the servers' log."""
    if role.networks or role.domain:
        return {"client": what}
    name = "sender" if role.sender else "recipient"
    return {name: (role.sender or role.recipient).decode(errors="surrogateescape")}


def _must_ask(context: CommandContext, due: Sequence[_Mail], selection: Selection) -> bool:
    """Whether to ask on a terminal before these mails are released."""
    if selection.exact_triplets(context.settings) or not can_ask(context):
        return False
    return len(due) > MAX_UNASKED or any(mail.is_spam for mail in due)


def _spam_count(due: Sequence[_Mail]) -> str:
    spam = sum(mail.is_spam for mail in due)
    return f", {spam:,} of them probably spam" if spam else ""


async def _find_mails(context: CommandContext, store: Store, selection: Selection) -> list[_Mail]:
    """Return the waiting mail of a selection, the most likely spam first."""
    now, history = int(time.time()), NetworkHistory(context.settings)
    found = [
        entry
        async for entries in _waiting_triplets(context, store, selection, now, history)
        for entry in entries
    ]
    mails = [
        _Mail(each, history.sign_of(each), _outcome(each, now, context.settings)) for each in found
    ]
    if not history.is_complete:
        print_error("the store has too many networks: some signs of spam were not checked")
    return sorted(
        mails, key=lambda mail: (not mail.is_due, mail.sign.likelihood, mail.entry.first_seen)
    )


def _outcome(entry: StoredEntry, now: int, settings: Settings) -> ReleaseOutcome:
    """Return the outcome that a release of an entry would have."""
    assert isinstance(entry.record, Triplet)  # noqa: S101 - only triplets wait
    own = settings_to_release(entry.key, settings)
    return released(entry.key, entry.record.dump(), now, own)[0]


async def _waiting_triplets(
    context: CommandContext,
    store: Store,
    selection: Selection,
    now: int,
    history: NetworkHistory,
) -> AsyncIterator[Sequence[StoredEntry]]:
    """Yield the waiting triplets that match the selection; then complete the history.

    The history gets all entries of the networks that the triplets come from, and maybe others.

    Raises:
        CommandError: the store contains only hashes, and the selection names no single triplet.
    """
    settings = context.settings
    if settings.privacy:
        names = selection.hashed_triplets(settings)
        entries = [await _read_entry(store, name, now, settings) for name in names]
        yield [entry for entry in entries if entry and entry.state in _WAITING]
        return
    texts, rough = texts_of_selection(selection, settings), await store.size()
    networks = set[bytes]()
    with context.progress_bar("scanning the store", rough.entries) as done:
        async for group in scan(store, containing=texts):
            read = (interpret(record, now, settings) for record in group)
            known = [entry for entry in read if entry is not None]
            if not texts:
                history.add_all(known)
            done(len(group))
            if found := [e for e in known if _is_triplet(e) and selection.matches(e, settings)]:
                networks.update(entry.names.network for entry in found)
                yield found
        if texts and networks:
            async for group in scan(store, containing=texts_of_clients(networks, settings)):
                read = (interpret(record, now, settings) for record in group)
                history.add_all(entry for entry in read if entry is not None)
                done(len(group))


async def _read_entry(store: Store, key: bytes, now: int, settings: Settings) -> StoredEntry | None:
    record = await store.get(key)
    return record and interpret(record, now, settings)


def _is_triplet(entry: StoredEntry) -> bool:
    return entry.kind.is_triplet


async def _release_mails(store: Store, mails: Sequence[_Mail], settings: Settings) -> None:
    """Release triplets, each in a transaction of its own that sees what servers changed."""

    def rule(
        key: bytes, remembered: Remembered
    ) -> tuple[tuple[bytes, ReleaseOutcome], Sequence[Change]]:
        (text,) = remembered
        outcome, changes = released(key, text, int(time.time()), settings_to_release(key, settings))
        return (key, outcome), changes

    keys = [mail.entry.key for mail in mails]
    transactions = [StoreTransaction([key], partial(rule, key)) for key in keys]
    outcomes: dict[bytes, ReleaseOutcome] = {}
    async for answers in transact_all(store, transactions):
        outcomes.update(answers)
    for mail in mails:
        mail.outcome = outcomes[mail.entry.key]


_SENTENCES = {
    ReleaseOutcome.ALREADY_RELEASED: "{:,} released already: the sender's next attempt passes",
    ReleaseOutcome.DELAY_OVER: "{:,} not released: the delay is over, the next attempt passes",
    ReleaseOutcome.NOT_WAITING: "{:,} passed or expired in the meantime",
}


def _columns(settings: Settings) -> list[TableColumn[_Mail]]:
    client, sender, recipient = name_columns(settings)
    return [
        TableColumn("client", client.kind, lambda mail: client.value(mail.entry), label=""),
        TableColumn("sender", sender.kind, lambda mail: sender.value(mail.entry), label="from"),
        TableColumn("recipient", recipient.kind, lambda m: recipient.value(m.entry), label="to"),
        TableColumn("first seen", Kind.TIME, lambda mail: mail.entry.first_seen, priority=3),
        TableColumn(
            "would pass", Kind.DUE, lambda mail: mail.entry.passes_at, priority=4, label="passes"
        ),
        TableColumn(
            "sign", Kind.VERDICT, lambda m: m.sign.text if m.is_due else None, label="", priority=2,
            meaning=lambda mail: mail.sign.likelihood.meaning,
        ),
    ]  # fmt: skip


def _list_command(
    context: CommandContext,
    what: str | None,
    client: str | None,
    sender: str | None,
    recipient: str | None,
) -> str:
    """Return the command that lists all waiting mail of the selection, ready to paste."""
    named = {"client": client, "sender": sender, "recipient": recipient}
    words = [f"--{name}={text}" for name, text in named.items() if text is not None]
    words += [*context.repeated_options, "--limit=0"]
    if what is not None:
        # After --, a word that begins with - is no option.
        words += ["--", what] if what.startswith("-") else [what]
    return " ".join(["greyd list --waiting --never-returned", *map(shell_word, words)])


def _print_mails(context: CommandContext, mails: Sequence[_Mail], shows_all: str) -> None:
    """Print the first mails, and ``shows_all``, the command that lists all."""
    shown = [mail for mail in mails if not mail.entry.is_hidden]
    context.print_rows(_columns(context.settings), shown[:MAX_SHOWN])
    if len(shown) > MAX_SHOWN and not context.as_json:
        line = more_line(len(shown) - MAX_SHOWN, remedy=f"{shows_all} shows all")
        # Unwrapped, so that the command can be pasted.
        context.console.print(line, soft_wrap=True)


def _print_released(
    context: CommandContext,
    mails: Sequence[_Mail],
    due: Sequence[_Mail],
    shows_all: str,
    *,
    dry_run: bool,
    is_shown: bool,
) -> None:
    counts = Counter(mail.outcome for mail in mails)
    number = counts[ReleaseOutcome.RELEASED]
    context.print_json(
        {
            "released": 0 if dry_run else number,
            "waiting": len(mails) - counts[ReleaseOutcome.NOT_WAITING],
            "dry_run": dry_run,
            **({"would_release": number} if dry_run else {}),
            "probably_spam": sum(mail.is_spam for mail in due),
            "already_released": counts[ReleaseOutcome.ALREADY_RELEASED],
            "delay_over": counts[ReleaseOutcome.DELAY_OVER],
        }
    )
    if not mails:
        context.print("no matching mail waits")
        return
    if not is_shown:
        # Of a flood that is not released, the counts below are enough.
        _print_mails(context, mails if len(mails) <= MAX_SHOWN else due or mails, shows_all)
    done = "would be released" if dry_run else "released"
    then = ""
    if number and not dry_run:
        then = f"; {noun(number, 'it passes', 'they pass')} at the sender's next attempt"
    context.print(f"{number:,} {done}{_spam_count(mails)}{then}")
    for outcome, sentence in _SENTENCES.items():
        if counts[outcome]:
            context.print(sentence.format(counts[outcome]))
