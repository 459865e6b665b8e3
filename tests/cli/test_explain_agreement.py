"""``greyd explain`` and the server decide equally: random requests over all options.

Each request goes to a server's policy with the real evidence collector, and from the same store to
the command, in each form of input: as Postfix sends it, by options, and as the line that the server
has logged about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from greyd.cli.explain.answer.remedies import describe_remedies
from greyd.cli.explain.dns_trace import RecordingLookup
from greyd.cli.explain.examination import Examiner
from greyd.cli.explain.probed_sources import ProbingCollector
from greyd.cli.explain.request_input import RequestInput, read_request
from greyd.cli.explain.steps import describe_steps
from greyd.config.loading import read_settings
from greyd.config.vocabulary import RESOLVER
from greyd.dns.collector import DnsEvidenceCollector
from greyd.dns.lookup import RecordType
from greyd.dns.reverse_names import pointer_name
from greyd.dns.sender_check import SpfSenderCheck
from greyd.dns.sources.monitor import SourceMonitor
from greyd.dns.sources.source import SourceState
from greyd.monitoring.log import Severity
from greyd.monitoring.log_observer import LogObserver
from greyd.policy.observers import Observer, Observers
from greyd.policy.policy import Policy
from greyd.rules.hostnames import organisation_of
from greyd.rules.reasons import GREYLIST, Reason
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.files import WhitelistContents
from tests.failing_dns import GIVING_UP_SECONDS, WHOLE_DNS, FailingDns, Failure
from tests.fake_dns import FakeDns, address_of
from tests.stores import FakeStore, answer_of
from tests.virtual_time import run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.config.settings import Settings
    from greyd.dns.lookup import Lookup
    from greyd.monitoring.log import Log
    from greyd.policy.events import DecisionEvent
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request

ZONES = ("zen.spamhaus.org", "dbl.spamhaus.org", "list.dnswl.org")
START, HOUR, DAY = 1_700_000_000, 3600, 86400

PRESET = ["--preset=recommended"]
NO_CLIENTS = ["--auto-whitelist-clients=0"]
OPTIONS = [
    [],
    PRESET,
    [*PRESET, "--log-format=json"],
    [*PRESET, "--own-domains=example.org", "--privacy"],
    [*PRESET, "--delay=0,60,300,3600", "--auto-whitelist-clients=2"],
    [*PRESET, "--signals=no_ptr,helo_not_fqdn,plain_helo,dnsbl", "--dnswl=list.dnswl.org=low"],
    [*PRESET, "--mode=learn", "--identity-age=0", "--auto-whitelist-identities=1"],
    [*PRESET, "--sender-group=pool=192.0.2.0/24,mailer.example", "--lookup-by-host"],
    [*PRESET, "--whitelist-senders=/senders", "--never-auto-whitelist=/never"],
    ["--identity=spf", "--auto-whitelist-identities=2", "--learn-outbound"],
    ["--identity=name,spf", "--identity-age=0", "--auto-whitelist-identities=1", *NO_CLIENTS],
    ["--greylist=suspicious", "--auto-whitelist-clients=0"],
    ["--dnsbl=zen.spamhaus.org=900", "--rhsbl=dbl.spamhaus.org"],
    ["--dnswl=list.dnswl.org"],
    ["--whitelist-senders=/senders"],
]

FILES = WhitelistContents(
    [WhitelistFile("clients", b"white.example\n")],
    [WhitelistFile("recipients", b"postmaster@\n")],
    [],
    [],
    senders=[WhitelistFile("senders", b"mailer.example\nx@fail.example\n")],
    never_auto=[WhitelistFile("never", b"192.0.2.7\n")],
)
WHITELISTS = FILES.whitelists()

NAMES = {
    "192.0.2.7": "mail.example.com",
    "192.0.2.8": "",
    "192.0.2.9": "gone.example.com",
    "192.0.2.200": "mx.white.example",
    "198.51.100.7": "dsl-198-51-100-7.provider.example",
    "198.51.100.8": "out1.mailer.example",
    "198.51.101.8": "out2.mailer.example",
    "203.0.113.9": "mx.listed.example",
    "203.0.113.20": "mx.trusted.example",
    "2001:db8::7": "mail6.example.com",
}
"""The clients' names by their addresses; that of 192.0.2.9 does not resolve."""

