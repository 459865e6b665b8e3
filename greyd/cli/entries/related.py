"""The queries of ``greyd show`` about a client, a mail address or a domain."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from greyd.cli.entries.correspondences import CorrespondenceSearch
from greyd.cli.entries.found_entries import Tally
from greyd.cli.entries.search.key_texts import texts_of_query, texts_of_selection
from greyd.cli.entries.selection import client_selection, parent_domains
from greyd.cli.server_control import read_control
from greyd.cli.typed_address.forms import ClientGroup, ClientNetwork, DomainName
from greyd.escaping import printable
from greyd.rules.control import window_key
from greyd.rules.entries import EntryKind
from greyd.rules.keys import identity_keys, request_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.entries.aliases import AddressAliases
    from greyd.cli.entries.found_entries import FoundEntries
    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.store.contract import Store


class Query(Protocol):
    """A query of ``greyd show``."""

    @property
    def name(self) -> bytes:
        """The subject of the query, for the message that nothing was found."""

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:
        """Print what the store contains; with ``quick``, without a scan."""


class Role(Enum):
    """The role of an address in a triplet."""

    SENDER = "sender"
    RECIPIENT = "recipient"


@dataclass(frozen=True)
class ClientQuery:
    """Queries a client: an address, a network, a name or a sender group."""

    client: ClientNetwork | DomainName | ClientGroup

    @property
    def name(self) -> bytes:
        """The client."""
        match self.client:
            case ClientNetwork() as client:
                return client.text
            case DomainName(name):
                return name
            case ClientGroup(identity):
                return identity

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:
        """Print the client's count or the identity, then the other entries of the client."""
        own_keys = self.own_keys(found.settings)
        await found.print_entries(store, *own_keys)
        if found.settings.privacy:
            if not (isinstance(self.client, ClientNetwork) and self.client.is_address):
                found.add_note("with --privacy the store has only hashes: no mail can be found")
            return
        if quick:
            return
        selection, tally, rows = client_selection(self.client), Tally(), found.related_rows()

        def visit(entry: StoredEntry) -> None:
            if selection.matches(entry, found.settings) and entry.key not in own_keys:
                tally.add(entry)
                rows.add(entry)

        await found.visit_store(store, visit, texts_of_selection(selection, found.settings))
        found.add_tally("mail", tally)
        found.add_counted(tally.entries)
        found.add_others(rows, f"greyd list --client={printable(self.name)}")

    def own_keys(self, settings: Settings) -> list[bytes]:
        """Return the keys of the client's own record, and of the identity of its name."""
        match self.client:
            case ClientNetwork() as client if (address := client.address) is not None:
                return [request_keys(address, b"", b"", settings).client]
            case ClientNetwork():
                return []
            case DomainName(name) | ClientGroup(name):
                return [identity_keys(name, b"", b"", settings).identity]


@dataclass(frozen=True)
class AddressQuery:
    """Queries a mail address or a domain: its mail, identities, correspondences and windows."""

    aliases: AddressAliases
    roles: Sequence[Role]
    as_client: ClientQuery | None = None
    """The same domain as the name of a client."""

    @property
    def name(self) -> bytes:
        """The address or the domain."""
        return self.aliases.text

    async def answer(self, store: Store, found: FoundEntries, *, quick: bool) -> None:
        """Print the identities and windows, then the mail from and to the address."""
        await found.print_entries(store, *self._identities(found.settings))
        await self._add_windows(store, found)
        if found.settings.privacy:
            found.add_note(
                "with --privacy the store has only hashes: name a client, a sender and a recipient"
                " to find mail, or a sender and a recipient with greyd forget --dry-run"
            )
            return
        if quick:
            return
        search = _AddressSearch(self, found, shown=self._identities(found.settings))
        await found.visit_store(store, search.visit, search.texts())
        for role, tally in search.by_role.items():
            found.add_tally(f"as {role.value}", tally)
        if search.as_client.entries:
            found.add_tally("as client", search.as_client)
        await found.add_correspondences(store, search.correspondences())
        found.add_others(search.mail, self._list_command(search), of_client=False)

    def _list_command(self, search: _AddressSearch) -> str:
        """Return the command that lists the mail; empty if no single one lists all of it."""
        used = [role for role, tally in search.by_role.items() if tally.entries]
        if len(used) != 1 or search.as_client.entries:
            return ""
        return f"greyd list --{used[0].value}={printable(self.name)}"

    def _identities(self, settings: Settings) -> list[bytes]:
        """Return the keys of the identities that mail of the address may have."""
        if Role.SENDER not in self.roles:
            return []
        domains = parent_domains(self.aliases.text)
        return [identity_keys(each, b"", b"", settings).identity for each in domains]

    async def _add_windows(self, store: Store, found: FoundEntries) -> None:
        names = self.aliases.window_names()
        keys = {window_key(each, found.settings) for each in names}
        control = (await read_control(store)).without_old(found.now)
        for window in control.windows:
            recipient = window.recipient.encode(errors="surrogateescape")
            if window.recipient in keys or self.aliases.include(recipient):
                found.add_window(window)


class _AddressSearch:
    """Sorts the entries of a scan by the role that an address has in them."""

    def __init__(self, query: AddressQuery, found: FoundEntries, shown: Sequence[bytes]) -> None:
        settings = found.settings
        self._shown = frozenset(shown)
        """The keys of entries that were printed in detail."""
        self.by_role = {role: Tally() for role in query.roles}
        self.as_client = Tally()
        self.mail = found.related_rows()
        self._aliases = query.aliases
        self._settings = settings
        self._client = client_selection(query.as_client.client) if query.as_client else None
        self._correspondences = CorrespondenceSearch(query.aliases, settings)
        self._of_domain: set[bytes] = set()
        """The correspondences with the queried domain."""

    def texts(self) -> tuple[bytes, ...]:
        """Return texts of which the key of each entry to visit has at least one; empty for all."""
        return texts_of_query(self._aliases, self._client, self._settings)

    def visit(self, entry: StoredEntry) -> None:
        """Count an entry in each role, and keep it if it is one of the first of the order."""
        if entry.kind is EntryKind.CORRESPONDENCE:
            tag = entry.names.sender.removeprefix(b"@")
            if self._aliases.include_domain(tag):
                self._of_domain.add(entry.key)
            else:
                self._correspondences.add_correspondence(entry.key, tag)
            return
        tallies: list[Tally] = []
        if entry.kind.is_triplet and not entry.is_hidden:
            if self._settings.learn_outbound:
                self._correspondences.add_names(entry.names)
            names = {Role.SENDER: entry.names.sender, Role.RECIPIENT: entry.names.recipient}
            tallies += [
                tally for role, tally in self.by_role.items() if self._aliases.include(names[role])
            ]
        is_new = entry.key not in self._shown
        if is_new and self._client is not None and self._client.matches(entry, self._settings):
            tallies.append(self.as_client)
        for tally in tallies:
            tally.add(entry)
        if tallies:
            self.mail.add(entry)

    def correspondences(self) -> list[bytes]:
        """Return the keys of the correspondences of the address."""
        return sorted(self._of_domain | self._correspondences.search())
