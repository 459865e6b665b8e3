"""``greyd import`` as a person runs it: what is stored, for how long, and what is said of it."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.importing.items import ImportedEntry
from greyd.cli.importing.postgrey.decoder import PostgreyDecoder
from greyd.cli.importing.postgrey.dump import KeyValue
from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.rules.address import parse_address
from greyd.rules.keys import request_keys
from tests.commands import answer_of, content, fill, run_here
from tests.evidence import evidence_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOW = int(time.time())
HEAD = b"VERSION=3\nformat=print\ntype=btree\ndb_pagesize=4096\nHEADER=END\n"
END = b"DATA=END\n"
ALICE = b"192.0.2.0/alice@example.com/bob@example.org"
ALICE_HERE = b"{192.0.2.0}/alice@example.com/bob@example.org"


def dump(*lines: bytes) -> bytes:
    """Return a dump of keys and values in turn, as they stand."""
    return HEAD + b"".join(b" %b\n" % line for line in lines) + END


def triplet(first: int, last: int, key: bytes = ALICE) -> bytes:
    """Return a dump of one triplet, its times in seconds before now."""
    return dump(key, b"%d,%d" % (NOW - first, NOW - last))


def imported(folder: Path, given: bytes, *arguments: str, **variables: str) -> Any:
    """Import a dump; returns what the command says."""
    done = run_here(
        "import", "-", f"--dbdir={folder}", "--json", *arguments, given=given, **variables
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def stored(folder: Path) -> dict[bytes, bytes]:
    """Return what is stored, without the note for the log."""
    records = content(f"sqlite:{folder / 'greyd.db'}")
    records.pop(b"control", None)
    return records


# Dumps --------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_counted_and_its_beginning_shown(tmp_path: Path) -> None:
    given = dump(
        b"192.0.2.0/no-recipient", b"1,2",
        b"not-an-address/a@b.example/c@d.example", b"1,2",
        b"192.0.2.7", b"never",
        b"\\1b[2Jwhat", b"1,2",
    )  # fmt: skip
    told = imported(tmp_path, given)
    assert told["unreadable"]["count"] == 4
    assert "\x1b" not in "".join(told["unreadable"]["first"])
    assert "192.0.2.0/no-recipient 1,2" in told["unreadable"]["first"]


def test_a_dump_that_was_cut_off_is_taken_over_and_told_of(tmp_path: Path) -> None:
    given = triplet(1000, 100).removesuffix(END)
    done = run_here("import", "-", f"--dbdir={tmp_path}", given=given)
    assert done.returncode == 1
    assert "DATA=END" in done.stdout
    assert list(stored(tmp_path)) == [ALICE_HERE]


# Keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        (ALICE, Settings()),
        (b"192.0.2.7/32/alice@example.com/bob@example.org", Settings()),
        (b"192.0.2.7/32/alice@example.com/bob@example.org", Settings(lookup_by_host=True)),
        (b"192.0.2.7/alice@example.com/bob@example.org", Settings(ipv4cidr=32)),
        (ALICE, Settings(ipv4cidr=20)),
        (ALICE, Settings(privacy=True)),
        (ALICE, Settings(privacy=True, privacy_key=b"0123456789abcdef")),
    ],
)
def test_a_triplet_is_where_this_server_looks_for_it(key: bytes, settings: Settings) -> None:
    address = parse_address(b"192.0.2.7" if b"2.7" in key or settings.ipv4cidr == 20
                            else b"192.0.2.0")  # fmt: skip
    assert address is not None
    found = PostgreyDecoder(settings, 300).decode(KeyValue(key, b"%d,%d" % (NOW, NOW)))
    assert isinstance(found, ImportedEntry)
    assert (
        request_keys(address, b"alice@example.com", b"bob@example.org", settings).triplet
        in found.keys
    )


def test_a_sender_is_not_normalised_twice() -> None:
    """Once more, ``prvs=a=b`` would lose its tag, and nobody would look for it there."""
    found = PostgreyDecoder(Settings(), 300).decode(
        KeyValue(b"192.0.2.0/prvs=a=b@x.example/r@y.example", b"%d,%d" % (NOW, NOW))
    )
    address = parse_address(b"192.0.2.7")
    assert isinstance(found, ImportedEntry)
    assert address is not None
    asked = request_keys(address, b"prvs=a=b+c=d@x.example", b"r@y.example", Settings()).triplet
    assert found.keys == (asked,)


# Times --------------------------------------------------------------------------------------------


def test_what_has_passed_there_has_passed_here_and_keeps_its_times(tmp_path: Path) -> None:
    imported(tmp_path, triplet(1000, 100))
    assert stored(tmp_path) == {ALICE_HERE: b"%d,%d,%d" % (NOW - 1000, NOW - 100, NOW - 700)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (triplet(36 * DAY + 400, 36 * DAY), "expired"),
        (triplet(3 * DAY, 3 * DAY - 10), "expired"),
        (triplet(3 * DAY, 3 * DAY - 400), "imported"),
        (triplet(DAY, DAY), "imported"),
        (dump(b"192.0.2.7", b"9,%d" % (NOW - 36 * DAY)), "expired"),
        (dump(b"192.0.2.7", b"9,%d" % (NOW - 34 * DAY)), "imported"),
    ],
    ids=["passed, old", "waits, old", "passed", "waits", "client, old", "client"],
)
def test_what_is_too_old_is_left_out(tmp_path: Path, given: bytes, expected: str) -> None:
    told = imported(tmp_path, given)["entries"]
    counts = {name: told["triplets"][name] + told["clients"][name] for name in told["clients"]}
    assert {name for name, count in counts.items() if count} == {"read", expected}


def test_everything_lives_as_long_as_if_it_had_been_learned_here(tmp_path: Path) -> None:
    client = dump(b"198.51.100.7", b"3,%d" % (NOW - 30 * DAY))
    waiting = triplet(DAY, DAY, b"10.0.0.0/a@example.com/bob@example.org")
    imported(tmp_path, triplet(20 * DAY, 19 * DAY) + client + waiting)
    with closing(sqlite3.connect(tmp_path / "greyd.db")) as connection:
        rows = connection.execute("SELECT key, expires_at FROM record").fetchall()
    left = {key: round((expires - NOW) / HOUR) for key, expires in rows if key != b"control"}
    assert left == {
        ALICE_HERE: 16 * 24 + 1,
        b"{198.51.100.0}:198.51.100.7": 5 * 24 + 1,
        b"{10.0.0.0}/a@example.com/bob@example.org": 24 + 1,
    }


def test_who_waited_a_shorter_time_there_does_not_wait_again(tmp_path: Path) -> None:
    imported(tmp_path, triplet(1000, 900), "--from-delay=60")
    (record,) = stored(tmp_path).values()
    first, last, _ = map(int, record.split(b","))
    assert (last - first, last) == (300, NOW - 900)


def test_without_being_told_of_a_shorter_delay_it_waits_on(tmp_path: Path) -> None:
    imported(tmp_path, triplet(1000, 900))
    assert stored(tmp_path) == {ALICE_HERE: b"%d,%d" % (NOW - 1000, NOW - 900)}


def test_where_delays_differ_what_has_passed_says_so(tmp_path: Path) -> None:
    imported(tmp_path, triplet(1000, 600), GREYD_DELAY="0,300,900,3600")
    assert stored(tmp_path) == {ALICE_HERE: b"%d,%d,%d" % (NOW - 1000, NOW - 600, NOW - 700)}


# Merging ------------------------------------------------------------------------------------------


def known(folder: Path, key: bytes, value: bytes) -> None:
    fill(f"sqlite:{folder / 'greyd.db'}", {key: value})


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ((50, 50, None), (1000, 900), (1000, 50, None)),
        ((2000, 50, 1500), (1000, 900), (2000, 50, 1500)),
        ((2000, 50, 500), (1000, 600), (2000, 50, 700)),
        ((50, 50, None), (1000, 600), (1000, 50, 700)),
        # What has waited in vain for longer than the window is as if it were not there.
        ((4 * DAY, 4 * DAY - 20, None), (1000, 900), (1000, 900, None)),
    ],
)
def test_of_a_triplet_the_earliest_and_the_latest_sight_stay(
    tmp_path: Path,
    here: tuple[int, int, int | None],
    there: tuple[int, int],
    expected: tuple[int, int, int | None],
) -> None:
    def text(times: tuple[int, int, int | None]) -> bytes:
        return b",".join(b"%d" % (NOW - each) for each in times if each is not None)

    known(tmp_path, ALICE_HERE, text(here))
    imported(tmp_path, triplet(*there))
    assert stored(tmp_path) == {ALICE_HERE: text(expected)}


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [((2, 50), (5, 900), (5, 50)), ((7, 900), (5, 50), (7, 50)), ((7, 50), (5, 900), (7, 50))],
)
def test_of_a_client_the_greatest_count_and_the_latest_time_stay(
    tmp_path: Path, here: tuple[int, int], there: tuple[int, int], expected: tuple[int, int]
) -> None:
    key = b"{192.0.2.0}:192.0.2.7"
    known(tmp_path, key, b"%d,%d" % (here[0], NOW - here[1]))
    told = imported(tmp_path, dump(b"192.0.2.7", b"%d,%d" % (there[0], NOW - there[1])))
    assert stored(tmp_path) == {key: b"%d,%d" % (expected[0], NOW - expected[1])}
    kind = "unchanged" if here == expected else "merged"
    assert told["entries"]["clients"][kind] == 1


def test_a_second_import_changes_nothing_not_even_the_time_to_live(tmp_path: Path) -> None:
    given = triplet(1000, 100) + dump(b"2001:DB8:0:1:0:0:0:7", b"4,%d" % NOW)

    def rows() -> list[tuple[bytes, ...]]:
        with closing(sqlite3.connect(tmp_path / "greyd.db")) as connection:
            return connection.execute("SELECT * FROM record ORDER BY id").fetchall()

    imported(tmp_path, given)
    before = rows()
    told = imported(tmp_path, given)["entries"]
    assert rows() == before
    assert [told[kind]["unchanged"] for kind in ("triplets", "clients")] == [1, 1]


def test_a_trial_changes_nothing_and_says_what_would_be(tmp_path: Path) -> None:
    known(tmp_path, ALICE_HERE, b"%d" % (NOW - 50))
    before = stored(tmp_path)
    other = triplet(1000, 100, b"10.0.0.0/a@example.com/bob@example.org")
    told = imported(tmp_path, triplet(1000, 100) + other, "--dry-run")["entries"]["triplets"]
    assert (told["imported"], told["merged"]) == (1, 1)
    assert stored(tmp_path) == before


def test_the_servers_log_is_told_what_was_imported(tmp_path: Path) -> None:
    imported(tmp_path, triplet(1000, 100))
    assert b"imported 1 triplet" in content(f"sqlite:{tmp_path / 'greyd.db'}")[b"control"]


# sqlgrey ------------------------------------------------------------------------------------------

SQLGREY = """
CREATE TABLE from_awl (sender_name varchar(64) NOT NULL, sender_domain varchar(255) NOT NULL,
    src varchar(39) NOT NULL, first_seen timestamp NOT NULL, last_seen timestamp NOT NULL,
    PRIMARY KEY (src, sender_domain, sender_name));