UNCONFIRMED = {"192.0.2.8", "192.0.2.9"}
SENDERS = [
    "alice@example.com", "alice@example.com", "news+1@mailer.example", "news+2@mailer.example", "",
    "x@fail.example", "x@soft.example", "x@nomx.example", "info@bücher.example", "x@listed.example",
    "bob@example.org", "nobody", "a, recipient=c@d, helo=e", "prvs=0123456789=a@example.com",
]  # fmt: skip
PROVEN = [
    ("192.0.2.7", "alice@example.com"), ("2001:db8::7", "carol@example.com"),
    ("198.51.100.8", "news+1@mailer.example"), ("198.51.101.8", "paul@mailer.example"),
]  # fmt: skip
"""Clients with senders whose SPF records pass them: identities are made of such mail."""

RECIPIENTS = [
    *["bob@example.org"] * 6,
    "jürgen@bücher.example",
    "postmaster@x.example",
    '"a, helo=b"@example.org',
]
HELO = [
    "",
    "pc",
    "[192.0.2.7]",
    "[198.51.100.99]",
    "example.org",
    "no.such.example",
    "mail.example.com",
]
HELO += ["x, signals=no_ptr", "bücher.example"]


def world() -> FakeDns:
    """Return the DNS of all clients, senders and lists."""
    dns = FakeDns()
    for address, name in NAMES.items():
        if name:
            dns.add(pointer(address), RecordType.PTR, name)
        if name and address not in UNCONFIRMED:
            kind = RecordType.AAAA if ":" in address else RecordType.A
            dns.add(name, kind, address)
    for domain, spf in {
        "example.com": "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 -all",
        "mailer.example": "v=spf1 ip4:198.51.100.8 ip4:198.51.101.8 -all",
        "fail.example": "v=spf1 ip4:192.0.2.99 -all",
        "soft.example": "v=spf1 ip4:192.0.2.99 ~all",
        "listed.example": "v=spf1 ip4:203.0.113.9 -all",
        "xn--bcher-kva.example": "v=spf1 ip4:192.0.2.7 -all",
        "out1.mailer.example": "v=spf1 ip4:198.51.100.8 -all",
    }.items():
        dns.add(domain, RecordType.TXT, spf)
        dns.add(domain, RecordType.MX, "mail.example.com")
    dns.add("example.org", RecordType.MX, "gw.example.org")
    dns.add("9.113.0.203.zen.spamhaus.org", RecordType.A, "127.0.0.2")
    dns.add("listed.example.dbl.spamhaus.org", RecordType.A, "127.0.1.2")
    dns.add("20.113.0.203.list.dnswl.org", RecordType.A, "127.0.5.2")
    dns.add("8.100.51.198.list.dnswl.org", RecordType.A, "127.0.5.1")
    for name, code in (
        ("2.0.0.127.zen.spamhaus.org", "127.0.0.2"), ("2.0.0.127.list.dnswl.org", "127.0.10.0"),
        ("test.dbl.spamhaus.org", "127.0.1.2"),
    ):  # fmt: skip
        dns.add(name, RecordType.A, code)
    return dns


def pointer(address: str) -> str:
    return pointer_name(address_of(address)).decode()


STRANGERS_NAMES = [b"9.9.0.203." + each.encode() for each in ZONES] + [b"stranger.example"]
"""What the server looks up for others: their network matters, not the address."""

SLOW_NAMES = [
    b"example.com", b"mailer.example", b"fail.example", b"9.113.0.203.zen.spamhaus.org",
    b"20.113.0.203.list.dnswl.org", b"listed.example.dbl.spamhaus.org", b"no.such.example",
    b"mail.example.com",
]  # fmt: skip


@dataclass
class LastLine:
    """A log that keeps its last line; a server's log writes in a thread."""

    as_json: bool
    most: Severity = Severity.INFO
    line: bytes = b""

    def write_all(self, _: Severity, lines: Sequence[bytes]) -> None:
        (self.line,) = lines

    def notice(self, message: str) -> None:
        """Ignore other lines."""

    warning = notice


