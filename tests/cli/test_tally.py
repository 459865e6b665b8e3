"""What a look through the whole store counts, in bounded memory."""

from __future__ import annotations

import random
import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from greyd.cli.sketches import FrequentNames
from greyd.cli.stats.entry_counts import NamedEntryCounts
from greyd.config.settings import Settings
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.keys import Keys, request_keys
from greyd.rules.transaction import Record
from tests.evidence import evidence_for
from tests.fake_dns import address_of

NOW = int(time.time())
SETTINGS = Settings()


def keys_of(client: str, sender: str = "a@e.com", settings: Settings = SETTINGS) -> Keys:
    evidence = evidence_for(b"example.com", speaks=False)
    return request_keys(address_of(client), sender.encode(), b"bob@example.org", settings, evidence)


def tally_of(*records: tuple[bytes, bytes], settings: Settings = SETTINGS) -> NamedEntryCounts:
    tally = NamedEntryCounts()
    tally.add_all([Record(*record, 60) for record in records], settings)
    return tally


def test_entries_are_counted_by_kind_and_state() -> None:
    waits = b"%d" % NOW
    tally = tally_of(
        (keys_of("192.0.2.7").triplet, waits),
        (keys_of("192.0.2.7", "b@e.com").triplet, waits),
        (keys_of("198.51.100.7").triplet, b"%d,%d" % (NOW - 900, NOW)),
        (keys_of("203.0.113.7").triplet, b"%d" % (NOW - 30_000)),
        (keys_of("192.0.2.7").identities[0].triplet, waits),
        (keys_of("192.0.2.7").client, b"5,%d" % NOW),
        (keys_of("192.0.2.8").client, b"4,%d" % NOW),
        (keys_of("192.0.2.7").identities[0].identity, b"4,%d,%d" % (NOW, NOW)),
        (b"{example.net}~abc", waits),
        (b"probe", waits),
        (keys_of("192.0.2.7", "old@e.com").triplet, b"1000"),
    )
    told = tally.dump(10, SETTINGS)
    assert told["looked_at"] == 11
    assert told["triplets"] == {"waiting": 2, "passed": 1, "never_returned": 1}
    assert (told["clients"], told["auto_whitelisted_clients"]) == (2, 1)
    assert (told["identities"], told["identity_triplets"], told["correspondences"]) == (1, 1, 1)
    assert told["passed_over"] == 2
    assert told["complete"] is False
    assert tally.number(EntryKind.TRIPLET) == 4
    assert tally.number(EntryKind.TRIPLET, EntryState.WAITING, EntryState.PASSED) == 3


def test_whose_mail_waits_most_comes_first() -> None:
    waits = b"%d" % NOW
    told = tally_of(
        (keys_of("192.0.2.7", "a@e.com").triplet, waits),
        (keys_of("198.51.100.7", "a@e.com").triplet, waits),
        (keys_of("198.51.100.8", "b@e.com").triplet, waits),
        (keys_of("198.51.100.8", "b@e.com").identities[0].triplet, waits),
    ).dump(1, SETTINGS)
    assert told["waiting_clients"] == [
        {"client": "198.51.100.0", "waiting": 2, "client_network": "198.51.100.0/24"}
    ]
    assert told["waiting_recipients"] == [{"recipient": "bob@example.org", "waiting": 3}]
    assert told["names_hidden"] is False


def test_hashes_are_counted_and_name_nobody() -> None:
    settings = Settings(privacy=True)
    triplet = keys_of("192.0.2.7", settings=settings).triplet
    told = tally_of((triplet, b"%d" % NOW), settings=settings).dump(10, SETTINGS)
    assert told["triplets"]["waiting"] == 1
    assert told["waiting_clients"] == []
    assert told["names_hidden"] is True


def test_memory_is_bounded_and_the_frequent_are_found_among_very_many() -> None:
    counted = FrequentNames(max_names=100)
    names = [b"frequent"] * 2000 + [b"%d" % number for number in range(20_000)]
    random.Random(1).shuffle(names)
    for name in names:
        counted.add(name)
        assert len(counted._counts) <= 100
    ((name, number),) = counted.largest(1)
    assert name == b"frequent"
    assert 2000 - counted.max_error <= number <= 2000
    assert counted.max_error <= len(names) / 50


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), max_size=60))
def test_a_count_is_never_too_large_and_too_small_by_the_error_at_most(names: list[bytes]) -> None:
    counted = FrequentNames(max_names=3)
    for name in names:
        counted.add(name)
    told = dict(counted.largest(3))
    for name, number in Counter(names).items():
        assert number - counted.max_error <= told.get(name, 0) <= number


def test_few_names_are_counted_exactly() -> None:
    counted = FrequentNames()
    for name in (b"a", b"b", b"a"):
        counted.add(name)
    assert (counted.largest(5), counted.max_error) == ([(b"a", 2), (b"b", 1)], 0)
