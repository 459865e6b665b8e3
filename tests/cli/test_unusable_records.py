"""A record whose settings can't be used here ends a command with one line that has a remedy."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import pytest

from greyd import __version__
from greyd.cli.context import CommandContext
from greyd.config.errors import ConfigError
from greyd.config.running.run_record import RUN_FILE, RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def context_with(folder: Path, version: str, *options: tuple[str, str]) -> CommandContext:
    """Return the context of a command beside a server with this version and these options."""
    store = f"sqlite:{folder / 'greyd.db'}"
    record = RunRecord(1, version, 1, ("inet:127.0.0.1:10023",), None, store, options)
    (folder / RUN_FILE).write_bytes(record.dump())
    return CommandContext.from_options({"run-dir": str(folder)})


@pytest.fixture(autouse=True)
def lock(tmp_path: Path) -> Iterator[None]:
    """Hold the lock on the record, as a server does."""
    with (tmp_path / RUN_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("preset", "strict"),
        ("signals", "no_ptr,dkim_fail"),
        ("delay", "1fortnight"),
        ("recipient-domain", "example.com;new_key=1"),
        ("shadow", "new-setting=1"),
        ("greylist-text", "\x1b[31m"),
    ],
)
def test_a_value_of_a_newer_version_names_both_versions(
    name: str, text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        context_with(tmp_path, "9.0.0", (name, text))
    message = str(error.value)
    assert message.startswith(f"the server's {name}")
    assert f"this is greyd {__version__}" in message
    assert "is 9.0.0: use its commands" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "options",
    [
        [("privacy", "yes"), ("privacy-key", "/nonexistent/key")],
        [("dnsbl", "{key}.list.example;key_file=/nonexistent/key")],
        [("own-domains", "/nonexistent/domains")],
    ],
)
@pytest.mark.parametrize(("uid", "has_remedy"), [(0, False), (1000, True)])
def test_a_file_that_this_user_cant_read_has_a_remedy_unless_it_is_root(
    options: list[tuple[str, str]],
    uid: int,
    has_remedy: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    with pytest.raises(ConfigError, match="/nonexistent/") as error:
        context_with(tmp_path, __version__, *options)
    assert ("run the command with sudo" in str(error.value)) is has_remedy
    assert str(error.value).isprintable()


def test_an_option_that_only_a_newer_version_has_is_left_out(tmp_path: Path) -> None:
    context = context_with(tmp_path, "9.0.0", ("new-option", "1"), ("delay", "2h"))
    assert context.settings.delay_seconds == 7200
    assert context.server is not None
