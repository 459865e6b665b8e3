"""``greyd explain`` answers as the server does, from whatever the request is taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.explain.dns_trace import RecordingLookup, SilentLookup
from greyd.cli.explain.examination import Examiner
from greyd.cli.explain.request_input import RequestInput, read_request
from greyd.config.settings import Settings
from greyd.config.vocabulary import Zone
from greyd.dns.collector import DnsEvidenceCollector
from greyd.dns.lookup import DisabledLookup, RecordType
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.files import WhitelistContents
from tests.fake_dns import FakeDns
from tests.stores import FakeStore

if TYPE_CHECKING:
    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.dns.lookup import Lookup

SUSPICIOUS: dict[str, Any] = {"greylist": "suspicious", "identity": ("spf", "name")}

GOOD, NO_PTR, MISMATCH = "192.0.2.7", "192.0.2.8", "192.0.2.9"
"""A client with a confirmed name, one without a name, and one whose name leads elsewhere."""


def fake_dns() -> FakeDns:
    """Return a DNS with the names of the three clients, and one sender's domain."""
    dns = FakeDns()
    dns.add("7.2.0.192.in-addr.arpa", RecordType.PTR, "mail.example.com")
    dns.add("mail.example.com", RecordType.A, GOOD)
    dns.add("9.2.0.192.in-addr.arpa", RecordType.PTR, "mail.example.com")
    dns.add("example.com", RecordType.MX, "mail.example.com")
    return dns


def explained(
    given: RequestInput, lookup: Lookup | None = None, **options: Any
) -> ExplainedRequest:
    """Examine a request as the command does."""

    async def run() -> ExplainedRequest:
        settings = Settings(hostname="gw.example.org", **options)
        files = WhitelistContents([WhitelistFile("clients", b"white.example\n")], [], [], [])
        is_silent = isinstance(lookup, DisabledLookup)
        recorded = SilentLookup() if is_silent else RecordingLookup(lookup or fake_dns())
        collector = None
        if settings.needs_evidence:
            override = files.whitelists().override
            collector = DnsEvidenceCollector(settings, recorded, lambda: override, raise_)
        return await Examiner(settings, files, FakeStore(), recorded, collector).examine(given)

    return asyncio.run(run())


def without_ptr() -> FakeDns:
    """Return a DNS that does not know whether the client has a name."""
    dns = fake_dns()
    dns.fail("7.2.0.192.in-addr.arpa", RecordType.PTR)
    return dns


def raise_(error: BaseException) -> None:
    raise error


def options(address: str, **more: str) -> RequestInput:
    given = {
        "client_address": address, "sender": "alice@example.com", "recipient": "bob@example.org",
        **more,
    }  # fmt: skip
    return read_request(given, None)


def line(name: str, address: str, more: str = "", reason: str = "new") -> RequestInput:
    return read_request(
        {},
        f"action=greylist, reason={reason}, client_name={name}, client_address={address},"
        f" sender=alice@example.com, recipient=bob@example.org{more}",
    )


def rejection(name: str, address: str, helo: str) -> RequestInput:
    return read_request(
        {},
        f"NOQUEUE: reject: RCPT from {name}[{address}]: 450 4.2.0 <bob@example.org>: Greylisted;"
        f" from=<alice@example.com> to=<bob@example.org> proto=ESMTP helo=<{helo}>",
    )


def exim(host: str) -> RequestInput:
    return read_request(
        {}, f"H={host} F=<alice@example.com> temporarily rejected RCPT <bob@example.org>: x"
    )


MX = "mail.example.com"


