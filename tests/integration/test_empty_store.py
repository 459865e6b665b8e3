"""A command that reads a store without entries warns, and says what to give."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from greyd.config.settings import Settings
from greyd.rules.keys import request_keys
from tests.commands import fill, run_here
from tests.fake_dns import address_of
from tests.processes import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

CLIENT, SENDER, RECIPIENT = "192.0.2.7", "alice@example.com", "bob@example.org"
TRIPLET = request_keys(address_of(CLIENT), SENDER.encode(), RECIPIENT.encode(), Settings()).triplet

COMMANDS = [
    ("stats",),
    ("stats", "--json"),
    ("top", "--count=1", "--every=20s", "--json"),
    ("list",),
    ("list", "--waiting", "--json"),
    ("show", CLIENT, SENDER, RECIPIENT),
    ("show", CLIENT),
    ("release", f"--recipient={RECIPIENT}"),
    ("forget", f"--client={CLIENT}"),
    ("forget", f"--address={RECIPIENT}"),
    ("explain", f"--client-address={CLIENT}", f"--sender={SENDER}", f"--recipient={RECIPIENT}"),
    ("mode",),
    ("mode", "on", "--for=1m"),
    ("expect", RECIPIENT),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        fill(f"redis://127.0.0.1:{running.port}/0", {TRIPLET: b"%d" % time.time()})
        yield running


def warnings(*arguments: str, **variables: str) -> list[str]:
    """Return the warnings of a command, whose other messages do not matter here."""
    done = run_here(*arguments, GREYD_METRICS="0", **variables)
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if "has no entry" in line]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_warns_of_the_wrong_database_in_one_line(
    server: Running, command: tuple[str, ...]
) -> None:
    url = f"redis://127.0.0.1:{server.port}/3"
    (line,) = warnings(*command, f"--store={url}")
    place = f"database 3 of the Redis at 127.0.0.1:{server.port}"
    assert line.startswith(f'greyd: {place} has no entry with the key prefix "greyd:"')
    assert "--store and --key-prefix" in line
    assert "database 0 of this Redis has" in line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_warns_of_a_store_with_an_entry(
    server: Running, command: tuple[str, ...]
) -> None:
    url = f"redis://127.0.0.1:{server.port}/0"
    fill(url, {TRIPLET: b"%d" % time.time()})
    assert warnings(*command, f"--store={url}") == []


def test_a_wrong_key_prefix_is_found_among_the_keys(server: Running) -> None:
    url = f"redis://127.0.0.1:{server.port}/0"
    fill(url, {TRIPLET: b"%d" % time.time()})
    (line,) = warnings("stats", f"--store={url}", "--key-prefix=mx:")
    assert 'no entry with the key prefix "mx:"' in line
    assert 'keys with the prefix "greyd:" look like greyd\'s' in line


@pytest.mark.parametrize(
    ("database", "prefix", "key"),
    [
        (7, b"old:", b"/" + b"0f" * 20),
        (8, b"old:", b":" + b"0f" * 32),
        (9, b"", b"{2001:db8::}/a@example.com/b@example.org"),
        (10, b"mx{1}", b"{192.0.2.0}:192.0.2.7"),
    ],
)
def test_hashes_and_other_forms_of_keys_are_found_too(
    server: Running, database: int, prefix: bytes, key: bytes
) -> None:
    with Redis(port=server.port, db=database) as client:
        client.set("session:1{x}", "another program's")
        (line,) = warnings("list", f"--store=redis://127.0.0.1:{server.port}/{database}")
        assert "look like greyd's" not in line
        client.set(prefix + key, b"1,2", ex=600)
    (line,) = warnings("list", f"--store=redis://127.0.0.1:{server.port}/{database}")
    assert f'keys with the prefix "{prefix.decode()}" look like greyd\'s' in line


def test_greyds_own_records_are_not_entries(server: Running) -> None:
    url = f"redis://127.0.0.1:{server.port}/5"
    run_here("mode", "off", "--for=1m", f"--store={url}", GREYD_METRICS="0")
    assert len(warnings("stats", f"--store={url}")) == 1


def test_an_empty_file_causes_a_warning(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {})
    (line,) = warnings("list", f"--store={url}")
    assert line.startswith(f"greyd: {url} has no entry: unless it is new, name the server's store")
    assert "--dbdir" in line


def test_an_import_into_a_new_store_causes_no_warning(tmp_path: Path) -> None:
    fill(f"sqlite:{tmp_path / 'old.db'}", {TRIPLET: b"%d" % time.time()})
    new = f"sqlite:{tmp_path / 'new.db'}"
    assert warnings("import", str(tmp_path / "old.db"), f"--store={new}") == []
    assert warnings("list", f"--store={new}") == []


def test_a_user_without_the_right_to_search_gets_no_warning_and_no_error(server: Running) -> None:
    with Redis(port=server.port, db=11) as client:
        client.execute_command(
            "ACL", "SETUSER", "few", "on", ">secret", "~*", "+@all", "-scan", "-info"
        )
    url = f"redis://few:secret@127.0.0.1:{server.port}/11"
    done = run_here("mode", "on", "--for=1m", f"--store={url}", GREYD_METRICS="0")
    assert (done.returncode, "has no entry" in done.stderr) == (0, False), done.stderr