CREATE TABLE domain_awl (sender_domain varchar(255) NOT NULL, src varchar(39) NOT NULL,
    first_seen timestamp NOT NULL, last_seen timestamp NOT NULL, PRIMARY KEY (src, sender_domain));
CREATE TABLE connect (sender_name varchar(64) NOT NULL, sender_domain varchar(255) NOT NULL,
    src varchar(39) NOT NULL, rcpt varchar(255) NOT NULL, first_seen timestamp NOT NULL);
"""
"""As sqlgrey 1.8.0 makes them. The rows below are such as it has written, too."""


def sqlgreys(folder: Path, **tables: Sequence[tuple[object, ...]]) -> Path:
    path = folder / "sqlgrey.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SQLGREY)
        for name, rows in tables.items():
            for row in rows:
                # Perl's octets are stored as text, whatever they are.
                texts = [f"CAST(x'{each.hex()}' AS TEXT)" if isinstance(each, bytes) else str(each)
                         for each in row]  # fmt: skip
                connection.execute(f"INSERT INTO {name} VALUES ({', '.join(texts)})")
    return path


def test_who_waits_for_sqlgrey_waits_for_the_rest_here(tmp_path: Path) -> None:
    now = NOW - 100
    source = sqlgreys(
        tmp_path,
        connect=[
            (b"bob+x", b"example.com", b"192.0.2", b"bob@example.org", now),
            (b"list-123-4", b"example.com", b"2001:db8::7", b"bob@example.org", now),
            (b"-undef-", b"-undef-", b"192.0.2.8", b"bob@example.org", now),
            (b"eui64", b"example.com", b"2001:0db8:0000:0009", b"bob@example.org", now),
            (b"noat", b"-undef-", b"198.51.100.9", b"bob@example.org", now),
            (b"caf\xe9", b"example.com",
             b"2001:0db8:0000:0001:0000:0000:0000:0007", b"bob@example.org", now),
        ],
    )  # fmt: skip
    told = answer_of("import", source, f"--dbdir={tmp_path}")
    assert told["entries"]["triplets"]["imported"] == 6
    assert stored(tmp_path) == {
        b"{192.0.2.0}/bob@example.com/bob@example.org": b"%d" % now,
        b"{2001:db8::}/list-#-#@example.com/bob@example.org": b"%d" % now,
        b"{192.0.2.0}//bob@example.org": b"%d" % now,
        b"{2001:db8:0:9::}/eui64@example.com/bob@example.org": b"%d" % now,
        b"{198.51.100.0}/noat/bob@example.org": b"%d" % now,
        b"{2001:db8:0:1::}/caf\xe9@example.com/bob@example.org": b"%d" % now,
    }


def test_an_address_that_sqlgrey_knows_has_a_success_for_each_hour_and_a_network_none(
    tmp_path: Path,
) -> None:
    source = sqlgreys(
        tmp_path,
        from_awl=[
            (b"a", b"example.com", b"192.0.2.8", NOW - 9 * HOUR, NOW - 8 * HOUR),
            (b"b", b"example.com", b"192.0.2.8", NOW - 9 * HOUR + 60, NOW - HOUR),
            (b"c", b"example.com", b"192.0.2.8", NOW - 5 * HOUR, NOW - 5 * HOUR),
            (b"a", b"example.com", b"198.51.100", NOW - 9 * HOUR, NOW),
        ],
        domain_awl=[
            (b"example.net", b"192.0.2.8", NOW - 3 * HOUR, NOW - 2 * HOUR),
            (b"example.net", b"203.0.113", NOW - 3 * HOUR, NOW),
            (b"example.net", b"2001:0db8:0000:0009", NOW - 3 * HOUR, NOW),
        ],
    )
    told = answer_of("import", source, f"--dbdir={tmp_path}")
    assert stored(tmp_path) == {b"{192.0.2.0}:192.0.2.8": b"3,%d" % (NOW - HOUR)}
    assert told["entries"]["clients"]["not_taken_over"] == 3
    assert "learned anew" in told["not_taken_over"][0]["reason"]


# Other stores -------------------------------------------------------------------------------------

OWN = {
    ALICE_HERE: b"%d,%d,%d" % (NOW - 1000, NOW - 100, NOW - 500),
    b"{192.0.2.0}:192.0.2.7": b"4,%d" % NOW,
    b"{example.com}/alice@example.com/bob@example.org": b"%d,%d,%d" % (NOW - 900, NOW, NOW - 500),
    b"{example.com}:example.com": b"3,%d,%d" % (NOW, NOW - 5 * DAY),
    b"{example.com}~" + b"0" * 64: b"%d" % NOW,
}


def test_all_that_another_store_remembers_comes_over_with_the_time_it_has_left(
    tmp_path: Path,
) -> None:
    fill(f"sqlite:{tmp_path / 'old.db'}", OWN, ttl_seconds=5000)
    fill(f"sqlite:{tmp_path / 'old.db'}", {b"control": b"{}"})
    told = answer_of("import", f"sqlite:{tmp_path / 'old.db'}", f"--dbdir={tmp_path}")
    assert stored(tmp_path) == OWN
    assert {kind for kind, row in told["entries"].items() if row["imported"]} == {
        "triplets", "clients", "identity_triplets", "identities", "correspondences"
    }  # fmt: skip
    with closing(sqlite3.connect(tmp_path / "greyd.db")) as connection:
        rows = connection.execute("SELECT expires_at FROM record WHERE key != x'636f6e74726f6c'")
        assert all(4900 <= expires - time.time() <= 5000 for (expires,) in rows)


def test_a_readable_store_is_hashed_on_its_way_into_a_private_server(tmp_path: Path) -> None:
    fill(f"sqlite:{tmp_path / 'old.db'}", OWN)
    source = f"sqlite:{tmp_path / 'old.db'}"
    answer_of("import", source, f"--dbdir={tmp_path}", GREYD_PRIVACY="yes")
    private = Settings(privacy=True)
    address = parse_address(b"192.0.2.7")
    assert address is not None
    made = request_keys(
        address,
        b"alice@example.com",
        b"bob@example.org",
        private,
        evidence_for(b"example.com", speaks=False),
    )
    assert set(stored(tmp_path)) == {
        made.triplet,
        made.client,
        *made.identities[0],
        b"~" + b"0" * 64,
    }


def test_a_private_store_does_not_come_into_a_readable_server(tmp_path: Path) -> None:
    hashed = {b"/" + b"a" * 40: b"%d" % NOW, b":" + b"b" * 40: b"3,%d" % NOW}
    fill(f"sqlite:{tmp_path / 'old.db'}", hashed)
    done = run_here("import", f"sqlite:{tmp_path / 'old.db'}", f"--dbdir={tmp_path}")
    assert done.returncode == 1
    assert stored(tmp_path) == {}
    told = run_here(
        "import", f"sqlite:{tmp_path / 'old.db'}", f"--dbdir={tmp_path}", GREYD_PRIVACY="yes"
    )
    assert told.returncode == 0
    assert stored(tmp_path) == hashed


# What can't be done -------------------------------------------------------------------------------


def test_what_is_no_source_is_told_in_one_line(tmp_path: Path) -> None:
    fill(f"sqlite:{tmp_path / 'greyd.db'}", OWN)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").mkdir()
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    for source, said in {
        str(tmp_path / "missing"): "No such file",
        str(tmp_path / "text"): "neither a dump",
        str(tmp_path / "empty"): "no postgrey.db",
        str(tmp_path / "other.db"): "neither sqlgrey's",
        f"sqlite:{tmp_path / 'greyd.db'}": "own store",
        str(tmp_path / "greyd.db"): "own store",
        "memory://": "no command can read it",
    }.items():
        done = run_here("import", source, f"--dbdir={tmp_path}")
        assert (done.returncode, done.stdout) == (2, ""), source
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
