"""What is read from other programs' databases, and how it is merged with what is known."""

from __future__ import annotations

import io
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from greyd.cli.errors import CommandError
from greyd.cli.importing.greyd_store import convert_record, is_same_database
from greyd.cli.importing.items import (
    ImportedEntry,
    ImportedRecord,
    ImportOutcome,
    SkippedEntry,
    UnreadableItem,
)
from greyd.cli.importing.merge import adapt_to_delay, is_expired, merge_rule
from greyd.cli.importing.postgrey.decoder import PostgreyDecoder, split_names
from greyd.cli.importing.postgrey.dump import MAX_LINE_BYTES, KeyValue, is_dump, read_dump
from greyd.cli.importing.postgrey.network_prefixes import NetworkPrefixes
from greyd.cli.importing.sqlgrey import SqlgreyDatabase
from greyd.cli.importing.sqlite_file import open_sqlite_file
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind
from greyd.rules.greylist import decide
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, Identity, RememberedRecords, Triplet
from greyd.rules.transaction import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = 1_700_000_000
DAY = 86400


def dump(*pairs: tuple[bytes, bytes], form: bytes = b"print") -> bytes:
    lines = [b"VERSION=3", b"format=" + form, b"type=btree", b"HEADER=END"]
    lines += [b" " + text for pair in pairs for text in pair]
    return b"\n".join([*lines, b"DATA=END", b""])


def read(data: bytes) -> list[KeyValue | UnreadableItem]:
    return list(read_dump(io.BytesIO(data)))


# The dump -----------------------------------------------------------------------------------------


def printable(data: bytes) -> bytes:
    """Return bytes as db_dump -p writes them."""
    return b"".join(
        b"\\\\" if byte == 0x5C else bytes([byte]) if 32 <= byte < 127 else b"\\%02x" % byte
        for byte in data
    )


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=20)), max_size=5))
def test_what_db_dump_writes_is_read(pairs: list[tuple[bytes, bytes]]) -> None:
    written = [(printable(key), printable(value)) for key, value in pairs]
    assert read(dump(*written)) == [KeyValue(*each) for each in pairs]
    written = [(key.hex().encode(), value.hex().encode()) for key, value in pairs]
    assert read(dump(*written, form=b"bytevalue")) == [KeyValue(*each) for each in pairs]


def test_one_dump_may_follow_another() -> None:
    assert read(dump((b"a", b"1,2")) + dump((b"62", b"32"), form=b"bytevalue")) == [
        KeyValue(b"a", b"1,2"),
        KeyValue(b"b", b"2"),
    ]


@given(st.lists(st.sampled_from(dump((b"k", b"1,2")).splitlines()) | st.binary(max_size=9)))
def test_any_lines_behind_the_first_can_be_read(lines: list[bytes]) -> None:
    for item in read(b"\n".join([b"VERSION=3", *lines])):
        assert isinstance(item, KeyValue | UnreadableItem)


@pytest.mark.parametrize("data", [b"", b"hello\n", b"\0" * 100_000])
def test_what_is_no_dump_is_refused(data: bytes) -> None:
    with pytest.raises(CommandError, match="VERSION="):
        read(data)


def test_a_line_that_is_too_long_is_unreadable_and_the_next_entry_is_read() -> None:
    long = b"x" * (3 * MAX_LINE_BYTES)
    items = read(dump((long, b"1,2"), (b"k", b"1,2")))
    assert isinstance(items[0], UnreadableItem)
    assert len(items[0].excerpt) < 1000
    assert items[1:] == [KeyValue(b"k", b"1,2")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("form", [printable, lambda data: data.hex().encode()])
def test_a_salvaged_dump_may_have_no_header(form: Callable[[bytes], bytes], end: bytes) -> None:
    keys = [b"192.0.2.0/a@example.com/b@example.org", b"0" * 40, b"\xff/\\"]
    lines = [b" " + form(each) for key in keys for each in (key, b"%d,%d" % (T, T))]
    data = end.join([*lines, b"DATA=END", b""])
    assert is_dump(data)
    assert read(data) == [KeyValue(key, b"%d,%d" % (T, T)) for key in keys]


def test_a_dump_that_ends_too_early_says_so() -> None:
    whole = dump((b"k", b"1,2"), (b"l", b"1,2"))
    cut = read(whole[: whole.index(b" l")])
    assert cut[0] == KeyValue(b"k", b"1,2")
    assert isinstance(cut[-1], UnreadableItem)


# Postgrey's entries -------------------------------------------------------------------------------


def found(key: bytes, value: bytes = b"%d,%d" % (T, T + 400), *words: str) -> object:
    return PostgreyDecoder(merge_settings(from_arguments(words)[0]), 300).decode(
        KeyValue(key, value)
    )


def test_a_triplet_is_found_under_the_key_that_its_mail_has() -> None:
    settings = Settings()
    for key, address, sender in (
        (b"192.0.2.0/alice@example.com/bob@example.org", b"192.0.2.7", b"alice@example.com"),
        (b"192.0.2.0//bob@example.org", b"192.0.2.7", b""),
        (
            b"2001:db8:0:0:0:0:0:0/a#b@example.com/bob@example.org",
            b"2001:db8::9",
            b"a#b@example.com",
        ),
        (b"192.0.2.7/32/x@example.com/bob@example.org", b"192.0.2.7", b"x@example.com"),
        (b"192.0.2.0/24/x@example.com/bob@example.org", b"192.0.2.7", b"x@example.com"),
        (b"192.0.2.0/24//bob@example.org", b"192.0.2.7", b""),
        (b"2001:db8::7/128/x@example.com/bob@example.org", b"2001:db8::9", b"x@example.com"),
        (
            b"2001:db8:0:0:0:0:0:0/64/x@example.com/bob@example.org",
            b"2001:db8::9",
            b"x@example.com",
        ),
        (b"::ffff:192.0.2.7/128/x@example.com/bob@example.org", b"192.0.2.9", b"x@example.com"),
        # No prefix lengths, but senders with a slash or without a domain.
        (b"192.0.2.0/a24/bob@example.org", b"192.0.2.7", b"a24"),
        (b"192.0.2.0/a24/x@example.com/bob@example.org", b"192.0.2.7", b"a24/x@example.com"),
    ):
        client = parse_address(address)
        assert client is not None
        item = found(key)
        assert isinstance(item, ImportedEntry)
        assert request_keys(client, sender, b"bob@example.org", settings).triplet in item.keys
        assert item.record == Triplet(T, T + 400, T + 300)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"192.0.2.7/32", b"{192.0.2.0}:192.0.2.7"),
        (b"2001:db8:0:0:0:0:0:7/128", b"{2001:db8::}:2001:db8::7"),
    ],
)
def test_a_client_may_have_a_prefix_length(key: bytes, expected: bytes) -> None:
    item = found(key, b"5,%d" % T)
    assert item == ImportedEntry(EntryKind.CLIENT, (expected,), Client(5, T))


