"""Matches clients and recipients against whitelists in postgrey's format.

Entries of the client whitelist are compared with ``client_name`` and ``client_address``::

    /regex/                  matches anywhere in the name, ignoring case
    192.0.2.7, 192.0.2.0/24  an IPv4 address or network; 192.0.2 is 192.0.2.0/24
    2001:db8::/32            an IPv6 address or network: anything with two colons
    example.com              the name, and all names below it

Entries of the recipient whitelist and of the sender whitelist::

    /regex/                  matches anywhere in the address, ignoring case
    user@example.com         the address, and user+anything@example.com
    user@                    the local part at any domain, with extensions too
    example.com              the domain and its subdomains

A domain in UTF-8 (SMTPUTF8) and its ASCII form (``xn--…``) are the same domain, in entries and in
addresses. Patterns are searched in both forms of the address.

No line is an error: a line with a problem causes a diagnostic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.rules.names.internationalised import (
    ascii_address,
    ascii_domain,
    unicode_address,
    unicode_domain,
)
from greyd.rules.networks import Network
from greyd.whitelist.entries import (
    BYTE_ORDER_MARK,
    PARTIAL_IPV4,
    Diagnostic,
    WhitelistEntry,
    WhitelistFile,
    diagnostic_of,
    is_pattern,
    network_of_entry,
    parse_entries,
)
from greyd.whitelist.list_names import CLIENTS, NEVER_AUTO, RECIPIENTS, SENDERS
from greyd.whitelist.patterns import PatternList
from greyd.whitelist.sender_logins import SenderLogins

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.rules.address import Address


_IPV4_LIKE = re.compile(rb"[0-9.]+(/[0-9.]*)?|[0-9]+(\.[0-9*]+){1,3}")
"""Entries that their authors meant as IPv4 addresses or networks."""

_NEVER_NAME = re.compile(
    rb"[0-9]{1,3}(?:\.[0-9]{1,3}){1,2}|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?"
)
"""Invalid addresses that are not compared with names either (postgrey's behaviour)."""


_NAT64 = Network(0x64FF9B << 96, 96, 128)
"""The well-known prefix of NAT64, ``64:ff9b::/96`` (RFC 6052, 2.1)."""


def _ascii_entry(text: bytes) -> bytes:
    """Return an entry in lower case, with its domain in ASCII.

    IDNA ignores a byte order mark. postgrey does not, so the first line of such a file matches
    nothing there, and a diagnostic says so.
    """
    lower = text.lower()
    if lower.isascii() or lower.startswith(BYTE_ORDER_MARK):
        return lower
    return ascii_address(lower) if b"@" in lower else ascii_domain(lower)


def _overlaps(one: Network, other: Network) -> bool:
    free = one.bits - min(one.prefix, other.prefix)
    return one.number >> free == other.number >> free


# Matchers ---------------------------------------------------------------------------------------


class ClientWhitelist:
    """Clients that are never greylisted."""

    def __init__(self, sources: Iterable[WhitelistFile]) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._names: dict[bytes, WhitelistEntry] = {}
        self._networks: dict[int, dict[int, dict[int, WhitelistEntry]]] = {32: {}, 128: {}}
        """Network entries, by the bits of an address (32 or 128), the number of host bits, and the
        network's number without the host bits.
        """
        self._patterns = PatternList()
        for source in sources:
            for entry in parse_entries(source, self.diagnostics):
                self._add(entry)
        self._patterns.combine()

    def __len__(self) -> int:
        networks = (
            len(entries) for family in self._networks.values() for entries in family.values()
        )
        return len(self._names) + sum(networks) + len(self._patterns)

    @property
    def has_names(self) -> bool:
        """Whether an entry is compared with the client's name: a name or a pattern."""
        return bool(self._names) or len(self._patterns) > 0

    def _add(self, entry: WhitelistEntry) -> None:
        text = entry.text
        if is_pattern(text):
            self._patterns.add(entry, self.diagnostics)
        elif network := self._network_of(entry):
            if network.bits == 128 and 32 <= network.prefix <= 96 and _overlaps(network, _NAT64):
                self._report(
                    entry,
                    "does not match clients behind NAT64, which count by their IPv4 addresses",
                    "write the IPv4 addresses",
                )
            family = self._networks[network.bits]
            free = network.bits - network.prefix
            family.setdefault(free, {}).setdefault(network.number >> free, entry)
        elif self._is_name(entry):
            self._names.setdefault(_ascii_entry(text), entry)

    def _network_of(self, entry: WhitelistEntry) -> Network | None:
        network = network_of_entry(entry.text)
        if network and entry.text.count(b".") == 1 and PARTIAL_IPV4.fullmatch(entry.text):
            text = entry.text.decode()
            self._report(
                entry,
                f"read as {text}.0.0/24, as postgrey does",
                f"write {text}.0.0/16 or {text}.0.0/24",
            )
        return network

    def _is_name(self, entry: WhitelistEntry) -> bool:
        """Whether an entry is compared with names; report it if its author meant something else."""
        text = entry.text
        if text.startswith(b"/"):
            self._report(
                entry,
                "never matches: read as a host name, because the closing slash is missing",
                "write a pattern as /…/",
            )
            return True
        if text.count(b":") > 1 or _NEVER_NAME.fullmatch(text):
            self._report(entry, "never matches: not a valid address or network", "correct it")
            return False
        if _IPV4_LIKE.fullmatch(text):
            problem = "not a valid address or network, so it is read as a host name"
            self._report(entry, problem, "correct it")
        return True

    def _report(self, entry: WhitelistEntry, problem: str, remedy: str) -> None:
        self.diagnostics.append(diagnostic_of(entry, problem, remedy))

    def match(self, name: bytes, address: Address | None) -> WhitelistEntry | None:
        """Return an entry that matches the client by name or address; None if none does."""
        lower = name.lower()
        if not lower.isascii():
            lower = ascii_domain(lower)
        entry = (
            self._match_suffix(lower) or self._match_network(address) or self._patterns.first(name)
        )
        if entry is None and not self._patterns.are_ascii:
            return self._patterns.first(unicode_domain(lower))
        return entry

    def _match_suffix(self, name: bytes) -> WhitelistEntry | None:
        names = self._names
        start = 0
        while True:
            if (entry := names.get(name[start:])) is not None:
                return entry
            start = name.find(b".", start) + 1
            if not start:
                return None

    def _match_network(self, address: Address | None) -> WhitelistEntry | None:
        if address is None:
            return None
        number = address.number
        for free, networks in self._networks[address.bits].items():
            if (entry := networks.get(number >> free)) is not None:
                return entry
        return None


class AddressWhitelist:
    """Mail addresses and domains, of recipients or of senders."""

    def __init__(self, sources: Iterable[WhitelistFile]) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._addresses: dict[bytes, WhitelistEntry] = {}
        self._domains: dict[bytes, WhitelistEntry] = {}
        self._patterns = PatternList()
        for source in sources:
            for entry in parse_entries(source, self.diagnostics):
                self._add(entry)
        self._patterns.combine()

    def __len__(self) -> int:
        return len(self._addresses) + len(self._domains) + len(self._patterns)

    def _add(self, entry: WhitelistEntry) -> None:
        text = entry.text
        if is_pattern(text):
            self._patterns.add(entry, self.diagnostics)
        elif b"@" in text:
            self._addresses.setdefault(_ascii_entry(text), entry)
        else:
            self._domains.setdefault(_ascii_entry(text), entry)

    def match(self, address: bytes) -> WhitelistEntry | None:
        """Return an entry that matches the mail address; None if none does."""
        lower = address.lower()
        ascii_form = lower if lower.isascii() else ascii_address(lower)
        if entry := self._match_address(ascii_form) or self._match_domain(ascii_form):
            return entry
        if entry := self._patterns.first(address):
            return entry
        if ascii_form is not lower and (entry := self._patterns.first(ascii_form)):
            return entry
        if self._patterns.are_ascii:
            return None
        return self._patterns.first(unicode_address(ascii_form))

    def _match_address(self, address: bytes) -> WhitelistEntry | None:
        local, at, domain = address.partition(b"@")
        if not at:
            return None
        end = len(local)
        while True:
            for rest in (at + domain, at):
                if (entry := self._addresses.get(local[:end] + rest)) is not None:
                    return entry
            # An address with a non-empty extension also matches the entry for the address without.
            end = local.rfind(b"+", 0, min(end, len(local) - 1))
            if end < 0:
                return None

    def _match_domain(self, address: bytes) -> WhitelistEntry | None:
        if not self._domains:
            return None
        for border in re.finditer(rb"[@.]", address):
            if (entry := self._domains.get(address[border.end() :])) is not None:
                return entry
        return None


class RecipientWhitelist(AddressWhitelist):
    """Recipients whose mail is never greylisted."""


class SenderWhitelist(AddressWhitelist):
    """Senders whose mail is never greylisted, if their client may send for them."""

    def match(self, address: bytes) -> WhitelistEntry | None:
        """Return an entry that matches the sender; None if none does, and for a bounce."""
        return super().match(address) if address.strip(b"<> ") else None


@dataclass(frozen=True)
class Whitelists:
    """The whitelists in force. The class has no slots, so that a subclass can add caches."""

    clients: ClientWhitelist
    recipients: RecipientWhitelist
    override: ClientWhitelist = field(default_factory=lambda: ClientWhitelist(()))
    """The clients that are not looked up on blocklists."""
    senders: SenderWhitelist = field(default_factory=lambda: SenderWhitelist(()))
    """The senders that pass if their client is proven to send for them."""
    never_auto: ClientWhitelist = field(default_factory=lambda: ClientWhitelist(()))
    """The clients that are never auto-whitelisted."""
    complete: bool = True
    """Whether all files have been read without an error."""
    sender_logins: SenderLogins = field(default_factory=SenderLogins)
    """The logins that may use a sender, for outbound mail."""

    def by_name(self) -> dict[str, ClientWhitelist | AddressWhitelist]:
        """Return the lists with their names, without ``override``."""
        return {
            CLIENTS: self.clients,
            RECIPIENTS: self.recipients,
            SENDERS: self.senders,
            NEVER_AUTO: self.never_auto,
        }

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The diagnostics of all files."""
        lists = (
            self.clients, self.recipients, self.override, self.senders, self.never_auto,
            self.sender_logins,
        )  # fmt: skip
        return [diagnostic for each in lists for diagnostic in each.diagnostics]

    def match_client(self, name: bytes, address: Address | None) -> WhitelistEntry | None:
        """Return an entry of the client whitelist that matches; None if none does."""
        return self.clients.match(name, address)

    def match_recipient(self, recipient: bytes) -> WhitelistEntry | None:
        """Return an entry of the recipient whitelist that matches; None if none does."""
        return self.recipients.match(recipient)

    def match_sender(self, sender: bytes) -> WhitelistEntry | None:
        """Return an entry of the sender whitelist that matches; None if none does."""
        return self.senders.match(sender)
