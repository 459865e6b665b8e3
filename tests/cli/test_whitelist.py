"""``greyd whitelist`` without a running server: what it asks, writes, refuses and lists."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from greyd.cli.whitelist.adding import line_to_paste
from greyd.whitelist.hits import SINCE_KEY, HitCount, hit_key
from greyd.whitelist.list_names import CLIENTS
from tests.commands import fill, run_here

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


class Site:
    """A site's lists, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"GREYD_DBDIR": str(folder)}
        for which in ("clients", "recipients"):
            (folder / which).write_text("")
            files = f"{folder / which} {folder / which}.local"
            self.variables[f"GREYD_WHITELIST_{which.upper()}"] = files

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_here("whitelist", *arguments, **self.variables)

    def text(self, which: str) -> str:
        file = self.folder / f"{which}.local"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_list_is_guessed_and_the_guess_is_shown(site: Site) -> None:
    done = site.run("add", "192.0.2.7", "<bob@example.org>", "--reason", "asked by Bob")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "192.0.2.7: listed as a client",
        "<bob@example.org>: listed as a recipient, because of the @",
        f"added to {site.folder}/clients.local: 192.0.2.7",
        "no running server reads the file; it takes effect at the next start",
        f"added to {site.folder}/recipients.local: bob@example.org",
        "no running server reads the file; it takes effect at the next start",
        "to undo: greyd whitelist remove 192.0.2.7 bob@example.org",
    ]
    assert ": asked by Bob\n192.0.2.7\n" in site.text("clients")


def test_an_option_overrides_the_guess(site: Site) -> None:
    done = site.run("add", "example.org", "--recipient")
    assert done.returncode == 0
    assert "example.org\n" in site.text("recipients")
    assert site.run("add", "x", "--client", "--recipient").returncode == 2


@pytest.mark.parametrize(
    ("entry", "remark"),
    [("com", "whoever owns them"), ("/^mail\\./", "would match"), ("unknown", "nearly all spam")],
)
def test_strangers_need_a_confirmation(site: Site, entry: str, remark: str) -> None:
    done = site.run("add", "mx.example.com", entry)
    assert done.returncode == 2
    assert remark in done.stdout
    assert "nothing was changed: there is no terminal to confirm it; add --yes" in done.stderr
    assert site.text("clients") == ""
    assert site.run("add", entry, "--yes").returncode == 0
    assert f"{entry}\n" in site.text("clients")


def test_one_entry_without_effect_keeps_the_others_out(site: Site) -> None:
    done = site.run("add", "mx.example.com", "*.example.net", "--yes")
    assert done.returncode == 2
    assert "write example.net" in done.stderr
    assert done.stderr.endswith("greyd:   greyd whitelist add example.net\n")
    assert site.text("clients") == ""


def test_what_is_listed_or_covered_is_not_added_again(site: Site) -> None:
    (site.folder / "clients").write_text("# package\nexample.com\n")
    done = site.run("add", "mx.example.com")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        1, f"mx.example.com is already covered: {site.folder}/clients:2: example.com",
    )  # fmt: skip
    assert "is already listed" in site.run("add", "Example.COM").stdout
    assert site.text("clients") == ""


def test_a_dry_run_changes_nothing(site: Site) -> None:
    assert site.run("add", "mx.example.com", "--dry-run").returncode == 0
    assert site.text("clients") == ""
    site.run("add", "mx.example.com")
    before = site.text("clients")
    done = site.run("remove", "mx.example.com", "--dry-run")
    assert f"would remove {site.folder}/clients.local:5: mx.example.com" in done.stdout
    assert site.text("clients") == before


def test_an_entry_is_removed_by_its_text(site: Site) -> None:
    site.run("add", "mx.example.com", "a.example")
    done = site.run("remove", "MX.example.com")
    assert done.returncode == 0
    assert f"removed from {site.folder}/clients.local: mx.example.com (" in done.stdout
    assert "mx.example.com" not in site.text("clients")
    assert "a.example\n" in site.text("clients")


def test_what_still_lets_the_client_pass_is_named(site: Site) -> None:
    site.run("add", "mx.example.com")
    (site.folder / "clients").write_text("example.com\n")
    done = site.run("remove", "mx.example.com")
    still = f"mx.example.com is still whitelisted: {site.folder}/clients:1: example.com"
    assert still in done.stdout.splitlines()


def test_a_broader_entry_is_removed_only_after_a_confirmation(site: Site) -> None:
    site.run("add", "192.0.2.0/24")
    done = site.run("remove", "192.0.2.9")
    assert done.returncode == 2
    assert f"{site.folder}/clients.local:5: 192.0.2.0/24 matches 192.0.2.9" in done.stdout
    assert "192.0.2.0/24" in site.text("clients")
    assert site.run("remove", "192.0.2.9", "--yes").returncode == 0
    assert "192.0.2.0/24" not in site.text("clients")


def test_several_entries_are_a_choice(site: Site) -> None:
    site.run("add", "/^mx\\.example\\.com$/", "example.com")
    done = site.run("remove", "mx.example.com", "--yes")
    assert done.returncode == 2
    assert "2 entries match mx.example.com; name one of them:" in done.stderr
    site.run("add", "example.org", "--recipient")
    site.run("add", "example.org", "--client")
    done = site.run("remove", "example.org")
    assert done.returncode == 2
    assert "--client:" in done.stderr
    assert "--recipient:" in done.stderr
    assert site.run("remove", "example.org", "--client").returncode == 0


