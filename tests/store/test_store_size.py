"""What the log says of a store that fills up, and of one that has room again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from greyd.monitoring.log import Log, StreamSink
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.store_size import StoreSizeMonitor
from tests.stores import FakeStore

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 10 * 2**20

ROOM = "the store has room again: "
NEARLY = "warning: the store is nearly full: "
FULL = "error: the store is full: "


@pytest.mark.parametrize(
    ("percents", "said"),
    [
        ([0, 50, 79.9], []),
        ([0, 80], [NEARLY]),
        ([0, 85, 90, 99], [NEARLY]),
        ([0, 120], [FULL]),
        ([0, 85, 100], [NEARLY, FULL]),
        ([100, 99, 101, 96, 100], [FULL]),
        ([100, 94], [FULL, NEARLY]),
        ([100, 94, 100], [FULL, NEARLY, FULL]),
        ([80, 79, 80.5, 77, 81], [NEARLY]),
        ([80, 75], [NEARLY, ROOM]),
        ([100, 10], [FULL, ROOM]),
    ],
)
def test_each_level_is_logged_once_and_not_again_at_its_edge(
    tmp_path: Path, percents: list[float], said: list[str]
) -> None:
    file = tmp_path / "log"
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    log = Log(StreamSink(descriptor))
    store = FakeStore()
    store.max_bytes = LIMIT
    metrics = Metrics()
    monitor = StoreSizeMonitor(store, metrics, log)
    for percent in percents:
        store.bytes_in_use = round(LIMIT * percent / 100)
        monitor.poll()
    log.close()
    os.close(descriptor)
    lines = file.read_text().splitlines()
    assert [line[: len(start)] for line, start in zip(lines, said, strict=True)] == said
    assert metrics.registry.get_sample_value("greyd_store_size_bytes") == store.bytes_in_use
    assert metrics.registry.get_sample_value("greyd_store_max_size_bytes") == LIMIT


def test_a_store_without_a_limit_is_never_full() -> None:
    metrics = Metrics()
    store = FakeStore()
    monitor = StoreSizeMonitor(store, metrics, Log(StreamSink(2)))
    monitor.poll()
    assert metrics.registry.get_sample_value("greyd_store_max_size_bytes") == 0