@pytest.mark.parametrize(
    ("given", "signals"),
    [
        (options(GOOD, helo_name=MX), ()),
        (options(NO_PTR, helo_name=MX), ("no_ptr",)),
        (options(MISMATCH, helo_name=MX), ("ptr_mismatch",)),
        (options(GOOD, helo_name="pc"), ("helo_not_fqdn",)),
        (options(GOOD, helo_name="gone.example.com"), ("helo_no_address",)),
        (options(GOOD, helo_name=MX, client_name="unknown"), ("ptr_mismatch",)),
        (options(GOOD, helo_name=MX, client_name="unknown", reverse_client_name="unknown"),
         ("no_ptr",)),
        (options(NO_PTR, helo_name=MX, client_name=MX), ()),
        # greyd's line of today has all names that the server got.
        (line(MX, GOOD, f", helo={MX}"), ()),
        (line(MX, GOOD, ", helo="), ("helo_not_fqdn",)),
        (line(MX, GOOD, ", helo=pc"), ("helo_not_fqdn",)),
        (line("unknown", NO_PTR, f", helo={MX}, reverse_client_name=unknown"),
         ("no_ptr",)),
        (line("unknown", GOOD, f", helo={MX}, reverse_client_name=unknown"), ("no_ptr",)),
        (line("unknown", NO_PTR, f", helo={MX}, reverse_client_name={MX}"),
         ("ptr_mismatch",)),
        (line("unknown", NO_PTR, f", helo={MX}"), ("helo_other_address",)),
        # A line of 0.1.0 has the signals that the names showed.
        (line(MX, GOOD, ", signals=helo_not_fqdn"), ("helo_not_fqdn",)),
        (line(MX, GOOD, ", identity=example.com, signals=helo_no_address+spf_fail"),
         ("helo_no_address",)),
        (line("unknown", GOOD, ", signals=no_ptr"), ("no_ptr",)),
        (line("unknown", NO_PTR, ", signals=ptr_mismatch, dns=late"), ("ptr_mismatch",)),
        (line("unknown", NO_PTR, ", signals=helo_not_fqdn"), ("helo_not_fqdn",)),
        (line(MX, GOOD, reason="not suspicious"), ()),
        (line("unknown", MISMATCH, reason="not suspicious"), ()),
        # Postfix's line has the HELO name, and DNS the name that Postfix could not confirm.
        (rejection(MX, GOOD, MX), ()),
        (rejection(MX, GOOD, "pc"), ("helo_not_fqdn",)),
        (rejection("unknown", NO_PTR, MX), ("no_ptr",)),
        (rejection("unknown", MISMATCH, "[192.0.2.9]"), ("ptr_mismatch",)),
        # greyd's ACL for Exim sends no unconfirmed name.
        (exim(f"{MX} [{GOOD}]"), ()),
        (exim(f"{MX} (pc) [{GOOD}]"), ("helo_not_fqdn",)),
        (exim(f"({MX}) [{NO_PTR}]"), ("helo_other_address",)),
    ],
)  # fmt: skip
def test_the_client_shows_the_signals_that_it_shows_the_server(
    given: RequestInput, signals: tuple[str, ...]
) -> None:
    case = explained(given, **SUSPICIOUS)
    assert case.dry_run.evidence.signals == signals
    assert case.alternatives == ()
    assert case.reason is not None
    assert case.reason.text == ("new" if signals else "not suspicious")


