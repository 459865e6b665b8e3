"""Determines whether an entry names a mail address or a domain, in whatever form.

An entry contains an address as a client sent it, or as the keys normalise it: without its extension
and BATV tag, and with ``#`` for numbers. Forwarders and mailing lists embed it in the local part of
their own senders (SRS, VERP). Version 0.1.0 stored internationalised domains in UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from greyd.cli.typed_address.forms import DomainName, MailAddress, stored_form
from greyd.rules.correspondence.address_forms import (
    local_part_without_tags,
    normalise_sender,
    replace_numbers,
)
from greyd.rules.correspondence.keys import correspondent_form, user_form
from greyd.rules.hostnames import is_or_is_below
from greyd.rules.names.internationalised import unicode_domain

if TYPE_CHECKING:
    from greyd.rules.keys import TripletNames


@dataclass(frozen=True)
class AddressAliases:
    """All forms of a mail address, or of the addresses of a domain and its subdomains."""

    address: MailAddress | DomainName

    @property
    def text(self) -> bytes:
        """The address or the domain, in lower case."""
        match self.address:
            case MailAddress() as address:
                return address.text.lower()
            case DomainName(name):
                return name

    def are_named_by(self, names: TripletNames) -> bool:
        """Whether the sender or the recipient in a triplet's key is one of the forms."""
        return self.include(names.sender) or self.include(names.recipient)

    def include(self, stored: bytes) -> bool:
        """Whether a stored address is one of the forms."""
        stored = stored_form(stored).lower()
        if isinstance(self.address, DomainName):
            return is_or_is_below(stored.rpartition(b"@")[2], self.address.name)
        if stored in self._exact_forms or user_form(stored) == self._user_form:
            return True
        return self._rewritten.search(stored) is not None

    def include_domain(self, name: bytes) -> bool:
        """Whether an identity's domain is the domain or one of its subdomains."""
        return isinstance(self.address, DomainName) and is_or_is_below(name, self.address.name)

    def are_mentioned_in(self, text: bytes) -> bool:
        """Whether a text, such as an unreadable record, contains one of the forms."""
        return self._mention.search(text.lower()) is not None

    def window_names(self) -> tuple[str, ...]:
        """Return the recipients of ``greyd expect`` that cover the address, unhashed."""
        if isinstance(self.address, DomainName):
            return (f"@{self.address.name.decode(errors='surrogateescape')}",)
        forms = dict.fromkeys((self.text, self._user_form))
        return tuple(each.decode(errors="surrogateescape") for each in forms)

    @cached_property
    def _user_form(self) -> bytes:
        return user_form(self.text)

    @cached_property
    def _exact_forms(self) -> frozenset[bytes]:
        text = self.text
        return frozenset({text, normalise_sender(text), correspondent_form(text)})

    @cached_property
    def _rewritten(self) -> re.Pattern[bytes]:
        """Matches the address in a local part: ``list-bob=example.org@`` or ``…=example.org=bob@``.

        These are the forms of VERP and of SRS.
        """
        local, _, domain = self.text.rpartition(b"@")
        base = local_part_without_tags(local)
        locals_ = b"|".join(map(re.escape, {local, base, replace_numbers(base)}))
        name = re.escape(domain)
        return re.compile(
            rb"(?:^|[=+-])(?:%b)=%b@|=%b=(?:%b)(?:\+[^@]*)?@" % (locals_, name, name, locals_)
        )

    @cached_property
    def _mention(self) -> re.Pattern[bytes]:
        local, at, domain = self.text.rpartition(b"@")
        names = b"|".join(map(re.escape, {domain, unicode_domain(domain).lower()}))
        if not at:
            return re.compile(rb"(?<![\w-])(?:%b)(?![\w-]|\.\w)" % names)
        locals_ = b"|".join(map(re.escape, {local, local_part_without_tags(local)}))
        return re.compile(
            rb"(?<![\w.+-])(?:%b)(?:\+[^@\s]*)?@(?:%b)(?![\w-]|\.\w)" % (locals_, names)
        )
