"""What fuzzing has found, and what it starts from, holds with every test run."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import CORPUS, NAMES
from tests.fuzz.targets import TARGETS

CASES = [
    pytest.param(name, file.read_bytes(), id=f"{name}/{file.name}")
    for name in NAMES
    for file in sorted((CORPUS / name).iterdir())
]


@pytest.mark.parametrize(("name", "data"), CASES)
def test_what_was_found_once_breaks_nothing_any_more(name: str, data: bytes) -> None:
    TARGETS[name](data)


def test_every_target_has_something_to_start_from() -> None:
    assert set(TARGETS) == set(NAMES) == {file.name for file in CORPUS.iterdir()}
