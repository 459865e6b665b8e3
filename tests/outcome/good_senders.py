"""The good senders of the simulated world and their mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.dns.lookup import RecordType
from tests.outcome.clock import DAY, HOUR
from tests.outcome.mail import MINUTE, OWN_DOMAIN, Host, Mail, Route
from tests.outcome.world import Organisation, World, pick
from tests.outcome.zone import PBL, ZEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SERVERS = (
    ("postfix",) * 5 + ("exim",) * 3 + ("exchange",) * 3 + ("sendmail", "quick_sendmail", "qmail")
)
_POPULARITY_EXPONENT = 0.8


def add_good_mail(world: World) -> None:
    """Add the mail of all good senders."""
    parameters = world.parameters
    total = parameters.good_per_day * parameters.days
    for kind, share in parameters.good.items():
        count = round(total * share)
        mails: list[Mail] = []
        for correspondence in _KINDS[kind](world, kind, count):
            mails += correspondence
            if sum(not each.is_outbound for each in mails) >= count:
                break
        world.mails += mails


# Organisations ----------------------------------------------------------------------------------


def _popularity(rank: int) -> float:
    return float(1 / (rank + 1) ** _POPULARITY_EXPONENT)


def _small_organisations(world: World, count: int) -> list[Organisation]:
    return [_with_one_server(world, _popularity(rank)) for rank in range(count)]


def _with_one_server(world: World, popularity: float, helo: str = "") -> Organisation:
    domain = world.domain()
    name = f"{world.chance.choice(('mail', 'mx', 'smtp', 'mail1', 'srv2'))}.{domain}"
    host = world.host(name, world.address(), helo)
    end = world.chance.choice(("-all", "~all", "~all", "?all"))
    spf = f"v=spf1 mx a {end}" if world.chosen(world.parameters.spf) else ""
    world.dns.add_domain(domain, name, spf=spf)
    world.white([host], world.parameters.dnswl)
    return Organisation(domain, [host], world.chance.choice(_SERVERS), popularity=popularity)


def _with_servers_in_turn(world: World, popularity: float) -> Organisation:
    domain = world.domain()
    networks = [world.network() for _ in range(world.chance.randrange(2, 5))]
    hosts = [
        world.host(f"out{number}.{domain}", world.address(network))
        for number, network in enumerate(networks)
    ]
    terms = " ".join(f"ip4:{host.address}" for host in hosts)
    spf = f"v=spf1 {terms} -all" if world.chosen(world.parameters.spf) else ""
    world.dns.add_domain(domain, hosts[0].name, spf=spf)
    world.white(hosts, world.parameters.dnswl)
    return Organisation(domain, hosts, world.chance.choice(_SERVERS), Route.IN_TURN, popularity)


def _pool(
    world: World, addresses: int, networks: int, *, has_spf: bool, name: str, helo: str = ""
) -> Organisation:
    """Return a great provider; ``_spf.DOMAIN`` has its networks for its customers to include."""
    domain = world.domain()
    nets = [each for _ in range(networks // 4) for each in world.neighbours(4)]
    hosts = []
    for number in range(addresses):
        address = world.address(world.chance.choice(nets))
        last = address.split(".")
        host = f"{name.format(n=number, c=last[2], d=last[3])}.{domain}"
        hosts.append(world.host(host, address, helo))
    if has_spf:
        terms = " ".join(f"ip4:{each}.0/24" for each in nets)
        world.dns.add(f"_spf.{domain}", RecordType.TXT, f"v=spf1 {terms} ~all")
    world.dns.add_domain(
        domain, f"mx1.{domain}", spf=f"v=spf1 include:_spf.{domain} ~all" if has_spf else ""
    )
    world.dns.add(f"mx1.{domain}", RecordType.A, world.address(nets[0]))
    world.white(hosts, world.parameters.great_dnswl)
    return Organisation(domain, hosts, world.chance.choice(("pool", "slow_pool")), Route.RANDOM)


# Personal mail ----------------------------------------------------------------------------------


def _correspondences(
    world: World,
    kind: str,
    organisations: Sequence[Organisation],
    domain_of: Callable[[Organisation], str],
) -> Iterator[list[Mail]]:
    """Yield the mails of one correspondence after another, without end."""
    while True:
        each = pick(world, organisations)
        sender = f"{world.word()}@{domain_of(each)}"
        user = world.user()
        times = world.correspondence_times(4, world.parameters.mean_mails)
        if times and times[0] > HOUR and world.chosen(world.parameters.outbound):
            at = times[0] - world.chance.uniform(5 * MINUTE, HOUR)
            yield [Mail(kind, True, at, user, sender, each.hosts, is_outbound=True)]
        yield [
            Mail(kind, True, at, sender, user, each.hosts, each.schedule, each.route)
            for at in times
        ]


def _single_servers(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    organisations = _small_organisations(world, max(count // 6, 3))
    return _correspondences(world, kind, organisations, lambda each: each.domain)


def _servers_in_turn(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    organisations = [
        _with_servers_in_turn(world, _popularity(rank)) for rank in range(max(count // 15, 3))
    ]
    return _correspondences(world, kind, organisations, lambda each: each.domain)


def _pools(world: World, kind: str, count: int, *, has_spf: bool) -> Iterator[list[Mail]]:
    brand = f"smtp.{world.domain()}"
    world.dns.add(brand, RecordType.A, world.address())
    # Of those without SPF, two are proven by nothing: their HELO name is of another organisation.
    helo = "" if has_spf else brand
    pools = [
        _pool(world, 240, 12, has_spf=has_spf, name="mail-{n}", helo=helo),
        _pool(world, 60, 4, has_spf=has_spf, name="a{c}-{d}.smtp-out"),
        _pool(world, 80, 4, has_spf=has_spf, name="mo{n}", helo=helo),
    ]
    companies = {pool.domain: [world.domain() for _ in range(count // 40 + 1)] for pool in pools}
    for pool in pools:
        for company in companies[pool.domain]:
            spf = f"v=spf1 include:_spf.{pool.domain} -all" if has_spf else ""
            world.dns.add_domain(company, f"mx1.{pool.domain}", spf=spf)

    def domain_of(pool: Organisation) -> str:
        """Return the provider's own domain for half of the mail, else that of a customer."""
        return pool.domain if world.chosen(0.5) else world.chance.choice(companies[pool.domain])

    return _correspondences(world, kind, pools, domain_of)


