"""Types and names that the settings share: endpoints, DNS zones, modes, signals."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - NamedTuple's annotations are read at run time
from typing import NamedTuple

DAY = 86400
HOUR = 3600

GREYLIST_TEXT = "Greylisted, see http://postgrey.schweikert.ch/help/%r.html"
HEADER = "X-Greylist: delayed %t seconds by greyd-%v at %h; %d"


class Endpoint(NamedTuple):
    """An address to listen on: a host (empty for all interfaces) and a TCP or UDP port."""

    host: str
    port: int

    def connectable(self) -> Endpoint:
        """Return the address for a client to connect to; loopback if this is all interfaces."""
        return self._replace(host=_LOOPBACK.get(self.host, self.host))


# Names of an option's values; nothing is bound here.
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
ALL_INTERFACES = frozenset(_LOOPBACK)
"""The hosts of an ``Endpoint`` that mean all addresses of the machine."""


METRICS_ENDPOINT = Endpoint("127.0.0.1", 9923)

DELAYS = ("CLEAN", "UNSURE", "SUSPICIOUS", "LISTED")

MODES = ("on", "learn", "off")

GREYLIST_RULES = ("all", "suspicious")
"""Which clients are greylisted (``--greylist``)."""

IDENTITY_WAYS = ("spf", "name")
"""The ways to identify the organisation that a client sends for."""

GROUP_WAY = "group"
"""The way in which a client of a sender group (``--sender-group``) is identified."""

CORRESPONDENTS = ("address", "organisation")
"""The senders of replies that pass: the address written to, or its whole organisation."""

OUTBOUND_SENDERS = ("own", "domain", "any")
"""The senders, compared with the login, from whose outbound mail greyd learns."""

STRONG_SIGNALS = (
    "no_ptr", "ptr_mismatch", "sender_no_mx", "dnsbl", "rhsbl", "spf_fail", "helo_own_domain",
    "sender_own_domain", "helo_wrong_literal",
)  # fmt: skip
"""The signs of spamware that make a client suspicious without any other."""

WEAK_SIGNALS = (
    "helo_not_fqdn", "helo_no_address", "generic_name", "helo_other_address",
    "helo_private_literal", "spf_softfail", "plain_helo",
)  # fmt: skip
"""The signs of spamware that other evidence can outweigh, if a client shows only one of them."""

SIGNALS = STRONG_SIGNALS + WEAK_SIGNALS


RESOLVER = "resolver"
"""The name of the DNS resolver beside the zones of DNS lists, e.g. in metrics."""


class Zone(NamedTuple):
    """A DNS blocklist or whitelist, and how greyd interprets its responses."""

    name: str
    delay_seconds: int | None = None
    """The delay of clients on this list; None for the usual delay of listed clients."""
    codes: tuple[tuple[int, int], ...] = ()
    """Ranges of response addresses that mean "listed", as integers; empty for 127.0.0.0/8."""
    weight: float = 1.0
    """A client counts as listed if the weights of the lists it is on add up to at least 1."""
    trust: int = 0
    """For a DNS whitelist: the minimum trust level that a client needs, an index of ``TRUST``."""
    supports: bool = False
    """For a DNS whitelist: whether a listing does no more than outweigh a weak signal."""
    key_file: Path | None = None
    """The file with the key that replaces ``{key}`` in the name; None without ``{key}``."""


TRUST = ("none", "low", "medium", "high")
"""Trust levels of DNS whitelists (dnswl.org's), in ascending order."""


DECIDING_SETTINGS = (
    "delay", "max-age", "retry-window", "auto-whitelist-clients", "mode", "preset", "identity",
    "auto-whitelist-identities", "identity-age", "greylist", "signals", "own-domains", "dnsbl",
    "rhsbl", "dnswl", "list-override", "learn-outbound", "correspondents", "lookup-by-host",
    "ipv4cidr", "ipv6cidr", "whitelist-clients", "whitelist-recipients", "whitelist-senders",
    "never-auto-whitelist", "sender-group", "recipient-domain", "resolver", "dns-timeout",
)  # fmt: skip
"""Settings that can change a decision: those that a shadow and a simulation may change."""
