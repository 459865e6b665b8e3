"""``greyd explain`` and the server decide equally: random requests over all options.

Each request goes to a server's policy with the real evidence collector, and from the same store to
the command, in each form of input: as Postfix sends it, by options, and as the line that the server
has logged about it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from greyd.cli.explain.answer.remedies import describe_remedies
from greyd.cli.explain.dns_trace import RecordingLookup
from greyd.cli.explain.examination import Examiner
from greyd.cli.explain.request_input import RequestInput, read_request
from greyd.cli.explain.steps import describe_steps
from greyd.config.loading import read_settings
from greyd.dns.collector import DnsEvidenceCollector
from greyd.dns.lookup import DnsAnswer, DnsError, RecordType
from greyd.dns.reverse_names import pointer_name
from greyd.dns.sender_check import SpfSenderCheck
from greyd.monitoring.log import Severity
from greyd.monitoring.log_observer import LogObserver
from greyd.policy.observers import Observer, Observers
from greyd.policy.policy import Policy
from greyd.rules.hostnames import organisation_of
from greyd.rules.reasons import GREYLIST, Reason
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.files import WhitelistContents
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

START, HOUR, DAY = 1_700_000_000, 3600, 86400

PRESET = ["--preset=recommended"]
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
    ["--identity=name,spf", "--identity-age=0", "--auto-whitelist-identities=1"],
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


class DeadDns(FakeDns):
    """A resolver that answers nothing."""

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:  # noqa: ARG002 - a Lookup's
        raise DnsError("SERVFAIL")


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
    reasons: set[Reason] = field(default_factory=set)

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        (self.last,) = events
        self.reasons.add(self.last.reason)

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - raised
        raise error


def raise_(error: BaseException) -> None:
    raise error


def collector_for(settings: Settings, lookup: Lookup) -> DnsEvidenceCollector | None:
    if not settings.needs_evidence:
        return None
    return DnsEvidenceCollector(settings, lookup, lambda: WHITELISTS.override, raise_)


def some_request(chance: random.Random, now: int, settings: Settings) -> dict[str, bytes]:
    """Return the attributes that Postfix sends."""
    pick = chance.choice
    address = pick(list(NAMES))
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
        "sender": pick(SENDERS),
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


async def compare(seed: int, number: int) -> set[Reason]:
    """Send random requests to the server and to the command; return the reasons that came up."""
    chance = random.Random(seed)
    options = OPTIONS[seed % len(OPTIONS)]
    settings = replace(read_settings(options, {}), test_time=True, hostname="gw.example.org")
    dns = world()
    store, decisions = FakeStore(), Decisions()
    log = LastLine(settings.log_format == "json")
    observers = Observers(decisions, LogObserver(cast("Log", log)))
    server = Policy(settings, WHITELISTS, store, observers)
    now = START
    for _ in range(number):
        now += chance.choice([1, 30, 301, HOUR, HOUR + 1, 5 * HOUR, DAY])
        attributes = some_request(chance, now, settings)
        lookup: FakeDns = DeadDns() if chance.random() < 0.1 else dns
        dns.silent = {chance.choice(SLOW_NAMES)} if chance.random() < 0.1 else set()
        server.collector = collector_for(settings, lookup)
        server.sender_check = SpfSenderCheck(lookup, settings.dns_timeout_seconds, raise_)
        before = FakeStore(records_=dict(store.records_))
        request = RequestInput({}, text=text_of(attributes)).parse({}, settings)
        reply = await answer_of(server, request)
        real = decisions.last
        assert real is not None
        is_up = lookup is dns and not dns.silent
        for form, given in forms_of(attributes, log.line, dns_answers=is_up).items():
            recorded = RecordingLookup(lookup)
            examiner = Examiner(
                settings, FILES, before, recorded, collector_for(settings, recorded),
                SpfSenderCheck(recorded, settings.dns_timeout_seconds, raise_),
            )  # fmt: skip
            case = await examiner.examine(given)
            found = case.dry_run
            context: Any = (
                seed,
                form,
                settings,
                attributes,
                log.line,
                real.evidence,
                found.evidence,
            )
            if form == "older log line" and is_newer_identity(real.evidence, attributes):
                continue
            if form == "older log line":
                # It may lack a name that matters. Then no answer is claimed.
                answers = {each.reason for each in case.alternatives} or {found.reason}
                assert real.reason in answers, context
                continue
            assert not case.alternatives, context
            assert (found.reason, found.detail) == (real.reason, real.detail), context
            assert undated(found.reply) == undated(reply), context
            check_explanation(case)
    return decisions.reasons


def test_explain_decides_as_the_server_from_each_form_of_input() -> None:
    reasons: set[Reason] = set()
    for seed in range(2 * len(OPTIONS)):
        reasons |= run_in_virtual_time(compare(seed, 40))
    assert reasons >= {
        Reason.NEW, Reason.EARLY_RETRY, Reason.TRIPLET_FOUND, Reason.NOT_SUSPICIOUS,
        Reason.DNS_WHITELIST, Reason.IDENTITY_AWL, Reason.CORRESPONDENT, Reason.OUTBOUND,
        Reason.AUTHENTICATED, Reason.CLIENT_WHITELIST, Reason.RECIPIENT_WHITELIST,
        Reason.SENDER_WHITELIST, Reason.LEARNING,
    }  # fmt: skip
