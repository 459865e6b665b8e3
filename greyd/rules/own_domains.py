"""The domains of this site, which no stranger may claim in a HELO name or as a sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.hostnames import domain_of, is_fqdn, is_or_is_below, normal_name

if TYPE_CHECKING:
    from collections.abc import Iterable


class OwnDomains:
    """The domains of ``--own-domains``, and the name of this host."""

    def __init__(self, domains: Iterable[str] = (), hostname: str = "") -> None:
        """Create the set; a ``hostname`` without a dot is not in it."""
        self._domains = {normal_name(domain.encode()) for domain in domains}
        name = normal_name(hostname.encode(errors="replace"))
        if is_fqdn(name):
            self._domains.add(name)

    def claimed_by_helo(self, helo: bytes, recipient: bytes) -> bytes:
        """Return the own domain that a HELO name is or is below; empty if there is none.

        The recipient's domain is one of the own domains.
        """
        name, domain = normal_name(helo), domain_of(recipient)
        if not is_fqdn(name):
            return b""
        if domain and is_or_is_below(name, domain):
            return domain
        return self._domain_above(name)

    def claimed_by_sender(self, sender: bytes, recipient: bytes) -> bytes:
        """Return the own domain that the sender's domain is; empty if there is none.

        The recipient's domain is one of the own domains; names below it may be those of services
        that send for it. A sender without ``@`` claims it, too: Postfix completes such addresses
        with this site's domain, also ``alice%example.com`` and ``example.com!alice``.
        """
        domain = domain_of(sender if b"@" in sender or not sender else recipient)
        if domain and domain == domain_of(recipient):
            return domain
        return self._domain_above(domain) if domain else b""

    def _domain_above(self, name: bytes) -> bytes:
        while self._domains and name:
            if name in self._domains:
                return name
            name = name.partition(b".")[2]
        return b""