@pytest.mark.parametrize("key", [b"192.0.2.0/24", b"2001:db8::/64", b"192.0.2.7/33", b"x/32"])
def test_a_network_is_not_a_client(key: bytes) -> None:
    assert isinstance(found(key, b"5,%d" % T), UnreadableItem)


def test_a_client_is_told_from_a_triplet_and_a_hash_by_its_value() -> None:
    assert found(b"192.0.2.7", b"5,%d" % T) == ImportedEntry(
        EntryKind.CLIENT, (b"{192.0.2.0}:192.0.2.7",), Client(5, T)
    )
    hashed = b"0123456789abcdef0123456789abcdef01234567"
    private = found(hashed, b"5,%d" % T, "--privacy")
    assert private == ImportedEntry(EntryKind.CLIENT, (b":" + hashed,), Client(5, T))
    private = found(hashed, b"%d,%d" % (T, T), "--privacy")
    assert private == ImportedEntry(EntryKind.TRIPLET, (b"/" + hashed,), Triplet(T, T))
    refused = found(hashed)
    assert isinstance(refused, SkippedEntry)
    assert refused.is_problem


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_any_pair_is_something(key: bytes, value: bytes) -> None:
    assert isinstance(found(key, value), ImportedEntry | SkippedEntry | UnreadableItem)
    for good in (b"192.0.2.0/" + key, key):
        assert isinstance(found(good), ImportedEntry | SkippedEntry | UnreadableItem)


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (b"a@x.example/b@y.example", (b"a@x.example", b"b@y.example")),
        (b"/b@y.example", (b"", b"b@y.example")),
        (b"a/c@x.example/b@y.example", (b"a/c@x.example", b"b@y.example")),
        (b"a@x.example/b/c@y.example", (b"a@x.example", b"b/c@y.example")),
        (b"/b/c@y.example", (b"", b"b/c@y.example")),
    ],
)
def test_a_slash_in_a_name_does_not_hide_where_the_recipient_begins(
    names: bytes, split: tuple[bytes, bytes]
) -> None:
    assert split in split_names(names)


def test_many_slashes_make_few_keys() -> None:
    assert len(split_names(b"/".join([b"a"] * 500))) <= 4


def networks(prefix: int, number: int, *words: str) -> list[tuple[str, bool]]:
    prefixes = NetworkPrefixes(merge_settings(from_arguments(words)[0]))
    for each in range(number):
        address = parse_address(b"%d.%d.%d.%d" % (10, each, each, each))
        assert address is not None
        free = 32 - prefix
        prefixes.add(address._replace(number=address.number >> free << free))
    return [(each.text, each.is_problem) for each in prefixes.warnings()]


def test_networks_are_compared_with_the_servers() -> None:
    assert networks(24, 100) == []
    ((text, wrong),) = networks(16, 100)
    assert wrong
    assert "--ipv4cidr=16" in text
    assert networks(16, 20) == [], "a few may end with zeros by chance"
    ((text, wrong),) = networks(32, 100)
    assert not wrong
    assert "cut to /24" in text
    assert networks(16, 100, "--ipv4cidr=16") == []


# Merging ------------------------------------------------------------------------------------------

