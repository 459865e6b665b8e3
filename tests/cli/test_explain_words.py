"""``greyd explain`` with plain words, its verdict, and the commands that it proposes."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from greyd.cli.explain.typed_request import read_words, resolve_client
from greyd.config.settings import Settings
from greyd.dns.lookup import DnsAnswer, DnsError, RecordType
from greyd.escaping import shell_word
from greyd.rules.control import Control, ExpectWindow, ModeOverride
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, Triplet
from greyd.rules.reserved_keys import CONTROL_KEY
from tests.commands import CHECKOUT, environment_without_settings, fill, run_here
from tests.dns_server import REFUSED, SERVFAIL, SILENT, dns_server
from tests.fake_dns import FakeDns, address_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dns_server import Zone

CLIENT, SENDER, RECIPIENT = "192.0.2.7", "alice@example.com", "bob@example.org"
LOG_LINE = (
    "Nov 24 18:05:35 mx1 postgrey[77]: action=greylist, reason=new, client_name=mail.example.com,"
    " client_address=192.0.2.7, sender={}, recipient=bob@example.org"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a store in which other mail waits, and whitelists."""
    (tmp_path / "clients").write_text("white.example\n")
    (tmp_path / "clients.local").write_text("192.0.2.99\n")
    files = [str(tmp_path / "clients"), str(tmp_path / "clients.local")]
    (tmp_path / "greyd.toml").write_text(f"whitelist_clients = {files}\n")
    (tmp_path / "recipients").write_text("postmaster@\n")
    fill(f"sqlite:{tmp_path / 'greyd.db'}", {b"{example.net}~abc": b"1700000000"})
    return tmp_path


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ("192.0.2.7 a@x.example b@y.example", "0 1 2"),
        ("a@x.example b@y.example 192.0.2.7", "2 0 1"),
        ("a@x.example 2001:db8::7 b@y.example", "1 0 2"),
        ("b@y.example <> 192.0.2.7", "2 1 0"), ("192.0.2.7 b@y.example <>", "0 2 1"),
        ("a@x.example b@y.example mx.example.com[192.0.2.7]", "2 0 1"),
        ("a@x.example b@y.example mx.example.com", "2 0 1"),
        ("mx.example.com <> b@y.example", "0 1 2"), ("192.0.2.7 root b@y.example", "0 1 2"),
        ("root b@y.example 192.0.2.7", "2 0 1"), ("192.0.2.7 192.0.2.8 b@y.example", "0 1 2"),
        ("a@x.example b@y.example c@z.example", "0 1 2"),
    ],
)  # fmt: skip
def test_three_words_may_be_in_any_order_that_is_clear(words: str, order: str) -> None:
    given = words.split()
    found = read_words(given).attributes
    expected = [given[int(each)] for each in order.split()]
    assert [found[name] for name in ("client_address", "sender", "recipient")] == expected


