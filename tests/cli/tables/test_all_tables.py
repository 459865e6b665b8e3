"""Every command with a table, on terminals of several widths and in a pipe."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.rules.keys import request_keys
from tests.commands import fill, run_here
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())
SETTINGS = Settings()
LONG = "bounces-abcdefgh-bob=example.org@em.newsletter.mailer.example.com"

COMMANDS = {
    "list": ["list", "--recipient=example.org"],
    "list --keys": ["list", "--keys"],
    "show": ["show", "bob@example.org"],
    "show client": ["show", "192.0.2.0/24"],
    "show --sort": ["show", "example.org", "--sort=passes-at", "--limit=5"],
    "stats": ["stats"],
    "release": ["release", "--recipient=example.org", "--dry-run"],
    "forget": ["forget", "--address=bob@example.org", "--dry-run"],
    "expect": ["expect"],
    "report": ["report", "LOG"],
    "replay": ["replay", "LOG", "--with=delay=900"],
    "check-whitelist": ["check-whitelist", "--hits", "--clients", "CLIENTS"],
    "whitelist list": ["whitelist", "list"],
    "config": ["config", "--all"],
    "tune": ["tune", "LOG", "--delay=60,900", "--retry-window=2d"],
    "import": ["import", "SOURCE", "--dry-run"],
}
WIDTHS = (45, 80, 100, 160)

# Words that only a terminal shows: of relative times, in cards, below tables, and scaled bars.
_OF_TERMINALS = re.compile(
    r"[0-9.]+|\+-+|s|min|h|d|in|ago|now|from|to|seen|passes|left|out|at|columns?[:;]?|[a-z-]+[,;]|show"
    r"|all|[█░]+|[0-9.,]+/s|1|client|sign|first|hits?|entry|change\)"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store, a log and a whitelist."""
    folder = tmp_path_factory.mktemp("tables")
    records = {}
    for number in range(30):
        client = ("192.0.2.7", "2001:db8:1234:5678::1", "198.51.100.7")[number % 3]
        sender = (LONG, "alice@example.com", f"{'x' * number}@mail.example.net", "")[number % 4]
        recipient = ("bob@example.org", "carol.with-a-name@department.example.org")[number % 2]
        keys = request_keys(address_of(client), sender.encode(), recipient.encode(), SETTINGS)
        age = (60, 30_000, 3000)[number % 3]
        passed = number % 5 == 0
        records[keys.triplet] = (
            b"%d,%d,%d" % (NOW - age - 900, NOW - age, NOW - age) if passed else b"%d" % (NOW - age)
        )
        if number % 6 == 0:
            records[keys.client] = b"%d,%d" % (number, NOW - age)
    fill(f"sqlite:{folder / 'greyd.db'}", records)
    url = f"--store=sqlite:{folder / 'greyd.db'}"
    run_here("expect", "bob@example.org", "--from=newsletter.mailer.example.com", url)
    line = (
        "{} mx postgrey[1]: action={}, client_name={}, client_address={}, sender={},"
        " recipient=carol.with-a-name@department.example.org\n"
    )
    actions = ("greylist, reason=new", "pass, reason=triplet found, delay=4000", "pass, reason=AWL")
    text = "".join(
        line.format(
            time.strftime("%b %e %H:%M:%S", time.localtime(NOW - 80_000 + number * 300)),
            actions[number % 7 % 3],
            ("unknown", "mail-7.outbound.provider.example.com")[number % 2],
            ("192.0.2.7", "2001:db8:1234:5678::1")[number % 4 // 2],
            (LONG, "alice@example.com")[number % 3 % 2],
        )
        for number in range(200)
    )
    (folder / "mail.log").write_text(text)
    (folder / "greylist.db").write_text(
        "".join(
            f"192.0.2.{number} <{LONG}> <bob@example.org> {NOW + 900} # 2026-11-27 10:00:00\n"
            for number in range(1, 9)
        )
    )
    (folder / "clients").write_text("192.0.2.0/24\n/^mail[0-9]+\\.outbound\\.example\\.com$/\n")
    return folder


def lines_of(place: Path, name: str, columns: int | None) -> list[str]:
    names = {"LOG": "mail.log", "CLIENTS": "clients", "SOURCE": "greylist.db"}
    files = {word: str(place / name) for word, name in names.items()}
    words = [files.get(word, word) for word in COMMANDS[name]]
    done = run_here(
        *words, f"--store=sqlite:{place / 'greyd.db'}", columns=columns, GREYD_METRICS="0",
        GREYD_DELAY="7200", GREYD_AUTO_WHITELIST_CLIENTS="5",
        GREYD_WHITELIST_CLIENTS=files["CLIENTS"],
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert "\x1b" not in done.stdout
    assert done.stdout.count("\n") > 1
    # What list and show propose below a table, on a terminal only, is no part of the table.
    return re.split("Waiting from several|why it waits:", done.stdout)[0].splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_table_fits_every_width(place: Path, name: str) -> None:
    in_pipe = lines_of(place, name, None)
    assert [line for line in in_pipe if line != line.rstrip()] == []
    assert not re.search("…(?! and)", "".join(in_pipe))
    known = {word.strip("():") for line in in_pipe for word in line.split()}
    for columns in WIDTHS:
        lines = lines_of(place, name, columns)
        assert [line for line in lines if line != line.rstrip()] == [], columns
        words = {word for line in lines for word in line.split()}
        # What is to be copied stays whole: a key, a path, a command.
        whole = {word for word in words if len(word) > columns - 4}
        assert [
            line
            for line in lines
            if len(line) > columns and not whole.intersection(line.split()) and "greyd " not in line
        ] == []
        folded = {
            word
            for word in words
            # On a narrow terminal a label may get a colon, and a note parentheses.
            if word.strip("():") not in known
            if "…" not in word and not _OF_TERMINALS.fullmatch(word)
        }  # fmt: skip
        assert folded == set(), columns


LABELS = {
    "list": {
        "state": "state|waiting", "last seen": "last seen|seen [0-9]", "client": "192.0.2.0/24",
        "passes at": "passes at|passes in", "sender": "sender|from ", "recipient": "recipient|to ",
    },
    "release": {
        "client": "192.0.2.0/24", "sender": "sender|from ", "recipient": "recipient|to ",
        "first seen": "first seen", "would pass": "would pass|passes in", "sign": "sign|network",
    },
    "check-whitelist": {"hits": "hits", "last hit": "last hit", "where": "where|clients:1",
                        "entry": "192.0.2.0/24"},
}  # fmt: skip


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", LABELS)
def test_each_column_is_shown_or_named(place: Path, name: str, columns: int) -> None:
    text = "\n".join(lines_of(place, name, columns))
    for label in LABELS[name].values():
        assert re.search(label, text), (label, text)


@pytest.mark.parametrize("columns", WIDTHS)
def test_lost_mail_is_recognised_by_its_names_and_reason(tmp_path: Path, columns: int) -> None:
    line = (
        "{} mx postgrey[1]: action=greylist, reason=new,"
        " client_name=mail-{}.outbound.provider.example.com, client_address=198.51.{}.7,"
        " sender=user{}@customer{}.example.net, recipient=carol@example.org\n"
    )
    (tmp_path / "mail.log").write_text(
        "".join(
            line.format(
                time.strftime("%b %e %H:%M:%S", time.localtime(NOW - age)),
                *[number] * 2, *[number // 2] * 2,
            )
            for number, age in enumerate([80_000, 79_000, 78_000, 77_000, 10])
        )
    )  # fmt: skip
    text = run_here("report", str(tmp_path / "mail.log"), columns=columns).stdout
    lost = text.partition("Never came back")[2].partition("domain of the client")[0]
    sender = re.search(r"u\S*@\S*1\.example\.net", lost)
    assert sender
    assert len(sender[0]) >= 20
    assert "carol@example.org" in lost
    assert "verified name" in lost
    assert re.search(r"mail-[12]\S*\.7\]", lost)
