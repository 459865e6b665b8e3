"""Particular senders and recipients: a real greyd, a real DNS, real stores."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

import pytest

from tests.commands import answer_of
from tests.dns_server import SILENT, dns_server
from tests.integration.lives import get, has_said, ready
from tests.processes import PolicyClient, free_port, redis_server, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.dns_server import DnsServer

pytestmark = pytest.mark.integration

START = 1_700_000_000
ZONE = {
    "example.com": ['60 TXT "v=spf1 ip4:192.0.2.0/24 -all"'],
    "soft.example.net": ['60 TXT "v=spf1 ip4:192.0.2.0/24 ~all"'],
    "silent.example": SILENT,
}


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with dns_server(dict(ZONE)) as server:
        yield server


def ask(client: PolicyClient, seconds: int = 0, **attributes: str) -> str:
    usual = {"client_name": "unknown", "policy_test_time": str(START + seconds)}
    reply = client.ask(request(**{**usual, **attributes}))
    assert reply is not None
    return reply.removeprefix("action=").split(" ")[0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_whitelisted_senders_pass_if_spf_proves_them_and_hits_are_counted(
    workers: str, tmp_path: Path, dns: DnsServer
) -> None:
    senders = tmp_path / "senders"
    senders.write_text("example.com\nsilent.example\n")
    port = free_port()
    options = (
        f"--metrics=127.0.0.1:{port}", "--test-time", f"--resolver=127.0.0.1:{dns.port}",
        f"--whitelist-senders={senders}", "--dns-timeout=3", f"--workers={workers}",
    )  # fmt: skip
    proven = {"client_address": "192.0.2.7"}
    bot = {"client_address": "198.51.100.66"}
    with ready(tmp_path, *options) as server:
        with PolicyClient(server.port) as client:
            assert ask(client, **proven) == "DUNNO"
            assert ask(client, **bot) == "DEFER_IF_PERMIT"
            assert ask(client, sender="a@soft.example.net", **proven) == "DEFER_IF_PERMIT"
            assert ask(client, sender="a@silent.example", **proven) == "DEFER_IF_PERMIT"
            assert ask(client, sender="", **proven) == "DEFER_IF_PERMIT"
            asked = sum(dns.asked.values())
            assert ask(client, 60, **proven) == "DUNNO"
            assert sum(dns.asked.values()) == asked, "known mail asks nothing"
            assert not [name for name, _ in dns.asked if "soft" in name]
        has_said(server, "reason=sender whitelist")
        _, metrics = get(port, "/metrics")
        assert 'greyd_whitelist_entries{list="senders"} 2.0' in metrics
        assert 'greyd_whitelist_hits_total{list="senders"} 1.0' in metrics
        senders.write_text("soft.example.net\n")
        server.signal(signal.SIGHUP)
        has_said(server, " 1 senders from ", int(workers))
        with PolicyClient(server.port) as client:
            assert ask(client, 70, sender="a@soft.example.net", **proven) == "DUNNO"
            assert ask(client, 70, sender="new@example.com", **proven) == "DEFER_IF_PERMIT"
        assert server.stop() == 0
    answer = answer_of(
        "check-whitelist", "--hits", "--senders", f"--store=sqlite:{tmp_path / 'greyd.db'}",
        GREYD_WHITELIST_SENDERS=str(senders),
    )  # fmt: skip
    assert [(each["text"], each["hits"]) for each in answer["entries"]] == [("soft.example.net", 1)]


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_group_s_retry_passes_from_any_member_without_dns(
    store: str, tmp_path: Path, dns: DnsServer
) -> None:
    config = tmp_path / "greyd.toml"
    config.write_text(
        '[[sender_group]]\nname = "big"\nnetworks = ["192.0.2.0/24", "198.51.100.0/24"]\n'
        'names = ["out.example.com"]\n'
    )
    with contextlib.ExitStack() as stack:
        options = ["--test-time", f"--resolver=127.0.0.1:{dns.port}", f"--config={config}"]
        if store == "redis":
            redis = stack.enter_context(redis_server(tmp_path / "redis"))
            options.append(f"--store=redis://127.0.0.1:{redis.port}/0")
        server = stack.enter_context(ready(tmp_path, *options))
        client = stack.enter_context(PolicyClient(server.port))
        assert ask(client, 0, client_address="192.0.2.7") == "DEFER_IF_PERMIT"
        assert ask(client, 10, client_address="203.0.113.7") == "DEFER_IF_PERMIT"
        named = {"client_address": "203.0.114.7", "client_name": "mx9.out.example.com"}
        assert ask(client, 300, **named) == "PREPEND"
        assert ask(client, 301, client_address="198.51.100.9") == "DUNNO"
        has_said(server, "identity=group:big")
        assert not dns.asked


def test_a_domain_s_mode_and_delay_apply_and_greyd_mode_off_applies_to_all(tmp_path: Path) -> None:
    config = tmp_path / "greyd.toml"
    config.write_text(
        '[recipient_domain."fast.example"]\ndelay = 60\n'
        '[recipient_domain."bücher.example"]\nmode = "learn"\nsubdomains = true\n'
    )
    with ready(tmp_path, "--test-time", f"--config={config}") as server:
        with PolicyClient(server.port) as client:
            fast = {"recipient": "bob@fast.example"}
            assert ask(client, 0, **fast) == "DEFER_IF_PERMIT"
            assert ask(client, 0) == "DEFER_IF_PERMIT"
            assert ask(client, 60, **fast) == "PREPEND"
            assert ask(client, 60) == "DEFER_IF_PERMIT"
            for name in ("bücher.example", "mail.xn--bcher-kva.example"):
                assert ask(client, recipient=f"bob@{name}") == "DUNNO"
        options = (f"--config={config}", f"--dbdir={tmp_path}")
        own = {"bücher.example": "learn"}
        assert answer_of("mode", *options)["recipient_domains"] == own
        assert answer_of("mode", "on", *options)["recipient_domains"] == own
        assert answer_of("mode", "off", *options)["recipient_domains"] == {}
        has_said(server, "mode off")
        with PolicyClient(server.port) as client:
            assert ask(client, 60) == "DUNNO"
            assert ask(client, 0, sender="new@example.com", **fast) == "DUNNO"
