"""What several integration tests use: both stores that servers and commands can share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.processes import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty store, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'greyd.db'}"
        return
    with redis_server(tmp_path) as redis:
        yield f"redis://127.0.0.1:{redis.port}/0"


@pytest.fixture
def store(store_url: str) -> str:
    """Return the option that names it."""
    return f"--store={store_url}"
