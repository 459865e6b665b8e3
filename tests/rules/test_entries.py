"""What is stored, as administration understands it."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.rules.correspondence.keys import correspondence_key
from greyd.rules.entries import (
    GIVEN_UP_SECONDS,
    EntryKind,
    EntryState,
    StoredEntry,
    interpret,
    is_internal_key,
    kind_of,
)
from greyd.rules.keys import Keys, request_keys
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.reserved_keys import SHADOW_PREFIX
from greyd.rules.transaction import Record
from tests.evidence import evidence_for
from tests.fake_dns import address_of

NOW = 1_700_000_000
SETTINGS = Settings()
PRIVATE = Settings(privacy=True, auto_whitelist_identities=3)
OF_EXAMPLE = evidence_for(b"example.com")


def all_keys(keys: Keys) -> list[bytes]:
    return [keys.triplet, keys.client, *chain.from_iterable(keys.identities), *keys.correspondences]


def keys_of(settings: Settings = SETTINGS, sender: str = "alice@example.com") -> Keys:
    return request_keys(
        address_of("192.0.2.7"), sender.encode(), b"bob@example.org", settings, OF_EXAMPLE
    )


def meaning(key: bytes, value: bytes, settings: Settings = SETTINGS) -> StoredEntry:
    """Return what an entry means, which has to mean something."""
    entry = interpret(Record(key, value, 60), NOW, settings)
    assert entry is not None
    return entry


def triplet(first: int, last: int | None = None, settings: Settings = SETTINGS) -> StoredEntry:
    """Return a triplet that was seen so many seconds ago."""
    value = Triplet(NOW - first, NOW - (first if last is None else last)).dump()
    return meaning(keys_of(settings).triplet, value, settings)


def is_nothing(key: bytes, value: bytes, settings: Settings = SETTINGS) -> bool:
    return interpret(Record(key, value, 60), NOW, settings) is None


def test_a_triplet_names_the_three_that_it_is_of() -> None:
    entry = triplet(10)
    assert entry.kind is EntryKind.TRIPLET
    assert entry.names == (b"192.0.2.0", b"alice@example.com", b"bob@example.org")
    assert not entry.is_hidden


@pytest.mark.parametrize(
    ("first", "last", "state"),
    [
        (0, 0, EntryState.WAITING),
        (299, 0, EntryState.WAITING),
        (300 + GIVEN_UP_SECONDS, None, EntryState.WAITING),
        (301 + GIVEN_UP_SECONDS, None, EntryState.NEVER_RETURNED),
        (300, 0, EntryState.PASSED),
        (20 * DAY, 19 * DAY, EntryState.PASSED),
    ],
)
def test_a_triplet_waits_has_passed_or_never_returned(
    first: int, last: int | None, state: EntryState
) -> None:
    assert triplet(first, last).state is state


def test_a_triplet_passes_when_the_delay_is_over() -> None:
    entry = triplet(100, 40, Settings(delay_seconds=600))
    assert entry.passes_at == NOW + 500
    assert (entry.first_seen, entry.last_seen) == (NOW - 100, NOW - 40)


def test_where_delays_differ_a_triplet_says_itself_that_it_has_passed() -> None:
    settings = Settings(delays=(0, 60, 300, 3600), delay_seconds=60)
    key = keys_of().triplet
    assert meaning(key, b"%d,%d" % (NOW - 90, NOW), settings).state is EntryState.WAITING
    passed = b"%d,%d,%d" % (NOW - 90, NOW, NOW)
    assert meaning(key, passed, settings).state is EntryState.PASSED


@pytest.mark.parametrize(
    ("delays", "seconds", "state"),
    [
        ((60, 300, 3600, 7200), 7200 + GIVEN_UP_SECONDS, EntryState.WAITING),
        ((60, 300, 3600, 7200), 7201 + GIVEN_UP_SECONDS, EntryState.NEVER_RETURNED),
        ((), 61 + GIVEN_UP_SECONDS, EntryState.NEVER_RETURNED),
    ],
)
def test_a_triplet_is_given_up_after_the_longest_delay_that_it_may_have(
    delays: tuple[int, ...], seconds: int, state: EntryState
) -> None:
    settings = Settings(delays=delays, delay_seconds=60)
    assert meaning(keys_of().triplet, b"%d" % (NOW - seconds), settings).state is state


def test_an_expired_entry_is_returned_and_marked_only_on_request() -> None:
    record = Record(keys_of().triplet, b"%d" % (NOW - 3 * DAY), None)
    entry = interpret(record, NOW, SETTINGS, expired=True)
    assert entry is not None
    assert entry.is_expired
    assert not triplet(10).is_expired


def test_what_the_rules_pass_over_means_nothing() -> None:
    names = keys_of()
    old = NOW - 36 * DAY
    assert is_nothing(names.triplet, b"%d" % (NOW - 3 * DAY)), "after the retry window"
    assert is_nothing(names.triplet, b"%d,%d" % (old - 400, old))
    assert is_nothing(names.client, b"9,%d" % old)
    assert is_nothing(names.identities[0].identity, b"9,%d,%d" % (old, old))
    assert is_nothing(names.client, b"9,%d" % (NOW + 36 * DAY)), "a clock was wrong"


def test_an_identity_has_a_triplet_too() -> None:
    entry = meaning(keys_of().identities[0].triplet, b"%d" % NOW)
    assert entry.kind is EntryKind.IDENTITY_TRIPLET
    assert entry.names == (b"example.com", b"alice@example.com", b"bob@example.org")


@pytest.mark.parametrize(
    ("successes", "threshold", "state"),
    [
        (4, 5, EntryState.COUNTED),
        (5, 5, EntryState.AUTO_WHITELISTED),
        (9, 0, EntryState.COUNTED),
    ],
)
def test_a_client_is_whitelisted_by_its_count(
    successes: int, threshold: int, state: EntryState
) -> None:
    settings = Settings(auto_whitelist_clients=threshold)
    entry = meaning(keys_of().client, Client(successes, NOW - 9).dump(), settings)
    assert (entry.kind, entry.state) == (EntryKind.CLIENT, state)
    assert entry.names.network == b"192.0.2.7"
    assert (entry.first_seen, entry.last_seen, entry.passes_at) == (0, NOW - 9, 0)


def test_an_identity_is_whitelisted_by_its_count_and_its_age() -> None:
    settings = Settings(auto_whitelist_identities=3)
    key = keys_of().identities[0].identity
    for days, networks, state in (
        (0, 2, EntryState.COUNTED),
        (1, 2, EntryState.AUTO_WHITELISTED),
        (1, 1, EntryState.COUNTED),
        (7, 1, EntryState.AUTO_WHITELISTED),
        (1, 0, EntryState.COUNTED),
        (7, 0, EntryState.AUTO_WHITELISTED),
    ):
        value = Identity(3, NOW, NOW - days * DAY, 5, networks).dump()
        entry = meaning(key, value, settings)
        assert (entry.kind, entry.state) == (EntryKind.IDENTITY, state)
        assert entry.names.network == b"example.com"
        assert entry.first_seen == NOW - days * DAY


def test_a_correspondence_tells_the_domain_and_when_it_was_written_to() -> None:
    key = correspondence_key(b"carol@example.net", b"bob@example.org", SETTINGS)
    entry = meaning(key, b"%d" % (NOW - 60))
    assert (entry.kind, entry.state) == (EntryKind.CORRESPONDENCE, EntryState.KNOWN)
    assert entry.names == (b"", b"@example.net", b"")
    assert (entry.first_seen, entry.last_seen) == (0, NOW - 60)
    assert is_nothing(key, b"rubbish")


def test_hashes_hide_whom_they_are_about() -> None:
    names = keys_of(PRIVATE)
    written_to = correspondence_key(b"carol@example.net", b"bob@example.org", PRIVATE)
    found = [
        meaning(names.triplet, b"%d" % NOW, PRIVATE),
        meaning(names.client, b"9,%d" % NOW, PRIVATE),
        meaning(names.identities[0].identity, b"9,%d,%d,5,2" % (NOW, NOW - 2 * DAY), PRIVATE),
        meaning(written_to, b"%d" % NOW, PRIVATE),
    ]
    kinds = [EntryKind.TRIPLET, EntryKind.CLIENT, EntryKind.IDENTITY, EntryKind.CORRESPONDENCE]
    assert [entry.kind for entry in found] == kinds
    assert all(entry.is_hidden for entry in found)
    assert found[2].state is EntryState.AUTO_WHITELISTED


@pytest.mark.parametrize("key", [b"probe", b"", b"{x", b"x}:y", b"{a}!b", b"mode", b"{}"])
def test_what_is_nobody_s_means_nothing(key: bytes) -> None:
    assert is_nothing(key, b"%d,%d" % (NOW, NOW))


@given(
    key=st.binary(max_size=40)
    | st.sampled_from([*all_keys(keys_of()), *all_keys(keys_of(PRIVATE))])
    | st.binary(max_size=9).map(lambda rest: b"{192.0.2.0}/" + rest),
    value=st.binary(max_size=20) | st.just(b"%d,%d,%d" % (NOW - HOUR, NOW, NOW)),
)
def test_any_bytes_are_understood_or_passed_over(key: bytes, value: bytes) -> None:
    for settings in (SETTINGS, PRIVATE):
        entry = interpret(Record(key, value, 60), NOW, settings)
        if entry is not None:
            assert entry.kind is not EntryKind.OTHER
            assert isinstance(entry.last_seen, int)


def test_an_unreadable_entry_has_the_names_that_its_key_has() -> None:
    keys = keys_of()

    def client_of(key: bytes) -> bytes:
        entry = interpret(Record(key, b"?", 60), NOW, SETTINGS, unreadable=True)
        assert entry is not None
        assert entry.state is EntryState.UNREADABLE
        return entry.names.network

    assert client_of(keys.client) == b"192.0.2.7"
    assert client_of(keys.identities[0].identity) == b"example.com"
    assert client_of(keys.triplet) == b"192.0.2.0"
    assert client_of(b"{x}:of nobody's making") == b"of nobody's making"
    assert client_of(b"{example.com}~0123") == b""


@pytest.mark.parametrize(
    "key",
    [
        b"{192.0.2.0}/alice@example.com/bob@example.org",
        b"{192.0.2.0}:192.0.2.7",
        b"{example.com}/alice@example.com/bob@example.org",
        b"{example.com}:example.com",
        b"/0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33",
        b":0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33",
        b"{example.edu}~0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33",
        b"probe",
    ],
)
def test_no_entry_of_the_shadow_counts_as_one_of_the_server(key: bytes) -> None:
    shadow_key = SHADOW_PREFIX + key
    assert kind_of(shadow_key) is EntryKind.OTHER
    assert is_internal_key(shadow_key)
    for value in (b"%d" % NOW, b"7,%d" % NOW, b"7,%d,%d" % (NOW, NOW), b"broken"):
        for settings in (SETTINGS, PRIVATE):
            record = Record(shadow_key, value, 60)
            assert interpret(record, NOW, settings, expired=True, unreadable=True) is None
