"""``greyd report``: what it finds in logs, as people, programs and browsers see it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import stat
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from markupsafe import escape

from greyd.cli import sketches
from greyd.cli.context import CommandContext
from greyd.cli.errors import CommandError
from greyd.cli.report import command as report_command
from greyd.cli.report import triplets
from greyd.cli.report.builder import ReportBuilder
from greyd.cli.report.text import SORT_COLUMNS
from greyd.cli.report.times.time_span import TimeSpan
from greyd.config.settings import Settings
from greyd.maillog.decisions import LoggedDecision
from tests.commands import answer_of, run_here

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.cli.report.log_report import LogReport

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
"""A Monday."""
DAY = 86400
HOUR = 3600
LATER = 2 * DAY
"""After the first mail, so that a retry would have come."""

IN_UTC = {"TZ": "UTC"}


def decided(
    after: float,
    told: str = "new",
    *,
    name: str = "mx.example.com",
    address: str = "192.0.2.7",
    sender: str = "alice@example.com",
    recipient: str = "bob@example.org",
    more: str = "",
) -> str:
    """Return a line about a decision, so many seconds after midnight."""
    action = "greylist" if told.startswith(("new", "early")) else "pass"
    date = datetime.fromtimestamp(MIDNIGHT + after, UTC).isoformat()
    parts = [f"{date} mx1 greyd[7]: action={action}", f"reason={told}", f"client_name={name}"]
    parts += [f"client_address={address}", *([f"sender={sender}"] if sender else [])]
    return ", ".join([*parts, f"recipient={recipient}"]) + more + "\n"


END = decided(LATER, "client whitelist", sender="x@elsewhere.example", recipient="y@example.org")


def report(folder: Path, *texts: str, options: tuple[str, ...] = ()) -> Any:
    """Return what ``greyd report --json`` says of a log."""
    path = folder / "mail.log"
    path.write_text("".join(texts))
    return answer_of("report", path, *options, **IN_UTC)


def shown(folder: Path, *texts: str, options: tuple[str, ...] = ()) -> str:
    """Return what people see, with one space for each gap."""
    path = folder / "mail.log"
    path.write_text("".join(texts))
    done = run_here("report", path, *options, **IN_UTC)
    assert done.returncode == 0, done.stderr
    return "\n".join(" ".join(line.split()) for line in done.stdout.splitlines())


# Volume -------------------------------------------------------------------------------------------


def test_decisions_are_counted_by_action_and_reason(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        decided(0),
        decided(9, "early-retry (291s missing)"),
        decided(20, "early-retry (280s missing)", address="192.0.2.8"),
        decided(400, "triplet found, delay=400"),
        decided(500, "client AWL"),
    )
    assert found["requests"] == 5
    assert (found["greylisted"], found["passed"]) == (3, 2)
    assert found["decisions"][0] == {
        "action": "greylist",
        "reason": "early-retry",
        "requests": 2,
    }
    assert (found["clients"], found["senders"], found["recipients"]) == (2, 1, 1)
    assert (found["first"], found["last"]) == (MIDNIGHT, MIDNIGHT + 500)


def test_people_see_shares_and_the_time_that_it_is_about(tmp_path: Path) -> None:
    text = shown(tmp_path, decided(0), decided(9, "client AWL"), decided(9, "client AWL"), END)
    assert "2026-03-02 00:00:00 to 2026-03-04 00:00:00; 4 requests" in text
    assert "pass client AWL 2 50.0 %" in text
    assert "clients: 1, senders: 2, recipients: 2" in text


WAITED = [
    line
    for number, (client, wait) in enumerate({"b": 600, "c": 400, "a": 500}.items())
    for line in (
        decided(60 * number, name=f"mx.{client}.example", sender=f"{client}@{client}.example"),
        decided(
            60 * number + wait, f"triplet found, delay={wait}",
            name=f"mx.{client}.example", sender=f"{client}@{client}.example",
        ),
    )
]  # fmt: skip


def sorted_text(folder: Path, *options: str) -> str:
    """Return the report about mail of three clients."""
    path = folder / "mail.log"
    path.write_text("".join(WAITED))
    done = run_here("report", str(path), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("options", "clients"),
    [
        ([], "bac"), (["--sort=client"], "abc"), (["--sort=-client"], "cba"),
        (["--sort=longest"], "cab"), (["--sort=-total"], "bac"), (["--sort=-requests"], "bac"),
    ],
)  # fmt: skip
def test_tables_are_sorted_by_a_column_that_they_have(
    tmp_path: Path, options: list[str], clients: str
) -> None:
    text = sorted_text(tmp_path, *options)
    table = text.partition("Waited longest\n")[2].partition("\n\n")[0]
    assert "".join(re.findall(r"^(?:mx\.)?(\w)\.example ", table, re.MULTILINE)) == clients


@pytest.mark.parametrize("sort", SORT_COLUMNS)
def test_a_report_can_be_sorted_by_each_column_that_the_message_names(
    tmp_path: Path, sort: str
) -> None:
    assert "Greylisting" in sorted_text(tmp_path, f"--sort=-{sort}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sort=colour"], "the columns are action, reason"),
        (["--sort=client", "--json"], "it has no effect with --html, --mail-to or --json"),
        (["--sort=client", "--html=page.html"], "it has no effect with --html"),
    ],
)
def test_a_sort_without_effect_is_refused_before_the_log_is_read(
    tmp_path: Path, options: list[str], words: str
) -> None:
    done = run_here("report", str(tmp_path / "missing.log"), *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "missing.log" not in done.stderr


def test_days_and_hours_are_drawn_as_bars(tmp_path: Path) -> None:
    texts = [decided(9 * HOUR, "client AWL")] * 3 + [decided(9 * HOUR)] + [decided(DAY)] * 2
    text = shown(tmp_path, *texts)
    assert f"Mon 2026-03-02 3 1 {'█' * 30}{'░' * 10}" in text
    assert f"Tue 2026-03-03 0 2 {'░' * 20}" in text
    assert f"09 3 1 {'█' * 30}{'░' * 10}" in text
    assert "23 0 0" in text


def test_days_begin_at_this_machines_midnight_also_when_clocks_change(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    sunday = datetime(2026, 3, 29, 12, tzinfo=UTC).timestamp() - MIDNIGHT
    path.write_text(decided(sunday - DAY) + decided(sunday) + decided(sunday + DAY))
    found = answer_of("report", path, TZ="Europe/Zurich")
    assert [each["day"] for each in found["by_day"]] == ["2026-03-28", "2026-03-29", "2026-03-30"]
    assert [each["hour"] for each in found["by_hour"] if each["new"]] == [13, 14]


def test_days_begin_at_midnight_west_of_greenwich_too(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text(decided(6 * DAY + 3 * HOUR) + decided(6 * DAY + 6 * HOUR))
    found = answer_of("report", path, TZ="America/New_York")
    days = [(each["day"], each["new"]) for each in found["by_day"]]
    assert days == [("2026-03-07", 1), ("2026-03-08", 1)]


# First contacts -----------------------------------------------------------------------------------


def test_every_first_contact_becomes_one_of_four_things(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        decided(0, sender="back@a.example"),
        decided(0, sender="never@a.example"),
        decided(0, sender="listed@a.example"),
        decided(0, sender="elsewhere@a.example"),
        decided(60, "early-retry (240s missing)", sender="never@a.example"),
        decided(400, "triplet found, delay=400", sender="back@a.example"),
        decided(500, "client AWL", sender="listed@a.example"),
        decided(600, "triplet found", sender="elsewhere@a.example", address="198.51.100.1"),
        decided(LATER, sender="young@a.example"),
    )
    assert found["first_contacts"] == {
        "triplets": 5,
        "waited": 1,
        "passed_otherwise": 2,
        "never_returned": 1,
        "never_returned_verified": 1,
        "too_young": 1,
        "due_seconds": 300 + 6 * HOUR,
    }
    (lost,) = found["never_returned"]
    assert (lost["sender"], lost["tries"]) == ("never@a.example", 2)
    assert (lost["first"], lost["last"]) == (MIDNIGHT, MIDNIGHT + 60)


def test_a_retry_whose_first_attempt_is_before_the_log_is_no_first_contact(
    tmp_path: Path,
) -> None:
    found = report(tmp_path, decided(0, "early-retry (9s missing)"), END)
    assert found["first_contacts"]["triplets"] == 0


def test_the_servers_own_idea_of_a_triplet_counts(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        decided(0, sender="prvs=12345abcde=news-17@Example.com", address="192.0.2.7"),
        decided(400, "triplet found", sender="news-18+x@example.com", address="192.0.2.200"),
        END,
    )
    assert found["first_contacts"]["waited"] == 1
    assert found["first_contacts"]["never_returned"] == 0


def test_a_neighbours_retry_counts_only_within_the_networks_of_the_settings(
    tmp_path: Path,
) -> None:
    texts = (decided(0), decided(400, "triplet found", address="192.0.2.200"), END)
    assert report(tmp_path, *texts)["first_contacts"]["waited"] == 1
    config = tmp_path / "greyd.toml"
    config.write_text("ipv4cidr = 32\n")
    found = report(tmp_path, *texts, options=(f"--config={config}",))
    assert found["first_contacts"]["passed_otherwise"] == 1


def test_what_may_have_been_wanted_comes_first(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        decided(1, sender="a@unknown.example", name="unknown", address="192.0.2.1"),
        decided(0, sender="b@x.test", name="dsl-203-0-113-9.isp.com", address="203.0.113.9"),
        decided(2, sender="c@x.test", name="mail.isp.com"),
        decided(3, sender="d@firma.com", name="mail.isp.com"),
        decided(4, sender="d@ours.ch", name="mx.ours.ch"),
        decided(5, sender="e@x.test", name="mx.isp.com", more=", identity=x.test"),
        decided(6, "client AWL", sender="other@firma.com"),
        END,
    )
    assert [each["sender"] for each in found["never_returned"]] == [
        "e@x.test", "d@ours.ch", "d@firma.com", "c@x.test", "a@unknown.example", "b@x.test",
    ]  # fmt: skip
    hints = {each["sender"]: each["hints"] for each in found["never_returned"]}
    assert hints["e@x.test"] == ["identity x.test"]
    assert hints["d@ours.ch"] == ["the sender's own host"]
    assert hints["d@firma.com"] == ["other mail of the domain passed"]
    verified = [each["verified_name"] for each in found["never_returned"]]
    assert verified == [True, True, True, True, False, False]


def test_top_limits_the_rows_and_not_the_totals(tmp_path: Path) -> None:
    texts = [decided(n, sender=f"{chr(97 + n)}@x.test", name="unknown") for n in range(20)]
    wanted = decided(5, sender="wanted@example.com")
    found = report(tmp_path, *texts, wanted, END, options=("--top=2",))
    assert [each["sender"] for each in found["never_returned"]] == [
        "wanted@example.com",
        "t@x.test",
    ]
    assert found["first_contacts"]["never_returned"] == 21


# Delays -------------------------------------------------------------------------------------------


def test_percentiles_are_those_of_the_waits(tmp_path: Path) -> None:
    texts = [decided(n, f"triplet found, delay={300 + n}") for n in range(1, 101)]
    texts += [decided(0, "client AWL")] * 5
    delays = report(tmp_path, *texts)["delays"]
    assert delays["mails"] == 100
    assert [delays[f"p{each}_seconds"] for each in (50, 75, 90, 95, 99)] == [
        350, 375, 390, 395, 399,
    ]  # fmt: skip
    assert delays["longest_seconds"] == 400
    assert delays["mean_seconds"] == 350.5
    classes = {each["up_to_seconds"]: each["mails"] for each in delays["classes"]}
    assert (classes[300], classes[600], classes[None]) == (0, 100, 0)


def test_a_wait_is_in_the_class_up_to_its_border(tmp_path: Path) -> None:
    texts = [decided(0, f"triplet found, delay={each}") for each in (300, 301, 600, 86400, 86401)]
    classes = report(tmp_path, *texts)["delays"]["classes"]
    found = {each["up_to_seconds"]: each["mails"] for each in classes if each["mails"]}
    assert found == {300: 1, 600: 2, 86400: 1, None: 1}


def test_who_waited_longest_is_grouped_by_registered_domain(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        decided(0, "triplet found, delay=1000", name="a.mail.firma.co.uk"),
        decided(1, "triplet found, delay=3000", name="b.firma.co.uk"),
        decided(2, "triplet found, delay=3500", name="mx.other.com"),
        decided(3, "triplet found, delay=600", name="unknown", address="192.0.2.99"),
    )
    assert found["waited_longest"] == [
        {"client": "firma.co.uk", "mails": 2, "seconds": 4000, "longest_seconds": 3000},
        {"client": "other.com", "mails": 1, "seconds": 3500, "longest_seconds": 3500},
        {
            "client": "192.0.2.0",
            "mails": 1,
            "seconds": 600,
            "longest_seconds": 600,
            "client_network": "192.0.2.0/24",
        },
    ]


def test_a_client_with_neither_name_nor_address_is_not_a_candidate(tmp_path: Path) -> None:
    """``unknown`` in a whitelist would let every client without a name pass."""
    found = report(
        tmp_path,
        decided(0, "triplet found, delay=9000", name="unknown", address="unknown"),
        decided(1, "triplet found, delay=600", name="unknown", address="2001:db8::7"),
    )
    (candidate,) = found["waited_longest"]
    assert candidate["client_network"] == "2001:db8::/64"


def test_who_comes_back_too_early_is_named(tmp_path: Path) -> None:
    early = [decided(n, "early-retry (9s missing)", name="mx.hasty.com") for n in range(3)]
    found = report(tmp_path, *early, decided(5, "early-retry (9s missing)"))
    assert found["early_retries"][0] == {"client": "hasty.com", "retries": 3}


def test_a_pool_of_one_provider_is_told_from_spam_from_anywhere(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        decided(0, name="a.big.com", address="192.0.2.1"),
        decided(600, name="b.big.com", address="198.51.100.1"),
        decided(1200, name="c.big.com", address="203.0.113.1"),
        decided(1800, "triplet found, delay=1800", name="a.big.com", address="192.0.2.1"),
        decided(0, name="x.one.com", address="192.0.2.1", sender="s@spam.test"),
        decided(5, name="y.two.com", address="198.51.100.1", sender="s@spam.test"),
        END,
    )
    assert found["pools"] == [
        {"client": "big.com", "mails": 1, "most_networks": 3, "passed": 1, "longest_seconds": 1800}
    ]
    assert found["first_contacts"]["never_returned"] == 2


@pytest.mark.parametrize("domain", ["big.com", "big.example", "big.test", "big.lan", "big.co.uk"])
def test_a_pool_is_named_by_its_domain_under_any_top_level_domain(
    tmp_path: Path, domain: str
) -> None:
    addresses = ("192.0.2.1", "198.51.100.1", "203.0.113.1", "192.0.3.1")
    tries = [
        decided(600 * number, name=f"mail-{number}.{domain}", address=address)
        for number, address in enumerate(addresses)
    ]
    lost = decided(0, name=f"mx.{domain}", sender="x@elsewhere.example")
    waits = decided(2400, "triplet found, delay=600", name=f"mail-3.{domain}", address=addresses[3])
    found = report(tmp_path, *tries, lost, waits, END)
    assert [(each["client"], each["most_networks"]) for each in found["pools"]] == [(domain, 4)]
    assert found["waited_longest"][0]["client"] == domain
    assert found["never_returned_by_client_domain"] == [{"domain": domain, "triplets": 1}]


def test_a_pool_without_names_is_named_by_the_identity_of_its_clients(tmp_path: Path) -> None:
    texts = [
        decided(600 * number, name="unknown", address=address, more=", identity=big.com")
        for number, address in enumerate(("192.0.2.1", "198.51.100.1"))
    ]
    found = report(tmp_path, *texts, END)
    assert [(each["client"], each["most_networks"]) for each in found["pools"]] == [("big.com", 2)]


@pytest.mark.parametrize("name", ["unknown", ""])
def test_clients_without_a_name_stay_unknown_and_form_no_pool(tmp_path: Path, name: str) -> None:
    texts = [decided(0, name=name), decided(60, name=name, address="198.51.100.1")]
    found = report(tmp_path, *texts, END)
    assert found["pools"] == []
    assert found["never_returned_by_client_domain"] == [{"domain": "unknown", "triplets": 2}]


def test_a_mail_of_weeks_later_makes_no_pool(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        decided(0, name="a.big.com", address="192.0.2.1"),
        decided(9 * DAY, name="b.big.com", address="198.51.100.1"),
        decided(
            9 * DAY + 600, "triplet found, delay=600", name="b.big.com", address="198.51.100.1"
        ),
    )
    assert found["pools"] == []


# Options ------------------------------------------------------------------------------------------


def test_since_and_until_choose_what_counts(tmp_path: Path) -> None:
    texts = [decided(day * DAY + 60) for day in range(4)]
    for since, until, count in (
        ("2026-03-03", "2026-03-04", 1),
        ("2026-03-03 00:01", "2026-03-04 00:01", 1),
        ("2026-03-03 00:01", "2026-03-04T00:02", 2),
        ("2026-03-03 00:02", None, 2),
    ):
        options = (f"--since={since}", *([f"--until={until}"] if until else []))
        assert report(tmp_path, *texts, options=options)["requests"] == count


def test_times_may_be_days_and_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    now = MIDNIGHT + 3 * HOUR
    assert TimeSpan.from_options("yesterday", "today", now) == TimeSpan(MIDNIGHT - DAY, MIDNIGHT)
    assert TimeSpan.from_options("2h", None, now) == TimeSpan(MIDNIGHT + HOUR, 0.0)
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--since=soon"], "--since=soon: write today, yesterday, a date"),
        (["--since=2026-03-03", "--until=2026-03-02"], "is not before --until"),
        (["--html=/nowhere/at/all.html"], "/nowhere/at/all.html: No such file"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(
    tmp_path: Path, options: list[str], text: str
) -> None:
    (tmp_path / "mail.log").write_text(decided(0))
    done = run_here("report", tmp_path / "mail.log", *options)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_log_without_decisions_is_answered_no(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text("Mar 1 00:00:00 mx1 postfix/smtpd[1]: connect from unknown[192.0.2.1]\n")
    done = run_here("report", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no decision of greyd or postgrey in {path}: looked for lines" in done.stderr


def test_a_log_with_decisions_at_other_times_is_answered_no(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text(decided(0))
    done = run_here("report", path, "--since=2026-05-01")
    assert done.returncode == 1
    assert "the log's only decision is outside --since and --until" in done.stderr


def test_without_a_name_the_usual_log_is_read_and_with_since_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = tmp_path / "mail.log"
    monkeypatch.setattr(report_command, "USUAL_LOGS", (tmp_path / "none.log", usual))
    for day, name in ((0, "mail.log.2.gz"), (7, "mail.log.1"), (14, "mail.log")):
        path = tmp_path / name
        text = decided(day * DAY).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        os.utime(path, (MIDNIGHT + day * DAY + 60, MIDNIGHT + day * DAY + 60))
    context = CommandContext(Settings(), as_json=True)
    for since, count in ((None, 1), ("2026-03-08", 2), ("2026-03-01", 3)):
        report_command.report(context, since=since)
        assert json.loads(capsys.readouterr().out)["requests"] == count


def test_where_there_is_no_usual_log_it_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_command, "USUAL_LOGS", (tmp_path / "mail.log",))
    with pytest.raises(
        CommandError, match="name the log file, or run journalctl -u greyd -o export"
    ):
        report_command.report(CommandContext(Settings()))


def test_standard_input_is_read(tmp_path: Path) -> None:
    done = run_here("report", "-", "--json", given=decided(0) + decided(1))
    assert json.loads(done.stdout)["requests"] == 2


def test_bare_lines_without_dates_are_counted_and_what_can_not_be_told_is_named(
    tmp_path: Path,
) -> None:
    bare = decided(0).partition("greyd[7]: ")[2]
    found = report(tmp_path, bare, bare.replace("alice", "carol"))
    assert (found["requests"], found["undated"], found["first"]) == (2, 2, None)
    assert found["first_contacts"]["never_returned"] == 2
    assert found["by_day"] == []
    assert "without dates, every triplet without a retry" in found["approximations"][0]


def test_what_strangers_send_can_not_steer_a_terminal(tmp_path: Path) -> None:
    text = shown(tmp_path, decided(0, sender="\x1b[31m@x.test", name="\x07.x.test"), END)
    assert "\x1b" not in text
    assert "%1B[31m@x.test" in text


def test_privacy_does_not_hide_what_a_log_says(tmp_path: Path) -> None:
    config = tmp_path / "greyd.toml"
    config.write_text("privacy = true\n")
    texts = (decided(0, "triplet found, delay=9", name="unknown"), decided(1), END)
    found = report(tmp_path, *texts, options=(f"--config={config}",))
    assert found["never_returned"][0]["sender"] == "alice@example.com"
    assert found["waited_longest"][0]["client"] == "192.0.2.0"


# The page -----------------------------------------------------------------------------------------


def page(folder: Path, *texts: str) -> str:
    path = folder / "mail.log"
    path.write_text("".join(texts))
    done = run_here("report", path, f"--html={folder / 'page.html'}", **IN_UTC)
    assert done.returncode == 0, done.stderr
    return (folder / "page.html").read_text().replace("\u00a0", " ")


def test_the_page_is_whole_and_only_its_owners(tmp_path: Path) -> None:
    text = page(tmp_path, decided(0), decided(400, "triplet found, delay=400"), END)
    assert text.endswith("</html>\n")
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mail.log", "page.html"]


def test_a_page_that_is_there_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    (tmp_path / "page.html").chmod(0o640)
    assert "</html>" in page(tmp_path, decided(0))
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o640


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(decided(0))
    os.mkfifo(tmp_path / "page.html")
    done = run_here("report", tmp_path / "mail.log", f"--html={tmp_path / 'page.html'}")
    assert done.returncode == 2
    assert "page.html: not a regular file" in done.stderr
    assert (tmp_path / "page.html").is_fifo()


def test_the_page_takes_nothing_from_elsewhere_and_its_policy_allows_just_its_style(
    tmp_path: Path,
) -> None:
    text = page(tmp_path, decided(0), END)
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text
    assert not re.search(r"(src|href|style)=|url\(|@import|<script", text)


def test_the_page_escapes_what_strangers_send(tmp_path: Path) -> None:
    text = page(tmp_path, decided(0, sender="<script>alert(1)</script>@x.test"), END)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;@x.test" in text
    assert "<script" not in text


def test_the_page_begins_with_the_summary_that_the_text_begins_with(tmp_path: Path) -> None:
    lines = (decided(0), decided(0, sender="lost@example.net"), decided(400, "triplet found"))
    shown = page(tmp_path, *lines)
    text = run_here("report", tmp_path / "mail.log", **IN_UTC).stdout
    summary = text.partition("\n\n")[0].replace("\u00a0", " ").splitlines()
    assert summary
    places = [shown.index(f"<p>{escape(each)}</p>") for each in summary]
    assert places == sorted(places)
    assert places[-1] < shown.index('<div class="tiles">')


def test_the_page_draws_each_stretch_of_time_with_its_numbers(tmp_path: Path) -> None:
    text = page(tmp_path, *[decided(60)] * 30, *[decided(60, "client AWL")] * 10, END)
    (title, bars) = re.findall(r"<title>(Mon[^<]*)</title>(.*)</g>", text)[0]
    assert title.splitlines()[0].endswith(": 40 requests")
    assert "first contact: 30" in title
    heights = dict(re.findall(r'class="(\w+)" [^>]*height="([0-9.]+)"', bars))
    assert float(heights["new"]) == pytest.approx(3 * float(heights["auto_whitelisted"]))
    assert float(heights["new"]) + float(heights["auto_whitelisted"]) == pytest.approx(240)


def test_a_page_can_be_made_of_next_to_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, decided(0, "client AWL").partition("greyd[7]: ")[2])
    assert "from a log without dates" in text
    assert "<b>1</b><span>requests</span>" in text


# Bounds -------------------------------------------------------------------------------------------


def counted(*decisions: LoggedDecision) -> LogReport:
    builder = ReportBuilder(Settings())
    builder.add_all(decisions)
    return builder.report()


def new(number: int, when: float = 1.0, name: bytes = b"unknown") -> LoggedDecision:
    sender = b"s%dx@x%d.test" % (number, number)
    address = b"10.%d.%d.1" % (number >> 8 & 255, number & 255)
    return LoggedDecision(
        when, "greylist", "new", "", None, name, address, sender, b"b@y.org", b"", b"", b""
    )


def test_totals_stay_exact_where_too_many_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triplets, "MAX_PENDING", 100)
    found = counted(*(new(number, 1.0 + number) for number in range(1000)))
    assert found.first_contacts.count == 1000
    contacts = found.first_contacts
    assert contacts.never_returned + contacts.too_young == 1000
    assert contacts.never_returned >= 900
    assert "were given up early" in found.approximations[0]


def test_old_triplets_make_room_without_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triplets, "MAX_PENDING", 100)
    found = counted(*(new(number, 1.0 + number * HOUR) for number in range(1000)))
    assert found.first_contacts.never_returned + found.first_contacts.too_young == 1000
    assert found.first_contacts.too_young == 7
    assert found.approximations == []


def test_more_domains_than_can_be_told_apart_are_named_an_approximation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sketches, "MAX_TOTALS", 50)
    often = [new(n, n * DAY + 1.0, b"mx.often.com") for n in range(200)]
    rare = [new(1000 + n, n * DAY + 1.0, b"mx.rare%d.com" % n) for n in range(200)]
    found = counted(*(each for pair in zip(often, rare, strict=True) for each in pair))
    assert found.lost_domains[0].name == b"often.com"
    assert "too many names to count" in " ".join(found.approximations)


def test_the_number_of_very_many_clients_is_estimated_within_a_few_per_cent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sketches, "MAX_SAMPLE", 2000)
    found = counted(*(new(number) for number in range(20_000)))
    assert not found.clients.is_exact
    assert found.clients.count == pytest.approx(20_000, rel=0.15)
    assert "different clients is estimated" in " ".join(found.approximations)


# The shadow ---------------------------------------------------------------------------------------


def shadowed(after: float, shadow: str, told: str = "new", *, answer: str, sender: str) -> str:
    """Return the shadow's line about a mail."""
    line = decided(after, told, sender=sender)
    head, _, rest = line.partition("action=")
    rest = rest.partition(", client_name=")[2]
    return f"{head}shadow={shadow}, shadow_reason={told}, answer={answer}, client_name={rest}"


