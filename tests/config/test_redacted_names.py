"""A URL given where a file is expected does not put its password into a message."""

from __future__ import annotations

import contextlib

import pytest

from greyd.config.loading import read_settings
from greyd.config.secrets import read_secrets
from greyd.errors import GreydError
from greyd.server.sockets import listen
from greyd.whitelist.entries import read_whitelist_file

URLS = (
    "redis://user:secret@db1/0",
    "rediss://:secret@db1",
    "redis:/user:secret@db1/0",
    "REDIS+SENTINEL://user:secret@db1/name/0",
    "unix://user:secret@/run/redis.sock",
    "https://user:secret@host/file",
    "user:secret@db1",
)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "words",
    [
        ["--config={}"],
        ["--privacy", "--privacy-key={}"],
        ["--store=redis://db1/0", "--store-password-file={}"],
        ["--store=redis+sentinel://db1/name/0", "--sentinel-password-file={}"],
        ["--unix={}/missing/socket"],
    ],
    ids=lambda words: words[-1].partition("=")[0],
)
def test_a_login_in_place_of_a_file_is_not_repeated(words: list[str], url: str) -> None:
    with contextlib.ExitStack() as undo, pytest.raises(GreydError) as error:
        listen(read_secrets(read_settings([word.format(url) for word in words], {})), undo)
    assert "secret@" not in str(error.value)
    assert "user" not in str(error.value)


@pytest.mark.parametrize("url", URLS)
def test_a_login_in_place_of_a_whitelist_is_not_repeated(url: str) -> None:
    with pytest.raises(GreydError) as error:
        read_whitelist_file(url)
    assert "secret" not in str(error.value)
