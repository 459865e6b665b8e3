"""``greyd explain``: as a person asks, and as a program does."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings
from greyd.maillog.errors import MailLogError
from greyd.maillog.single_line import read_log_line
from greyd.rules.control import Control, ExpectWindow, ModeOverride
from greyd.rules.correspondence.keys import keys_to_learn
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, Triplet
from greyd.rules.reserved_keys import CONTROL_KEY, HITS_PREFIX
from greyd.whitelist.hits import HitCount
from tests.commands import content, fill, run_here
from tests.dns_server import SERVFAIL, dns_server
from tests.fake_dns import address_of

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.dns_server import Zone

REQUEST = (
    "--client-address=192.0.2.7",
    "--client-name=mail.example.com",
    "--sender=alice+9@example.com",
    "--recipient=bob@example.org",
)
KEYS = request_keys(address_of("192.0.2.7"), b"alice+9@example.com", b"bob@example.org", Settings())


@pytest.fixture(autouse=True)
def place(tmp_path: Path) -> Path:
    """Make a server's folder: whitelists, and a store with an entry of other mail."""
    (tmp_path / "clients").write_text("white.example\n*.example.com\n")
    (tmp_path / "recipients").write_text("postmaster@\n@example.org\n")
    fill(f"sqlite:{tmp_path / 'greyd.db'}", {b"{example.net}~abc": b"1700000000"})
    return tmp_path