@pytest.mark.parametrize(
    ("given", "lookup", "missing"),
    [
        (options(GOOD), None, ["helo_name"]),
        (line(MX, GOOD), None, ["helo_name"]),
        (line(MX, GOOD, ", identity=example.com"), None, ["helo_name"]),
        (line(MX, GOOD, reason="triplet found"), None, ["helo_name"]),
        (rejection("unknown", GOOD, MX), without_ptr(), ["reverse_client_name"]),
        (options(GOOD, helo_name="[192.0.2.7]"), without_ptr(), ["client_name"]),
        (options(GOOD, helo_name=MX, client_name=MX), DisabledLookup(), ["answers from DNS"]),
        (line(MX, GOOD, f", helo={MX}"), DisabledLookup(), ["answers from DNS"]),
        (line(MX, GOOD), DisabledLookup(), ["helo_name", "answers from DNS"]),
        # The server may not have got the answers about the HELO name that a line of 0.1.0 lacks.
        (line(MX, GOOD, ", signals=generic_name, dns=late"), None, ["helo_name"]),
    ],
)
def test_without_a_name_that_matters_each_answer_is_shown_and_none_is_claimed(
    given: RequestInput, lookup: Lookup | None, missing: list[str]
) -> None:
    settings = {**SUSPICIOUS, "signals": ("no_ptr", "ptr_mismatch", "helo_not_fqdn")}
    case = explained(given, lookup, **settings)
    assert list(case.missing) == missing
    assert {each.reason.text for each in case.alternatives} == {"new", "not suspicious"}
    assert len({each.assumption for each in case.alternatives}) == len(case.alternatives)


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        (options(GOOD), {}),
        (line(MX, GOOD), {"dnsbl": ()}),
        (options(GOOD), {**SUSPICIOUS, "signals": ("no_ptr", "sender_no_mx")}),
        (options(NO_PTR), SUSPICIOUS),
        (options(GOOD, client_name="white.example"), SUSPICIOUS),
        (options(GOOD, sasl_username="alice"), SUSPICIOUS),
    ],
)
def test_a_missing_name_that_changes_nothing_leaves_the_answer(
    given: RequestInput, settings: dict[str, Any]
) -> None:
    case = explained(given, **settings)
    assert case.alternatives == ()
    assert case.reason is not None


def test_an_option_that_changes_the_client_looks_its_names_up_again() -> None:
    logged = (
        f"action=pass, reason=not suspicious, client_name={MX}, client_address={GOOD},"
        f" sender=alice@example.com, recipient=bob@example.org, helo={MX}"
    )
    given = read_request({"client_address": MISMATCH, "client_name": "unknown"}, logged)
    case = explained(given, **SUSPICIOUS)
    assert case.dry_run.evidence.signals == ("ptr_mismatch",)


@pytest.mark.parametrize(
    ("more", "listed", "verdict"),
    [
        (", signals=helo_not_fqdn", True, "not suspicious"),
        (", signals=helo_not_fqdn", False, "new"),
        (", signals=helo_not_fqdn+helo_no_address", True, "new"),
        (", signals=helo_wrong_literal", True, "new"),
        (", helo=pc, signals=helo_not_fqdn", True, "not suspicious"),
        (", helo=pc, signals=helo_not_fqdn", False, "new"),
    ],
)
@pytest.mark.parametrize("reason", ["new", "not suspicious"])
def test_a_whitelist_that_outweighs_a_signal_of_the_line_is_asked_today(
    more: str,
    listed: bool,
    verdict: str,
    reason: str,
) -> None:
    dns = fake_dns()
    if listed:
        dns.add("7.2.0.192.list.dnswl.org", RecordType.A, "127.0.5.1")
    zone = Zone("list.dnswl.org", supports=True)
    case = explained(line(MX, GOOD, more, reason), dns, **SUSPICIOUS, dnswl=(zone,))
    assert case.reason is not None
    assert case.reason.text == verdict


@pytest.mark.parametrize(
    ("settings", "signals"),
    [
        ({"identity": ("spf",)}, ()),
        ({"identity": ("spf",), "auto_whitelist_identities": 3}, ("helo_wrong_literal",)),
        ({"delays": (0, 60, 300, 3600)}, ("helo_wrong_literal",)),
        (SUSPICIOUS, ("helo_wrong_literal",)),
        ({**SUSPICIOUS, "signals": ("no_ptr",)}, ()),
    ],
)
def test_a_signal_of_the_line_counts_wherever_the_server_looks_for_signals(
    settings: dict[str, Any], signals: tuple[str, ...]
) -> None:
    for more in (", helo=[192.0.2.99]", ", signals=helo_wrong_literal"):
        assert explained(line(MX, GOOD, more), **settings).dry_run.evidence.signals == signals
