"""The bad senders of the simulated world and their mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.dns.lookup import RecordType
from tests.outcome.clock import DAY, HOUR
from tests.outcome.good_senders import customer_host, dial_up_name
from tests.outcome.mail import MINUTE, OWN_DOMAIN, Host, Mail
from tests.outcome.zone import CSS, PBL, XBL, ZEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.outcome.world import World


def add_bad_mail(world: World) -> None:
    """Add the mail of all bad senders; the good ones must be there, because some are abused."""
    parameters = world.parameters
    total = parameters.bad_per_day * parameters.days
    forged = _ForgedSenders(world)
    for kind, share in parameters.bad.items():
        count = round(total * share)
        mails: list[Mail] = []
        for campaign in _KINDS[kind](world, kind, forged):
            mails += campaign
            if len(mails) >= count:
                break
        world.mails += mails
        world.mails += [_repetition(world, each) for each in mails if _is_repeated(world, each)]


def _is_repeated(world: World, mail: Mail) -> bool:
    return not mail.schedule and world.chosen(world.parameters.repeated)


def _repetition(world: World, mail: Mail) -> Mail:
    """Return a mail with the same triplet, which a bot of the same network sends later."""
    later = mail.at + world.chance.uniform(10 * MINUTE, DAY)
    return Mail(mail.kind, False, later, mail.sender, mail.recipient, mail.hosts)


class _ForgedSenders:
    """Sender domains that spam claims, by what their SPF records say of strangers."""

    def __init__(self, world: World) -> None:
        self._world = world
        endings = {"-all": 40, "~all": 40, "?all": 10}
        self._domains = {}
        for ending, count in endings.items():
            self._domains[ending] = [world.domain() for _ in range(count)]
            for domain in self._domains[ending]:
                world.dns.add_domain(domain, f"mx.{domain}", spf=f"v=spf1 mx {ending}")
                world.dns.add(f"mx.{domain}", RecordType.A, world.address())
        self._domains["none"] = [world.domain() for _ in range(30)]
        for domain in self._domains["none"]:
            world.dns.add_domain(domain, f"mx.{domain}")
        self._domains["no domain"] = [world.domain() for _ in range(30)]

    def sender(self, ending: str = "") -> str:
        """Return a forged sender; of any kind if none is given."""
        world = self._world
        if not ending:
            endings = ("-all", "~all", "?all", "none", "no domain", "own")
            ending = world.chance.choices(endings, (0.3, 0.25, 0.08, 0.17, 0.12, 0.08))[0]
        if ending == "own":
            return world.user()
        return f"{world.word()}@{world.chance.choice(self._domains[ending])}"


def _helo(world: World, name: str, address: str, share_of_own_name: float) -> str:
    """Return a bot's HELO name: its own name, or one of the usual forgeries."""
    if name != "unknown" and world.chosen(share_of_own_name):
        return name
    forgeries = (
        OWN_DOMAIN, "localhost", f"[{address}]", "[192.168.1.2]", world.word(),
        f"mail.{world.domain()}", "mail.bigmail.com", address,
    )  # fmt: skip
    return world.chance.choice(forgeries)


def _exploited(world: World, address: str, at: float, share: float) -> None:
    """Put a bot's address on the list of exploited machines, or not; some are listed before."""
    if world.chosen(share):
        since = world.listing_time(at - world.parameters.listing_hours * HOUR)
        world.dns.list_address(ZEN, address, XBL, since)


def _start(world: World) -> float:
    return world.chance.uniform(0, world.seconds)


# Bots -------------------------------------------------------------------------------------------