def test_the_shadow_is_compared_with_what_became_of_the_mail(tmp_path: Path) -> None:
    lines = []
    for number, (shadow, comes_back) in enumerate(
        [("pass", True), ("pass", True), ("greylist", True), ("pass", False), ("greylist", False),
         ("greylist", False), ("", True), ("", False)]
    ):  # fmt: skip
        sender = f"s{number}@example.com"
        lines.append(decided(number, sender=sender))
        if shadow:
            told = "not suspicious" if shadow == "pass" else "new"
            lines.append(shadowed(number + 0.5, shadow, told, answer="greylist", sender=sender))
        lines.append(decided(60 + number, "early-retry (240s missing)", sender=sender))
        # Only the first attempt counts: by now the mail waits as it would have without a shadow.
        lines.append(
            shadowed(60 + number, "pass", "triplet found", answer="greylist", sender=sender)
        )
        if comes_back:
            lines.append(decided(400 + number, "triplet found, delay=400", sender=sender))
    lines.append(decided(500, "client AWL", sender="new@example.com"))
    lines.append(shadowed(500, "greylist", "new", answer="pass", sender="new@example.com"))
    lines.append(decided(LATER, sender="last@example.com"))
    log = tmp_path / "mail.log"
    log.write_text("".join(lines))
    assert answer_of("report", log, **IN_UTC)["shadow"] == {
        "decisions": 15,
        "delayed": 3,
        "not_delayed": 2,
        "never_returned": 3,
        "let_in": 1,
        "kept_out": 2,
        "newly_delayed": 1,
    }
    text = run_here("report", log, **IN_UTC).stdout
    assert "2 of 3 delayed good mails would not have waited." in text
    assert "1 of 3 mails that never came back would have been let in at once" in text
    page = tmp_path / "page.html"
    run_here("report", log, f"--html={page}", **IN_UTC)
    assert "2 of 3 delayed good mails" in page.read_text()