def ask(
    place: Path, *options: str, given: str | bytes = "", zone: Zone | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command; DNS is asked of a name server that knows ``zone``, or of nobody."""
    environment = {
        "GREYD_WHITELIST_CLIENTS": str(place / "clients"),
        "GREYD_WHITELIST_RECIPIENTS": str(place / "recipients"),
        "GREYD_DBDIR": str(place),
        **variables,
    }
    if zone is None:
        return run_here("explain", "--no-dns", *options, given=given, **environment)
    with dns_server(zone) as server:
        return run_here(
            "explain", *options, given=given, GREYD_RESOLVER=server.address, **environment
        )


def told(place: Path, *options: str, **more: Any) -> dict[str, Any]:
    """Return what is told to a program."""
    done = ask(place, *options, "--json", **more)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def step(answer: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in answer["steps"] if each["step"] == name]
    assert isinstance(found, dict)
    return found


def deciding(answer: dict[str, Any]) -> str:
    (found,) = [each["step"] for each in answer["steps"] if each["decides"]]
    return str(found)


# The request ------------------------------------------------------------------------------------


LINES = [
    "action=greylist, reason=new, client_name=mail.example.com, client_address=192.0.2.7,"
    " sender=alice+9@example.com, recipient=bob@example.org",
    "Nov 24 18:05:35 mx1 postgrey[77]: action=pass, reason=triplet found, delay=421,"
    " client_name=mail.example.com, client_address=192.0.2.7, sender=alice+9@example.com,"
    " recipient=bob@example.org",
    "2026-11-24T18:05:35.1+01:00 mx1 greyd[7]: 4XyZ12345: action=greylist, reason=early-retry"
    " (38s missing), client_name=mail.example.com, client_address=192.0.2.7,"
    " sender=alice+9@example.com, recipient=bob@example.org, identity=example.com,"
    " signals=no_ptr+dnsbl, dns=late",
    '{"time": "2026-11-24T18:05:35.000Z", "level": "info", "action": "greylist", "reason": "new",'
    ' "client_name": "mail.example.com", "client_address": "192.0.2.7",'
    ' "sender": "alice+9@example.com", "recipient": "bob@example.org"}',
    "Nov 24 18:05:35 mx1 postfix/smtpd[99]: NOQUEUE: reject: RCPT from"
    " mail.example.com[192.0.2.7]: 450 4.2.0 <bob@example.org>: Recipient address rejected:"
    " Greylisted, see http://postgrey.schweikert.ch/help/example.org.html;"
    " from=<alice+9@example.com> to=<bob@example.org> proto=ESMTP helo=<mail.example.com>",
    '{"__CURSOR": "x", "MESSAGE": "action=greylist, reason=new, client_name=mail.example.com,'
    ' client_address=192.0.2.7, sender=alice+9@example.com, recipient=bob@example.org"}',
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_line_of_the_log_tells_the_request(line: str) -> None:
    attributes = dict(read_log_line(line).attributes)
    assert attributes.pop("helo_name", b"mail.example.com") == b"mail.example.com"
    assert attributes.pop("protocol_name", b"ESMTP") == b"ESMTP"
    assert attributes == {
        "client_name": b"mail.example.com",
        "client_address": b"192.0.2.7",
        "sender": b"alice+9@example.com",
        "recipient": b"bob@example.org",
    }


def test_what_is_missing_in_a_line_was_empty_and_bytes_are_read_back() -> None:
    line = (
        "action=pass, reason=new, client_name=x, client_address=2001:db8::1, recipient=%C3%BC%20@b"
    )
    assert read_log_line(line).attributes["sender"] == b""
    assert read_log_line(line).attributes["recipient"] == b"\xc3\xbc%20@b"
    event = {"action": "pass", "client_address": "192.0.2.7", "recipient": "\\xfc@b"}
    assert read_log_line(json.dumps(event)).attributes["recipient"] == b"\xfc@b"


def test_a_sender_can_t_pose_as_another_s_recipient() -> None:
    line = (
        "action=greylist, reason=new, client_name=x, client_address=192.0.2.7,"
        " sender=a, recipient=victim@x, recipient=bob@example.org"
    )
    assert read_log_line(line).attributes["recipient"] == b"bob@example.org"
    assert read_log_line(line).attributes["sender"] == b"a, recipient=victim@x"


@pytest.mark.parametrize("line", ["", "hello", "{", '{"a": 1}', "[" * 9999, "action=x" * 9999])
def test_a_line_that_tells_of_no_attempt_is_none(line: str) -> None:
    with pytest.raises(MailLogError, match="--log-line"):
        read_log_line(line)


def test_a_request_is_taken_from_a_line_and_options_count_more(place: Path) -> None:
    answer = told(place, "--log-line", LINES[0], "--sender=carol@example.net")
    assert answer["request"]["sender"] == "carol@example.net"
    assert answer["request"]["recipient"] == "bob@example.org"


def test_a_request_is_read_from_standard_input_as_postfix_sends_it(place: Path) -> None:
    given = (
        "request=smtpd_access_policy\nclient_address=192.0.2.7\nclient_name=mail.example.com\n"
        "sender=alice@example.com\nrecipient=bob@example.org\ninstance=1.2.3\n\n"
    )
    for text in (given, given.rstrip("\n"), given.replace("\n", "\r\n")):
        answer = told(place, given=text)
        assert answer["request"]["instance"] == "1.2.3"
        assert answer["verdict"]["reply"].startswith("DEFER_IF_PERMIT Greylisted")


@pytest.mark.parametrize(
    ("given", "deciding_step", "action", "reason"),
    [
        ("request=other\n\n", "request", None, None),
        (
            "request=smtpd_access_policy\nclient_address=192.0.2.7\n\n",
            "request",
            "pass",
            "missing attribute",
        ),
    ],
)
def test_a_request_that_can_t_be_decided_is_told(
    place: Path, given: str, deciding_step: str, action: str | None, reason: str | None
) -> None:
    answer = told(place, given=given)
    assert deciding(answer) == deciding_step
    assert (answer["verdict"]["action"], answer["verdict"]["reason"]) == (action, reason)


@pytest.mark.parametrize(
    ("options", "given", "words"),
    [
        ((), "", "no request"),
        ((), "hello", "no request"),
        (("--client-address=192.0.2.7",), "", "--sender, --recipient: missing"),
        (("--log-line=hello",), "", "expected a line of greyd"),
        (
            (*REQUEST, "--helo-name=a\nsasl_username=x"),
            "",
            "helo_name: a value of a request has no line breaks",
        ),
        ((), "x" * 1_100_000, "larger than"),
    ],
)
def test_what_is_no_request_ends_with_one_line(
    place: Path, options: tuple[str, ...], given: str, words: str
) -> None:
    done = ask(place, *options, given=given)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


# The steps --------------------------------------------------------------------------------------


def test_new_mail_is_told_to_wait_with_every_step_and_nothing_is_stored(place: Path) -> None:
    store = f"sqlite:{place / 'greyd.db'}"
    before = content(store)
    now = int(time.time())
    answer = told(place, *REQUEST)
    assert content(store) == before
    assert [each["step"] for each in answer["steps"]] == [
        "request", "authenticated", "client whitelist", "recipient whitelist", "mode", "expected",
        "memory", "rule",
    ]  # fmt: skip
    verdict = answer["verdict"]
    assert (verdict["action"], verdict["reason"]) == ("greylist", "new")
    assert now + 300 <= verdict["passes_at"] <= int(time.time()) + 300
    assert verdict["passes_until"] == verdict["passes_at"] - 300 + 2 * 86400
    assert "192.0.2.0/24" in " ".join(step(answer, "memory")["details"])
    assert "counts as alice@example.com" in " ".join(step(answer, "memory")["details"])


def test_people_read_the_steps_and_the_verdict(place: Path) -> None:
    done = ask(place, *REQUEST)
    assert done.returncode == 0
    verdict = done.stdout.splitlines()[0]
    assert verdict.startswith("Deferred now (new): first contact of this client, sender and")
    assert "; a retry passes from" in verdict
    assert f'near: {place}/clients:2: "*.example.com" would match if it were written' in done.stdout
    assert done.stderr == ""


def test_the_line_that_matches_is_named(place: Path) -> None:
    answer = told(place, *REQUEST, "--client-name=mx.white.example")
    assert step(answer, "client whitelist")["match"] == {
        "file": str(place / "clients"), "line": 1, "entry": "white.example",
    }  # fmt: skip
    assert deciding(answer) == "client whitelist"
    answer = told(place, *REQUEST, "--recipient=postmaster@x.example")
    assert step(answer, "recipient whitelist")["match"]["line"] == 1
    assert deciding(answer) == "recipient whitelist"


def test_lines_that_nearly_match_are_named_with_their_reason(place: Path) -> None:
    answer = told(place, *REQUEST)
    (client,) = step(answer, "client whitelist")["near"]
    assert (client["line"], client["entry"]) == (2, "*.example.com")
    (recipient,) = step(answer, "recipient whitelist")["near"]
    assert (recipient["line"], recipient["entry"]) == (2, "@example.org")


def test_who_has_logged_in_passes(place: Path) -> None:
    answer = told(place, *REQUEST, "--sasl-username=alice")
    assert deciding(answer) == "authenticated"


def test_what_is_remembered_is_told_in_words(place: Path) -> None:
    now = int(time.time())
    records = {
        KEYS.triplet: Triplet(now - 120, now - 60).dump(),
        KEYS.client: Client(3, now - 7200).dump(),
    }
    fill(f"sqlite:{place / 'greyd.db'}", records)
    answer = told(place, *REQUEST)
    memory = step(answer, "memory")
    assert "first seen" in memory["text"]
    assert "not passed yet" in memory["text"]
    assert "3 of 5 times" in memory["details"][0]
    assert answer["verdict"]["reason"] == "early-retry"
    assert answer["verdict"]["passes_at"] == now - 120 + 300


@pytest.mark.parametrize(
    ("triplet", "client", "reason", "words"),
    [
        ((-400, -350), None, "triplet found", "not passed yet"),
        ((-90_000, -3600), None, "triplet found", "it has passed"),
        ((-3 * 86400, -3 * 86400 + 60), None, "new", "--retry-window"),
        ((-50 * 86400, -40 * 86400), None, "new", "--max-age"),
        (None, (7, -7200), "client AWL", "never seen"),
    ],
)
def test_a_record_is_told_as_the_rules_take_it(
    place: Path,
    triplet: tuple[int, int] | None,
    client: tuple[int, int] | None,
    reason: str,
    words: str,
) -> None:
    now = int(time.time())
    records = {}
    if triplet:
        records[KEYS.triplet] = Triplet(now + triplet[0], now + triplet[1]).dump()
    if client:
        records[KEYS.client] = Client(client[0], now + client[1]).dump()
    fill(f"sqlite:{place / 'greyd.db'}", records)
    answer = told(place, *REQUEST)
    assert answer["verdict"]["reason"] == reason
    assert words in step(answer, "memory")["text"]


def test_the_mode_that_was_switched_and_the_windows_that_are_open_are_told(place: Path) -> None:
    now = int(time.time())
    control = Control(
        ModeOverride("learn", now + 3600, "root@mx1", now),
        (ExpectWindow("carol@example.org", "example.com", now + 600),),
    )
    fill(f"sqlite:{place / 'greyd.db'}", {CONTROL_KEY: control.dump()})
    answer = told(place, *REQUEST)
    assert "learn until" in step(answer, "mode")["text"]
    assert "by root@mx1" in step(answer, "mode")["text"]
    assert step(answer, "expected")["details"][0].startswith("carol@example.org from example.com")
    assert (answer["verdict"]["action"], answer["verdict"]["reason"]) == ("pass", "learning")
    awaited = told(place, *REQUEST, "--recipient=carol@example.org")
    assert deciding(awaited) == "expected"


def test_a_sender_that_spf_denies_does_not_pass_as_expected(place: Path) -> None:
    window = ExpectWindow("bob@example.org", "example.com", int(time.time()) + 600)
    control = Control(windows=(window,))
    fill(f"sqlite:{place / 'greyd.db'}", {CONTROL_KEY: control.dump()})
    zone: Zone = {"example.com": ['300 TXT "v=spf1 ip4:203.0.113.0/24 -all"']}
    answer = told(place, *REQUEST, zone=zone)
    assert "denies 192.0.2.7 (fail)" in step(answer, "expected")["text"]
    assert answer["verdict"]["reason"] == "new"
    answer = told(place, *REQUEST, "--client-address=203.0.113.1", zone=zone)
    assert deciding(answer) == "expected"


def test_a_store_that_is_not_there_is_told_and_whitelists_are_all_the_same(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    done = ask(place, *REQUEST, "--json", GREYD_DBDIR=str(elsewhere))
    assert done.returncode == 2
    assert "nothing is stored there" in done.stderr
    answer = json.loads(done.stdout)
    assert answer["steps"][2]["near"]
    assert answer["verdict"]["action"] is None
    assert answer["steps"][-1]["step"] == "memory"
    white = ask(place, *REQUEST, "--client-name=white.example", GREYD_DBDIR=str(elsewhere))
    assert white.returncode == 0
    assert not (elsewhere / "greyd.db").exists()


def test_what_strangers_send_can_t_steer_the_terminal(place: Path) -> None:
    sent = (
        "request=smtpd_access_policy\nclient_name=\x1b[31mx\nclient_address=192.0.2.7\nsender=a@example.com\n"
        "recipient=\x1b]0;x\x07@y\n\n"
    )
    done = ask(place, given=sent)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "%1B" in done.stdout
    done = ask(place, *REQUEST, "--client-name=\x1b[31mx", "--recipient=\x1b]0;x\x07@y")
    assert (done.returncode, done.stdout) == (2, "")
    assert "\x1b" not in done.stderr


# DNS --------------------------------------------------------------------------------------------

PTR = "7.2.0.192.in-addr.arpa"
NAMELESS = tuple(each for each in REQUEST if "client-name" not in each)


def test_without_a_name_dns_is_asked_for_it_as_postfix_does(place: Path) -> None:
    zone = {PTR: ["60 PTR mx.white.example."], "mx.white.example": ["60 A 192.0.2.7"]}
    answer = told(place, *NAMELESS, zone=zone)
    assert answer["request"]["client_name"] == "mx.white.example"
    assert deciding(answer) == "client whitelist"


def test_a_name_that_does_not_lead_back_is_told_to_be_the_reason(place: Path) -> None:
    zone = {PTR: ["60 PTR mx.white.example."], "mx.white.example": ["60 A 192.0.2.99"]}
    answer = told(place, *REQUEST, "--client-name=unknown", zone=zone)
    assert "does not resolve back to it" in step(answer, "request")["details"][0]
    near = step(answer, "client whitelist")["near"]
    assert near[0]["entry"] == "white.example"
    assert "does not resolve back" in near[0]["why"]


def test_an_address_without_a_name_and_one_that_is_confirmed_by_now_are_told(place: Path) -> None:
    answer = told(place, *NAMELESS, zone={})
    assert "has no name in DNS" in step(answer, "request")["details"][0]
    zone = {PTR: ["60 PTR mx.white.example."], "mx.white.example": ["60 A 192.0.2.7"]}
    answer = told(place, *REQUEST, "--client-name=unknown", zone=zone)
    assert "DNS now confirms the name mx.white.example" in step(answer, "request")["details"][0]
    assert answer["verdict"]["reason"] == "new"


def test_who_it_sends_for_and_what_it_shows_is_asked_as_the_server_does(place: Path) -> None:
    zone = {
        "example.com": ["60 TXT \"v=spf1 ip4:192.0.2.7 -all\"", "60 MX 10 mail.example.com."],
        "mail.example.com": ["60 A 192.0.2.7"],
        "7.2.0.192.dnsbl.test": ["60 A 127.0.0.2"],
    }  # fmt: skip
    options = {"GREYD_IDENTITY": "spf", "GREYD_DNSBL": "dnsbl.test=900"}
    answer = told(place, *REQUEST, "--helo-name=mail.example.com", zone=zone, **options)
    evidence = step(answer, "evidence")
    assert "sends for example.com, which is the sender's domain (by spf)" in evidence["text"]
    assert "listed" in evidence["text"]
    assert "A 7.2.0.192.dnsbl.test: 127.0.0.2" in evidence["details"]
    assert "the delay is 900 s" in " ".join(step(answer, "rule")["details"])
    assert answer["verdict"]["passes_at"] == answer["now"] + 900


def test_without_dns_nothing_is_asked_and_that_is_told(place: Path) -> None:
    answer = told(place, *REQUEST, GREYD_DNSBL="dnsbl.test")
    assert "unsure" in step(answer, "evidence")["text"]
    assert step(answer, "evidence")["details"] == []


def test_a_list_that_is_out_of_order_is_named_with_the_remedy(place: Path) -> None:
    zone: Zone = {
        f"{name}.zen.spamhaus.org": ["60 A 127.255.255.254"]
        for name in ("7.2.0.192", "1.0.0.127", "2.0.0.127")
    }
    answer = told(place, *REQUEST, "--helo-name=mail.example.com", zone=zone,
                  GREYD_GREYLIST="suspicious", GREYD_DNSBL="zen.spamhaus.org=900",
                  GREYD_SIGNALS="dnsbl")  # fmt: skip
    details = " ".join(step(answer, "evidence")["details"])
    assert "zen.spamhaus.org is out of order" in details
    assert "127.255.255.254" in details
    assert answer["verdict"]["reason"] == "not suspicious"


def test_what_leaves_it_unsure_is_named(place: Path) -> None:
    zone: Zone = {"7.2.0.192.dnsbl.test": SERVFAIL}
    answer = told(place, *REQUEST, zone=zone, GREYD_DNSBL="dnsbl.test")
    text = step(answer, "evidence")["text"]
    assert "unsure: no answer to A 7.2.0.192.dnsbl.test" in text


@pytest.mark.parametrize(
    ("login", "words"),
    [("bob", "learns the correspondent"), ("mallory", "not learnt"), ("", "nothing to learn")],
)
def test_whether_outbound_mail_is_learnt_is_told(place: Path, login: str, words: str) -> None:
    answer = told(
        place, *REQUEST, "--sender=bob@example.org", "--recipient=alice@example.com",
        "--policy-context=outbound", f"--sasl-username={login}",
        GREYD_IDENTITY="spf", GREYD_LEARN_OUTBOUND="1",
    )  # fmt: skip
    assert answer["verdict"]["reason"] == "outbound"
    assert words in step(answer, "request")["details"][0]


CORRESPONDENCES = {
    "address": (("--sender=alice+x@example.com",), "written to the sender (alice@example.com)"),
    "organisation": (("--sender=carol@example.com",), "written to somebody at example.com"),
    "bounce": (
        ("--sender=", "--helo-name=mail.example.com"),
        "written to somebody whose mail example.com handles, and this is a bounce",
    ),
}


@pytest.mark.parametrize("form", CORRESPONDENCES)
def test_the_form_of_a_correspondence_is_told(place: Path, form: str) -> None:
    options, words = CORRESPONDENCES[form]
    settings = Settings(learn_outbound=True, identity=("spf",), correspondents="organisation")
    keys = keys_to_learn(b"bob@example.org", b"alice@example.com", settings)
    spf = ['60 TXT "v=spf1 ip4:192.0.2.7 -all"']
    zone: Zone = {"example.com": spf, "mail.example.com": spf}
    variables = {
        "GREYD_IDENTITY": "spf", "GREYD_LEARN_OUTBOUND": "1",
        "GREYD_CORRESPONDENTS": "organisation",
    }  # fmt: skip
    answer = told(place, *REQUEST, *options, zone=zone, **variables)
    assert answer["verdict"]["reason"] == "new"
    assert "has not written to" in memory_details(answer)
    fill(f"sqlite:{place / 'greyd.db'}", {each.key: b"%d" % time.time() for each in keys})
    answer = told(place, *REQUEST, *options, zone=zone, **variables)
    assert answer["verdict"]["reason"] == "correspondent"
    assert f"the recipient has {words}, last 20" in memory_details(answer)
    days = 5 if form == "bounce" else 35
    old = b"%d" % (time.time() - (days + 1) * 86400)
    fill(f"sqlite:{place / 'greyd.db'}", {each.key: old for each in keys})
    answer = told(place, *REQUEST, *options, zone=zone, **variables)
    assert answer["verdict"]["reason"] == "new"
    assert f"has not written there for {days}\N{NO-BREAK SPACE}d" in memory_details(answer)


def memory_details(answer: dict[str, Any]) -> str:
    return " ".join(step(answer, "identities")["details"])


def test_hits_are_not_counted_by_it(place: Path) -> None:
    told(place, *REQUEST, "--client-name=mx.white.example")
    assert not [
        v
        for k, v in content(f"sqlite:{place / 'greyd.db'}").items()
        if k.startswith(HITS_PREFIX) and HitCount.load(v).count
    ]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("64:ff9b::192.0.2.7", "192.0.2.0/24"), ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("64:ff9b:1::192.0.2.7", "64:ff9b:1::c000:200/120"), ("2001:db8::7", "2001:db8::/64"),
    ],
)  # fmt: skip
def test_the_network_that_a_client_counts_by_is_told(
    place: Path, address: str, network: str
) -> None:
    told = ask(place, f"--client-address={address}", *REQUEST[2:], "--client-name=unknown").stdout
    assert f"triplets are of the network {network}, " in told


# Particular senders and recipients ----------------------------------------------------------------


def senders(place: Path, *lines: str) -> dict[str, str]:
    """Write a whitelist of senders; returns the variable that names it."""
    (place / "senders").write_text("\n".join(lines) + "\n")
    return {"GREYD_WHITELIST_SENDERS": str(place / "senders")}


OURS = {"example.com": ['300 TXT "v=spf1 ip4:192.0.2.0/24 -all"']}


def test_a_proven_sender_is_shown_with_its_entry_and_the_proof(place: Path) -> None:
    variables = senders(place, "example.com")
    answer = told(place, *REQUEST, zone=OURS, **variables)
    assert deciding(answer) == "sender whitelist"
    found = step(answer, "sender whitelist")
    assert found["match"] == {"file": str(place / "senders"), "line": 1, "entry": "example.com"}
    assert "SPF passes the client for the sender's domain" in found["text"]
    assert answer["verdict"]["reason"] == "sender whitelist"


@pytest.mark.parametrize(
    ("options", "zone", "lines", "why"),
    [
        (
            ["--client-address=198.51.100.9"],
            OURS,
            ["example.com"],
            "does not help: SPF of the sender's domain denies the client (fail)",
        ),
        (
            ["--client-name=mail.example.net"],
            {},
            ["example.com"],
            "SPF's result is none, and the client has no confirmed name in the sender's",
        ),
        (["--sender="], OURS, ["example.com"], "a bounce has no sender, so no entry applies"),
        ([], OURS, ["example.org"], "none of 1 entry in "),
    ],
)
def test_why_an_entry_for_senders_does_not_help_is_told(
    place: Path, options: list[str], zone: Zone, lines: list[str], why: str
) -> None:
    answer = told(place, *REQUEST, *options, zone=zone, **senders(place, *lines))
    assert why in step(answer, "sender whitelist")["text"]
    assert answer["verdict"]["reason"] == "new"


def test_the_queries_for_a_whitelisted_sender_are_shown(place: Path) -> None:
    answer = told(place, *REQUEST, zone=OURS, **senders(place, "example.com"))
    (query,) = step(answer, "sender whitelist")["details"]
    assert "example.com" in query
    assert "v=spf1" in query


def test_without_dns_the_answer_to_a_whitelisted_sender_is_not_claimed(place: Path) -> None:
    answer = told(place, *REQUEST, "--client-name=unknown", **senders(place, "example.com"))
    assert answer["verdict"]["reason"] is None
    assert {(each["if"], each["reason"]) for each in answer["verdict"]["alternatives"]} == {
        ("no SPF pass for the sender", "new"),
        ("an SPF pass for the sender", "sender whitelist"),
    }


def test_a_sender_entry_that_nearly_matches_is_told(place: Path) -> None:
    answer = told(place, *REQUEST, zone=OURS, **senders(place, "*.example.com", "exampel.com"))
    near = step(answer, "sender whitelist")["near"]
    assert [each["entry"] for each in near] == ["*.example.com"]
    assert "example.com" in near[0]["why"]


def test_known_mail_of_a_whitelisted_sender_asks_nothing(place: Path) -> None:
    now = int(time.time())
    passed = Triplet(now - 1000, now - 500, now - 500).dump()
    fill(f"sqlite:{place / 'greyd.db'}", {KEYS.triplet: passed})
    answer = told(place, *REQUEST, **senders(place, "example.com"))
    assert answer["verdict"]["reason"] == "triplet found"
    assert "was not checked" in step(answer, "sender whitelist")["text"]


def test_the_settings_of_the_recipient_s_domain_are_shown(place: Path) -> None:
    domain = "example.org;delay=900;mode=learn"
    answer = told(place, *REQUEST, GREYD_RECIPIENT_DOMAIN=domain)
    assert step(answer, "recipient domain")["text"] == (
        "example.org has its own settings: delay 900 s, mode learn"
    )
    assert step(answer, "mode")["text"] == "learn, that of example.org (--recipient-domain)"
    assert "the delay is 900 s (--recipient-domain example.org)" in step(answer, "rule")["details"]
    other = told(place, *REQUEST, GREYD_RECIPIENT_DOMAIN="example.net;delay=900")
    assert "recipient domain" not in [each["step"] for each in other["steps"]]


def test_the_client_s_group_is_shown_and_its_triplet(place: Path) -> None:
    group = "big=192.0.2.0/24,mail.example.com"
    answer = told(place, *REQUEST, GREYD_SENDER_GROUP=group)
    details = step(answer, "memory")["details"]
    assert "the client belongs to the sender group big (GREYD_SENDER_GROUP)" in details
    assert step(answer, "identities")["text"].endswith("(by group): triplet never seen")


def test_a_client_that_is_never_auto_whitelisted_is_shown_with_the_entry(place: Path) -> None:
    (place / "never").write_text("# relays\n192.0.2.0/24\n")
    answer = told(place, *REQUEST, GREYD_NEVER_AUTO_WHITELIST=str(place / "never"))
    assert (
        f'client: never auto-whitelisted, because of {place}/never:2: "192.0.2.0/24"'
        in step(answer, "memory")["details"]
    )
