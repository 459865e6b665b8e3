"""Logging in to Redis and to Sentinel: real ones, what is said of each fault, and no password."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.commands import run
from tests.integration.lives import has_said
from tests.integration.test_redis_roles import pass_through, sentinel
from tests.processes import PolicyClient, free_port, greyd, redis_server, request

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

PASSWORD = "requirepass geheim"


def ask(port: int) -> str | None:
    with PolicyClient(port) as client:
        return client.ask(request())


# Sentinel -----------------------------------------------------------------------------------------

NO_LISTENER, PLAIN, CLOSED_REDIS, OPEN, WITH_PASSWORD = (
    "none",
    "redis",
    "closed",
    "open",
    "password",
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports: of nobody, of a Redis, of one with a password, of Sentinels without and with one."""
    folder = tmp_path_factory.mktemp("sentinels")
    with contextlib.ExitStack() as ends:
        redis = ends.enter_context(redis_server(folder))
        closed = ends.enter_context(redis_server(folder, "--requirepass", "geheim"))
        yield {
            NO_LISTENER: free_port(),
            PLAIN: redis.port,
            CLOSED_REDIS: closed.port,
            OPEN: ends.enter_context(sentinel(folder, redis.port)),
            WITH_PASSWORD: ends.enter_context(sentinel(folder, redis.port, PASSWORD)),
        }


OWN = "--sentinel-password-file and --sentinel-user are Sentinel's own login"

SENTINEL_FAULTS = [
    pytest.param(WITH_PASSWORD, "mail", "falsch", f"wrong user or password; {OWN}", id="wrong"),
    pytest.param(WITH_PASSWORD, "mail", None, f"it needs a password; {OWN}", id="missing"),
    pytest.param(OPEN, "mail", "geheim", "it needs no password, but one was given", id="extra"),
    pytest.param(OPEN, "letters", None, "knows no master named letters; write its", id="name"),
    pytest.param(
        WITH_PASSWORD, "letters", "geheim", "knows no master named letters; write", id="name 2"
    ),
    pytest.param(
        NO_LISTENER, "mail", None, "Connection refused; does a Sentinel run there?", id="nobody"
    ),
    pytest.param(PLAIN, "mail", None, "a Redis, not a Sentinel, listens there", id="Redis"),
    pytest.param(CLOSED_REDIS, "mail", None, "a Redis, not a Sentinel", id="closed Redis"),
    pytest.param(CLOSED_REDIS, "mail", "geheim", "a Redis, not a Sentinel", id="its password"),
]


@pytest.mark.parametrize(("place", "name", "password", "line"), SENTINEL_FAULTS)
def test_each_fault_with_sentinel_is_told_with_its_cause_and_its_remedy(
    places: dict[str, int], tmp_path: Path, place: str, name: str, password: str | None, line: str
) -> None:
    options = [f"--store=redis+sentinel://127.0.0.1:{places[place]}/{name}/0"]
    if password:
        file = tmp_path / "password"
        file.write_text(password)
        options.append(f"--sentinel-password-file={file}")
    done = run("list", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"Sentinel 127.0.0.1:{places[place]}: {line}" in done.stderr
    assert not any(secret in done.stderr for secret in ("geheim", "falsch"))


def test_the_server_s_log_tells_it_too_and_of_each_sentinel(
    places: dict[str, int], tmp_path: Path
) -> None:
    hosts = ",".join(f"127.0.0.1:{places[each]}" for each in (NO_LISTENER, PLAIN, OPEN))
    with greyd(tmp_path, f"--store=redis+sentinel://{hosts}/letters/0") as server:
        assert ask(server.port) == "action=DUNNO"
        has_said(server, "store away: ")
        for line in ("does a Sentinel run there?", "not a Sentinel", "no master named letters"):
            assert line in server.log()


def test_sentinel_s_own_user_and_password_open_it(tmp_path: Path) -> None:
    file, own = tmp_path / "redis-password", tmp_path / "sentinel-password"
    file.write_text("geheim-1\n")
    own.write_text("geheim-2\n")
    config = tmp_path / "greyd.toml"
    acl = "\n".join(
        [
            "sentinel auth-pass mail geheim-1",
            "user default off",
            "user greyd on >geheim-2 -@all +auth +sentinel|get-master-addr-by-name",
        ]
    )
    with (
        redis_server(tmp_path, "--requirepass", "geheim-1") as master,
        sentinel(tmp_path, master.port, acl) as port,
    ):
        config.write_text(
            f'store = "redis+sentinel://127.0.0.1:{port}/mail/0"\n'
            f'store_password_file = "{file}"\n'
            'sentinel_user = "greyd"\n'
            f'sentinel_password_file = "{own}"\n'
        )
        pass_through(tmp_path, f"--config={config}")
        assert run("mode", f"--config={config}").returncode == 0
        own.write_text("geheim-1\n")
        done = run("list", f"--config={config}")
        assert "wrong user or password; --sentinel-password-file" in done.stderr
        assert "geheim" not in done.stderr


# Valkey's schemes ---------------------------------------------------------------------------------


def test_valkey_is_a_redis(places: dict[str, int], tmp_path: Path) -> None:
    pass_through(tmp_path, f"--store=valkey://127.0.0.1:{places[PLAIN]}/5", "--key-prefix=valkey:")
    store = f"--store=valkey+sentinel://127.0.0.1:{places[OPEN]}/mail/6"
    pass_through(tmp_path / "2", store, "--key-prefix=valkey:")


# The command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--store={}",), ("--store", "{}"), ("-store={}",)])
@pytest.mark.parametrize(
    "url", ["redis://u:geheim@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password=geheim"]
)
def test_the_list_of_processes_shows_no_password(
    tmp_path: Path, words: tuple[str, ...], url: str
) -> None:
    options = [word.replace("{}", url) for word in words]
    with greyd(tmp_path, *options, "--key-prefix=kept:") as server:
        line = Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert "geheim" not in line
        assert "redis://xxx" in line
        assert "\0--key-prefix=kept:\0" in line, "all else can still be read"
        has_said(server, "store away: 127.0.0.1:1")
        assert "geheim" not in server.log()


def test_a_url_without_a_password_stays_in_the_list_of_processes(tmp_path: Path) -> None:
    with greyd(tmp_path, "--store=redis://mail@127.0.0.1:1/0") as server:
        line = Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert "\0--store=redis://mail@127.0.0.1:1/0\0" in line