@dataclass
class Decisions(Observer):
    """Keeps the last decision; an internal error ends the test."""

    last: DecisionEvent | None = None

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        (self.last,) = events

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - raised
        raise error


def raise_(error: BaseException) -> None:
    raise error


def collector_for(
    settings: Settings, lookup: Lookup, monitor: SourceMonitor | None
) -> DnsEvidenceCollector | None:
    if monitor is None:
        return None
    return DnsEvidenceCollector(settings, lookup, lambda: WHITELISTS.override, raise_, monitor)


def monitor_for(settings: Settings, dns: FailingDns) -> SourceMonitor | None:
    """Return a monitor of the sources, whose time is the loop's."""
    if not settings.needs_evidence:
        return None
    now = asyncio.get_running_loop().time
    return SourceMonitor(settings, dns, lambda _name, _fault: None, raise_, now)


def states_of(monitor: SourceMonitor | None) -> dict[str, SourceState]:
    return {each.name: each.state for each in monitor.sources()} if monitor else {}


async def has_changed(monitor: SourceMonitor, states: dict[str, SourceState]) -> bool:
    """Let the server's probes find out what is out of order now; return whether that is news."""
    await asyncio.sleep(GIVING_UP_SECONDS)  # A probe may be under way that began before.
    await monitor.probe_all()
    await asyncio.sleep(GIVING_UP_SECONDS)
    return states_of(monitor) != states


def some_failures(chance: random.Random) -> dict[str, Failure]:
    """Return what is out of order: mostly nothing, or one or two lists, or the whole DNS."""
    kind = chance.random()
    if kind < 0.5:
        return {}
    if kind < 0.6:
        return {WHOLE_DNS: chance.choice([Failure.NOTHING, Failure.SERVFAIL])}
    names = chance.sample(ZONES, chance.choice([1, 1, 2]))
    return {name: chance.choice(list(Failure)) for name in names}


async def fail_for_strangers(
    chance: random.Random, dns: FailingDns, monitor: SourceMonitor | None
) -> None:
    """Let the server's sources get into any state: lookups for others, and time for probes."""
    if monitor is None:
        return
    for _ in range(chance.choice([0, 0, 1, 4])):
        lookups = [
            dns.for_client(address_of(f"203.0.{number}.1")).query(name, RecordType.A)
            for number, name in enumerate(STRANGERS_NAMES)
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.choice([0.1, GIVING_UP_SECONDS + 0.1])):
                await asyncio.gather(*lookups, return_exceptions=True)
    await asyncio.sleep(chance.choice([0, 0, 0.5, 6, 70]))


def some_request(chance: random.Random, now: int, settings: Settings) -> dict[str, bytes]:
    """Return the attributes that Postfix sends."""
    pick = chance.choice
    address, sender = pick(list(NAMES)), pick(SENDERS)
    if chance.random() < 0.3:
        address, sender = pick(PROVEN)
    name = NAMES[address]
    is_confirmed = bool(name) and address not in UNCONFIRMED
    helo = name if is_confirmed and chance.random() < 0.6 else pick(HELO)
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_name": pick(["ESMTP"] * 9 + ["SMTP"]),
        "client_address": address,
        "client_name": name if is_confirmed else "unknown",
        "reverse_client_name": name or "unknown",
        "helo_name": helo,
        "sender": sender,
        "recipient": pick(RECIPIENTS),
        "sasl_username": pick([""] * 19 + ["alice"]),
        "etrn_domain": "",
        "policy_test_time": str(now),
    }
    if settings.learn_outbound and chance.random() < 0.1:
        attributes |= {
            "policy_context": "outbound", "sasl_username": "bob", "sender": "bob@example.org",
            "recipient": pick(["alice@example.com", "news@mailer.example"]),
        }  # fmt: skip
    if chance.random() < 0.05:
        # greyd's ACL for Exim sends no name that is not confirmed.
        del attributes["reverse_client_name"], attributes["protocol_name"]
    return {name: value.encode() for name, value in attributes.items()}


def text_of(attributes: dict[str, bytes]) -> bytes:
    return b"".join(b"%b=%b\n" % (name.encode(), each) for name, each in attributes.items())


