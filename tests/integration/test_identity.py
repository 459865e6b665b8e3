"""Senders known by who they are: a real greyd, a real DNS, Redis and SQLite."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.dns_server import SERVFAIL, SILENT, Held, dns_server
from tests.integration.lives import get, has_said, ready
from tests.integration.postfix import Client, attempt, postfix
from tests.processes import PolicyClient, encode, free_port, redis_server, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.dns_server import DnsServer
    from tests.processes import Running

pytestmark = pytest.mark.integration

START = 1_700_000_000
ZONE = {
    "example.com": ["60 MX 10 out.example.com", '60 TXT "v=spf1 include:spf.example.com -all"'],
    "spf.example.com": ['60 TXT "v=spf1 ip4:192.0.2.0/24" " ip4:198.51.100.0/24 ip4:203.0.113.7"'],
    "example.org": ["60 MX 10 out.example.com", '60 TXT "v=spf1 ip4:192.0.2.8 -all"'],
    "out.example.com": ["60 A 192.0.2.7", "60 A 198.51.100.7"],
    "wide.example": ['60 TXT "v=spf1 +all"', "60 A 192.0.2.7"],
    "client.example.com": ['60 TXT "v=spf1 ip4:192.0.2.9 -all"'],
    "hosted.net": ["60 MX 10 hosted-net.mail.provider.net"],
    "out.provider.net": ['60 TXT "v=spf1 ip4:192.0.2.20 -all"'],
    "broken.example": SERVFAIL,
    "silent.example": SILENT,
    "66.100.51.198.zen.example": ["60 A 127.0.0.4"],
    "67.100.51.198.zen.example": ["60 A 127.255.255.254"],
    "7.113.0.203.white.example": ["60 A 127.0.5.3"],
    "customer.net": Held(['60 TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip4:10.3.0.0/16"']),
    "*.mail.example.com": [
        "60 MX 10 out.example.com", '60 TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all"'
    ],
    "xn--bcher-kva.de": [
        "60 MX 10 out.example.com", '60 TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all"'
    ],
}  # fmt: skip


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with dns_server(dict(ZONE)) as server:
        yield server


@contextlib.contextmanager
def serving(folder: Path, dns: DnsServer, *options: str) -> Iterator[tuple[Running, PolicyClient]]:
    with (
        ready(folder, "--test-time", f"--resolver=127.0.0.1:{dns.port}", *options) as server,
        PolicyClient(server.port) as client,
    ):
        yield server, client


def ask(client: PolicyClient, seconds: int, address: str, **attributes: str) -> str:
    usual = {
        "client_address": address, "client_name": "out.example.com",
        "reverse_client_name": "out.example.com", "helo_name": "out.example.com",
        "policy_test_time": str(START + seconds),
    }  # fmt: skip
    reply = client.ask(request(**{**usual, **attributes}))
    assert reply is not None
    return reply.removeprefix("action=").split(" ")[0]


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_pool_s_retry_passes_from_whichever_address(
    store: str, tmp_path: Path, dns: DnsServer
) -> None:
    with contextlib.ExitStack() as stack:
        options = ["--identity=spf"]
        if store == "redis":
            redis = stack.enter_context(redis_server(tmp_path / "redis"))
            options.append(f"--store=redis://127.0.0.1:{redis.port}/0")
        server, client = stack.enter_context(serving(tmp_path, dns, *options))
        assert ask(client, 0, "192.0.2.7") == "DEFER_IF_PERMIT"
        assert ask(client, 10, "198.51.100.7") == "DEFER_IF_PERMIT"
        assert ask(client, 300, "203.0.113.7") == "PREPEND"
        assert ask(client, 301, "198.51.100.99") == "DUNNO"
        # Others are others.
        assert ask(client, 302, "192.0.3.7") == "DEFER_IF_PERMIT"
        wide = {"sender": "a@wide.example"}
        assert ask(client, 0, "192.0.2.7", **wide) == "DEFER_IF_PERMIT"
        assert ask(client, 400, "198.51.100.7", **wide) == "DEFER_IF_PERMIT"
        wait_until(lambda: server.log().count("action=") == 7, "all is logged")
        assert server.log().count("identity=example.com") == 4
        assert "identity=wide.example" not in server.log()


def test_two_servers_on_one_redis_know_the_same_identity(tmp_path: Path, dns: DnsServer) -> None:
    with redis_server(tmp_path / "redis") as redis:
        options = ["--identity=spf", f"--store=redis://127.0.0.1:{redis.port}/0"]
        with (
            serving(tmp_path / "a", dns, *options) as (_, first),
            serving(tmp_path / "b", dns, *options) as (_, second),
        ):
            assert ask(first, 0, "192.0.2.7") == "DEFER_IF_PERMIT"
            assert ask(second, 300, "198.51.100.7") == "PREPEND"


@pytest.mark.parametrize("domain", ["silent.example", "broken.example"])
def test_a_dns_that_does_not_answer_costs_the_deadline_and_no_more(
    domain: str, tmp_path: Path, dns: DnsServer
) -> None:
    metrics = free_port()
    options = ["--preset=recommended", "--dns-timeout=0.3", f"--metrics=127.0.0.1:{metrics}"]
    with serving(tmp_path, dns, *options) as (server, client):
        sender = {"sender": f"alice@{domain}", "helo_name": domain}
        assert ask(client, 0, "192.0.2.7", **sender) == "DEFER_IF_PERMIT"
        assert ask(client, 300, "192.0.2.7", **sender) == "PREPEND"
        has_said(server, "dns=late")
        assert "greyd_unsure_total 2.0" in get(metrics, "/metrics")[1]


def test_lists_make_some_wait_longer_and_let_others_pass(tmp_path: Path, dns: DnsServer) -> None:
    options = [
        "--identity=spf", "--greylist=suspicious", "--dnsbl=zen.example=3600",
        "--dnswl=white.example=high",
    ]  # fmt: skip
    with serving(tmp_path, dns, *options) as (server, client):
        assert ask(client, 0, "192.0.2.7") == "DUNNO"
        assert ask(client, 0, "198.51.100.66", sender="x@example.com") == "DEFER_IF_PERMIT"
        assert ask(client, 3599, "198.51.100.66", sender="x@example.com") == "DEFER_IF_PERMIT"
        assert ask(client, 3600, "198.51.100.66", sender="x@example.com") == "PREPEND"
        # An error answer of a list says nothing about the client.
        assert ask(client, 0, "198.51.100.67", sender="y@example.com") == "DUNNO"
        bare = {"client_name": "unknown", "reverse_client_name": "unknown", "helo_name": "x"}
        assert ask(client, 0, "203.0.113.7", **bare) == "DUNNO"
        # The network has passed; another one is not on the whitelist.
        assert ask(client, 0, "203.0.112.8", **bare) == "DEFER_IF_PERMIT"
        has_said(server, "signals=no_ptr+helo_not_fqdn")
        assert "signals=dnsbl" in server.log()


def test_an_override_is_read_again_at_sighup(tmp_path: Path, dns: DnsServer) -> None:
    override = tmp_path / "rbl_override"
    override.write_text("# nobody yet\n")
    options = ["--dnsbl=zen.example", "--greylist=suspicious", f"--list-override={override}"]
    with serving(tmp_path, dns, *options) as (server, client):
        assert ask(client, 0, "198.51.100.66") == "DEFER_IF_PERMIT"
        override.write_text("example.com OK our partner\n")
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log().count("whitelists:") == 2, "it is read again")
        assert ask(client, 1, "198.51.100.66") == "DUNNO"


# Identities that look different at the second attempt --------------------------------------------

NAMELESS = {"client_name": "unknown", "reverse_client_name": "unknown", "helo_name": "x.example"}


def test_a_retry_passes_whose_first_attempt_had_no_answer_from_the_dns(
    tmp_path: Path, dns: DnsServer
) -> None:
    options = ["--identity=spf,name", "--dns-timeout=0.4"]
    mail = {"sender": "alice@customer.net"}
    with serving(tmp_path, dns, *options) as (server, client):
        # Only the name is known: the customer's SPF record comes too late.
        assert ask(client, 0, "192.0.2.7", **mail) == "DEFER_IF_PERMIT"
        has_said(server, "identity=example.com")
        has_said(server, "dns=late")
        assert "identity=customer.net" not in server.log()
        dns.release()
        # From other networks, by the name, by both, and by SPF alone.
        assert ask(client, 299, "198.51.100.7", **mail) == "DEFER_IF_PERMIT"
        assert ask(client, 300, "198.51.100.7", **mail) == "PREPEND"
        assert ask(client, 301, "10.3.0.7", **mail, **NAMELESS) == "DUNNO"
        assert ask(client, 302, "10.4.0.7", **mail) == "DUNNO"
        # Who proves neither is a stranger, and so is the provider's next customer.
        assert ask(client, 303, "10.5.0.7", **mail, **NAMELESS) == "DEFER_IF_PERMIT"
        assert ask(client, 303, "10.6.0.7", sender="alice@example.org") == "DEFER_IF_PERMIT"
        wait_until(lambda: server.log().count("action=") == 7, "all is logged")
        has_said(server, "identity=customer.net")


def test_a_retry_passes_whose_first_attempt_was_proven_by_spf_alone(
    tmp_path: Path, dns: DnsServer
) -> None:
    dns.release()
    mail = {"sender": "alice@customer.net"}
    with serving(tmp_path, dns, "--identity=spf,name", "--dns-timeout=5") as (_, client):
        assert ask(client, 0, "192.0.2.7", **mail, **NAMELESS) == "DEFER_IF_PERMIT"
        # The name's triplet is new; that of SPF has waited long enough.
        assert ask(client, 300, "198.51.100.7", **mail) == "PREPEND"
        assert ask(client, 301, "10.4.0.7", **mail) == "DUNNO"


def test_a_bounce_domain_for_each_message_is_one_organisation(
    tmp_path: Path, dns: DnsServer
) -> None:
    options = ["--identity=spf", "--auto-whitelist-identities=3"]
    day = 86400
    with serving(tmp_path, dns, *options) as (server, client):
        for number, network in enumerate(("192.0.2", "198.51.100", "192.0.2")):
            mail = {
                "sender": f"bounce@b{number}.mail.example.com", "instance": f"{number}",
                "recipient": f"carol{number}@example.org",
            }  # fmt: skip
            begin = number * day
            # The retry passes from another network; each further message waits only its delay.
            assert ask(client, begin, f"{network}.7", **mail) == "DEFER_IF_PERMIT"
            assert ask(client, begin + 299, f"{network}.8", **mail) == "DEFER_IF_PERMIT"
            other = "198.51.100" if network == "192.0.2" else "192.0.2"
            assert ask(client, begin + 300, f"{other}.9", **mail) == "PREPEND"
            # The next message to the same recipient has another bounce domain.
            mail["sender"] = f"bounce@b{number}1.mail.example.com"
            assert ask(client, begin + 310, f"{network}.9", **mail) == "DUNNO"
        for number in range(10, 40):
            mail = {
                "sender": f"bounce@b{number}.mail.example.com",
                "recipient": f"dave{number}@example.org",
            }
            assert ask(client, 2 * day + 400 + number, "198.51.100.77", **mail) == "DUNNO"
        has_said(server, "identity=example.com")
        # Whoever is not in the record of such a domain, or sends for others, waits.
        mail = {"sender": "bounce@b50.mail.example.com"}
        assert ask(client, 2 * day + 500, "10.0.0.7", **mail) == "DEFER_IF_PERMIT"
        mail = {"sender": "alice@xn--bcher-kva.de"}
        assert ask(client, 2 * day + 500, "198.51.100.77", **mail) == "DEFER_IF_PERMIT"


HOSTER = {
    "contaboserver.net": [
        "60 MX 10 mx.contaboserver.net", '60 TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ~all"'
    ],
    "*.contaboserver.net": ["60 A 10.1.0.7"],
    "shop.example": ["60 MX 10 mx.shop.example"],
}  # fmt: skip


@pytest.mark.parametrize("sender", ["alice@shop.example", "root@{}", "x@vmi99.contaboserver.net"])
def test_a_provider_s_customers_do_not_share_merit(
    sender: str, tmp_path: Path, dns: DnsServer
) -> None:
    dns.zone.update(HOSTER)
    options = ["--identity=spf,name", "--auto-whitelist-identities=3"]

    def ask_from(seconds: int, machine: int, **attributes: str) -> str:
        name = f"vmi{machine}.contaboserver.net"
        names = {"client_name": name, "reverse_client_name": name, "helo_name": name}
        mail = {"sender": sender.format(name), "recipient": f"bob{machine}@example.org"}
        address = f"10.{machine}.0.7"
        return ask(client, seconds, address, **{**names, **mail, **attributes})

    with serving(tmp_path, dns, *options) as (server, client):
        for machine in range(1, 9):
            begin = machine * 86400
            assert ask_from(begin, machine) == "DEFER_IF_PERMIT"
            assert ask_from(begin + 300, machine, instance=f"{machine}") == "PREPEND"
        has_said(server, "identity=contaboserver.net")
        # What the provider earns by SPF is not for whoever claims its domain.
        claim = {"sender": "news@contaboserver.net"}
        for number in range(3):
            begin = (20 + number) * 86400
            mail = {"recipient": f"carol{number}@example.org", "instance": f"c{number}", **claim}
            own = dict.fromkeys(("client_name", "helo_name"), "mx.contaboserver.net")
            network = ("192.0.2", "198.51.100")[number % 2]
            assert ask(client, begin, f"{network}.7", **mail, **own) == "DEFER_IF_PERMIT"
            assert ask(client, begin + 300, f"{network}.7", **mail, **own) == "PREPEND"
        assert ask(client, 23 * 86400, "198.51.100.9", **claim, **own) == "DUNNO"
        has_said(server, "reason=identity AWL")
        assert ask_from(23 * 86400, 10, **claim) == "DEFER_IF_PERMIT"
        assert ask_from(23 * 86400, 11) == "DEFER_IF_PERMIT"


@pytest.mark.parametrize(
    "forms", [("bücher.de", "xn--bcher-kva.de"), ("xn--bcher-kva.de", "BÜCHER.de")]
)
def test_both_forms_of_an_internationalised_sender_are_one_mail(
    forms: tuple[str, str], tmp_path: Path, dns: DnsServer
) -> None:
    first, second = ({"sender": f"info@{form}", "recipient": f"bob@{form}"} for form in forms)
    with serving(tmp_path, dns, "--identity=spf") as (server, client):
        assert ask(client, 0, "192.0.2.7", **first) == "DEFER_IF_PERMIT"
        assert ask(client, 300, "198.51.100.7", **second) == "PREPEND"
        wait_until(lambda: server.log().count("identity=xn--bcher-kva.de") == 2, "both are known")
    with serving(tmp_path / "plain", dns) as (_, client):
        assert ask(client, 0, "192.0.2.7", **first) == "DEFER_IF_PERMIT"
        assert ask(client, 300, "192.0.2.7", **second) == "PREPEND"


@pytest.mark.parametrize("form", ["bücher.de", "BÜCHER。de", "xn--bcher-kva.de"])
def test_mail_of_an_internationalised_sender_is_not_suspicious(
    form: str, tmp_path: Path, dns: DnsServer
) -> None:
    options = ["--identity=spf", "--greylist=suspicious", "--rhsbl=dbl.example"]
    with serving(tmp_path, dns, *options) as (server, client):
        assert ask(client, 0, "192.0.2.7", sender=f"info@{form}") == "DUNNO"
        has_said(server, "reason=not suspicious")
        assert "signals=" not in server.log()
        # One that does not exist accepts no mail.
        assert ask(client, 0, "10.0.0.7", sender=f"info@x{form}") == "DEFER_IF_PERMIT"
        has_said(server, "signals=sender_no_mx")


def test_a_stop_answers_those_who_wait_for_the_dns(tmp_path: Path, dns: DnsServer) -> None:
    with serving(tmp_path, dns, "--identity=spf", "--dns-timeout=30") as (server, client):
        client.send(encode(request(sender="a@silent.example")))
        wait_until(lambda: dns.asked["silent.example", "TXT"] > 0, "the DNS is asked")
        server.signal(signal.SIGTERM)
        reply = client.reply()
        assert reply is not None
        assert reply.startswith(b"action=DEFER_IF_PERMIT")
        assert server.process.wait(10) == 0


OUTBOUND = {
    "policy_context": "outbound", "sasl_username": "u4711", "sender": "bob@ours.example",
}  # fmt: skip


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_colleagues_and_providers_answer(tmp_path: Path, dns: DnsServer, store: str) -> None:
    logins = tmp_path / "logins"
    logins.write_text("bob@ours.example  u4711, u4712\n")
    options = [
        "--identity=spf", "--learn-outbound", "--correspondents=organisation",
        f"--sender-logins={logins}",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        if store == "redis":
            redis = stack.enter_context(redis_server(tmp_path / "redis"))
            options.append(f"--store=redis://127.0.0.1:{redis.port}/0")
        server, client = stack.enter_context(serving(tmp_path, dns, *options))
        carol = {"sender": "carol@example.org", "recipient": "bob+x@ours.example"}
        bounce = {"sender": "", "recipient": "bob@ours.example", "helo_name": "out.provider.net"}
        assert ask(client, 0, "192.0.2.8", **carol) == "DEFER_IF_PERMIT"
        assert ask(client, 0, "192.0.2.20", **bounce) == "DEFER_IF_PERMIT"
        for recipient in ("alice@example.org", "info@hosted.net"):
            assert ask(client, 1, "10.0.0.1", recipient=recipient, **OUTBOUND) == "DUNNO"
        assert dns.asked["hosted.net", "MX"] == 1
        assert ask(client, 2, "192.0.2.8", **carol) == "DUNNO"
        assert ask(client, 2, "192.0.2.20", **bounce) == "DUNNO"
        assert ask(client, 2, "198.51.100.66", **bounce) == "DEFER_IF_PERMIT"
        logins.write_text("bob@ours.example  u4713\n")
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.log().count("whitelists:") == 2, "it is read again")
        assert ask(client, 3, "10.0.0.1", recipient="dan@customer.net", **OUTBOUND) == "DUNNO"
        has_said(server, "login u4711 as bob@ours.example: not learnt")


# With a real Postfix ------------------------------------------------------------------------------


def test_postfix_s_own_words_are_enough(tmp_path: Path, dns: DnsServer) -> None:
    options = ["--identity=spf,name", "--learn-outbound", "--delay=2"]
    resolver = f"--resolver=127.0.0.1:{dns.port}"
    with ready(tmp_path, resolver, *options) as server:
        where = f"inet:127.0.0.1:{server.port}"
        with postfix(
            tmp_path,
            inbound=f"check_policy_service {{ {where}, timeout=10s }}",
            outbound=f"check_policy_service {{ {where}, policy_context=outbound }}",
        ) as mta:
            inbound, sender = mta.ports["inbound"], "alice@example.com"
            first = attempt(inbound, Client("192.0.2.7"), sender, "bob@example.org")
            assert not first.taken
            time.sleep(2.1)
            again = attempt(inbound, Client("198.51.100.7"), sender, "bob@example.org")
            assert again.taken
            (delivered,) = mta.sink.wait_for(again.subject)
            assert len(delivered.greylist_headers) == 1

            # Dave writes to Carol; her answer need not wait, somebody else's mail to him must.
            user = Client("192.0.2.99", login="dave")
            outbound = mta.ports["outbound"]
            assert attempt(outbound, user, "dave@example.com", "carol@example.org").taken
            carol = attempt(inbound, Client("192.0.2.8"), "carol@example.org", "dave@example.org")
            assert not carol.taken
            # The provider of Carol's mail exchanger may return Dave's mail to him.
            bounce = attempt(inbound, Client("192.0.2.9"), "", "dave@example.org")
            assert not bounce.taken
            assert attempt(outbound, user, "dave@example.org", "carol@example.org").taken
            carol = attempt(inbound, Client("192.0.2.8"), "carol@example.org", "dave@example.org")
            assert carol.taken, carol.replies
            other = attempt(inbound, Client("192.0.2.8"), "eve@example.org", "dave@example.org")
            assert not other.taken
            has_said(server, "reason=correspondent")
            for sender, recipient in (
                ("carol+list@example.org", "dave@example.org"),
                ("carol@example.org", "dave+shop@example.org"),
            ):
                assert attempt(inbound, Client("192.0.2.8"), sender, recipient).taken

            bounce = attempt(inbound, Client("192.0.2.9"), "", "dave@example.org")
            assert bounce.taken, bounce.replies

            # Whoever has Dave's login teaches nothing about others.
            assert attempt(outbound, user, "erin@example.org", "carol@example.org").taken
            carol = attempt(inbound, Client("192.0.2.8"), "carol@example.org", "erin@example.org")
            assert not carol.taken
            has_said(server, "reason=outbound (sender not of this login)")
            has_said(server, "outbound mail of login dave as erin@example.org: not learnt")