def _dial_up_bots(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    while True:
        host = _dial_up_bot(world)
        at = _start(world)
        if world.chosen(world.parameters.pbl):
            world.dns.list_address(ZEN, host.address, PBL, -DAY)
        else:
            _exploited(world, host.address, at, world.parameters.xbl)
        yield _shots(world, kind, host, at, forged.sender)


def _dial_up_bot(world: World) -> Host:
    address = world.address()
    name = reverse = dial_up_name(world, address)
    if world.chosen(0.25):
        name = reverse = "unknown"
    elif world.chosen(0.25):
        name = "unknown"
    host = Host(
        address, name, reverse, _helo(world, name, address, 0.3),
        "SMTP" if world.chosen(0.3) else "ESMTP",
    )  # fmt: skip
    world.dns.add_host(host)
    return host


def _shots(world: World, kind: str, host: Host, at: float, sender: Callable[[], str]) -> list[Mail]:
    """Return the mails of one bot: one to five, each tried once."""
    return [
        Mail(kind, False, at + world.chance.uniform(0, HOUR), sender(), world.user(), [host])
        for _ in range(world.chance.randrange(1, 6))
    ]


def _clean_bots(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    while True:
        address, at = world.address(), _start(world)
        first = world.chance.choice(("mail", "srv", "web3", "gw", "office", "vpn"))
        name = f"{first}.{world.domain()}"
        host = Host(address, name, name, _helo(world, name, address, 0.6))
        world.dns.add_host(host)
        _exploited(world, address, at, world.parameters.xbl)
        yield _shots(world, kind, host, at, forged.sender)


def _bots_behind_plus_all(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    domains = []
    for _ in range(12):
        domains.append(world.domain())
        spf = world.chance.choice(("v=spf1 +all", "v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"))
        world.dns.add_domain(domains[-1], f"mx.{domains[-1]}", spf=spf)
    while True:
        at, domain = _start(world), world.chance.choice(domains)
        host = _dial_up_bot(world) if world.chosen(0.7) else customer_host(world)
        _exploited(world, host.address, at, world.parameters.xbl)
        yield _shots(world, kind, host, at, lambda domain=domain: f"{world.word()}@{domain}")  # type: ignore[misc]


def _bots_in_own_record(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    """Yield the campaigns of domains that list their bots; the first few bots come back."""
    while True:
        domain, at = world.domain(), _start(world)
        hosts = [_dial_up_bot(world) for _ in range(world.chance.randrange(10, 25))]
        terms = " ".join(f"ip4:{host.address}" for host in hosts)
        world.dns.add_domain(domain, f"mx.{domain}", spf=f"v=spf1 {terms} -all")
        if world.chosen(world.parameters.dbl):
            world.dns.list_domain(domain, world.listing_time(at + DAY))
        mails = []
        for number, host in enumerate(hosts):
            _exploited(world, host.address, at, world.parameters.xbl)
            retries = number < 3
            when = at + (
                number * 14 * HOUR if retries else world.chance.uniform(30 * HOUR, 4 * DAY)
            )
            sender = f"{world.word()}@{domain}"
            schedule = "spamware" if retries else ""
            mails.append(Mail(kind, False, when, sender, world.user(), [host], schedule))
        yield mails


def _hacked_web_servers(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    """Yield mail of web servers with a clean name that claims a bank; scripts do not retry."""
    while True:
        at, address = _start(world), world.address()
        name = f"www.{world.domain()}"
        host = world.host(name, address)
        _exploited(world, address, at + 4 * HOUR, world.parameters.xbl / 2)
        yield _shots(world, kind, host, at, lambda: forged.sender("~all"))


def _bad_customers(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    """Yield mail of rented machines with the hoster's default names; most do not retry."""
    while True:
        at, host = _start(world), customer_host(world)
        if world.chosen(world.parameters.css):
            world.dns.list_address(ZEN, host.address, CSS, world.listing_time(at))
        domain = world.domain()
        spf = f"v=spf1 ip4:{host.address} -all" if world.chosen(0.3) else ""
        world.dns.add_domain(domain, host.name, spf=spf)
        if world.chosen(world.parameters.dbl):
            world.dns.list_domain(domain, world.listing_time(at))
        yield _shots(world, kind, host, at, lambda domain=domain: f"{world.word()}@{domain}")  # type: ignore[misc]


# Senders that retry -----------------------------------------------------------------------------


def _retrying_spamware(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    while True:
        at = _start(world)
        host = _dial_up_bot(world) if world.chosen(0.5) else customer_host(world)
        if world.chosen(world.parameters.pbl / 2):
            world.dns.list_address(ZEN, host.address, PBL, -DAY)
        _exploited(world, host.address, at, world.parameters.xbl)
        for mail in (mails := _shots(world, kind, host, at, forged.sender)):
            mail.schedule = world.chance.choice(("spamware", "hasty spamware", "postfix"))
        yield mails


def _snowshoe(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    """Yield a week of mail of one domain, from many networks that its SPF record names."""
    while True:
        domain, at = world.domain(), world.chance.uniform(-3 * DAY, world.seconds)
        networks = [world.network() for _ in range(world.chance.randrange(3, 8))]
        terms = " ".join(f"ip4:{each}.0/24" for each in networks)
        hosts = []
        for number in range(world.chance.randrange(12, 40)):
            address = world.address(world.chance.choice(networks))
            hosts.append(world.host(f"m{number}.{domain}", address))
            if world.chosen(world.parameters.css):
                since = world.listing_time(at + world.chance.uniform(0, DAY))
                world.dns.list_address(ZEN, address, CSS, since)
        world.dns.add_domain(domain, hosts[0].name, spf=f"v=spf1 {terms} -all")
        if world.chosen(world.parameters.dbl):
            world.dns.list_domain(domain, world.listing_time(at + 6 * HOUR))
        retries = world.chosen(0.85)
        mails = []
        for _ in range(world.chance.randrange(40, 160)):
            when = at + world.chance.uniform(0, 7 * DAY)
            sender = f"{world.word()}@{domain}"
            host = world.chance.choice(hosts)
            schedule = "postfix" if retries else ""
            mails.append(Mail(kind, False, when, sender, world.user(), [host], schedule))
        yield [each for each in mails if 0 <= each.at < world.seconds]


def _compromised_accounts(world: World, kind: str, forged: _ForgedSenders) -> Iterator[list[Mail]]:
    kinds = {
        "single server",
        "great pool with SPF",
        "great pool without SPF",
        "several servers in turn",
    }
    victims = [each for each in world.mails if each.kind in kinds and not each.is_outbound]
    while True:
        victim, at = world.chance.choice(victims), _start(world)
        yield [
            Mail(
                kind, False, at + world.chance.uniform(0, 3 * HOUR), victim.sender, world.user(),
                victim.hosts, victim.schedule, victim.route,
            )
            for _ in range(world.chance.randrange(5, 40))
        ]  # fmt: skip


_KINDS: dict[str, Callable[[World, str, _ForgedSenders], Iterator[list[Mail]]]] = {
    "bot on a dial-up line": _dial_up_bots,
    "bot with a clean name": _clean_bots,
    "bot behind +all": _bots_behind_plus_all,
    "bot in its own SPF record": _bots_in_own_record,
    "hacked web server": _hacked_web_servers,
    "spamming customer of a hoster": _bad_customers,
    "retrying spamware": _retrying_spamware,
    "snowshoe": _snowshoe,
    "compromised account": _compromised_accounts,
}
