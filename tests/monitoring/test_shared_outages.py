"""Of several workers, one logs that a DNS source is out of order, and one that it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greyd.monitoring.shared_outages import SharedOutages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[SharedOutages]]:
    made = [SharedOutages(str(tmp_path)) for _ in range(3)]
    yield made
    for each in made:
        each.close()


def test_the_first_outage_and_the_last_return_count(workers: list[SharedOutages]) -> None:
    for _ in range(2):
        assert [each.is_first("zen.example") for each in workers] == [True, False, False]
        assert [each.was_last("zen.example") for each in workers] == [False, False, True]


def test_a_worker_that_goes_and_comes_alone_counts_each_time(workers: list[SharedOutages]) -> None:
    first, second, _ = workers
    assert first.is_first("zen.example")
    assert not second.is_first("zen.example")
    # The list flaps for the second worker only.
    for _ in range(3):
        assert not second.was_last("zen.example")
        assert not second.is_first("zen.example")
    assert not first.was_last("zen.example")
    assert second.was_last("zen.example")


def test_sources_are_independent(workers: list[SharedOutages]) -> None:
    first, second, _ = workers
    assert first.is_first("zen.example")
    assert second.is_first("resolver")
    assert second.is_first("../zen/example")
    assert first.was_last("zen.example")
    assert second.was_last("resolver")


def test_a_worker_that_ends_has_no_outage(workers: list[SharedOutages]) -> None:
    first, second, third = workers
    assert first.is_first("zen.example")
    assert not second.is_first("zen.example")
    first.close()
    assert second.was_last("zen.example")
    assert third.is_first("zen.example")


@pytest.mark.parametrize("folder", [None, "/no/such/folder"])
def test_without_a_shared_folder_each_worker_counts_for_itself(folder: str | None) -> None:
    workers = [SharedOutages(folder) for _ in range(2)]
    assert [each.is_first("zen.example") for each in workers] == [True, True]
    assert [each.was_last("zen.example") for each in workers] == [True, True]