def test_without_a_shadow_the_report_does_not_mention_one(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text(decided(0))
    assert answer_of("report", log, **IN_UTC)["shadow"] is None
    assert "shadow" not in run_here("report", log, **IN_UTC).stdout.lower()


# Forms of logs ------------------------------------------------------------------------------------


def postfix(after: float, text: str, program: str = "smtpd") -> str:
    """Return a line of Postfix, so many seconds after midnight."""
    date = datetime.fromtimestamp(MIDNIGHT + after, UTC).isoformat()
    return f"{date} mx1 postfix/{program}[9]: {text}\n"


def rejected(after: float, reply: str = "450 4.2.0 <bob@example.org>: Greylisted") -> str:
    return postfix(
        after,
        f"NOQUEUE: reject: RCPT from mx.example.com[192.0.2.7]: {reply};"
        " from=<alice@example.com> to=<bob@example.org> proto=ESMTP helo=<mx.example.com>",
    )


def accepted(after: float, queue_id: str, sender: str = "alice@example.com") -> list[str]:
    return [
        postfix(after, f"{queue_id}: client=mx.example.com[192.0.2.7]"),
        postfix(after + 1, f"{queue_id}: from=<{sender}>, size=99, nrcpt=1", "qmgr"),
        postfix(after + 2, f"{queue_id}: to=<bob@example.org>, relay=local, delay=1", "local"),
        postfix(after + 3, f"{queue_id}: removed", "qmgr"),
    ]


def test_a_log_of_postfix_alone_is_reported(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        rejected(0),
        rejected(60),
        *accepted(400, "4F1A2B3C01"),
        *accepted(500, "4F1A2B3C02"),
        *accepted(600, "4F1A2B3C03", sender="carol@example.com"),
        rejected(700, "550 5.1.1 <bob@example.org>: unknown user"),
    )
    decisions = {(each["action"], each["reason"]): each["requests"] for each in found["decisions"]}
    assert decisions == {
        ("greylist", "new"): 1,
        ("greylist", "early-retry"): 1,
        ("pass", "triplet found"): 1,
        ("pass", "accepted"): 2,
    }
    assert found["first_contacts"]["waited"] == 1
    assert found["delays"]["longest_seconds"] == 400
    assert "no decision of greyd or postgrey" in found["approximations"][0]


def test_accepted_mail_alone_does_not_show_that_nothing_was_greylisted(tmp_path: Path) -> None:
    other = rejected(0, "450 4.2.0 <bob@example.org>: Recipient address rejected: come back later")
    found = report(tmp_path, other, *accepted(400, "4F1A2B3C01"))
    assert found["requests"] == 1
    assert "may have been greylisted with another text" in found["approximations"][1]


def test_one_decision_is_enough_to_ignore_postfixs_lines(tmp_path: Path) -> None:
    found = report(
        tmp_path, rejected(0), *accepted(400, "4F1A2B3C01"), decided(9000), rejected(9001)
    )
    assert found["requests"] == 1
    assert not any("Postfix" in each for each in found["approximations"])


def test_since_and_until_choose_among_postfixs_lines(tmp_path: Path) -> None:
    texts = [rejected(0), rejected(DAY), rejected(2 * DAY)]
    found = report(tmp_path, *texts, options=("--since=2026-03-03", "--until=2026-03-04"))
    assert found["requests"] == 1
    done = run_here("report", tmp_path / "mail.log", "--since=2026-05-01")
    assert done.returncode == 1
    assert "all 3 attempts in the log are outside --since and --until" in done.stderr


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the file is empty"),
        ("Nov 24 12:00:00 mx1 dovecot: imap-login: x\n" * 3, "lines are from dovecot (3)"),
        ("Nov 24 12:00:00 mx1 postfix/smtpd[9]: connect from x\n", "is from postfix/smtpd (1)"),
        ("<22>1 2026-11-24T12:00:00Z mx1 rspamd 7 - - x\n", "from rspamd (1)"),
        ("hello world\n", "of unknown programs, e.g. hello world"),
        ("\x00\x01\x02\x03\n" * 99, "binary data"),
    ],
)
def test_an_empty_report_states_what_the_log_contains(
    tmp_path: Path, content: str, what: str
) -> None:
    path = tmp_path / "mail.log"
    path.write_text(content)
    done = run_here("report", "--json", path)
    assert done.returncode == 1
    assert f"no decision of greyd or postgrey in {path}: looked for" in done.stderr
    assert what in done.stderr
    assert json.loads(done.stdout)["requests"] == 0