def test_an_entry_of_another_file_is_named_and_stays(site: Site) -> None:
    (site.folder / "clients").write_text("example.com\n")
    done = site.run("remove", "mx.example.com")
    assert done.returncode == 1
    assert f"{site.folder}/clients:1: example.com matches it" in done.stdout
    assert (site.folder / "clients").read_text() == "example.com\n"


def test_the_list_has_date_reason_and_hits(site: Site) -> None:
    (site.folder / "clients").write_text("example.com\n")
    site.run("add", "mx.example.net", "--reason", "slow queue")
    now = int(time.time())
    records = {
        SINCE_KEY: b"%d" % now,
        hit_key(CLIENTS, b"mx.example.net"): HitCount(7, now).dump(),
    }
    fill(f"sqlite:{site.folder}/greyd.db", records)
    (entry,) = json.loads(site.run("list", "--json").stdout)["entries"]
    assert (entry["entry"], entry["list"], entry["line"]) == ("mx.example.net", "clients", 5)
    assert (entry["reason"], entry["hits"], entry["last_hit"]) == ("slow queue", 7, now)
    done = site.run()
    assert "1 entries in other files; --all shows them" not in done.stdout
    assert "1 entry in other files; --all shows it" in done.stdout
    assert "example.com" in site.run("list", "--all").stdout
    assert "example.com" in site.run("list", "a.example.com").stdout


def test_a_store_that_cannot_be_read_hides_no_entry(site: Site) -> None:
    site.run("add", "mx.example.net")
    done = site.run("list")
    assert done.returncode == 0
    assert "mx.example.net" in done.stdout
    assert "hits are not known" in done.stderr


def test_a_program_gets_the_same(site: Site) -> None:
    answer = json.loads(site.run("add", "mx.example.net", "--json").stdout)
    assert answer["changed"] is True
    assert answer["entries"][0]["added"] is True
    assert answer["servers"] == []
    answer = json.loads(site.run("remove", "mx.example.net", "--json").stdout)
    assert answer["removed"] == [
        {"entry": "mx.example.net", "file": f"{site.folder}/clients.local"}
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["big.example"], "big.example and all names below it"),
        (["mx.example.net", "--client"], "mx.example.net and all names below it"),
        (["example.org", "--recipient"], "example.org and its subdomains"),
        (["bob@example.org"], "bob@example.org"),
        (["192.0.2.9"], "192.0.2.9"),
        (["2001:db8::/48"], "2001:db8::/48"),
    ],
)
def test_what_an_entry_covers_is_said(site: Site, words: list[str], said: str) -> None:
    done = site.run("add", *words, "--yes")
    added = [line for line in done.stdout.splitlines() if line.startswith("added to ")]
    assert [line.partition(": ")[2] for line in added] == [said]


@pytest.mark.parametrize(
    ("word", "proposed"),
    [
        ("big.example", True),
        ("192.0.2.0/24", True),
        ("bob@example.org", True),
        ("2001:db8::1", True),
        ("ad", False),
        ("entries", False),
    ],
)
def test_an_entry_in_place_of_the_action_is_no_riddle(
    site: Site, word: str, proposed: bool
) -> None:
    done = site.run(word)
    assert done.returncode == 2
    assert "is not an action: expected add, remove or list" in done.stderr
    for action in ("list", "add"):
        assert (f"  greyd whitelist {action} {word}\n" in done.stderr) is proposed
    assert site.run("LIST").returncode == 0


def test_a_list_without_a_file_of_ones_own_is_a_note_below_the_table(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.variables["GREYD_WHITELIST_RECIPIENTS"] = str(tmp_path / "recipients")
    assert site.run("add", "mx.example.net").returncode == 0
    done = site.run()
    assert "mx.example.net" in done.stdout.splitlines()[1]
    last = done.stdout.splitlines()[-1]
    assert last == "recipients: the server reads no .local file; --recipient shows which"
    assert "recipients" not in done.stderr
    assert "add --whitelist-recipients=" in site.run("add", "bob@example.org").stderr
    assert "add --whitelist-recipients=" in site.run("list", "--recipient").stderr


def test_an_entry_like_an_option_can_be_undone_by_the_line_that_is_shown(site: Site) -> None:
    done = site.run("add", "--", "-bob@example.org")
    line = done.stdout.splitlines()[-1].removeprefix("to undo: greyd whitelist ")
    assert line == "remove -- -bob@example.org"
    assert site.run(*line.split()).returncode == 0
    assert "-bob@" not in site.text("recipients")
    pasted = line_to_paste("-bob@example.org", "recipients", "asks")
    assert pasted == "greyd whitelist add --reason asks -- -bob@example.org"


@pytest.mark.parametrize("entry", ["#a.example", "a.example # b", "a.example\nb.example"])
def test_no_line_to_paste_has_what_is_not_one_entry(entry: str) -> None:
    assert line_to_paste(entry, "clients") is None


def test_a_file_left_over_from_a_crash_is_in_nobody_s_way(site: Site) -> None:
    (site.folder / f".clients.local.{os.getpid()}.tmp").write_text("half")
    assert site.run("add", "192.0.2.7").returncode == 0
    assert sorted(each.name for each in site.folder.glob(".*")) == []
