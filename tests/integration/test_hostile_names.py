"""Strangers who choose what the DNS is asked for: others are answered and greylisted as ever."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.dns_server import SILENT, dns_server
from tests.integration.lives import has_said, ready
from tests.integration.pressure import figures
from tests.processes import PolicyClient, encode, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.dns_server import Zone
    from tests.processes import Running

pytestmark = pytest.mark.integration

OPTIONS = [
    "--identity=spf,name", "--greylist=suspicious", "--dnsbl=zen.example", "--rhsbl=dbl.example",
    "--dnswl=white.example=medium", "--store-timeout=0.3",
]  # fmt: skip
"""The questions of the recommended preset, and the store's own deadline: it is not away."""

GOOD: Zone = {
    "mail.good.example": ["60 A 192.0.2.7"],
    **{
        f"good{number}.example": [
            "60 MX 10 mail.good.example.",
            '60 TXT "v=spf1 ip4:192.0.2.7 -all"',
        ]
        for number in range(60)
    },
}
DOTS = "." * 400


def text(record: str) -> str:
    """Return a TXT record, in as many strings as it needs."""
    strings = [record[start : start + 250] for start in range(0, len(record), 250)]
    return "60 TXT " + " ".join(f'"{each}"' for each in strings)


@contextlib.contextmanager
def attacked(
    server: Running, connections: int, stranger: Callable[[int], dict[str, str]]
) -> Iterator[None]:
    """Let strangers ask one request after the other, each as fast as it is answered."""
    stopped = threading.Event()

    def attack(first: int) -> None:
        number = first
        # The end of the server may come before that of the attack.
        with contextlib.suppress(OSError), PolicyClient(server.port) as client:
            while not stopped.is_set() and client.ask(request(**stranger(number))):
                number += connections

    threads = [threading.Thread(target=attack, args=(each,)) for each in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def good_mail(number: int) -> dict[str, str | bytes]:
    return request(
        client_address="192.0.2.7", client_name="mail.good.example",
        reverse_client_name="mail.good.example", helo_name="mail.good.example",
        sender=f"alice@good{number}.example", recipient=f"bob{number}@example.org",
    )  # fmt: skip


def first_contact(number: int) -> dict[str, str | bytes]:
    return request(
        client_address="198.51.100.7", client_name="unknown", reverse_client_name="unknown",
        helo_name="x", sender=f"eve@good{number}.example", recipient=f"bob{number}@example.org",
    )  # fmt: skip


def ask_slowly(server: Running, mails: list[dict[str, str | bytes]]) -> list[tuple[str, float]]:
    """Ask for some mails, one after the other, and note how long each took."""
    answers = []
    with PolicyClient(server.port) as client:
        for mail in mails:
            start = time.monotonic()
            client.send(encode(mail))
            reply = client.reply()
            assert reply is not None
            answers.append((reply.decode().split()[0], time.monotonic() - start))
    return answers


BUSY: Zone = {
    **GOOD,
    "macros.example": [text("v=spf1 redirect=" + "%{l1r}" * 1300 + "macros.example")],
    "loop.example": [text("v=spf1 redirect=" + "%{L1r}" * 120 + "loop.example")],
    "many.example": [text("v=spf1 " + "ip4:10.1.2.3 " * 560 + "redirect=many.example")],
    "wide.example": [
        *(f"60 A 10.9.{number // 50}.{number % 50}" for number in range(250)),
        text("v=spf1 " + "a/24//64 " * 9 + "redirect=wide.example"),
    ],
    "mx.example": [
        *(f"60 MX {number} wide.example." for number in range(10)),
        text("v=spf1 " + "mx/24//64 " * 10),
    ],
}  # fmt: skip


def test_four_connections_with_the_worst_spf_records_delay_nobody(tmp_path: Path) -> None:
    names = ["macros", "loop", "many", "wide", "mx"]

    def stranger(number: int) -> dict[str, str]:
        return {
            "client_address": f"203.0.113.{number % 250}", "helo_name": "x" + "." * 500,
            "sender": f"{DOTS}@{names[number % len(names)]}.example",
            "recipient": f"r{number}@example.org",
        }  # fmt: skip

    with (
        dns_server(dict(BUSY)) as dns,
        ready(tmp_path, *OPTIONS, f"--resolver={dns.address}") as server,
        attacked(server, 4, stranger),
    ):
        wait_until(lambda: server.log().count("203.0.113.") > 100, "the attack is under way", 60)
        strangers = ask_slowly(server, [first_contact(number) for number in range(60)])
        good = ask_slowly(server, [good_mail(number) for number in range(60)])
    waits = sorted(seconds for _, seconds in strangers + good)
    figures(f"median {waits[60] * 1000:.0f} ms, longest {waits[-1] * 1000:.0f} ms")
    # Everybody is judged as without the attack: the store was never taken for away.
    assert {action for action, _ in strangers} == {"action=DEFER_IF_PERMIT"}
    assert {action for action, _ in good} == {"action=DUNNO"}
    assert "store unavailable" not in server.log()
    # 5 to 9 s before; a machine that is busy with other tests has its own pauses.
    assert waits[60] < 0.25


DOMAINS = 1500
"""Of strangers; none comes again while it is remembered that it does not answer."""

QUIET: Zone = {
    **GOOD, "*.silent.example": SILENT,
    **{f"s{number}.example": SILENT for number in range(DOMAINS)},
    **{f"*.s{number}.example": SILENT for number in range(DOMAINS)},
}  # fmt: skip

SILENCES: dict[str, Callable[[int], tuple[str, str]]] = {
    "networks of their own": lambda number: (
        f"10.{number % 150}.0.7", f"s{number % DOMAINS}.example"
    ),
    "one network": lambda number: (f"10.0.0.{number % 150}", f"s{number % DOMAINS}.example"),
    "one domain": lambda number: (f"10.{number % 150}.0.7", f"s{number}.silent.example"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SILENCES)
def test_beside_150_connections_with_silent_domains_good_mail_is_known_in_time(
    kind: str, tmp_path: Path
) -> None:
    def stranger(number: int) -> dict[str, str]:
        address, domain = SILENCES[kind](number)
        return {
            "client_address": address, "helo_name": f"h.{domain}", "client_name": f"c.{domain}",
            "sender": f"a@{domain}", "recipient": f"r{number}@example.org",
        }  # fmt: skip

    with (
        dns_server(dict(QUIET)) as dns,
        ready(tmp_path, *OPTIONS, f"--resolver={dns.address}") as server,
        attacked(server, 150, stranger),
    ):
        wait_until(lambda: dns.asked.total() > 300, "the attack is under way", 60)
        good = ask_slowly(server, [good_mail(number) for number in range(20)])
        has_said(server, "dns=late", 100)
    figures(f"longest {max(seconds for _, seconds in good) * 1000:.0f} ms")
    assert {action for action, _ in good} == {"action=DUNNO"}


def test_no_form_of_a_domain_evades_a_list(tmp_path: Path) -> None:
    listed: Zone = {"listed.example.dbl.example": ["60 A 127.0.1.2"]}
    forms = [
        "",
        "a/b.",
        "*.",
        "-a.",
        "_a.",
        "a+b.",
        "a..",
        "a" * 64 + ".",
        "a" * 233 + ".",
        "b." * 115,
    ]
    unknown = ["[192.0.2.7]", "listed.exam/ple"]
    with dns_server(GOOD | listed) as dns, ready(
        tmp_path, "--greylist=suspicious", "--signals=dnsbl,rhsbl", "--rhsbl=dbl.example=3600",
        f"--resolver={dns.address}",
    ) as server:  # fmt: skip
        senders = [f"x@{form}LISTED.example." for form in forms]
        mails = [{**good_mail(0), "sender": each} for each in senders]
        mails += [{**good_mail(0), "sender": f"x@{each}"} for each in unknown]
        answers = ask_slowly(server, [good_mail(0), *mails])
        assert [action for action, _ in answers] == [
            "action=DUNNO", *["action=DEFER_IF_PERMIT"] * len(mails)
        ]  # fmt: skip
        has_said(server, "signals=rhsbl", len(forms))
        has_said(server, "dns=late", len(unknown))
