"""Builds a simulated world: its mail, in order of time, and its DNS."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.dns.lookup import RecordType
from tests.outcome.clock import DAY, HOUR
from tests.outcome.mail import OWN_DOMAIN, Host, Mail, Route
from tests.outcome.zone import DNSWL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.outcome.parameters import Parameters
    from tests.outcome.zone import SimulatedDns

_SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstv" for vowel in "aeio")
_SUFFIXES = ("com", "com", "com", "net", "org", "de", "fr", "co.uk")
_RESERVED = {0, 10, 100, 127, 169, 172, 192, 198, 203}
_OWN_ADDRESS = "198.51.100.25"


@dataclass
class World:
    """A world under construction: what is common to all senders."""

    parameters: Parameters
    dns: SimulatedDns
    chance: random.Random = field(init=False)
    mails: list[Mail] = field(default_factory=list)
    _used: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.parameters.seed)
        self.dns.add_domain(OWN_DOMAIN, f"mx.{OWN_DOMAIN}", spf="v=spf1 mx -all")
        self.dns.add(f"mx.{OWN_DOMAIN}", RecordType.A, _OWN_ADDRESS)
        self.dns.add("localhost.localdomain", RecordType.A, "127.0.0.1")

    @property
    def seconds(self) -> float:
        """The length of the simulation."""
        return self.parameters.days * DAY

    # Names and addresses ------------------------------------------------------------------------

    def word(self) -> str:
        """Return a new word for a name."""
        while True:
            word = "".join(self.chance.choices(_SYLLABLES, k=4))
            if word not in self._used:
                self._used.add(word)
                return word

    def domain(self) -> str:
        """Return a new domain below a real public suffix; nobody asks the real DNS for it."""
        return f"{self.word()}.{self.chance.choice(_SUFFIXES)}"

    def network(self) -> str:
        """Return the first three bytes of a new /24."""
        while True:
            first = self.chance.randrange(1, 224)
            network = f"{first}.{self.chance.randrange(256)}.{self.chance.randrange(256)}"
            if first not in _RESERVED and network not in self._used:
                self._used.add(network)
                return network

    def neighbours(self, count: int) -> list[str]:
        """Return new networks side by side, as a provider has them."""
        while True:
            first, second, third = self.network().split(".")
            numbers = range(int(third) & 0xF0, (int(third) & 0xF0) + count)
            networks = [f"{first}.{second}.{number & 0xFF}" for number in numbers]
            if not self._used.intersection(networks[1:]) - {f"{first}.{second}.{third}"}:
                self._used.update(networks)
                return networks

    def address(self, network: str | None = None) -> str:
        """Return a new address, in a network if one is given."""
        while True:
            address = f"{network or self.network()}.{self.chance.randrange(2, 255)}"
            if address not in self._used:
                self._used.add(address)
                return address

    def host(self, name: str, address: str, helo: str = "") -> Host:
        """Return a new host that has its name in the DNS, both ways."""
        host = Host(address, name, name, helo or name)
        self.dns.add_host(host)
        return host

    def user(self) -> str:
        """Return a local recipient; a few get most of the mail."""
        number = int(self.parameters.users * self.chance.random() ** 1.5)
        return f"user{number}@{OWN_DOMAIN}"

    def chosen(self, share: float) -> bool:
        """Return True for a share of the calls."""
        return self.chance.random() < share

    def listing_time(self, since: float) -> float:
        """Return when a list learns of spam that began at ``since``."""
        return since + self.chance.expovariate(1 / (self.parameters.listing_hours * HOUR))

    # Mail ---------------------------------------------------------------------------------------

    def correspondence_times(self, gap_days: float, mean_mails: float) -> list[float]:
        """Return the times of a correspondence's mails; it may have begun before the simulation."""
        chance = self.chance
        at = chance.uniform(-self.seconds, self.seconds)
        count = 1
        if not self.chosen(self.parameters.one_off):
            count = 2 + int(chance.expovariate(1 / mean_mails))
        gap = gap_days * DAY * chance.lognormvariate(0, 1)
        times = []
        for _ in range(count):
            times.append(at)
            at += chance.expovariate(1 / gap)
        return [each for each in times if 0 <= each < self.seconds]

    def white(self, hosts: Sequence[Host], share: float) -> None:
        """List the hosts of an organisation on the whitelist, or not."""
        if not self.chosen(share):
            return
        level = self.chance.choices((0, 1, 2, 3), (0.35, 0.35, 0.25, 0.05))[0]
        for host in hosts:
            self.dns.list_address(DNSWL, host.address, f"127.0.5.{level}", -DAY)


@dataclass(frozen=True, slots=True)
class Organisation:
    """A good sender: its domain and its machines."""

    domain: str
    hosts: Sequence[Host]
    schedule: str
    route: Route = Route.SAME
    popularity: float = 1.0


def pick(world: World, organisations: Sequence[Organisation]) -> Organisation:
    """Choose an organisation by its popularity."""
    weights = [each.popularity for each in organisations]
    return world.chance.choices(organisations, weights)[0]
