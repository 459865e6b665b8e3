"""Finds the hashed correspondences of an address among those of a store.

A correspondence's key is a hash of a local user's address and of a correspondent's address or
organisation; its tag is the domain of the latter. So the search tries the records of organisations
and of bounces for every tag, and those of a correspondent's address with every address that the
store's triplets name.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from greyd.cli.typed_address.forms import DomainName
from greyd.rules.correspondence.keys import (
    bounce_key,
    correspondence_key,
    correspondent_form,
    organisation_key,
    user_form,
)
from greyd.rules.hostnames import domain_of

if TYPE_CHECKING:
    from greyd.cli.entries.aliases import AddressAliases
    from greyd.config.settings import Settings
    from greyd.rules.keys import TripletNames


MAX_CORRESPONDENCES = 500_000
"""The maximum number of correspondences to try: each takes some 200 bytes of memory."""

MAX_NAMES = 500_000
"""The maximum number of addresses to try, of each side."""

MAX_TRIALS = 3_000_000
"""The maximum number of hashes to try: about half a minute."""


class CorrespondenceSearch:
    """Collects correspondences and addresses during a scan, then finds those of an address."""

    def __init__(self, aliases: AddressAliases, settings: Settings) -> None:
        self._aliases = aliases
        self._settings = settings
        self._keys: dict[bytes, set[bytes]] = defaultdict(set)
        """By tag."""
        self._key_count = 0
        self._senders: dict[bytes, set[bytes]] = defaultdict(set)
        """The senders in triplets, by domain."""
        self._sender_count = 0
        self._recipients: set[bytes] = set()
        self.unchecked_count = 0
        """The number of correspondences that were not tried, because there are too many."""
        self._trial_count = 0

    def add_correspondence(self, key: bytes, tag: bytes) -> None:
        """Add a correspondence from the store."""
        if self._key_count >= MAX_CORRESPONDENCES:
            self.unchecked_count += 1
        elif key not in self._keys[tag]:
            self._keys[tag].add(key)
            self._key_count += 1

    def add_names(self, names: TripletNames) -> None:
        """Add the addresses in a triplet's key."""
        if names.sender and self._sender_count < MAX_NAMES:
            known = self._senders[domain_of(names.sender)]
            before = len(known)
            known.add(names.sender)
            self._sender_count += len(known) - before
        if len(self._recipients) < MAX_NAMES:
            self._recipients.add(names.recipient)

    def search(self) -> set[bytes]:
        """Return the keys of the correspondences of the address, as user or as correspondent."""
        found: set[bytes] = set()
        users = self._users()
        for tag, keys in self._keys.items():
            if self._trial_count > MAX_TRIALS:
                self.unchecked_count += len(keys)
                continue
            found |= keys & self._candidates(tag, users)
        return found

    def _candidates(self, tag: bytes, users: set[bytes]) -> set[bytes]:
        """Return the keys with this tag that a correspondence of the address may have."""
        candidates: set[bytes] = set()
        for user in users:
            candidates.add(organisation_key(tag, user, self._settings).key)
            candidates.add(bounce_key(tag, user, self._settings).key)
        for sender in self._senders.get(tag, ()):
            candidates |= self._address_keys(sender, users)
        for correspondent in self._correspondents(tag):
            candidates |= self._address_keys(correspondent, self._recipients)
        self._trial_count += len(candidates)
        return candidates

    def _users(self) -> set[bytes]:
        """Return the local users to try: the address in its forms, or those seen of the domain."""
        if isinstance(self._aliases.address, DomainName):
            return {each for each in self._recipients if self._aliases.include(each)}
        seen = {each for each in self._recipients if self._aliases.include(each)}
        return {self._aliases.text, user_form(self._aliases.text), *seen}

    def _correspondents(self, tag: bytes) -> set[bytes]:
        """Return the correspondents to try for this domain."""
        seen = {each for each in self._senders.get(tag, ()) if self._aliases.include(each)}
        if isinstance(self._aliases.address, DomainName):
            return seen
        text = self._aliases.text
        return {text, correspondent_form(text), *seen} if tag == domain_of(text) else seen

    def _address_keys(self, correspondent: bytes, users: set[bytes]) -> set[bytes]:
        form = correspondent_form(correspondent)
        return {
            key
            for user in users
            for key in (
                correspondence_key(correspondent, user, self._settings),
                correspondence_key(form, user_form(user), self._settings),
            )
        }
