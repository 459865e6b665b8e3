"""``greyd report`` on logs of real programs, beside postgreyreport, and its page in a browser."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import run_here
from tests.processes import PolicyClient, greyd, postgrey, program, request, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.integration

DAY = 86400
FORMS = ("export", "json", "short", "short-precise", "short-iso", "short-iso-precise")
"""Of the journal, whose lines have dates that are read."""


def report(log: str | bytes) -> Any:
    done = run_here("report", "-", "--json", given=log)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Beside postgreyreport ----------------------------------------------------------------------------

ATTEMPTS = ([0], [0, 100], [0, 400], [0, 100, 500])
"""When clients try, in seconds: those of the first two never pass."""


def ask_in_turn(server_port: int, start: int) -> list[tuple[int, dict[str, str], str]]:
    """Let forty clients try; returns time, request and answer of each attempt."""
    asked = []
    with PolicyClient(server_port) as client:
        for number in range(40):
            names = {
                "client_address": f"198.51.{number}.201",
                # Of clients without a name postgreyreport names those too that came back.
                "client_name": f"mx{number}.example.com",
                "sender": f"sender{number}x@example.com",
                "recipient": "bob@example.org",
            }
            for after in ATTEMPTS[number % 4]:
                when = start + number * 60 + after
                answer = client.ask(
                    request(**names, policy_test_time=str(when), instance=f"{number}.{after}")
                )
                asked.append((when, names, str(answer)))
    return asked


def dated(asked: Iterable[tuple[int, dict[str, str], str]], decisions: Iterable[str]) -> str:
    """Return what syslog would have of the decisions, in the order of their times."""
    lines = [
        (when, f"{_date(when)} mx1 postgrey[7]: {decision}\n")
        for (when, *_), decision in zip(asked, decisions, strict=True)
    ]
    return "".join(line for _, line in sorted(lines))


def deferred(asked: Iterable[tuple[int, dict[str, str], str]]) -> str:
    """Return Postfix's lines about those that were told to come back."""
    return "".join(
        f"{_date(when)} mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from {names['client_name']}"
        f"[{names['client_address']}]: 450 4.2.0 <{names['recipient']}>: Recipient address"
        f" rejected: {answer.partition(' ')[2]}; from=<{names['sender']}> to=<{names['recipient']}>"
        " proto=ESMTP helo=<mx.example.com>\n"
        for when, names, answer in asked
        if "Greylisted" in answer
    )


def _date(when: int) -> str:
    return time.strftime("%b %e %H:%M:%S", time.localtime(when))


