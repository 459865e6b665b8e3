"""What ``greyd doctor`` says of what it sees of a server, a store, a process, clocks and lists."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greyd import __version__
from greyd.config.settings import Settings
from greyd.doctor.clocks import finding_of_synchronisation
from greyd.doctor.findings import FindingState as State
from greyd.doctor.listeners import Tcp
from greyd.doctor.policy_request import PolicyAnswer, finding_of_answer, send_request
from greyd.doctor.process import ListeningProcess, find_process, findings_of_process
from greyd.doctor.programs import ProgramError, run_program
from greyd.doctor.redis import finding_of_cluster, findings_of_instance, findings_of_sentinels
from greyd.doctor.redis_instance import RedisInstance
from greyd.doctor.server_metrics import (
    COUNTER,
    MetricsError,
    ServerMetrics,
    fetch_metrics,
    finding_of_counters,
    finding_of_mode,
    finding_of_scrapes,
    findings_of_metrics,
)
from greyd.doctor.sqlite import (
    DatabaseFile,
    check_sqlite,
    filesystem_of,
    finding_of_filesystem,
    finding_of_log,
    finding_of_owner,
    finding_of_secrecy,
    finding_of_space,
)
from greyd.doctor.store import finding_of_server
from greyd.doctor.systemd import finding_of_unit_properties, findings_of_postgrey_unit
from greyd.doctor.whitelists import check_whitelists, readable
from greyd.store.errors import UnusableStoreError
from tests.commands import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = Tcp("127.0.0.1", 10023)


def report(values: Mapping[tuple[str, str], float] | None = None, **more: Any) -> ServerMetrics:
    """Return what a healthy server says of itself, with some values."""
    known: dict[str, Any] = {
        "version": __version__, "ready": True, "asked_at": 1000.0, "took_seconds": 0.01,
    }  # fmt: skip
    return ServerMetrics(values or {}, **{**known, **more})


# The server ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "state", "said"),
    [
        (PolicyAnswer("DUNNO", 0.002), State.OK, "2.0 ms"),
        (PolicyAnswer("DUNNO", 1.5), State.WARNING, "1500.0 ms"),
        (PolicyAnswer("DEFER_IF_PERMIT Greylisted, see …", 0.01), State.ERROR, "not greyd"),
        (PolicyAnswer("", 0.01), State.ERROR, "not greyd"),
        (PolicyAnswer(fault="Connection refused"), State.ERROR, "Connection refused"),
        (PolicyAnswer(fault="Permission denied"), State.NOT_CHECKED, "may not connect"),
        (
            PolicyAnswer(fault="Cannot assign requested address"),
            State.NOT_CHECKED,
            "no such address",
        ),
    ],
)
def test_an_answer_is_judged(answered: PolicyAnswer, state: State, said: str) -> None:
    found = finding_of_answer(PLACE, answered)
    assert found.state is state
    assert said in found.seen


def ask_somebody(reply: bytes) -> PolicyAnswer:
    """Ask a server that answers anything with ``reply`` and closes."""

    async def do() -> PolicyAnswer:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\n\n")
            writer.write(reply)
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            return await send_request(Tcp("127.0.0.1", port))

    return asyncio.run(do())


def test_what_a_stranger_answers_can_stand_on_a_terminal() -> None:
    assert ask_somebody(b"action=DUNNO\n\n").action == "DUNNO"
    assert "\x1b" not in ask_somebody(b"action=\x1b[31mred\n\n").action
    assert ask_somebody(b"").fault == "closed without an answer"
    assert ask_somebody(b"a" * 100_000 + b"\n\n").fault == "closed without an answer"
    assert ask_somebody(b"HTTP/1.1 400 Bad Request\r\n\r\n").fault == "closed without an answer"


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = Tcp(*unused.getsockname())
        assert asyncio.run(send_request(place)).fault == "Connection refused"
    nowhere = Path("/nonexistent/socket")
    assert asyncio.run(send_request(nowhere)).fault == "No such file or directory"


def test_another_version_and_a_store_that_is_away_are_said() -> None:
    old, away = findings_of_metrics("http://x", report(version="0.0.1", ready=False))
    assert (old.state, "0.0.1" in old.seen) == (State.WARNING, True)
    assert (away.state, "/readyz" in away.seen) == (State.ERROR, True)
    assert {each.state for each in findings_of_metrics("http://x", report())} == {State.OK}


@pytest.mark.parametrize(("counted", "state"), [(3, State.OK), (2, State.OK), (1, State.ERROR)])
def test_who_answers_is_the_server_whose_counters_count_it(counted: int, state: State) -> None:
    before, after = report({COUNTER: 5}), report({COUNTER: 5 + counted})
    assert finding_of_counters(before, after, 2).state is state


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (None, State.NOT_CHECKED),
        (0, State.HINT),
        (990, State.OK),
        (10, State.WARNING),
    ],
)
def test_scrapes_are_missed(last: float | None, state: State) -> None:
    values = {} if last is None else {("greyd_last_scrape_timestamp_seconds", ""): last}
    assert finding_of_scrapes(report(values), 1000).state is state


@pytest.mark.parametrize("mode", ["on", "learn", "off"])
def test_a_mode_in_which_nothing_is_greylisted_is_said(mode: str) -> None:
    values = {("greyd_mode", name): float(name == mode) for name in ("on", "learn", "off")}
    found = finding_of_mode(report(values))
    assert found.state is (State.OK if mode == "on" else State.HINT)
    assert mode in found.seen


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:9923", "ftp://x/"])
def test_only_http_is_asked(url: str) -> None:
    with pytest.raises(MetricsError, match="http://HOST:PORT"):
        asyncio.run(fetch_metrics(url))


# Redis --------------------------------------------------------------------------------------------

INFO = {
    "redis_version": "7.0.15", "role": "master", "connected_slaves": "1", "aof_enabled": "1",
    "rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok", "evicted_keys": "0", "maxmemory": "0",
    "maxmemory_policy": "noeviction", "used_memory": "1000000",
    "rdb_last_save_time": "0", "rdb_changes_since_last_save": "7",
}  # fmt: skip
CONFIG = {
    "appendfsync": "everysec", "bind": "127.0.0.1 -::1", "protected-mode": "yes",
    "requirepass": "", "save": "", "maxmemory-policy": "noeviction",
}  # fmt: skip


def node(
    info: Mapping[str, str] | None = None, config: Mapping[str, str] | None = None, **more: Any
) -> RedisInstance:
    """Return a healthy Redis with some of it changed."""
    known: dict[str, Any] = {"open_to_all": True, "clock_offset_seconds": 0.0, "user": "default"}
    return RedisInstance(
        info={**INFO, **(info or {})}, config={**CONFIG, **(config or {})}, **{**known, **more}
    )


def states(found: RedisInstance) -> dict[str, State]:
    """Return the state of each check."""
    return {each.check: each.state for each in findings_of_instance(found)}


def test_a_redis_as_it_should_be_is_all_well() -> None:
    assert set(states(node()).values()) == {State.OK}


@pytest.mark.parametrize(
    ("changed", "check", "state"),
    [
        ({"info": {"redis_version": "5.0.7"}}, "store: version", State.WARNING),
        ({"info": {"role": "slave"}}, "store: role", State.ERROR),
        ({"config": {"appendfsync": "no"}}, "store: durable", State.WARNING),
        ({"config": {"appendfsync": "always"}}, "store: durable", State.OK),
        ({"info": {"aof_enabled": "0"}}, "store: durable", State.ERROR),
        ({"info": {"aof_enabled": "0"}, "config": {"save": "3600 1"}}, "store: durable",
         State.WARNING),
        ({"info": {"rdb_last_bgsave_status": "err"}}, "store: writes to disk", State.ERROR),
        ({"info": {"aof_last_write_status": "err"}}, "store: writes to disk", State.ERROR),
        ({"info": {"evicted_keys": "3"}}, "store: evicts nothing", State.ERROR),
        ({"info": {"maxmemory_policy": "volatile-lru", "maxmemory": "1000000000"}},
         "store: evicts nothing", State.ERROR),
        ({"info": {"maxmemory_policy": "allkeys-lru"}}, "store: evicts nothing", State.HINT),
        ({"info": {"maxmemory": "1000000000"}}, "store: memory", State.OK),
        ({"info": {"maxmemory": "1050000"}}, "store: memory", State.WARNING),
        ({"config": {"bind": "* -::*", "protected-mode": "no"}}, "store: closed to others",
         State.ERROR),
        ({"config": {"bind": "", "protected-mode": "no"}}, "store: closed to others", State.ERROR),
        ({"config": {"bind": "127.0.0.1 192.0.2.1"}}, "store: closed to others", State.HINT),
        ({"config": {"bind": "*", "protected-mode": "no"}, "open_to_all": False},
         "store: closed to others", State.OK),
        ({"config": {"bind": "*", "protected-mode": "no", "requirepass": "set"},
          "open_to_all": None}, "store: closed to others", State.OK),
        ({"clock_offset_seconds": 1.5}, "clocks: Redis", State.WARNING),
        ({"clock_offset_seconds": -1.5}, "clocks: Redis", State.WARNING),
        ({"clock_offset_seconds": 0.9}, "clocks: Redis", State.OK),
        ({"clock_offset_seconds": 1.5, "took_seconds": 1.1}, "clocks: Redis", State.NOT_CHECKED),
        ({"clock_offset_seconds": None}, "clocks: Redis", State.NOT_CHECKED),
    ],
)  # fmt: skip
def test_each_fault_of_a_redis_is_found(changed: dict[str, Any], check: str, state: State) -> None:
    found = states(node(**changed))
    assert found.pop(check) is state
    assert set(found.values()) == {State.OK}


def test_what_greyds_user_may_not_ask_is_said_to_be_unknown() -> None:
    closed = RedisInstance(info={}, config=None, open_to_all=None)
    assert set(states(closed).values()) == {State.NOT_CHECKED}
    half = states(RedisInstance(info={**INFO, "aof_enabled": "0"}, config=None, open_to_all=None))
    assert half["store: durable"] is State.NOT_CHECKED
    assert half["store: closed to others"] is State.NOT_CHECKED


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({"a": "master r:1", "b": "master r:1", "c": "master r:1"}, State.OK),
        ({"a": "master r:1", "b": "master r:1"}, State.HINT),
        ({"a": "master r:1", "b": "master r:1", "c": "Connection refused"}, State.WARNING),
        ({"a": "master r:1", "b": "master r:2", "c": "master r:1"}, State.WARNING),
        ({"a": "no answer in time"}, State.ERROR),
    ],
)
def test_sentinels_have_to_agree(answers: dict[str, str], state: State) -> None:
    (found,) = findings_of_sentinels(answers)
    assert found.state is state


def test_a_cluster_that_is_not_whole_is_found() -> None:
    assert finding_of_cluster({"cluster_state": "ok"}).state is State.OK
    assert finding_of_cluster({"cluster_state": "fail"}).state is State.ERROR
    assert finding_of_cluster({}).state is State.NOT_CHECKED


# SQLite -------------------------------------------------------------------------------------------

DISK = DatabaseFile(
    path=Path("/var/lib/greyd/greyd.db"), mode=0o600, owner="greyd", folder_mode=0o750,
    folder_owner="greyd", free=10**9, log=10**6, filesystem="ext4",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, State.OK),
        ({"mode": 0o644}, State.OK),
        ({"mode": 0o644, "folder_mode": 0o755}, State.WARNING),
        ({"mode": 0o640, "folder_mode": 0o755}, State.WARNING),
        ({"mode": 0o600, "folder_mode": 0o755}, State.OK),
        ({"owner": "root"}, State.WARNING),
        ({"free": 50 * 2**20}, State.WARNING),
        ({"free": 2**20}, State.ERROR),
        ({"log": 2**30}, State.WARNING),
        ({"filesystem": "nfs4"}, State.ERROR),
    ],
)
def test_each_fault_of_a_file_is_found(changed: dict[str, Any], state: State) -> None:
    disk = DISK._replace(**changed)
    found = [
        judge(disk)
        for judge in (
            finding_of_secrecy,
            finding_of_owner,
            finding_of_space,
            finding_of_log,
            finding_of_filesystem,
        )
    ]
    assert [each.state for each in found if each.state is not State.OK] == (
        [] if state is State.OK else [state]
    )


def test_the_file_system_is_that_of_the_nearest_mount() -> None:
    mounts = [line.split() for line in ("/dev/a / ext4", "srv:/v /var nfs4", "/dev/b /var/lib xfs")]
    assert filesystem_of(Path("/var/lib/greyd/greyd.db"), mounts) == "xfs"
    assert filesystem_of(Path("/var/db"), mounts) == "nfs4"
    assert filesystem_of(Path("/varnish"), mounts) == "ext4"
    assert filesystem_of(Path("/x"), []) == ""


def made(path: Path) -> Path:
    """Make a store with some entries."""
    fill(f"sqlite:{path}", {b"key %d" % number: b"x" * 500 for number in range(200)})
    return path


def test_a_damaged_file_is_found_by_a_thorough_look_alone(tmp_path: Path) -> None:
    path = made(tmp_path / "greyd.db")
    data = bytearray(path.read_bytes())

    def content(*, thorough: bool) -> State:
        found = check_sqlite(f"sqlite:{path}", thorough=thorough)
        (one,) = [each for each in found if each.check == "store: content"]
        return one.state

    assert content(thorough=True) is State.OK
    data[8192:12288] = os.urandom(4096)
    path.write_bytes(data)
    assert content(thorough=True) is State.ERROR
    assert content(thorough=False) is State.NOT_CHECKED


def test_a_file_that_is_no_database_is_not_hidden(tmp_path: Path) -> None:
    path = tmp_path / "greyd.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(UnusableStoreError, match="not a SQLite file"):
        check_sqlite(f"sqlite:{path}", thorough=True)


def test_looking_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = made(tmp_path / "greyd.db")
    before = path.read_bytes()
    check_sqlite(f"sqlite:{path}", thorough=True)
    assert path.read_bytes() == before


def test_what_the_server_sees_of_its_store() -> None:
    seen = [finding_of_server(up).state for up in (1, 0, None)]
    assert seen == [State.OK, State.ERROR, State.NOT_CHECKED]


# Process ------------------------------------------------------------------------------------------

GREYD = ListeningProcess(4711, "greyd", 998, ["python3", "/usr/bin/greyd", "serve"], 65536)


@pytest.mark.parametrize(
    ("process", "open_files", "wrong"),
    [
        (GREYD, 40, {}),
        (GREYD._replace(user="root", uid=0), None, {"process: user": State.WARNING}),
        (GREYD._replace(files=256), None, {"process: file descriptors": State.WARNING}),
        (GREYD._replace(files=1024), 1000, {"process: file descriptors": State.ERROR}),
        (GREYD._replace(files=0), 1000, {}),
        (GREYD._replace(words=["postgrey", "--inet=10023"]), None,
         {"process: program": State.ERROR}),
        (None, None, {"process: user": State.NOT_CHECKED}),
    ],
)  # fmt: skip
def test_a_process_is_judged(
    process: ListeningProcess | None, open_files: float | None, wrong: dict[str, State]
) -> None:
    found = findings_of_process(process, open_files)
    assert {each.check: each.state for each in found if each.state is not State.OK} == wrong


@pytest.mark.parametrize("unix", [False, True])
def test_who_listens_is_found_by_the_kernels_tables(unix: bool, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as listening:
        listening.bind(str(tmp_path / "socket") if unix else ("127.0.0.1", 0))
        name = listening.getsockname()
        place = Path(name) if unix else Tcp(*name)
        assert find_process([place]) is None
        listening.listen()
        found = find_process([place])
        assert found is not None
        assert (found.pid, found.uid, found.is_greyd) == (os.getpid(), os.getuid(), False)


UNIT = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "MainPID": "1"}


@pytest.mark.parametrize(
    ("changed", "process", "state"),
    [
        ({}, GREYD, State.OK),
        ({"UnitFileState": "disabled"}, GREYD, State.WARNING),
        ({"ActiveState": "failed"}, GREYD, State.WARNING),
        ({"ActiveState": "failed"}, None, State.ERROR),
        ({"LoadState": "not-found"}, GREYD, State.NOT_CHECKED),
    ],
)
def test_a_unit_is_judged(
    changed: dict[str, str], process: ListeningProcess | None, state: State
) -> None:
    assert finding_of_unit_properties({**UNIT, **changed}, process).state is state


@pytest.mark.parametrize(
    ("active", "enabled", "expected"),
    [
        ("inactive", "disabled", []),
        ("inactive", "", []),
        ("active", "enabled", [State.HINT]),
        ("inactive", "enabled", [State.WARNING]),
    ],
)
def test_a_postgrey_that_comes_back_is_found(
    active: str, enabled: str, expected: list[State]
) -> None:
    found = findings_of_postgrey_unit({"ActiveState": active, "UnitFileState": enabled})
    assert [each.state for each in found] == expected


def test_a_clock_that_nobody_sets_is_a_hint() -> None:
    assert finding_of_synchronisation("clocks: here", "yes").state is State.OK
    assert finding_of_synchronisation("clocks: here", "no").state is State.HINT


# Other programs -----------------------------------------------------------------------------------


def test_other_programs_are_bounded_in_time_and_words() -> None:
    def ask(script: str, seconds: float = 10.0) -> str:
        return asyncio.run(run_program(sys.executable, "-c", script, seconds=seconds)).stdout

    assert ask("print('yes')") == "yes\n"
    began = time.monotonic()
    with pytest.raises(ProgramError, match=r"no answer within 0\.5 s"):
        ask("import time; time.sleep(60)", 0.5)
    with pytest.raises(ProgramError, match="says more than 1 MiB"):
        ask("while True: print('x' * 1000)")
    assert time.monotonic() - began < 30
    with pytest.raises(ProgramError, match="no such thing"):
        ask("raise SystemExit('no such thing')")
    with pytest.raises(ProgramError, match="not installed"):
        asyncio.run(run_program("nosuchprogram"))


# Whitelists ---------------------------------------------------------------------------------------


def listed(tmp_path: Path, text: str, **entries: float) -> dict[str, State]:
    """Return the state of each check of a file of clients; the server has ``entries``."""
    clients_file, recipients_file = tmp_path / "clients", tmp_path / "recipients"
    clients_file.write_text(text)
    recipients_file.write_text("postmaster@\n")
    settings = Settings(whitelist_clients=(clients_file,), whitelist_recipients=(recipients_file,))
    values = {("greyd_whitelist_last_read_successful", ""): 1.0}
    values |= {("greyd_whitelist_entries", name): value for name, value in entries.items()}
    found = check_whitelists(settings, report(values), None)
    return {each.check: each.state for each in found}


def test_whitelists_are_read_and_compared_with_what_the_server_has(tmp_path: Path) -> None:
    same = listed(tmp_path, "example.com\n", clients=1, recipients=1)
    assert (same["whitelists: lines"], same["whitelists: in use"]) == (
        State.OK,
        State.OK,
    )
    newer = listed(tmp_path, "example.com\nexample.net\n", clients=1, recipients=1)
    assert newer["whitelists: in use"] is State.HINT
    odd = listed(tmp_path, "two words\n", clients=0, recipients=1)
    assert odd["whitelists: lines"] is State.WARNING


def test_a_whitelist_that_is_missing_is_an_error(tmp_path: Path) -> None:
    settings = Settings(whitelist_clients=(tmp_path / "nothing",))
    found = check_whitelists(settings, None, None)
    assert State.ERROR in {each.state for each in found if "nothing" in each.seen}


def test_whether_the_servers_user_can_read_a_file_depends_on_all_folders_above(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "file"
    file.touch()
    for each in (folder, *tmp_path.parents, tmp_path):
        if each.stat().st_uid == os.getuid() and str(each).startswith("/tmp/"):
            each.chmod(0o755)
    stranger, none = os.getuid() + 4711, frozenset[int]()
    file.chmod(0o644)
    assert readable(file, stranger, none)
    file.chmod(0o640)
    assert not readable(file, stranger, none)
    group = frozenset({file.stat().st_gid})
    assert readable(file, stranger, group)
    file.chmod(0o604)
    assert not readable(file, stranger, group)
    file.chmod(0o644)
    folder.chmod(0o700)
    assert not readable(file, stranger, none)
    assert readable(file, 0, none)