def forms_of(
    attributes: dict[str, bytes], line: bytes, *, dns_answers: bool
) -> dict[str, RequestInput]:
    """Return the request in each form of input."""
    given: dict[str, str | None] = {
        name: value.decode()
        for name, value in attributes.items()
        if name not in ("request", "etrn_domain")
    }
    now: dict[str, str | None] = {"policy_test_time": given["policy_test_time"]}
    if dns_answers:
        # The command looks the names up as Postfix does.
        for name in ("client_name", "reverse_client_name"):
            given.pop(name, None)
    forms = {
        "standard input": RequestInput({}, is_complete=True, text=text_of(attributes)),
        "log line": read_request(now, line.decode()),
        "older log line": read_request(now, older(line.decode())),
    }
    names = attributes["sender"] + attributes["recipient"]
    can_be_typed = b", " not in names and names.isascii()
    if "reverse_client_name" in attributes and can_be_typed:
        # By options, nobody can say that the request does not have it. Options become what Postfix
        # passes on: a quoted local part loses its quotes, and a domain in UTF-8 becomes ASCII.
        forms["options"] = read_request(given, None)
    return forms


_NEW_FIELDS = re.compile(
    r', (?:helo|reverse_client_name|protocol|other_identities)=[^ ,"@]*(?=,|$)'
    r'|, "(?:helo|reverse_client_name|protocol|other_identities)": (?:"[^"]*"|\[[^\]]*\])'
)
"""What version 0.1.0 did not log."""


def older(line: str) -> str:
    """Return a line as version 0.1.0 would have logged it."""
    head, recipient, tail = line.rpartition(", recipient=")
    return head + recipient + _NEW_FIELDS.sub("", tail)


def is_newer_identity(evidence: Evidence | None, attributes: dict[str, bytes]) -> bool:
    """Whether a name proves an identity that 0.1.0, which compared the HELO name, rejected."""
    helo = organisation_of(attributes.get("helo_name", b"").lower())
    identities = evidence.identities if evidence else ()
    return any(each.way == "name" and each.organisation != helo for each in identities)


def undated(reply: bytes | None) -> bytes | None:
    """Return a reply without the date of its header."""
    return reply if reply is None else re.sub(rb"; \w{3}, .*", b"", reply)


def check_explanation(case: ExplainedRequest) -> None:
    """The explanation ends with the step that decides; greylisted mail has remedies."""
    *before, last = describe_steps(case)
    assert last.decides
    assert not any(each.decides for each in before)
    assert case.reason is not None
    assert bool(describe_remedies(case)) == (case.reason.action == GREYLIST)


@dataclass
class AskedServer:
    """A server's policy, with the decisions that it logs."""

    settings: Settings
    decisions: Decisions = field(default_factory=Decisions)
    log: LastLine = field(init=False)

    def __post_init__(self) -> None:
        self.log = LastLine(self.settings.log_format == "json")

    def policy(self, store: FakeStore, dns: FailingDns, monitor: SourceMonitor | None) -> Policy:
        observers = Observers(self.decisions, LogObserver(cast("Log", self.log)))
        collector = collector_for(self.settings, dns, monitor)
        policy = Policy(self.settings, WHITELISTS, store, observers, collector)
        policy.sender_check = SpfSenderCheck(dns, self.settings.dns_timeout_seconds, raise_)
        return policy

    async def decision(
        self, policy: Policy, request: Request
    ) -> tuple[DecisionEvent, bytes | None]:
        """Return a decision, and the reply to Postfix without the date of its header."""
        reply = await answer_of(policy, request)
        assert self.decisions.last is not None
        return self.decisions.last, undated(reply)


async def explained(
    given: RequestInput, settings: Settings, store: FakeStore, dns: FailingDns
) -> ExplainedRequest:
    """Run the command: it knows nothing of the server's sources, and probes them."""
    recorded, monitor = RecordingLookup(dns), monitor_for(settings, dns)
    collector = collector_for(settings, recorded, monitor)
    probing = None if collector is None or monitor is None else ProbingCollector(collector, monitor)
    check = SpfSenderCheck(recorded, settings.dns_timeout_seconds, raise_)
    try:
        return await Examiner(settings, FILES, store, recorded, probing, check).examine(given)
    finally:
        if monitor is not None:
            monitor.close()