def test_it_finds_the_mail_that_postgreyreport_finds(tmp_path: Path) -> None:
    start = int(time.time()) - 2 * DAY
    with postgrey(tmp_path) as server:
        asked = ask_in_turn(server.port, start)
        decisions = [line for line in server.log().splitlines() if "action=" in line]
    # What was written last is only in the database's log, where postgreyreport does not look.
    database = tmp_path / "postgrey-db"
    subprocess.run([program("db5.3_recover"), "-h", database], check=True)
    done = subprocess.run(
        [program("postgreyreport"), f"--dbdir={database}", "--user=root"],
        input=deferred(asked), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    theirs = sorted(tuple(line.split()) for line in done.stdout.splitlines() if line.strip())
    assert len(theirs) == 20, done.stderr

    end = f"{_date(start + DAY)} mx1 postgrey[7]: {decisions[0].replace('new', 'client AWL')}\n"
    path = tmp_path / "mail.log"
    path.write_text(dated(asked, decisions) + end.replace("sender0x", "elsewhere"))
    found = json.loads(run_here("report", path, "--json", "--top=100").stdout)
    ours = sorted(
        (each["client_address"], each["client_name"], each["sender"], each["recipient"])
        for each in found["never_returned"]
    )
    assert ours == theirs
    assert found["first_contacts"]["triplets"] == 40
    assert found["first_contacts"]["waited"] == 20
    assert found["delays"]["mails"] == 20
    assert found["delays"]["longest_seconds"] == 500


# Logs of real programs ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["postgrey", "json"])
def test_what_a_running_greyd_logs_is_read(tmp_path: Path, form: str) -> None:
    now = int(time.time())
    with greyd(tmp_path, "--test-time", f"--log-format={form}") as server:
        with PolicyClient(server.port) as client:
            for after in (0, 60, 400, 500):
                client.ask(request(policy_test_time=str(now + after)))
            client.ask(request(sender="a, recipient=x@y.example"))
        wait_until(lambda: server.log().count("reason") == 5, "it has said all")
        found = report(server.log())
    counts = {(each["reason"]): each["requests"] for each in found["decisions"]}
    assert counts == {"new": 2, "early-retry": 1, "triplet found": 2}
    assert found["delays"]["longest_seconds"] == 400
    assert found["recipients"] == 1


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what a real journal says, in all forms."""
    daemon = Path("/lib/systemd/systemd-journald")
    if not daemon.exists():
        unavailable("systemd-journald is not installed")
    if os.geteuid() != 0:
        unavailable("only root can run a journald beside the machine's")
    folder = tmp_path_factory.mktemp("journal")
    line = request()
    decision = ", ".join(
        ["action=greylist, reason=new"]
        + [f"{name}={line[name]!s}" for name in ("client_name", "client_address", "sender")]
        + [f"recipient={line['recipient']!s}"]
    )
    script = f"""
        mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/journal /run/log/journal
        {daemon} & journald=$!
        for turn in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
        echo '{decision}' | systemd-cat -t greyd
        printf 'odd\\001\\n\\nMESSAGE={decision}\\n' | systemd-cat -t other
        echo '{decision}' | systemd-cat -t postgrey
        for turn in $(seq 100); do
            journalctl -D /run/log/journal -t postgrey -o cat | grep -q . && break; sleep 0.1
        done
        for form in {" ".join(FORMS)}; do
            journalctl -D /run/log/journal -o $form >{folder}/$form
        done
        kill $journald
    """
    command = [program("unshare"), "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if not (folder / FORMS[-1]).exists():
        unavailable(f"a journald of its own: {done.stderr}")
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_the_journal_is_read_in_its_forms(journal: Path, form: str) -> None:
    found = report((journal / form).read_bytes())
    assert found["requests"] == 2
    assert abs(time.time() - found["last"]) < 600


# In a browser -------------------------------------------------------------------------------------


def shown_by_a_browser(folder: Path, page: Path) -> str:
    """Return the page as a browser has understood it."""
    command = [
        program("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
        "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", page.as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    # Where the policy forbids something that is in the page, the browser says so.
    assert "Content Security Policy" not in shown.stderr
    return shown.stdout.replace("&nbsp;", " ")


def test_a_browser_shows_the_page_and_runs_nothing_that_a_stranger_sent(tmp_path: Path) -> None:
    now = int(time.time()) - DAY
    stranger = "<script>document.title='stolen'</script>@example.com"
    asked = [
        (now, request(sender=stranger)),
        (now + 1, request()),
        (now + 401, request()),
        (now + DAY // 2, request()),
    ]
    with greyd(tmp_path, "--test-time") as server:
        with PolicyClient(server.port) as client:
            for when, attributes in asked:
                client.ask({**attributes, "policy_test_time": str(when)})
        wait_until(lambda: server.log().count("action=") == len(asked), "it has said all")
        decisions = [line for line in server.log().splitlines() if "action=" in line]
    log, page = tmp_path / "mail.log", tmp_path / "page.html"
    lines = zip(asked, decisions, strict=True)
    log.write_text("".join(f"{_date(when)} mx greyd[1]: {line}\n" for (when, _), line in lines))
    assert run_here("report", log, f"--html={page}").returncode == 0
    shown = shown_by_a_browser(tmp_path, page)
    assert "<title>Greylisting, " in shown
    assert "&lt;script&gt;document.title='stolen'&lt;/script&gt;@example.com" in shown
    assert "<b>4</b><span>requests</span>" in shown
    assert shown.count("<svg") > 5
