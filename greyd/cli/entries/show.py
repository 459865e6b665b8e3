"""``greyd show``: all that is known of one triplet, one client, one identity, or under one key."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greyd.cli.batches import lower_cpu_priority
from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.rows import TRIPLETS, Rows, details_of, object_of, text_of
from greyd.cli.entries.selection import Selection, domains_of, read_address, select
from greyd.cli.errors import CommandError
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable
from greyd.rules.address import Address, parse_address
from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret, is_too_old
from greyd.rules.evidence import Evidence
from greyd.rules.keys import correspondence_key, normalise_sender, request_keys
from greyd.rules.networks import parse_network
from greyd.store.contract import scan
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store

MAX_OTHERS = 100
"""Entries that are shown beside those that were asked for."""

USAGE = (
    "write a client's address, its sender and its recipient; or one of: a client's address, an"
    " identity's domain, a key"
)


async def show(
    context: CommandContext,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIENT [SENDER RECIPIENT] | DOMAIN | KEY]", show_default=False,
            help="What is to be shown, instead of the options.",
        ),
    ] = None,
    client: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The client's address.")
    ] = None,
    sender: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The sender; <> is that of bounces.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The recipient.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only what a key leads to; do not look through the store."),
    ] = False,
) -> int:  # fmt: skip
    """Show all that is known of one mail or one client: counts, times, the records as they stand.

    With client, sender and recipient: their triplet, the client's count, and, where identities are
    in use, those under which the same sender's mail to the recipient is known. With a client
    alone: its count, and the mail of its network. With a domain: that identity. A key is taken as
    greyd list --keys or redis-cli shows it, and as postgrey writes it.

    What no key leads to is found by a look through the store, which takes its time on a large one:
    --quick leaves that out. What would be decided of a mail, greyd explain tells. With --privacy
    only hashes are known: the triplet and the client are found by them, their neighbours are not.
    Exit status 1 says that nothing is known.

    Examples:

      greyd show 192.0.2.7 alice@example.com bob@example.org

      greyd show 192.0.2.7

      greyd show --client 192.0.2.7 --sender '<>' --recipient bob@example.org

      greyd show '{192.0.2.0}/alice@example.com/bob@example.org'
    """
    lower_cpu_priority()
    question = _question(what or [], client, sender, recipient)
    async with context.store() as store:
        found = _Found(context)
        await question.answer(store, found, quick=quick)
    return found.end(question.name)


# What is asked ------------------------------------------------------------------------------------


def _question(
    words: Sequence[str], client: str | None, sender: str | None, recipient: str | None
) -> _Mail | _Client | _Key:
    """Return what is asked.

    Raises:
        AdminError: nothing that could be answered.
    """
    if words and (client or sender or recipient):
        raise CommandError("words or --client, --sender, --recipient, not both")
    if len(words) == 3:
        client, sender, recipient = words
    elif len(words) == 1:
        address = _address(words[0])
        return _Key(words[0]) if address is None else _Client(address)
    elif words:
        raise CommandError(USAGE)
    if client is None or (sender is None) != (recipient is None):
        raise CommandError(USAGE)
    address = _address(client)
    if address is None:
        raise CommandError(
            f"{printable(client.encode(errors='surrogateescape'))}: no address; {USAGE}"
        )
    if sender is None or recipient is None:
        return _Client(address)
    return _Mail(address, read_address(sender), read_address(recipient))


def _address(text: str) -> Address | None:
    data = text.strip().encode(errors="surrogateescape")
    network = parse_network(data)
    if network is None or network.prefix != network.bits:
        return None
    return select(text, None, None).address


@dataclass(frozen=True)
class _Mail:
    client: Address
    sender: bytes
    recipient: bytes

    @property
    def name(self) -> bytes:
        return b"%b, %b, %b" % (self.client.text, self.sender or b"<>", self.recipient)

    async def answer(self, store: Store, found: _Found, *, quick: bool) -> None:
        settings = found.settings
        exact = request_keys(self.client, self.sender, self.recipient, settings)
        await found.look(store, exact.triplet, exact.client)
        if settings.identity:
            await self._add_identities(store, found, quick=quick)
        if settings.learn_outbound:
            await found.look(store, correspondence_key(self.sender, self.recipient, settings))

    async def _add_identities(self, store: Store, found: _Found, *, quick: bool) -> None:
        """Add the identities that the sender's mail may be of."""
        settings = found.settings
        domains = domains_of(self.sender)
        if not (quick or settings.privacy):
            same = normalise_sender(self.sender).lower(), self.recipient.lower()
            others = await found.summarize_store(
                store,
                lambda each: each.kind is EntryKind.IDENTITY_TRIPLET and each.names[1:] == same,
            )
            domains = list(dict.fromkeys([*domains, *(each.names.network for each in others)]))
        for domain in domains:
            evidence = Evidence(identity=domain)
            names = request_keys(self.client, self.sender, self.recipient, settings, evidence)
            await found.look(store, names.identity_triplet, names.identity)


