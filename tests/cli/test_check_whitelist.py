"""``greyd check-whitelist``: as a person asks, and as a program does."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from greyd.whitelist.hits import SINCE_KEY, HitCount, hit_key
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS
from tests.commands import answer_of, fill, run_here

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path, clients: str = "", recipients: str = "") -> dict[str, str]:
    """Write both lists; returns the variables that name them."""
    (folder / "whitelist_clients").write_text(clients)
    (folder / "whitelist_recipients").write_text(recipients)
    return {
        "GREYD_WHITELIST_CLIENTS": str(folder / "whitelist_clients"),
        "GREYD_WHITELIST_RECIPIENTS": str(folder / "whitelist_recipients"),
        "GREYD_DBDIR": str(folder),
    }


def test_the_lists_that_come_with_greyd_are_clean() -> None:
    done = run_here(
        "check-whitelist", "whitelists/whitelist_clients", "whitelists/whitelist_recipients"
    )
    assert done.returncode == 0, done.stdout
    assert "no findings" in done.stdout


def test_what_is_found_has_file_line_and_remedy_and_the_status_says_so(tmp_path: Path) -> None:
    variables = files(
        tmp_path, "ok.example\n*.example.com\n", "192.0.2.1\nx.example\na.x.example\n"
    )
    done = run_here("check-whitelist", **variables)
    assert done.returncode == 1
    assert done.stdout.splitlines()[:3] == [
        f'{tmp_path}/whitelist_clients:2: "*.example.com" – never matches: it starts with "*.";'
        " write example.com, which also matches all names below it",
        f'{tmp_path}/whitelist_recipients:1: "192.0.2.1" – never matches: the address of a client;'
        " move it to the clients list",
        f'{tmp_path}/whitelist_recipients:3: note: "a.x.example" – covered by'
        f' {tmp_path}/whitelist_recipients:2: "x.example"; remove one of them',
    ]
    assert "5 entries" in done.stdout
    assert "2 errors, 1 note" in done.stdout


def test_a_program_gets_the_same(tmp_path: Path) -> None:
    variables = files(tmp_path, "ok.example\n*.example.com\n")
    done = run_here("check-whitelist", "--json", **variables)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["entries"], answer["errors"], answer["notes"]) == (2, 1, 0)
    (finding,) = answer["findings"]
    assert finding["line"] == 2
    assert finding["list"] == "clients"
    assert finding["severity"] == "error"
    assert finding["text"] == "*.example.com"


def test_a_file_is_of_the_list_that_its_name_or_an_option_tells(tmp_path: Path) -> None:
    for name in ("my_recipients", "clients", "list"):
        (tmp_path / name).write_text("bob@example.org\n")
    assert run_here("check-whitelist", tmp_path / "my_recipients").returncode == 0
    assert run_here("check-whitelist", tmp_path / "clients").returncode == 1
    unclear = run_here("check-whitelist", tmp_path / "list")
    assert unclear.returncode == 2
    assert "add --clients, --recipients, --senders," in unclear.stderr
    assert run_here("check-whitelist", "--recipients", tmp_path / "list").returncode == 0
    assert run_here("check-whitelist", "--clients", tmp_path / "list").returncode == 1
    assert run_here("check-whitelist", "--recipients", tmp_path / "clients").returncode == 0


def test_a_file_that_can_t_be_read_is_told_and_the_others_are_checked(tmp_path: Path) -> None:
    (tmp_path / "clients").write_text("*.example.com\n")
    done = run_here("check-whitelist", tmp_path / "clients", tmp_path / "clients.missing")
    assert done.returncode == 2
    assert "clients.missing: No such file" in done.stderr
    assert "*.example.com" in done.stdout


def test_one_list_alone_is_checked_where_an_option_says_so(tmp_path: Path) -> None:
    variables = files(tmp_path, "*.example.com\n", "ok.example\n")
    assert run_here("check-whitelist", "--recipients", **variables).returncode == 0
    assert run_here("check-whitelist", "--clients", **variables).returncode == 1


# Hits -------------------------------------------------------------------------------------------


@pytest.fixture
def counted(tmp_path: Path) -> dict[str, str]:
    """Store some hits."""
    variables = files(tmp_path, "a.example\nb.example\nA.Example\n# c\n/^C$/\n", "bob@\n")
    now = int(time.time())
    records = {
        SINCE_KEY: b"%d" % (now - 3 * 86400),
        hit_key(CLIENTS, b"a.example"): HitCount(5, now - 60).dump(),
        hit_key(CLIENTS, b"/^C$/"): HitCount(7, now - 7200).dump(),
        hit_key(RECIPIENTS, b"b.example"): HitCount(9, now).dump(),
    }
    fill(f"sqlite:{tmp_path / 'greyd.db'}", records)
    return variables


def test_each_line_has_its_hits_and_those_without_are_marked(counted: dict[str, str]) -> None:
    answer = answer_of("check-whitelist", "--hits", **counted)
    assert [(each["line"], each["text"], each["hits"]) for each in answer["entries"]] == [
        (1, "a.example", 5),
        (2, "b.example", 0),
        (3, "A.Example", 0),
        (5, "/^C$/", 7),
        (1, "bob@", 0),
    ]
    assert answer["never"] == 2
    assert answer["entries"][2]["same_as"].endswith("whitelist_clients:1")
    assert answer["entries"][1]["last_hit"] is None
    assert abs(answer["since"] - (time.time() - 3 * 86400)) < 100


def test_people_see_which_lines_were_never_hit_since_when(counted: dict[str, str]) -> None:
    done = run_here("check-whitelist", "--hits", **counted)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1].split()[0] == "5"
    assert "never" in lines[2]
    assert "as line 1" in lines[3]
    assert lines[-1].startswith("Counted since ")
    assert "2 of 5 entries never hit" in lines[-1]


def test_they_are_sorted_by_hits_where_that_is_wanted(counted: dict[str, str]) -> None:
    answer = answer_of("check-whitelist", "--hits", "--sort=hits", **counted)
    assert [each["hits"] for each in answer["entries"]] == [7, 5, 0, 0, 0]
    assert run_here("check-whitelist", "--hits", "--sort=x", **counted).returncode == 2


def test_where_nothing_was_counted_that_is_said(tmp_path: Path) -> None:
    variables = files(tmp_path, "a.example\n")
    fill(f"sqlite:{tmp_path / 'greyd.db'}", {})
    done = run_here("check-whitelist", "--hits", **variables)
    assert "Nothing has been counted yet" in done.stdout
    assert answer_of("check-whitelist", "--hits", **variables)["since"] is None


def test_without_a_store_there_are_no_hits_to_tell(tmp_path: Path) -> None:
    done = run_here("check-whitelist", "--hits", **files(tmp_path, "a.example\n"))
    assert done.returncode == 2
    assert "nothing is stored there" in done.stderr


# Lists of senders, and tables of the settings -----------------------------------------------------


@pytest.mark.parametrize(
    ("option", "name", "line", "found"),
    [
        ("--senders", "list", "news@", "anyone can register a domain"),
        (None, "whitelist_senders", "news@", "anyone can register a domain"),
        ("--never-auto-whitelist", "list", "0.0.0.0/0", "matches every client"),
        (None, "never_auto_whitelist", "0.0.0.0/0", "matches every client"),
        (None, "never-auto-whitelist-clients", "0.0.0.0/0", "matches every client"),
        ("--sender-logins", "list", "*@example.org bob", "* is not a wildcard here"),
        (None, "sender_logins", "bob", "the sender has no domain"),
        ("--list-override", "list", "com OK", "all names below .com"),
        (None, "list_override", "example.com BLAH", "the action is not OK"),
    ],
)
def test_the_other_lists_are_checked_too(
    tmp_path: Path, option: str | None, name: str, line: str, found: str
) -> None:
    (tmp_path / name).write_text(line + "\n")
    done = run_here("check-whitelist", *([option] if option else []), tmp_path / name)
    assert done.returncode == 1
    assert found in done.stdout


def test_a_file_of_two_lists_is_refused() -> None:
    done = run_here("check-whitelist", "--senders", "--clients", "/dev/null")
    assert done.returncode == 2
    assert "--clients and --senders: a file lists either one or the other" in done.stderr


def test_without_a_file_all_lists_are_checked_and_the_tables_shown(tmp_path: Path) -> None:
    variables = files(tmp_path, "ok.example\n", "ok.example\n")
    (tmp_path / "s").write_text("a.example\n*.b.example\n")
    (tmp_path / "n").write_text("192.0.2.0/24\n")
    (tmp_path / "l").write_text("alice@example.org alice\nalice\n")
    (tmp_path / "o").write_text("example.com OK\n0.0.0.0/0 OK\n")
    variables |= {
        "GREYD_SENDER_LOGINS": str(tmp_path / "l"),
        "GREYD_LIST_OVERRIDE": str(tmp_path / "o"),
        "GREYD_WHITELIST_SENDERS": str(tmp_path / "s"),
        "GREYD_NEVER_AUTO_WHITELIST": str(tmp_path / "n"),
        "GREYD_SENDER_GROUP": "big=192.0.2.0/24,192.0.2.128/25,example.com,mx.example.com",
        "GREYD_RECIPIENT_DOMAIN": (
            "a.example;mode=off;delay=5 b.example;delay=300 c.example;delay=60;subdomains=yes"
        ),
    }
    done = run_here("check-whitelist", **variables)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f'{tmp_path}/s:2: "*.b.example"')
    assert {
        "GREYD_SENDER_GROUP: note: 192.0.2.128/25 is covered by 192.0.2.0/24; remove"
        " 192.0.2.128/25",
        "GREYD_SENDER_GROUP: note: mx.example.com is covered by example.com; remove mx.example.com",
        "GREYD_RECIPIENT_DOMAIN: note: a.example: with mode off, delay and greylist have no"
        " effect; remove them",
        "GREYD_RECIPIENT_DOMAIN: note: b.example: sets only what the server has anyway; remove"
        " it, or change it",
    } == set(lines[3:7])
    assert "every client from the lists" in lines[1]
    assert "the sender has no domain" in lines[2]
    said = " ".join(done.stdout.split())
    assert "sender group big: 192.0.2.0/24, 192.0.2.128/25, example.com, mx.example.com" in said
    assert "recipient domain c.example and the domains below it: delay 60 s" in said
    assert "9 entries" in said
    assert "3 errors, 4 notes" in said
    as_json = json.loads(run_here("check-whitelist", "--json", **variables).stdout)
    assert as_json["sender_groups"][0]["name"] == "big"
    assert [each["domain"] for each in as_json["recipient_domains"]] == [
        "a.example", "b.example", "c.example",
    ]  # fmt: skip
    assert as_json["notes"] == 4
    only = run_here("check-whitelist", "--senders", **variables)
    assert "sender group" not in only.stdout


def test_the_hits_of_senders_are_shown_and_those_of_no_other_list(tmp_path: Path) -> None:
    variables = files(tmp_path)
    (tmp_path / "s").write_text("a.example\n")
    (tmp_path / "n").write_text("192.0.2.0/24\n")
    variables["GREYD_WHITELIST_SENDERS"] = str(tmp_path / "s")
    variables["GREYD_NEVER_AUTO_WHITELIST"] = str(tmp_path / "n")
    now = int(time.time())
    records = {
        SINCE_KEY: b"%d" % now,
        hit_key("senders", b"a.example"): HitCount(3, now).dump(),
    }
    fill(f"sqlite:{tmp_path / 'greyd.db'}", records)
    answer = answer_of("check-whitelist", "--hits", **variables)
    assert [(each["list"], each["text"], each["hits"]) for each in answer["entries"]] == [
        ("senders", "a.example", 3)
    ]
