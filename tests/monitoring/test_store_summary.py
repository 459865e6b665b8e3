"""What a look through the store finds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.monitoring.store import summary as summary_module
from greyd.monitoring.store.summary import MAX_NETWORKS, MAX_WAITING, StoreSummary, summarize_store
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.keys import Keys, is_triplet, names_in, request_keys
from greyd.rules.records import Client, Triplet
from greyd.rules.transaction import Record
from greyd.store.opening import open_store
from tests.evidence import evidence_for
from tests.fake_dns import address_of
from tests.stores import put

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_700_000_000
SETTINGS = Settings()


def keys_of(
    client: str = "192.0.2.7", sender: str = "alice@example.com", settings: Settings = SETTINGS
) -> Keys:
    address = address_of(client)
    return request_keys(address, sender.encode(), b"bob@example.org", settings)


def seen(
    *triplets: Triplet, settings: Settings = SETTINGS, client: str = "192.0.2.7"
) -> StoreSummary:
    """Return what a summary finds among some triplets."""
    summary = StoreSummary()
    for number, triplet in enumerate(triplets):
        key = keys_of(client, f"s{'x' * number}@example.com", settings).triplet
        summary.add(Record(key, triplet.dump(), 60), NOW, settings)
    return summary


def since(*seconds: int) -> list[Triplet]:
    """Return triplets that were first seen so many seconds ago, and never again."""
    return [Triplet(NOW - each, NOW - each) for each in seconds]


def test_who_is_early_is_sorted_by_when_it_passes() -> None:
    summary = seen(*since(0, 239, 240, 299))
    assert summary.early == [2, 2, 0, 0, 0]
    assert summary.waiting == 4
    assert sum(summary.due) + sum(summary.gone) == 0


def test_who_could_pass_is_sorted_by_since_when() -> None:
    waits = [0, HOUR, HOUR + 1, 6 * HOUR, 6 * HOUR + 1, DAY, DAY + 1]
    summary = seen(*since(*(300 + each for each in waits)))
    assert (summary.due, summary.gone) == ([2, 2], [2, 1])
    assert (summary.waiting, summary.never_returned) == (4, 3)
    assert sum(summary.early) == 0


def test_the_delay_is_the_settings() -> None:
    assert sum(seen(*since(299), settings=Settings(delay_seconds=60)).due) == 1


def test_who_has_passed_waits_no_more() -> None:
    summary = seen(Triplet(NOW - 400, NOW - 50, NOW - 50), Triplet(NOW - 400, NOW - 50))
    assert summary.passed == 2
    assert (summary.waiting, summary.never_returned) == (0, 0)
    assert summary.named == []


def test_mail_that_passed_at_once_does_not_wait() -> None:
    settings = Settings(delays=(0, 60, 300, 3600), delay_seconds=60)
    summary = seen(
        Triplet(NOW - 40, NOW - 40, NOW - 40), Triplet(NOW - 40, NOW - 40), settings=settings
    )
    assert (summary.passed, sum(summary.early)) == (1, 1)


def test_clients_are_counted_and_told_from_triplets() -> None:
    summary = StoreSummary()
    for number, successes in enumerate([1, 4, 5, 9]):
        key = keys_of(f"192.0.2.{number}").client
        summary.add(Record(key, Client(successes, NOW).dump(), 60), NOW, SETTINGS)
    good = summary.number(EntryKind.CLIENT, EntryState.AUTO_WHITELISTED)
    assert (summary.number(EntryKind.CLIENT), good, summary.passed) == (4, 2, 0)


def test_nobody_is_auto_whitelisted_where_that_is_off() -> None:
    settings = Settings(auto_whitelist_clients=0)
    summary = StoreSummary()
    summary.add(Record(keys_of().client, b"9,%d" % NOW, 60), NOW, settings)
    good = summary.number(EntryKind.CLIENT, EntryState.AUTO_WHITELISTED)
    assert (summary.number(EntryKind.CLIENT), good) == (1, 0)


def test_those_that_wait_are_named() -> None:
    (waiting,) = seen(Triplet(NOW - 100, NOW - 40)).named
    assert waiting.passes_at == NOW + 200
    assert (waiting.first_seen, waiting.last_seen) == (NOW - 100, NOW - 40)
    assert waiting.names == (b"192.0.2.0", b"s@example.com", b"bob@example.org")


def test_the_newest_are_named_where_there_are_too_many() -> None:
    summary = seen(*since(*range(200, 200 - MAX_WAITING - 50, -1)))
    assert sum(summary.early) == MAX_WAITING + 50
    assert len(summary.named) == MAX_WAITING
    assert min(each.first_seen for each in summary.named) == NOW - 150


def test_networks_whose_mail_never_came_back_are_counted_not_listed() -> None:
    summary = seen(*since(7 * HOUR, 8 * HOUR))
    assert summary.given_up == {b"192.0.2.0": 2}
    assert summary.named == []


def test_networks_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_NETWORKS == 10_000
    monkeypatch.setattr(summary_module, "MAX_NETWORKS", 2)
    summary = StoreSummary()
    for number in [0, 1, 2, 3, 1]:
        key = keys_of(f"192.0.{number}.7").triplet
        summary.add(Record(key, since(DAY)[0].dump(), 60), NOW, SETTINGS)
    assert summary.given_up == {b"192.0.0.0": 1, b"192.0.1.0": 2}


def test_hashes_are_counted_and_name_nobody() -> None:
    settings = Settings(privacy=True)
    summary = seen(*since(10, DAY), settings=settings)
    assert (summary.waiting, summary.never_returned) == (1, 1)
    assert summary.named == []
    assert not summary.given_up


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
def test_mail_that_is_known_by_its_identity_too_counts_once(client: str) -> None:
    address = address_of(client)
    evidence = evidence_for(b"example.com", speaks=False)
    names = request_keys(address, b"alice@example.com", b"bob@example.org", SETTINGS, evidence)
    summary = StoreSummary()
    for key in (names.triplet, names.identities[0].triplet):
        summary.add(Record(key, since(10)[0].dump(), 60), NOW, SETTINGS)
    summary.add(Record(names.client, b"1,%d" % NOW, 60), NOW, SETTINGS)
    summary.add(Record(names.identities[0].identity, b"9,%d,%d" % (NOW, NOW), 60), NOW, SETTINGS)
    assert (summary.waiting, len(summary.named), sum(summary.early)) == (1, 1, 1)
    assert (summary.number(EntryKind.CLIENT), summary.number(EntryKind.IDENTITY)) == (1, 1)
    assert summary.number(EntryKind.IDENTITY_TRIPLET) == 1


@pytest.mark.parametrize("value", [b"", b"rubbish", b"\xff,1"])
def test_what_cannot_be_read_counts_for_nothing_else(value: bytes) -> None:
    summary = StoreSummary()
    for key in (keys_of().triplet, keys_of().client, b"probe"):
        summary.add(Record(key, value, 60), NOW, SETTINGS)
    assert summary == StoreSummary(looked_at=3, unreadable=2, passed_over=1)


@pytest.mark.parametrize("sender", ["a/b%2f%@example.com", "", "}/@x"])
def test_a_key_tells_whom_it_is_about(sender: str) -> None:
    key = keys_of("2001:db8::7", sender).triplet
    assert is_triplet(key)
    assert names_in(key) == (b"2001:db8::", sender.encode(), b"bob@example.org")


@pytest.mark.parametrize("key", [b"", b"/", b"{192.0.2.0}:192.0.2.7", b"{x}/no-recipient", b"x}/"])
def test_a_key_that_is_no_named_triplet_tells_nobody(key: bytes) -> None:
    assert names_in(key) is None


# A whole store ------------------------------------------------------------------------------------


def look(url: str, number: int) -> StoreSummary:
    """Return what is found in a store with a number of new triplets."""

    async def run() -> StoreSummary:
        store = open_store(Settings(store=url), Path("/nonexistent"))
        try:
            for each in range(number):
                key = keys_of(f"192.0.2.{each % 250}", f"s{'y' * each}@example.com").triplet
                await store.transact([key], put(key, b"%d" % NOW))
            return await summarize_store(store, SETTINGS)
        finally:
            await store.close()

    return asyncio.run(run())


@pytest.fixture(params=["memory", "sqlite"])
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    return {"memory": lambda: "memory:", "sqlite": lambda: f"sqlite:{tmp_path / 'greyd.db'}"}[
        request.param
    ]


def test_a_small_store_is_seen_as_a_whole(url_of: Callable[[], str]) -> None:
    summary = look(url_of(), 7)
    assert (summary.looked_at, summary.complete, summary.passed_over) == (7, True, 7)


def test_of_a_large_store_a_part_is_seen(
    url_of: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary_module, "MAX_ENTRIES", 5)
    summary = look(url_of(), 7)
    assert not summary.complete
    assert 5 <= summary.looked_at <= 7