@dataclass
class Seen:
    """What came up: a comparison of nothing must not pass."""

    reasons: set[Reason] = field(default_factory=set)
    states: set[tuple[bool, SourceState]] = field(default_factory=set)
    """The states of sources when the server decided; with whether it was the resolver."""
    changed_count: int = 0

    def note(self, reason: Reason, states: dict[str, SourceState]) -> None:
        self.reasons.add(reason)
        self.states |= {(name == RESOLVER, state) for name, state in states.items()}


async def compare(seed: int, number: int, seen: Seen) -> None:
    """Send random requests to the server and to the command; note what came up in ``seen``."""
    chance = random.Random(seed)
    options = OPTIONS[seed % len(OPTIONS)]
    settings = replace(read_settings(options, {}), test_time=True, hostname="gw.example.org")
    dns = FailingDns(world(), ZONES)
    store, asked = FakeStore(), AskedServer(settings)
    monitor = monitor_for(settings, dns)
    if monitor is not None:
        dns.on_lookup_ended = monitor.lookup_ended
    server = asked.policy(store, dns, monitor)
    now, attributes = START, {}
    for _ in range(number):
        now += chance.choice([1, 30, 301, HOUR, HOUR + 1, 5 * HOUR, DAY])
        if not attributes or chance.random() < 0.7:
            attributes = some_request(chance, now, settings)
        attributes = {**attributes, "policy_test_time": b"%d" % now}
        if chance.random() < 0.3:
            dns.failures = some_failures(chance)
        dns.slow_names = {chance.choice(SLOW_NAMES)} if chance.random() < 0.1 else set()
        await fail_for_strangers(chance, dns, monitor)
        before = FakeStore(records_=dict(store.records_))
        request = RequestInput({}, text=text_of(attributes)).parse({}, settings)
        states = states_of(monitor)
        real, reply = await asked.decision(server, request)
        line = asked.log.line
        seen.note(real.reason, states)
        if monitor is not None and await has_changed(monitor, states):
            # The server has learnt of a failure, or of its end: what would it answer now?
            again = asked.policy(FakeStore(records_=dict(before.records_)), dns, monitor)
            real, reply = await asked.decision(again, request)
            seen.changed_count += 1
        can_look_up = WHOLE_DNS not in dns.failures and not dns.slow_names
        for form, given in forms_of(attributes, line, dns_answers=can_look_up).items():
            if form == "older log line" and is_newer_identity(real.evidence, attributes):
                continue
            case = await explained(given, settings, before, dns)
            context: Any = (
                seed, form, settings, attributes, line, dns.failures, dns.slow_names, states,
                real.evidence, case.dry_run.evidence,
            )  # fmt: skip
            check_agreement(form, case, real, reply, context)
    if monitor is not None:
        monitor.close()


def check_agreement(
    form: str, case: ExplainedRequest, real: DecisionEvent, reply: bytes | None, context: object
) -> None:
    """The command decides as the server does, and explains the decision."""
    found = case.dry_run
    if form == "older log line":
        # It may lack a name that matters. Then no answer is claimed.
        answers = {each.reason for each in case.alternatives} or {found.reason}
        assert real.reason in answers, context
        return
    assert not case.alternatives, context
    assert (found.reason, found.detail) == (real.reason, real.detail), context
    assert undated(found.reply) == reply, context
    check_explanation(case)


def test_explain_decides_as_the_server_from_each_form_of_input() -> None:
    seen = Seen()
    for seed in range(2 * len(OPTIONS)):
        run_in_virtual_time(compare(seed, 25, seen))
    assert seen.states == {(resolver, state) for resolver in (True, False) for state in SourceState}
    assert seen.changed_count > 20
    assert seen.reasons >= {
        Reason.NEW, Reason.EARLY_RETRY, Reason.TRIPLET_FOUND, Reason.NOT_SUSPICIOUS,
        Reason.DNS_WHITELIST, Reason.IDENTITY_AWL, Reason.CORRESPONDENT, Reason.OUTBOUND,
        Reason.AUTHENTICATED, Reason.CLIENT_WHITELIST, Reason.RECIPIENT_WHITELIST,
        Reason.SENDER_WHITELIST, Reason.LEARNING,
    }  # fmt: skip