def _pools_with_spf(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    return _pools(world, kind, count, has_spf=True)


def _pools_without_spf(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    return _pools(world, kind, count, has_spf=False)


HOSTERS = ("cloudhoster.net", "vps-hoster.net", "ip.linodeusercontent.com")
"""Providers whose customers, good and bad, keep the default names of their machines."""


def customer_host(world: World) -> Host:
    """Return a hoster's machine with its default name."""
    address = world.address()
    last = address.split(".")
    name = world.chance.choice(
        (
            f"vmi{world.chance.randrange(10**5, 10**6)}.{HOSTERS[0]}",
            f"ip{last[3]}.ip-{last[0]}-{last[1]}-{last[2]}.{HOSTERS[1]}",
            f"{'-'.join(last)}.{HOSTERS[2]}",
        )
    )
    return world.host(name, address)


def _customers(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    organisations = []
    for rank in range(max(count // 8, 3)):
        host, domain = customer_host(world), world.domain()
        spf = f"v=spf1 a mx ip4:{host.address} ~all" if world.chosen(world.parameters.spf) else ""
        world.dns.add_domain(domain, host.name, spf=spf)
        organisations.append(Organisation(domain, [host], "postfix", popularity=_popularity(rank)))
    return _correspondences(world, kind, organisations, lambda each: each.domain)


def _forwarders(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    """Yield mail forwarded with its sender unchanged, so that SPF fails or proves nothing."""
    forwarders = [_with_one_server(world, 1.0) for _ in range(3)]
    authors = _small_organisations(world, max(count // 10, 3))
    while True:
        forwarder, author = pick(world, forwarders), pick(world, authors)
        sender, user = f"{world.word()}@{author.domain}", world.user()
        yield [
            Mail(kind, True, at, sender, user, forwarder.hosts, forwarder.schedule)
            for at in world.correspondence_times(6, world.parameters.mean_mails / 2)
        ]


def _misconfigured(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    organisations = []
    for rank in range(max(count // 8, 3)):
        domain, address = world.domain(), world.address()
        mx = f"mail.{domain}"
        faults: tuple[tuple[str, str, str], ...] = (
            ("unknown", "unknown", mx),
            ("unknown", f"old.{world.domain()}", mx),
            (mx, mx, "localhost.localdomain"),
            (mx, mx, "exchange01"),
            (mx, mx, f"exchange01.{domain.partition('.')[0]}.local"),
        )
        host = Host(address, *world.chance.choice(faults))
        world.dns.add(mx, RecordType.A, address)
        spf = "v=spf1 mx ~all" if world.chosen(world.parameters.spf / 2) else ""
        world.dns.add_domain(domain, mx, spf=spf)
        schedule = world.chance.choice(_SERVERS)
        organisations.append(Organisation(domain, [host], schedule, popularity=_popularity(rank)))
    return _correspondences(world, kind, organisations, lambda each: each.domain)


def _home_servers(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    organisations = []
    for _ in range(max(count // 15, 3)):
        domain, address = world.domain(), world.address()
        name = dial_up_name(world, address)
        helo = f"mail.{domain}"
        host = world.host(name, address, helo)
        world.dns.add(helo, RecordType.A, address)
        world.dns.add_domain(domain, helo, spf="v=spf1 mx -all" if world.chosen(0.7) else "")
        if world.chosen(world.parameters.pbl):
            world.dns.list_address(ZEN, address, PBL, -DAY)
        organisations.append(Organisation(domain, [host], "postfix"))
    return _correspondences(world, kind, organisations, lambda each: each.domain)


def dial_up_name(world: World, address: str) -> str:
    """Return the name that an access provider gives to a customer's line."""
    a, b, c, d = address.split(".")
    provider = f"isp{world.chance.randrange(40)}-telecom.net"
    return world.chance.choice(
        (
            f"{d}.{c}.{b}.{a}.dynamic.{provider}",
            f"dsl-{a}-{b}-{c}-{d}.{provider}",
            f"host-{a}-{b}-{c}-{d}.{provider}",
            f"pool-{c}-{d}.{provider}",
            f"p{int(a):02x}{int(b):02x}{int(c):02x}{int(d):02x}.{provider}",
            f"cust{world.chance.randrange(10**5)}.city.{provider}",
        )
    )


# Mail of programs -------------------------------------------------------------------------------


def _newsletters(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    senders = [_pool(world, size, 4, has_spf=True, name="o{n}.mta") for size in (60, 30, 12)]
    campaigns_per_subscription = world.parameters.days / 7
    shops = max(round(count / campaigns_per_subscription / 8), 3)
    for _ in range(shops * 4):
        via = world.chance.choice(senders)
        domain = world.domain()
        bounces = f"mail.{domain}"
        spf = f"v=spf1 include:_spf.{via.domain} -all"
        world.dns.add_domain(domain, f"mx1.{via.domain}", spf=spf)
        world.dns.add_domain(bounces, f"mx1.{via.domain}", spf=spf)
        world.dns.add_wildcard(bounces, f"mx1.{via.domain}", spf)
        style = world.chance.choice(("fixed", "VERP", "VERP", "opaque VERP", "bounce domain"))
        yield _campaigns(world, kind, via, bounces, style)


def _campaigns(world: World, kind: str, via: Organisation, bounces: str, style: str) -> list[Mail]:
    chance = world.chance
    subscribers = [world.user() for _ in range(chance.randrange(2, 15))]
    route = chance.choice((Route.SAME, Route.RANDOM))
    begins = chance.uniform(-30 * DAY, world.seconds)
    mails = []
    at = begins
    while at < world.seconds:
        for user in subscribers if at >= 0 else ():
            local = user.partition("@")[0]
            number = f"{chance.randrange(16**6):06x}"
            sender = {
                "fixed": f"news@{bounces}",
                "VERP": f"bounce-{chance.randrange(10**6)}-{local}={OWN_DOMAIN}@{bounces}",
                "opaque VERP": f"b{number}{local}@{bounces}",
                "bounce domain": f"bounce@b{number}.{bounces}",
            }[style]
            when = at + chance.uniform(0, HOUR)
            mails.append(Mail(kind, True, when, sender, user, via.hosts, via.schedule, route))
        at += 7 * DAY * chance.uniform(0.5, 1.5)
    return mails


def _mailing_lists(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    while True:
        one = _with_one_server(world, 1.0)
        subscribers = [world.user() for _ in range(world.chance.randrange(1, 5))]
        is_verp = world.chosen(0.5)
        every = world.chance.lognormvariate(0.0, 0.8) * DAY
        at = world.chance.uniform(-world.seconds, world.seconds / 2)
        mails = []
        for _ in range(count):
            at += world.chance.expovariate(1 / every)
            if not 0 <= at < world.seconds:
                continue
            for user in subscribers:
                local = user.partition("@")[0]
                extension = f"+{local}={OWN_DOMAIN}" if is_verp else ""
                sender = f"talk-bounces{extension}@{one.domain}"
                mails.append(Mail(kind, True, at, sender, user, one.hosts, one.schedule))
        yield mails


def _codes(world: World, kind: str, count: int) -> Iterator[list[Mail]]:
    """Yield the codes of many services, most of which a user sees once or twice."""
    shared = [
        _pool(world, 120, 8, has_spf=True, name="o{n}.out"),
        _pool(world, 40, 8, has_spf=True, name="a{c}-{d}.smtp-out"),
    ]
    services = []
    for rank in range(max(count // 3, 4)):
        popularity = 1 / (rank + 1) ** 0.4
        schedule = world.chance.choice(
            ("code", "exim", "postfix", "quick_sendmail", "sendmail", "")
        )
        if not world.chosen(world.parameters.code_pools):
            # Some applications send their codes themselves, with the name of their container.
            helo = world.word() if world.chosen(0.12) else ""
            own = _with_one_server(world, popularity, helo)
            services.append(Organisation(own.domain, own.hosts, schedule, Route.SAME, popularity))
            continue
        via, domain = world.chance.choice(shared), world.domain()
        spf = f"v=spf1 include:_spf.{via.domain} -all"
        world.dns.add_domain(domain, f"mx1.{via.domain}", spf=spf)
        services.append(Organisation(domain, via.hosts, schedule, Route.RANDOM, popularity))
    while True:
        service, user = pick(world, services), world.user()
        sender = f"no-reply@{service.domain}"
        times = world.correspondence_times(12, 2)
        yield [
            Mail(
                kind, True, at, sender, user, service.hosts, service.schedule, service.route,
                is_code=True,
            )
            for at in times
        ]  # fmt: skip


_KINDS: dict[str, Callable[[World, str, int], Iterator[list[Mail]]]] = {
    "single server": _single_servers,
    "several servers in turn": _servers_in_turn,
    "great pool with SPF": _pools_with_spf,
    "great pool without SPF": _pools_without_spf,
    "newsletter": _newsletters,
    "mailing list": _mailing_lists,
    "one-time code": _codes,
    "customer of a hoster": _customers,
    "forwarder": _forwarders,
    "misconfigured server": _misconfigured,
    "home server": _home_servers,
}
