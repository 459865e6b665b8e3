"""The key of a registered user is in the queries to the list, and in nothing that greyd shows."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from greyd.cli.explain.dns_trace import RecordingLookup
from greyd.config.errors import SecretError, SettingsError
from greyd.config.loading import read_settings
from greyd.config.secrets import read_secrets
from greyd.config.vocabulary import Endpoint
from greyd.dns.lists.listings import fetch_address_listing, queryable_names
from greyd.dns.lists.zones import list_names, list_zones
from greyd.dns.lookup import DnsError
from greyd.dns.resolver import Resolver
from greyd.dns.sources.monitor import SourceMonitor
from greyd.monitoring.metrics import Metrics, exposition
from greyd.redaction import excerpt
from tests.commands import fill, run_here
from tests.dns_server import SERVFAIL, Zone, dns_server
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.config.settings import Settings
    from greyd.dns.resolver import EndedLookup
    from greyd.dns.sources.faults import SourceFault

KEY = "k3yk3yk3yk3yk3yk3yk3yk3y"
ZONE = "{key}.zen.dq.spamhaus.net"
QUERIED = f"{KEY}.zen.dq.spamhaus.net"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "spamhaus.key"
    file.write_text(f"{KEY.upper()}\n")
    return file


def options(key_file: Path) -> list[str]:
    return [
        f"--dnsbl={ZONE}=3600;key_file={key_file}",
        f"--rhsbl={{key}}.dbl.dq.spamhaus.net;key_file={key_file}",
        f"--dnswl={{key}}.wl.example=low;key_file={key_file}",
    ]


def settings_of(key_file: Path, port: int = 53) -> Settings:
    settings = read_settings(options(key_file), {})
    return replace(read_secrets(settings), resolvers=(Endpoint("127.0.0.1", port),))


def test_the_key_comes_from_the_file_for_each_kind_of_list(key_file: Path) -> None:
    settings = settings_of(key_file)
    assert list_names(settings) == (ZONE, "{key}.dbl.dq.spamhaus.net", "{key}.wl.example")
    assert dict(settings.list_keys) == dict.fromkeys(list_names(settings), KEY)


@pytest.mark.parametrize(
    "entry", [["300 A 127.0.0.2"], ["300 A 127.255.255.254"], ["300 A 203.0.113.9"], SERVFAIL]
)
def test_only_the_queries_have_the_key(
    key_file: Path, entry: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []

    async def do(settings: Settings) -> None:
        metrics = Metrics()
        zones = list_zones(settings)
        watcher = metrics.watch_dns(list_names(settings))
        resolver = Resolver(settings.resolvers, 1, watcher, zones=zones)

        def on_change(name: str, fault: SourceFault | None) -> None:
            shown.extend([name, fault])
            metrics.show_dns_source(name, is_up=fault is None)

        def on_ended(ended: EndedLookup) -> None:
            shown.append(ended)
            monitor.lookup_ended(ended)

        monitor = SourceMonitor(settings, resolver, on_change, shown.append)
        resolver.on_lookup_ended = on_ended
        recording = RecordingLookup(resolver)
        try:
            found = await fetch_address_listing(
                recording, settings.dnsbl[0], address_of("192.0.2.7")
            )
        except DnsError as error:
            shown.extend([error, repr(error)])
        else:
            shown.append(found)
        await monitor.probe_all()
        shown.extend([settings, zones, zones.zone_of(b"7.2.0.192." + ZONE.encode())])
        shown.extend([recording.queries, list(metrics.families()), monitor.sources()])
        shown.extend(exposition(each).decode() for each in metrics.families())
        monitor.close()
        await resolver.close()

    zone: Zone = {f"*.{QUERIED}": entry}
    with dns_server(zone) as server:
        asyncio.run(do(settings_of(key_file, server.port)))
        assert server.asked[f"7.2.0.192.{QUERIED}", "A"]
        assert server.asked[f"1.0.0.127.{QUERIED}", "A"]
        assert server.asked[f"test.{KEY}.dbl.dq.spamhaus.net", "A"]
    text = "\n".join([*map(repr, shown), *map(str, shown), caplog.text]).lower()
    assert KEY not in text
    assert ZONE in text


def test_the_commands_do_not_show_the_key(key_file: Path, tmp_path: Path) -> None:
    fill(f"sqlite:{tmp_path / 'greyd.db'}", {})
    with dns_server({f"*.{QUERIED}": ["300 A 127.255.255.254"]}) as server:
        done = run_here(
            "explain",
            "--client-address=192.0.2.7",
            "--client-name=mail.example.com",
            "--helo-name=mail.example.com",
            "--sender=a@example.com",
            "--recipient=b@example.org",
            GREYD_DBDIR=str(tmp_path),
            GREYD_RESOLVER=server.address,
            GREYD_DNSBL=f"{ZONE};key_file={key_file}",
        )
    assert done.returncode == 0, done.stderr
    assert server.asked[f"1.0.0.127.{QUERIED}", "A"], done.stdout
    assert KEY not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (f"--dnsbl={ZONE}", "both of them or neither"),
        ("--dnsbl=zen.example;key_file=FILE", "both of them or neither"),
        ("--dnswl={key}.wl.example=low", "both of them or neither"),
        ("--dnsbl={key}.{key}.example;key_file=FILE", "a DNS zone"),
        ("--dnsbl=x{key}.example;key_file=FILE", "a DNS zone"),
    ],
)
def test_a_placeholder_needs_a_file_and_a_file_a_placeholder(
    option: str, complaint: str, key_file: Path
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read_settings([option.replace("FILE", str(key_file))], {})


@pytest.mark.parametrize("content", ["", "two words", f"{KEY}.example", "k" * 64, "schlüssel"])
def test_a_file_that_does_not_hold_a_key_is_refused_without_showing_it(
    content: str, key_file: Path
) -> None:
    key_file.write_text(content)
    with pytest.raises(SecretError, match=r"spamhaus\.key: should hold") as caught:
        settings_of(key_file)
    assert not content or content not in str(caught.value)


def test_a_key_in_a_zone_causes_a_warning_and_messages_do_not_repeat_it() -> None:
    settings = read_settings([f"--dnsbl={QUERIED}"], {})
    assert KEY not in repr(settings)
    (warning,) = settings.warnings
    assert "key_file" in warning
    assert KEY not in warning
    assert KEY not in excerpt(f"--dnsbl={QUERIED}=x")
    with pytest.raises(SettingsError) as caught:
        read_settings([f"--dnsbl={QUERIED}=x"], {})
    assert KEY not in str(caught.value)
    for harmless in ("zen.spamhaus.org", "list.dnswl.org", "longnamed.example.org"):
        assert read_settings([f"--dnsbl={harmless}"], {}).warnings == ()
        assert harmless in excerpt(harmless)


def test_names_leave_room_for_the_longest_key(key_file: Path) -> None:
    zone = settings_of(key_file).rhsbl[0]
    name = b".".join([b"a" * 60] * 4)
    for each in queryable_names(zone, name + b".example.com"):
        assert len(each) + len(zone.name) + 63 <= 253
