"""Types and names that several settings share: endpoints, DNS zones, modes, signals."""

from __future__ import annotations

from typing import NamedTuple

DAY = 86400
HOUR = 3600

GREYLIST_TEXT = "Greylisted, see http://postgrey.schweikert.ch/help/%r.html"
HEADER = "X-Greylist: delayed %t seconds by greyd-%v at %h; %d"


class Endpoint(NamedTuple):
    """Where to listen: a host (empty for all interfaces) and a port."""

    host: str
    port: int

    def to_ask(self) -> Endpoint:
        """Return an address to connect to; loopback for all interfaces."""
        return self._replace(host=_LOOPBACK.get(self.host, self.host))


# Names of an option's values; nothing is bound here.
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
ALL_INTERFACES = frozenset(_LOOPBACK)
"""Hosts of an ``Endpoint`` that stand for all addresses of the machine."""


METRICS_ENDPOINT = Endpoint("127.0.0.1", 9923)

DELAYS = ("CLEAN", "UNSURE", "SUSPICIOUS", "LISTED")

MODES = ("on", "learn", "off")

IDENTITY_WAYS = ("spf", "name")
"""The ways to identify the organisation that a client sends for."""

SIGNALS = (
    "no_ptr", "ptr_mismatch", "helo_not_fqdn", "helo_no_address", "sender_no_mx", "generic_name",
    "dnsbl", "rhsbl", "spf_fail",
)  # fmt: skip
"""Signs of spamware."""


class Zone(NamedTuple):
    """A DNS list, and the meaning of its responses."""

    name: str
    delay_seconds: int | None = None
    """The delay of listed clients; None for the common one."""
    codes: tuple[tuple[int, int], ...] = ()
    """Ranges of response codes that count, as integers; empty for all of 127.0.0.0/8."""
    weight: float = 1.0
    """A client counts as listed when the weights of its lists add up to 1."""
    trust: int = 0
    """The minimum trust level that counts, for a DNS whitelist."""


TRUST = ("none", "low", "medium", "high")
"""Trust levels of DNS whitelists (dnswl.org's), in ascending order."""
