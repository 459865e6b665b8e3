"""The values that several settings share: endpoints, DNS zones, modes, and the names of each."""

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
        """Return where this machine can ask who listens there: of all interfaces on loopback."""
        return self._replace(host=_LOOPBACK.get(self.host, self.host))


# Those are what is asked for, and nothing is bound here.
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
"""Marks of spamware that a client can show."""


class Zone(NamedTuple):
    """A DNS list, and what its answers mean."""

    name: str
    delay_seconds: int | None = None
    """Of those that stand on it; None: as of all that are listed."""
    codes: tuple[tuple[int, int], ...] = ()
    """First and last of the answers that count, as numbers; without any all in 127.0.0.0/8."""
    weight: float = 1.0
    """A client is listed where the weights of the lists that it stands on reach 1."""
    trust: int = 0
    """The least level of trust that counts, of a whitelist."""


TRUST = ("none", "low", "medium", "high")
"""Levels of DNS whitelists (dnswl.org's), the least first."""