times = st.integers(T - 60 * DAY, T)
triplets = st.builds(
    lambda first, seen, passed: Triplet(first, first + seen, first + 300 if passed else None),
    times,
    st.integers(0, DAY),
    st.booleans(),
)
records = st.one_of(
    st.lists(triplets, min_size=1, max_size=4),
    st.lists(st.builds(Client, st.integers(1, 9), times), min_size=1, max_size=4),
    st.lists(
        st.builds(
            lambda n, a, b: Identity(n, max(a, b), min(a, b)), st.integers(1, 9), times, times
        ),
        min_size=1,
        max_size=4,
    ),
)


def merge(known: list[ImportedRecord]) -> bytes | None:
    """Import some records one after the other; returns what is stored then."""
    stored: bytes | None = None
    for record in known:
        item = ImportedEntry(EntryKind.OTHER, (b"k",), record)
        if not is_expired(record, T, Settings()):
            _, changes = merge_rule(item, T, Settings())([stored])
            for change in changes:
                assert change.ttl_seconds > 0
                stored = change.value
    return stored


@given(records)
def test_the_order_of_imports_does_not_matter_and_none_counts_twice(
    known: list[ImportedRecord],
) -> None:
    stored = merge(known)
    assert merge(known[::-1]) == stored
    assert merge(known + known) == stored


@given(triplets)
def test_the_second_import_says_that_nothing_has_changed(triplet: Triplet) -> None:
    assume(not is_expired(triplet, T, Settings()))
    rule = merge_rule(ImportedEntry(EntryKind.TRIPLET, (b"k",), triplet), T, Settings())
    (_, outcome), changes = rule([None])
    assert outcome is ImportOutcome.IMPORTED
    assert rule([changes[0].value]) == ((EntryKind.TRIPLET, ImportOutcome.UNCHANGED), [])


def test_a_dry_run_says_the_same_and_changes_nothing() -> None:
    item = ImportedEntry(EntryKind.TRIPLET, (b"k",), Triplet(T, T))
    answer, changes = merge_rule(item, T, Settings(), dry_run=True)([None])
    assert answer == merge_rule(item, T, Settings())([None])[0]
    assert list(changes) == []


@pytest.mark.parametrize(
    "words", [[], ["--delay=3600"], ["--delay=0,300,600,86000"], ["--dnsbl=zen.example=7200"]]
)
@given(
    first=st.integers(T - DAY, T - 400),
    seen=st.integers(300, 2 * DAY),
    later=st.integers(0, DAY),
)
def test_who_has_passed_there_passes_here_whatever_the_delay(
    words: list[str], first: int, seen: int, later: int
) -> None:
    settings = merge_settings(from_arguments(words)[0])
    client = parse_address(b"192.0.2.7")
    assert client is not None
    mail = request_keys(client, b"a@example.com", b"b@example.org", settings)
    record = adapt_to_delay(Triplet(first, first + seen), 300, settings)
    now = max(first + seen, T) + later
    decision, _ = decide(mail, RememberedRecords(*[record.dump(), None]), now, settings)
    assert decision.passes
    assert not decision.first_pass


# sqlgrey's file -----------------------------------------------------------------------------------


def test_a_database_of_sqlgreys_with_odd_values_is_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "sqlgrey.db"
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(
            "CREATE TABLE connect (sender_name, sender_domain, src, rcpt, first_seen)"
        )
        for table in ("from_awl", "domain_awl"):
            connection.execute(
                f"CREATE TABLE {table} (sender_name, sender_domain, src, first_seen, last_seen)"
            )
        odd = [None, 7, 1.5, "x", b"\xff"]
        for each in odd:
            connection.execute("INSERT INTO connect VALUES (?, ?, ?, ?, ?)", [each] * 5)
            connection.execute("INSERT INTO from_awl VALUES (?, ?, ?, ?, ?)", [each] * 5)
    connection.close()
    with open_sqlite_file(file) as opened:
        items = list(SqlgreyDatabase(opened, Settings(), None, T).items())
    assert len(items) == 10
    assert all(isinstance(item, UnreadableItem) for item in items)


# greyd's own entries ------------------------------------------------------------------------------


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 10**6))
def test_any_entry_of_another_store_is_something(key: bytes, value: bytes, ttl: int) -> None:
    for mark in (b"", b"{192.0.2.0}/", b"{192.0.2.0}:", b"{example.com}~", b"/", b":"):
        item = convert_record(Record(mark + key, value, ttl), Settings(), 300)
        assert isinstance(item, ImportedEntry | SkippedEntry | UnreadableItem)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("redis://127.0.0.1:6379/0", "redis://localhost", True),
        ("redis://:secret@127.0.0.1/0", "redis://127.0.0.1/0", True),
        ("redis://127.0.0.1/1", "redis://127.0.0.1/0", False),
        ("redis://db1/0", "redis://db2/0", False),
        ("redis+cluster://a:1,b:1", "redis+cluster://a:1,b:1", True),
        ("unix:///run/redis?db=0", "unix:///run/redis?db=1", False),
    ],
)
def test_the_same_store_under_another_url_is_known(one: str, other: str, *, same: bool) -> None:
    assert is_same_database(one, other) is same