def test_unread_lines_and_files_are_shown_in_text_json_and_html(tmp_path: Path) -> None:
    odd = "Nov 24 12:00:00 mx1 spamd[9]: <b> action=greylist, reason=\x1bnew\n"
    archive = tmp_path / "old.zip"
    archive.write_bytes(b"PK\x03\x04abc")
    path, page = tmp_path / "mail.log", tmp_path / "page.html"
    path.write_text(decided(0) + odd + decided(1) + "a action" + "x" * 20_000 + "\n")
    as_text = run_here("report", path, archive, **IN_UTC)
    as_json = run_here("report", "--json", path, archive, **IN_UTC)
    as_page = run_here("report", f"--html={page}", path, archive, **IN_UTC)
    assert {as_text.returncode, as_json.returncode, as_page.returncode} == {2}
    example = "spamd[9]: <b> action=greylist, reason=%1Bnew"
    assert "1 line mentions a decision, but in a form that greyd cannot read" in as_text.stdout
    assert example in as_text.stdout
    assert f"{archive}: a zip archive" in as_text.stdout
    assert "1 line is too long" in as_text.stdout
    found = json.loads(as_json.stdout)
    assert found["requests"] == 2
    assert (found["not_read"]["lines"], found["not_read"]["too_long"]) == (1, 1)
    assert found["not_read"]["examples"] == [f"Nov 24 12:00:00 mx1 {example}"]
    assert found["not_read"]["files"][0]["file"] == str(archive)
    assert "Not read" in page.read_text()
    assert "&lt;b&gt; action=greylist" in page.read_text()


def test_a_damaged_file_is_reported_up_to_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "mail.log.gz"
    texts = "".join(decided(each, recipient=f"{each}@example.org") for each in range(5000))
    path.write_bytes(gzip.compress(texts.encode())[:-2000])
    done = run_here("report", "--json", path, **IN_UTC)
    found = json.loads(done.stdout)
    assert (done.returncode, [each["file"] for each in found["not_read"]["files"]]) == (
        0,
        [str(path)],
    )
    assert 0 < found["requests"] < 5000


def test_a_complete_report_has_no_section_on_unread_lines(tmp_path: Path) -> None:
    assert report(tmp_path, decided(0))["not_read"] == {
        "lines": 0, "examples": [], "too_long": 0, "files": [],
    }  # fmt: skip
    assert "Not read" not in shown(tmp_path, decided(0))