@dataclass(frozen=True)
class _Client:
    address: Address

    @property
    def name(self) -> bytes:
        return self.address.text

    async def answer(self, store: Store, found: _Found, *, quick: bool) -> None:
        settings = found.settings
        await found.look(store, request_keys(self.address, b"", b"", settings).client)
        if quick or settings.privacy:
            return
        network = parse_network(self.address.text)
        mail = Selection(networks=(network,) if network else ())
        found.add_others(
            await found.summarize_store(
                store, lambda each: each.kind in TRIPLETS and mail.takes(each, settings)
            ),
            f"greyd list --client={self.address.text.decode()}",
        )


_QUOTED = re.compile(rb"\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_PERCENT = re.compile(rb"%([01][0-9A-F]|7F|[89A-F][0-9A-F])")
"""What ``plain`` has written so; ``%25`` and ``%2f`` stand in keys themselves."""


@dataclass(frozen=True)
class _Key:
    text: str

    @property
    def name(self) -> bytes:
        return self.text.encode(errors="surrogateescape")

    async def answer(self, store: Store, found: _Found, *, quick: bool) -> None:  # noqa: ARG002
        """Look under what the text may mean, until something is there."""
        for key in dict.fromkeys(self._meanings(found.settings)):
            if await found.look(store, key):
                return

    def _meanings(self, settings: Settings) -> list[bytes]:
        given = self.name.strip()
        # As redis-cli writes it on a terminal.
        unquoted = _QUOTED.sub(_octet, given.removeprefix(b'"').removesuffix(b'"'))
        prefix = settings.key_prefix.encode()
        bare = [each.removeprefix(prefix) for each in (given, unquoted)]
        percent = [_PERCENT.sub(lambda odd: bytes([int(odd[1], 16)]), each) for each in bare]
        place, slash, names = given.partition(b"/")
        postgreys = b"{%b}%b%b" % (place, slash, names) if parse_address(place) else given
        domain = given.lower()
        return [
            given, *bare, *percent, postgreys, b"{%b}:%b" % (domain, domain), b"/" + given,
            b":" + given,
        ]  # fmt: skip


def _octet(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes([int(escape[1], 16)])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}.get(
        escape[2], escape[2]
    )


# What is found ------------------------------------------------------------------------------------


@dataclass
class _Found:
    """Shows what is found, as it is found."""

    context: CommandContext
    _objects: list[dict[str, Any]] = field(default_factory=list)
    _others: list[StoredEntry] = field(default_factory=list)
    _more: bool = False

    @property
    def settings(self) -> Settings:
        return self.context.settings

    async def look(self, store: Store, *wanted: bytes) -> bool:
        """Show what is under some keys; returns whether anything is there."""
        found = [await store.get(key) for key in wanted]
        for record in found:
            if record is not None:
                self._add(record)
        return any(found)

    def _add(self, record: Record) -> None:
        now = int(time.time())
        entry = interpret(record, now, self.settings, expired=True, unreadable=True)
        known = object_of(entry, now, self.settings) if entry else {"kind": EntryKind.OTHER.value}
        counts = (
            entry is not None
            and entry.state is not EntryState.UNREADABLE
            and not is_too_old(entry, now, self.settings)
        )
        self._objects.append(
            {
                **known,
                "counts": counts,
                "ttl_seconds": record.ttl_seconds,
                "key": text_of(record.key),
                "record": text_of(record.value),
                **({"redis_type": record.foreign_type} if record.foreign_type else {}),
            }
        )
        for name, fact in details_of(record, self.settings):
            self.context.print(f"{name + ':':14}{fact}")
        self.context.print("")

    async def summarize_store(
        self, store: Store, wanted: Callable[[StoredEntry], bool]
    ) -> list[StoredEntry]:
        """Return what is wanted of the whole store, up to one more than are shown."""
        now, found = int(time.time()), list[StoredEntry]()
        rough = await store.size()
        with self.context.progress_bar("looking through the store", rough.entries) as done:
            async for records in scan(store):
                entries = (interpret(each, now, self.settings) for each in records)
                found += islice(filter(wanted, filter(None, entries)), MAX_OTHERS + 1 - len(found))
                done(len(records))
                if len(found) > MAX_OTHERS:
                    break
        return found

    def add_others(self, entries: Sequence[StoredEntry], all_of_them: str) -> None:
        """Show what else is known."""
        self._others, self._more = list(entries[:MAX_OTHERS]), len(entries) > MAX_OTHERS
        if not self.context.as_json:
            Rows(self.context, keys=False).show(self._others)
            if self._more:
                print_error(f"there is more: {all_of_them} shows it")

    def end(self, name: bytes) -> int:
        """Say what was found in all; returns the exit status."""
        now = int(time.time())
        others = [object_of(each, now, self.settings) for each in self._others]
        self.context.print_json(
            {"entries": self._objects, "of_network": others, "more": self._more}
        )
        if self._objects or self._others:
            return 0
        delay = format_breakable_duration(self.settings.delay_seconds)
        print_error(
            f"nothing is known of {printable(name)}; a first contact waits {delay}, unless"
            " a list or an option lets it pass (greyd explain tells)"
        )
        return EXIT_NO