@pytest.mark.parametrize("words", [("192.0.2.7",), ("a b@x.example", "192.0.2.7")])
def test_too_few_words_lead_to_what_is_stored(place: Path, words: tuple[str, ...]) -> None:
    done = explain(place, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.rstrip().endswith(f"greyd show {shlex.quote(words[0])}")


def wait(place: Path, sender: bytes, *, client: str = CLIENT) -> None:
    """Let the mail of a sender wait since a minute ago."""
    keys = request_keys(address_of(client), sender, RECIPIENT.encode(), Settings())
    since = int(time.time()) - 60
    fill(f"sqlite:{place / 'greyd.db'}", {keys.triplet: Triplet(since, since).dump()})


def explain(place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command; no name server is asked unless a variable names one."""
    dns = () if "GREYD_RESOLVER" in variables else ("--no-dns",)
    return run_here(
        "explain",
        *dns,
        *words,
        GREYD_DBDIR=str(place),
        GREYD_CONFIG=str(place / "greyd.toml"),
        GREYD_WHITELIST_RECIPIENTS=str(place / "recipients"),
        **variables,
    )


def document(place: Path, *words: str, **variables: str) -> dict[str, Any]:
    """Return the JSON document of an explanation."""
    done = explain(place, "--json", *words, **variables)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("words", "sender", "name"),
    [
        ((CLIENT, SENDER, RECIPIENT), SENDER, "unknown"),
        ((f"[{CLIENT}]", f"<{SENDER}>,", f"<{RECIPIENT}>"), SENDER, "unknown"),
        (("mx.example.net[192.0.2.7]", SENDER, RECIPIENT), SENDER, "mx.example.net"),
        (("unknown[192.0.2.7]:25", SENDER, RECIPIENT), SENDER, "unknown"),
        ((CLIENT, "<>", RECIPIENT), "", "unknown"),
        ((CLIENT, "", RECIPIENT), "", "unknown"),
        ((CLIENT, "MAILER-DAEMON", RECIPIENT), "", "unknown"),
        ((f"to=<{RECIPIENT}>", f"from=<{SENDER}>", f"client={CLIENT},"), SENDER, "unknown"),
        ((f"client_address={CLIENT}", "sender=", f"recipient={RECIPIENT}"), "", "unknown"),
        (("client_name=mx.example.net", CLIENT, SENDER, RECIPIENT), SENDER, "mx.example.net"),
        ((CLIENT, "SRS0=ab=c=x.example=joe@example.com", RECIPIENT),
         "SRS0=ab=c=x.example=joe@example.com", "unknown"),
        ((LOG_LINE.format(SENDER),), SENDER, "mail.example.com"),
        (tuple(LOG_LINE.format(SENDER).split()), SENDER, "mail.example.com"),
    ],
)  # fmt: skip
def test_a_request_is_read_from_words(
    place: Path, words: tuple[str, ...], sender: str, name: str
) -> None:
    request = document(place, *words)["request"]
    assert (request["client_address"], request["sender"]) == (CLIENT, sender)
    assert (request["recipient"], request["client_name"]) == (RECIPIENT, name)


def test_a_client_may_be_a_name_that_dns_resolves(place: Path) -> None:
    zone: Zone = {
        "mx.example.net": ["60 A 192.0.2.7", "60 A 192.0.2.8"],
        "7.2.0.192.in-addr.arpa": ["60 PTR mx.example.net."],
    }
    with dns_server(zone) as server:
        words = ("mx.example.net", SENDER, RECIPIENT)
        done = explain(place, *words, GREYD_RESOLVER=server.address)
    assert "mx.example.net[192.0.2.7]" in done.stdout
    assert "it also has 192.0.2.8" in done.stderr


HOST_ZONES: dict[str, tuple[Zone, str]] = {
    "no such name": ({}, "DNS has no address for it"),
    "no address": ({"mx.white.example": ["60 TXT x"], "mx.example.net": ["60 TXT x"]},
                   "DNS has no address for it"),
    "SERVFAIL": ({"mx.white.example": SERVFAIL, "mx.example.net": SERVFAIL}, "DNS did not answer"),
    "refused": ({"mx.white.example": REFUSED, "mx.example.net": REFUSED}, "DNS did not answer"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*HOST_ZONES, "--no-dns"])
def test_a_host_without_an_address_is_explained_by_its_name(place: Path, case: str) -> None:
    def explained(*words: str) -> tuple[int, dict[str, Any]]:
        if case == "--no-dns":
            done = explain(place, "--json", *words)
        else:
            with dns_server(HOST_ZONES[case][0]) as server:
                done = explain(place, "--json", *words, GREYD_RESOLVER=server.address)
        return done.returncode, json.loads(done.stdout)

    why = HOST_ZONES[case][1] if case in HOST_ZONES else "DNS was not asked (--no-dns)"
    status, shown = explained("mx.white.example", SENDER, RECIPIENT)
    assert (status, shown["verdict"]["reason"]) == (0, "client whitelist")
    assert shown["verdict"]["assumption"] == (
        f"Assumed: Postfix confirms the client's name mx.white.example; {why}."
    )
    # A recipient's entry counts for each client, and any other answer depends on the address.
    status, shown = explained("mx.example.net", SENDER, "postmaster@example.org")
    assert (status, shown["verdict"]["reason"]) == (0, "recipient whitelist")
    status, shown = explained("mx.example.net", "<>", RECIPIENT)
    assert (status, shown["verdict"]["action"], shown["verdict"]["reply"]) == (2, None, None)
    assert shown["verdict"]["sentence"].startswith(
        f"Unknown: it depends on the address of mx.example.net, and {why}"
    )
    assert not any(each["decides"] for each in shown["steps"])
    assert shown["verdict"]["commands"] == [
        "greyd explain 'mx.example.net[ADDRESS]' '<>' bob@example.org",
        "greyd expect bob@example.org --for=1h",
        "greyd whitelist add mx.example.net",
    ]


@pytest.mark.parametrize(
    ("domain", "status", "words"),
    [("", 0, "Passes now (expected)"), ("example.com", 2, "Unknown: it depends on the address")],
)
def test_expected_mail_of_a_host_without_an_address_passes_unless_spf_may_deny_it(
    place: Path, domain: str, status: int, words: str
) -> None:
    window = ExpectWindow(RECIPIENT, domain, int(time.time()) + 600)
    fill(f"sqlite:{place / 'greyd.db'}", {CONTROL_KEY: Control(windows=(window,)).dump()})
    done = explain(place, "mx.example.net", SENDER, RECIPIENT)
    assert done.returncode == status
    assert done.stdout.startswith(words)


def test_one_family_of_addresses_that_dns_answers_is_enough(place: Path) -> None:
    records = {(b"mx.example.net", RecordType.A): DnsAnswer((b"\xc0\x00\x02\x07",)),
               (b"mx.example.net", RecordType.AAAA): DnsError("SERVFAIL")}  # fmt: skip
    client = asyncio.run(resolve_client("mx.example.net", FakeDns(records)))
    assert (client.address, client.host) == (CLIENT, b"")
    del records[b"mx.example.net", RecordType.A]
    client = asyncio.run(resolve_client("mx.example.net", FakeDns(records)))
    assert (client.address, client.host) == (None, b"mx.example.net")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((CLIENT, SENDER), "RECIPIENT: missing; greyd explain ADDRESS SENDER RECIPIENT"),
        ((CLIENT,), "SENDER, RECIPIENT: missing"),
        ((CLIENT, SENDER, RECIPIENT, "x"), "too many arguments"),
        ((SENDER, RECIPIENT, "c@example.net"), "expected an IP address"),
        ((CLIENT, SENDER, RECIPIENT, f"--sender={SENDER}"), "--sender: also given as an argument"),
        (("client=192.0.2.7", "client_address=192.0.2.8", SENDER, RECIPIENT), "given twice"),
    ],
)
def test_unusable_words_get_one_line_and_status_2(
    place: Path, words: tuple[str, ...], message: str
) -> None:
    done = explain(place, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_verdict_is_the_first_line_and_the_commands_are_the_last(place: Path) -> None:
    wait(place, SENDER.encode())
    lines = explain(place, CLIENT, SENDER, RECIPIENT).stdout.splitlines()
    assert lines[0].startswith("Deferred now (early-retry): one attempt so far, 1\u00a0min")
    assert "a retry passes from" in lines[0]
    assert lines[-6:] == [
        "To let this mail pass now:",
        "  greyd release --sender=alice@example.com --recipient=bob@example.org",
        "To let its domain's mail pass for an hour:",
        "  greyd expect bob@example.org --from=example.com --for=1h",
        "To let its client's mail pass always:",
        "  greyd whitelist add 192.0.2.7",
    ]
    assert max(len(each) for each in lines[-6:] if each.startswith("To ")) <= 45
    assert not any(each != each.rstrip() for each in lines)


@pytest.mark.parametrize(
    ("rows", "columns", "options", "is_short"),
    [(20, 45, [], True), (16, 80, [], True), (20, 45, ["-v"], False), (70, 80, [], False)],
)
def test_on_a_low_terminal_verdict_and_commands_are_seen_together(
    place: Path, rows: int, columns: int, options: list[str], is_short: bool
) -> None:
    wait(place, SENDER.encode())
    words = ["explain", CLIENT, SENDER, RECIPIENT, "--no-dns", *options]
    output = pexpect.spawn(
        sys.executable, ["-m", "greyd", *words], dimensions=(rows, columns), encoding="utf-8",
        # The terminal itself gets its size only after the command's start.
        env={**environment_without_settings(), "TERM": "xterm", "NO_COLOR": "1",
             "COLUMNS": str(columns), "LINES": str(rows),
             "GREYD_DBDIR": str(place), "GREYD_CONFIG": str(place / "greyd.toml")},
        cwd=str(CHECKOUT), timeout=60,
    ).read()  # fmt: skip
    lines = output.replace("\r", "").splitlines()
    assert ("client whitelist" in output) is not is_short
    assert (" other steps: greyd explain -v shows all" in output) is is_short
    assert "Deferred now (early-retry)" in output
    assert lines[-1] == "  greyd whitelist add 192.0.2.7"
    if is_short:
        assert sum(-(-len(line) // columns) or 1 for line in lines) < rows


@pytest.mark.parametrize("columns", ["45", "80"])
def test_no_word_is_folded_on_a_narrow_terminal(place: Path, columns: str) -> None:
    wide = explain(place, CLIENT, SENDER, RECIPIENT).stdout.split()
    narrow = explain(place, CLIENT, SENDER, RECIPIENT, COLUMNS=columns).stdout.split()
    assert [each for each in narrow if "@" in each] == [each for each in wide if "@" in each]


def test_passing_mail_gets_the_command_that_has_it_greylisted(place: Path) -> None:
    now = int(time.time())
    url = f"sqlite:{place / 'greyd.db'}"
    keys = request_keys(address_of(CLIENT), SENDER.encode(), RECIPIENT.encode(), Settings())
    others = request_keys(address_of("203.0.113.9"), b"x@example.com", b"bob@example.org",
                          Settings())  # fmt: skip
    fill(url, {keys.triplet: Triplet(now - 900, now - 900).dump()})
    fill(url, {others.client: Client(9, now).dump()})
    entry = "have mail of this entry greylisted always"
    commands = {
        CLIENT: (
            "have this mail greylisted anew",
            "greyd forget --sender=alice@example.com --recipient=bob@example.org",
        ),
        "203.0.113.9": ("have its client greylisted anew", "greyd forget --client=203.0.113.9"),
        "192.0.2.99": (entry, "greyd whitelist remove 192.0.2.99"),
        "mx.white.example[192.0.2.50]": (
            entry,
            f"sed -i '1s/^/# /' {place / 'clients'} && systemctl reload greyd",
        ),
    }
    for client, (effect, command) in commands.items():
        verdict = document(place, client, SENDER, RECIPIENT)["verdict"]
        assert verdict["commands"] == [command]
        assert verdict["proposals"] == [{"effect": effect, "command": command}]
        assert verdict["sentence"].startswith("Passes now (")
        assert len(f"To {effect}:") <= 45
    window = ExpectWindow(RECIPIENT, "", now + 600)
    fill(url, {CONTROL_KEY: Control(windows=(window,)).dump()})
    (expected,) = document(place, "192.0.2.200", SENDER, RECIPIENT)["verdict"]["proposals"]
    assert expected == {
        "effect": "have expected mail greylisted from now on",
        "command": f"greyd expect --close {RECIPIENT}",
    }
    fill(url, {CONTROL_KEY: Control(mode=ModeOverride("off", 0, "root", now)).dump()})
    (switch,) = document(place, CLIENT, SENDER, RECIPIENT)["verdict"]["proposals"]
    assert switch == {
        "effect": "have all mail greylisted from now on", "command": "greyd mode on"
    }  # fmt: skip


HOSTILE = [
    "$(touch owned)@evil.example", "a'b@evil.example", "`id`@evil.example", "-rf@evil.example",
    "a;b@evil.example", '$x"y@evil.example', "!!@evil.example", "*@evil.example",
    "~root@evil.example", "x%41y@evil.example", "a|b&c@evil.example", "{a}@evil.example",
    "SRS0=ab=c=x.example=joe@evil.example", "a\\b@evil.example", "#x@evil.example",
]  # fmt: skip


@pytest.mark.parametrize("sender", HOSTILE)
def test_the_commands_release_mail_of_hostile_senders_and_run_nothing_else(
    place: Path, sender: str
) -> None:
    wait(place, sender.encode())
    shown = document(place, "--log-line", LOG_LINE.format(sender))
    assert shown["request"]["sender"] == sender
    release, expect, *_ = shown["verdict"]["commands"]
    program, *words = shlex.split(release)
    assert program == "greyd"
    done = run_here(*words, GREYD_DBDIR=str(place))
    assert (done.returncode, done.stderr) == (0, ""), release
    assert document(place, "--log-line", LOG_LINE.format(sender))["verdict"]["action"] == "pass"
    assert run_here(*shlex.split(expect)[1:], GREYD_DBDIR=str(place)).returncode == 0


def test_a_shell_reads_every_word_as_it_was() -> None:
    words = [*(each.encode() for each in HOSTILE), b"", b"a b", b"\x1b[31m'\\", b"\xff\xfe1", b"\n"]
    line = "printf '%s\\0' " + " ".join(map(shell_word, words))
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
    assert done.stdout.split(b"\0")[:-1] == words


def test_the_options_that_name_the_store_are_repeated_in_the_commands(place: Path) -> None:
    done = run_here("explain", "--no-dns", f"--dbdir={place}", "--json", CLIENT, SENDER, RECIPIENT)
    for each in json.loads(done.stdout)["verdict"]["commands"]:
        assert each.endswith(f" --dbdir={place}")


# A client whose name DNS does not tell ------------------------------------------------------------

PTR = "7.2.0.192.in-addr.arpa"
UNANSWERED: dict[str, tuple[Zone, str]] = {
    "PTR: SERVFAIL": ({PTR: SERVFAIL}, "whether 192.0.2.7 has a name is unknown"),
    "PTR: REFUSED": ({PTR: REFUSED}, "whether 192.0.2.7 has a name is unknown"),
    "PTR: silent": ({PTR: SILENT}, "whether 192.0.2.7 has a name is unknown"),
    "address: SERVFAIL": (
        {PTR: ["60 PTR mx.white.example."], "mx.white.example": SERVFAIL},
        "192.0.2.7 has the name mx.white.example in DNS; whether it resolves back is unknown",
    ),
}
ANSWERED: dict[str, tuple[Zone, str]] = {
    "no such name": ({}, "192.0.2.7 has no name in DNS (PTR)"),
    "no PTR record": ({PTR: ["60 TXT x"]}, "192.0.2.7 has no name in DNS (PTR)"),
    "another address": (
        {PTR: ["60 PTR mx.white.example."], "mx.white.example": ["60 A 192.0.2.99"]},
        "but that name does not resolve back to it",
    ),
}


@pytest.mark.parametrize("case", [*UNANSWERED, "no resolver", "--no-dns"])
@pytest.mark.parametrize("given", ["", "--client-name=unknown"])
def test_no_answer_from_dns_is_not_called_a_client_without_a_name(
    place: Path, case: str, given: str
) -> None:
    options = [given] if given else []
    if case in UNANSWERED:
        with dns_server(UNANSWERED[case][0]) as server:
            done = explain(
                place, "--json", *options, CLIENT, SENDER, RECIPIENT,
                GREYD_RESOLVER=server.address, GREYD_DNS_TIMEOUT="0.2",
            )  # fmt: skip
    else:
        resolver = {} if case == "--no-dns" else {"GREYD_RESOLVER": "127.0.0.1:1"}
        done = explain(place, "--json", *options, CLIENT, SENDER, RECIPIENT, **resolver)
    shown = json.loads(done.stdout)
    text = " ".join(shown["steps"][0]["details"])
    assert "has no name" not in done.stdout
    assert "does not resolve" not in done.stdout
    why = "DNS was not asked" if case == "--no-dns" else "DNS did not answer"
    if given:
        # That the server saw no name is certain, even if it is not known now whether there is one.
        assert text.startswith("Postfix could not confirm a name (unknown)")
        assert (why in text) is (case != "--no-dns")
        assert shown["verdict"]["assumption"] is None
        return
    found = UNANSWERED.get(case, ({}, "whether 192.0.2.7 has a name is unknown"))[1]
    assert text.startswith(f"{found}: {why}")
    assert shown["verdict"]["assumption"].startswith(f"The client's name is unknown: {why}")
    assert "--client-name=NAME" in shown["verdict"]["assumption"]
    near = [each["why"] for each in shown["steps"][2]["near"] if each["entry"] == "white.example"]
    assert all("DNS did not answer whether it resolves back" in each for each in near)
    assert bool(near) is (case == "address: SERVFAIL")


@pytest.mark.parametrize("case", ANSWERED)
def test_an_answer_from_dns_that_there_is_no_name_is_final(place: Path, case: str) -> None:
    zone, words = ANSWERED[case]
    with dns_server(zone) as server:
        shown = document(place, CLIENT, SENDER, RECIPIENT, GREYD_RESOLVER=server.address)
    assert words in " ".join(shown["steps"][0]["details"])
    assert shown["verdict"]["assumption"] is None


@pytest.mark.parametrize("recipient", ["postmaster@example.org", RECIPIENT])
def test_an_unknown_name_is_only_a_reservation_where_it_may_change_the_answer(
    place: Path, recipient: str
) -> None:
    (place / "clients").write_text("192.0.2.200\n")
    assert document(place, CLIENT, SENDER, recipient)["verdict"]["assumption"] is None


def test_no_answer_from_dns_is_not_called_a_client_that_sends_for_nobody(place: Path) -> None:
    zone: Zone = {"example.com": SERVFAIL}
    name = "mx.white.test[192.0.2.7]"
    texts = ("no identity is known, and DNS did not answer all", "no identity: the client sends")
    for records, words in zip((zone, {}), texts, strict=True):
        with dns_server(records) as server:
            shown = document(place, name, SENDER, RECIPIENT,
                             GREYD_RESOLVER=server.address, GREYD_IDENTITY="spf")  # fmt: skip
        (evidence,) = [each for each in shown["steps"] if each["step"] == "evidence"]
        assert evidence["text"].startswith(words)
