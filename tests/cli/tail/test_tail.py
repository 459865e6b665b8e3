"""``greyd tail``: one line per decision."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from greyd.cli.tables.column import Meaning
from greyd.cli.tail.decision_filter import DecisionFilter
from greyd.cli.tail.decision_text import NARROW, meaning_of, plain_line, terminal_line
from greyd.maillog.decisions import LoggedDecision, parse_decision
from tests.commands import run_here

if TYPE_CHECKING:
    from pathlib import Path

WHEN = 1_795_796_740.0


def decision(
    action: str = "greylist",
    reason: str = "new",
    more: str = "",
    name: str = "mail.example.com",
    client: str = "192.0.2.7",
    sender: str = "alice@example.com",
    recipient: str = "bob@example.org",
    after: str = "",
) -> LoggedDecision:
    text = (
        f"action={action}, reason={reason}{more}, client_name={name}, client_address={client}"
        f"{f', sender={sender}' if sender else ''}, recipient={recipient}{after}"
    )
    found = parse_decision(WHEN, text.encode())
    assert found is not None
    return found


NEW = decision()
WAITED = decision("pass", "triplet found", ", delay=309")
EARLY = decision(reason="early-retry (38s missing)")
BOUNCE = decision("pass", "client whitelist", sender="")
FAULT = decision("pass", "store unavailable")
HOSTILE = decision(
    sender="[red]" + "x" * 300 + "%1B[2J@" + "y" * 200 + ".example",
    recipient="%E2%80%AEtxt.exe@example.org",
    client="2001:db8:1111:2222:3333:4444:5555:6666",
)
ODD = LoggedDecision(
    0, "greylist", "\x1b[31m", "\u202e", None, b"\x1b]0;x\x07", b"", b"\x9b", b"", b"", b"", b""
)


@pytest.mark.parametrize("width", [20, 45, NARROW - 1, NARROW, 80, 100, 160])
@pytest.mark.parametrize("each", [NEW, WAITED, EARLY, BOUNCE, FAULT, HOSTILE, ODD])
def test_a_line_fits_its_terminal_and_cannot_control_it(each: LoggedDecision, width: int) -> None:
    line = terminal_line(each, width).plain
    assert cell_len(line) <= width
    assert line.isprintable()
    assert plain_line(each).isprintable()
    if width >= 45:
        assert (" pass " if each.action == "pass" else " wait ") in line


@pytest.mark.parametrize(
    ("each", "ends"),
    [
        (NEW, "alice@example.com → bob@example.org new"),
        (WAITED, "alice@example.com → bob@example.org after 5 min 9 s"),
        (EARLY, "→ bob@example.org early-retry (38s missing)"),
        (BOUNCE, "<> → bob@example.org client whitelist"),
    ],
)
def test_a_wide_terminal_shows_everything(each: LoggedDecision, ends: str) -> None:
    line = terminal_line(each, 120).plain
    assert line.endswith(ends)
    assert " 192.0.2.7 " in line


@pytest.mark.parametrize(
    ("each", "meaning"),
    [(NEW, Meaning.WAITING), (WAITED, Meaning.GOOD), (FAULT, Meaning.BAD), (ODD, Meaning.WAITING)],
)
def test_the_colour_shows_the_meaning(each: LoggedDecision, meaning: Meaning) -> None:
    assert meaning_of(each) is meaning


@pytest.mark.parametrize(
    ("options", "matching"),
    [
        ({}, "NWEBF"),
        ({"client": "192.0.2.7"}, "NWEBF"),
        ({"client": "192.0.2.0/24"}, "NWEBF"),
        ({"client": "192.0.3.0/24"}, ""),
        ({"client": "example.com"}, "NWEBF"),
        ({"client": "ample.com"}, ""),
        ({"sender": "Alice@Example.com"}, "NWEF"),
        ({"sender": "<alice@example.com>"}, "NWEF"),
        ({"sender": "@example.com"}, "NWEF"),
        ({"sender": "bob@example.com"}, ""),
        ({"sender": "<>"}, "B"),
        ({"recipient": "example.org"}, "NWEBF"),
        ({"recipient": "xexample.org"}, ""),
        ({"action": "pass"}, "WBF"),
        ({"reason": "EARLY"}, "E"),
        ({"reason": "missing"}, "E"),
        ({"text": "5 min"}, "W"),
        ({"text": "Client White"}, "B"),
        ({"action": "greylist", "reason": "new", "sender": "example.com"}, "N"),
    ],
)
def test_a_decision_is_shown_if_it_meets_all_conditions(
    options: dict[str, str], matching: str
) -> None:
    wanted = DecisionFilter.from_options(
        options.get("client"), options.get("sender"), options.get("recipient"),
        options.get("action", ""), options.get("reason", ""), options.get("text", ""),
    )  # fmt: skip
    named = {"N": NEW, "W": WAITED, "E": EARLY, "B": BOUNCE, "F": FAULT}
    assert "".join(name for name, each in named.items() if wanted.matches(each)) == matching


def test_a_domain_in_another_alphabet_is_found_in_both_forms() -> None:
    logged = decision(sender="a@b%C3%BCcher.example")
    for typed in ("bücher.example", "xn--bcher-kva.example", "a@bücher.example"):
        wanted = DecisionFilter.from_options(None, typed, None, "", "", "")
        assert wanted.matches(logged)


LOG = b"".join(
    b"Nov 27 16:2%d:31 mx greyd[1]: action=greylist, reason=new, client_address=192.0.2.7,"
    b" sender=s%d@example.com, recipient=bob@example.org\n" % (number, number)
    for number in range(3)
)


def test_standard_input_is_shown_to_its_end() -> None:
    def read(*options: str, given: bytes = LOG) -> tuple[int, str, str]:
        done = run_here("tail", "-", *options, given=given)
        return done.returncode, done.stdout, done.stderr

    status, shown, _ = read()
    assert status == 0
    assert [line.split("  ")[3] for line in shown.splitlines()] == [
        f"s{number}@example.com -> bob@example.org" for number in range(3)
    ]
    status, shown, _ = read("--json", "--sender=s1@example.com")
    event = json.loads(shown)
    assert (event["action"], event["sender"], event["waited_seconds"]) == (
        "greylist", "s1@example.com", None
    )  # fmt: skip
    status, shown, errors = read("--action=pass")
    assert (status, shown) == (1, "")
    assert "no matching decision" in errors
    odd = b"program: x status action=greylist reason=new\n"
    assert "1 line mentions a decision" in read(given=LOG + odd)[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/nonexistent/log"], "/nonexistent/log: No such file"),
        (["--action=defer", "-"], "--action"),
        (["--client=<>", "-"], "--client"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], expected: str) -> None:
    done = run_here("tail", *words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_past_comes_first_and_ctrl_c_ends_without_an_error(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(LOG)
    words = [sys.executable, "-m", "greyd", "tail", "-n2", str(log)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert b"s1@example.com" in child.stdout.readline()
        assert b"s2@example.com" in child.stdout.readline()
        with log.open("ab") as file:
            file.write(LOG.splitlines(keepends=True)[0])
        # It arrives although the output is a pipe.
        assert b"s0@example.com" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
        assert child.stderr is not None
        assert b"Traceback" not in child.stderr.read()
