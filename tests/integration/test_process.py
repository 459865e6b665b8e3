"""greyd as a process: sockets, background, rights, signals, systemd, modes, a shared Redis."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import (
    CHECKOUT,
    QUIET,
    SERVE,
    SOON_SECONDS,
    Datagrams,
    Load,
    ask,
    ask_unix,
    get,
    has_said,
    lives,
    nothing_left_of,
    only_as_root,
    open_folder,
    processes_of,
    ready,
    serve,
    status_of,
    workers_of,
)
from tests.processes import (
    PolicyClient,
    Running,
    accepts,
    encode,
    free_port,
    greyd,
    redis_server,
    request,
    running,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

GREYLISTED = "action=DEFER_IF_PERMIT "


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that the user nobody can reach."""
    with open_folder() as folder:
        yield folder


def greylists(port: int, host: str = "127.0.0.1", **attributes: str) -> bool:
    """Whether mail that nobody has seen is greylisted there."""
    attributes.setdefault("recipient", f"user{time.monotonic_ns()}@example.org")
    return (ask(port, host, **attributes) or "").startswith(GREYLISTED)


# Where it listens -------------------------------------------------------------------------------


def test_a_port_alone_means_both_families_of_localhost(tmp_path: Path) -> None:
    port = free_port("::1")
    with ready(tmp_path, f"--inet={port}"):
        assert greylists(port, "127.0.0.1")
        assert greylists(port, "::1")


def test_several_endpoints_stand_beside_each_other(tmp_path: Path) -> None:
    second, third = free_port(), free_port("::1")
    path = tmp_path / "socket"
    options = [f"--inet=127.0.0.1:{second}", f"--inet=[::1]:{third}", f"--unix={path}"]
    with ready(tmp_path, *options) as server:
        assert greylists(server.port)
        assert greylists(second)
        assert greylists(third, "::1")
        assert ask_unix(path).startswith(GREYLISTED.encode())


@pytest.mark.parametrize(
    "endpoints", [["--inet=*:{}"], ["--inet=0.0.0.0:{}", "--inet=[::]:{}"]], ids=["star", "both"]
)
def test_all_interfaces_means_those_of_both_families(tmp_path: Path, endpoints: list[str]) -> None:
    # Linux would give the second its port only where the first does not take IPv4 too.
    port = free_port("::")
    with greyd(tmp_path, *(each.format(port) for each in endpoints)):
        assert greylists(port, "127.0.0.1")
        assert greylists(port, "::1")


def test_all_endpoints_share_what_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    options = [f"--unix={path}", "--test-time", "--delay=60"]
    with greyd(tmp_path, *options) as server:
        ask(server.port, policy_test_time="1000000", instance="a")
        reply = ask(server.port, policy_test_time="1000060", instance="b")
        assert (reply or "").startswith("action=PREPEND X-Greylist: delayed 60 seconds")


@pytest.mark.parametrize(("option", "mode"), [([], 0o666), (["--socketmode=0600"], 0o600)])
def test_a_unix_socket_has_the_mode_that_was_asked_for(
    tmp_path: Path, option: list[str], mode: int
) -> None:
    path = tmp_path / "socket"
    with ready(tmp_path, f"--unix={path}", *option):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_unix_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with ready(tmp_path, f"--unix={path}") as server:
        server.process.kill()
        server.process.wait(SOON_SECONDS)
        assert path.exists()
    with ready(tmp_path / "again", f"--unix={path}"):
        assert ask_unix(path).startswith(GREYLISTED.encode())


def test_a_unix_socket_in_use_is_left_to_its_server(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with ready(tmp_path, f"--unix={path}"):
        second = serve(f"--unix={path}", f"--dbdir={tmp_path}", *QUIET)
        assert second.status == 2
        assert "in use" in second.errors
        assert ask_unix(path).startswith(GREYLISTED.encode())


def test_a_plain_file_in_the_place_of_the_socket_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("somebody's letter\n")
    assert serve(f"--unix={path}", f"--dbdir={tmp_path}", *QUIET).status == 2
    assert path.read_text() == "somebody's letter\n"


# The background ---------------------------------------------------------------------------------


def end(pid: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Send a daemon a signal, and see it end."""
    os.kill(pid, number)
    wait_until(lambda: not lives(pid), f"the end of {pid}", SOON_SECONDS)


def test_the_starting_command_returns_when_the_daemon_answers(tmp_path: Path) -> None:
    port, pidfile, path = free_port(), tmp_path / "pid", tmp_path / "socket"
    started = serve(
        "--daemonize", f"--inet=127.0.0.1:{port}", f"--unix={path}", f"--pidfile={pidfile}",
        f"--dbdir={tmp_path}", *QUIET,
    )  # fmt: skip
    assert (started.status, started.errors, started.output) == (0, "", "")
    assert greylists(port)
    assert ask_unix(path).startswith(GREYLISTED.encode())
    pid = int(pidfile.read_text())
    assert processes_of(tmp_path) == [pid]
    end(pid)
    assert not pidfile.exists()
    assert not path.exists()
    assert not accepts(port)


def test_a_daemon_has_a_session_of_its_own_and_no_terminal(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    serve(
        "-d", f"--inet=127.0.0.1:{free_port()}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}",
        *QUIET,
    )  # fmt: skip
    pid = int(pidfile.read_text())
    assert os.getsid(pid) != os.getsid(0)
    standard = {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)}
    assert standard == {"/dev/null"}
    end(pid)


def test_a_second_start_as_soon_as_the_daemon_is_gone_gets_the_port(tmp_path: Path) -> None:
    port, pidfile = free_port(), tmp_path / "pid"
    options = [
        "--daemonize", f"--inet=127.0.0.1:{port}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}",
        *QUIET,
    ]  # fmt: skip
    for _ in range(3):
        assert serve(*options).status == 0
        with PolicyClient(port) as client:
            assert client.ask(request())
            end(int(pidfile.read_text()))


@pytest.fixture
def syslog() -> Iterator[Datagrams]:
    """The system's log, where this machine has none of its own."""
    only_as_root()
    path = Path("/dev/log")
    if path.exists() and _somebody_listens(path):
        pytest.skip("a syslog runs here, whose messages can't be seen")
    path.unlink(missing_ok=True)
    with Datagrams(path) as log:
        try:
            yield log
        finally:
            path.unlink()


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(str(path)) == 0


def test_a_daemon_logs_to_syslog_as_postgrey_does(tmp_path: Path, syslog: Datagrams) -> None:
    port, pidfile = free_port(), tmp_path / "pid"
    serve(
        "--daemonize", f"--inet=127.0.0.1:{port}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}",
        "--facility=local3", "--syslog-ident=postgrey", *QUIET,
    )  # fmt: skip
    pid = int(pidfile.read_text())
    assert greylists(port, queue_id="4F3A")
    local3_info = 19 * 8 + 6
    line = syslog.wait_for("action=greylist")
    assert line.startswith(f"<{local3_info}>postgrey[{pid}]: 4F3A: action=greylist, reason=new, ")
    os.kill(pid, signal.SIGHUP)
    local3_notice = 19 * 8 + 5
    assert syslog.wait_for("HUP received").startswith(f"<{local3_notice}>postgrey[{pid}]: ")
    end(pid)
    syslog.wait_for("stopping")


def test_a_daemon_finds_the_new_socket_of_a_syslog_started_anew(
    tmp_path: Path, syslog: Datagrams
) -> None:
    port, pidfile = free_port(), tmp_path / "pid"
    serve(
        "--daemonize", f"--inet=127.0.0.1:{port}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}",
        *QUIET,
    )  # fmt: skip
    syslog.wait_for("listens on")
    Path("/dev/log").unlink()
    syslog.close()
    with Datagrams("/dev/log") as another:
        assert greylists(port, sender="second@example.com")
        another.wait_for("sender=second@example.com")
        end(int(pidfile.read_text()))


def test_a_daemon_lives_without_a_syslog(tmp_path: Path) -> None:
    port, pidfile = free_port(), tmp_path / "pid"
    started = serve(
        "--daemonize", f"--inet=127.0.0.1:{port}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}",
        *QUIET,
    )  # fmt: skip
    assert (started.status, started.errors) == (0, "")
    assert all(greylists(port) for _ in range(20))
    end(int(pidfile.read_text()))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_daemon_lets_go_of_the_output_of_who_started_it(tmp_path: Path, workers: str) -> None:
    # ``ssh mx service greyd start`` waits until nobody holds its output any more.
    pidfile = tmp_path / "pid"
    started = serve(
        "--daemonize", f"--inet=127.0.0.1:{free_port()}", f"--pidfile={pidfile}",
        f"--dbdir={tmp_path}", f"--workers={workers}", *QUIET,
    )  # fmt: skip
    assert started.status == 0
    end(int(pidfile.read_text()))


def test_a_daemon_that_finds_its_port_taken_says_so_in_the_foreground(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    with greyd(tmp_path / "first") as first:
        failed = serve(
            "--daemonize", f"--inet=127.0.0.1:{first.port}", f"--pidfile={pidfile}",
            f"--dbdir={tmp_path}", *QUIET,
        )  # fmt: skip
        assert failed.status == 2
        assert re.fullmatch(rf"greyd: --inet=127\.0\.0\.1:{first.port}: in use.*\n", failed.errors)
        assert not pidfile.exists()
        assert processes_of(tmp_path) == [first.process.pid]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_daemon_with_a_bad_store_says_so_in_the_foreground(tmp_path: Path, workers: str) -> None:
    pidfile, path = tmp_path / "pid", tmp_path / "socket"
    failed = serve(
        "--daemonize", f"--unix={path}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}",
        "--store=mysql://localhost/", f"--workers={workers}", *QUIET,
    )  # fmt: skip
    assert failed.status == 2
    assert re.fullmatch(r"greyd: --store: unknown scheme.*\n", failed.errors)
    assert not pidfile.exists()
    assert not path.exists()
    assert not processes_of(tmp_path)


# Rights -----------------------------------------------------------------------------------------


def ids(pid: int) -> tuple[set[str], set[str], set[str]]:
    """Return all user ids, all group ids and the further groups of a process."""
    status = status_of(pid)
    return tuple(set(status[name].split()) for name in ("Uid", "Gid", "Groups"))  # type: ignore[return-value]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_rights_of_root_are_given_away(everybodys: Path, workers: str) -> None:
    only_as_root()
    database = everybodys / "database"
    database.mkdir()
    os.chown(database, 65534, 65534)
    port, pidfile = free_port(), everybodys / "pid"
    started = serve(
        "--daemonize", f"--inet=127.0.0.1:{port}", f"--pidfile={pidfile}", f"--dbdir={database}",
        "--user=nobody", "--group=nogroup", f"--workers={workers}", *QUIET,
    )  # fmt: skip
    assert started.status == 0
    processes = processes_of(everybodys)
    assert len(processes) == (1 if workers == "1" else 3)
    for pid in processes:
        assert ids(pid) == ({"65534"}, {"65534"}, {"65534"})
    assert pidfile.stat().st_uid == 0, "else anybody could have root stop what they like"
    assert greylists(port)
    assert (database / "greyd.db").stat().st_uid == 65534
    assert status_of(processes[0])["CapEff"].strip("0") == ""
    end(int(pidfile.read_text()))


def test_the_user_brings_its_own_group(everybodys: Path) -> None:
    only_as_root()
    os.chown(everybodys, 65534, 65534)
    with ready(everybodys, "--user=nobody") as server:
        assert ids(server.process.pid) == ({"65534"}, {"65534"}, {"65534"})
        assert greylists(server.port)
        assert "running as root" not in server.log()


def test_a_user_may_be_given_by_number_as_postgrey_takes_it(everybodys: Path) -> None:
    only_as_root()
    os.chown(everybodys, 65534, 65534)
    with ready(everybodys, "--user=65534", "--group=65534") as server:
        assert ids(server.process.pid) == ({"65534"}, {"65534"}, {"65534"})


def test_running_as_root_is_warned_about(tmp_path: Path) -> None:
    only_as_root()
    with greyd(tmp_path) as server:
        has_said(server, "warning: running as root")


# Children of others -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_child_that_is_not_greyds_own_is_buried_and_ends_nothing(
    tmp_path: Path, workers: str
) -> None:
    # The first process of a container inherits children, here from the shell that it was.
    port = free_port()
    options = [f"--inet=127.0.0.1:{port}", f"--dbdir={tmp_path}", f"--workers={workers}", *QUIET]
    command = ["/bin/sh", "-c", 'sleep 60 & exec "$@"', "sh", *SERVE, *options]
    with running(command, tmp_path, port, lambda: accepts(port)) as server:
        has_said(server, "listens on", times=int(workers))
        child = next(
            pid for pid in workers_of(server.process.pid) if status_of(pid)["Name"] == "sleep"
        )
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: not status_of(child), "its burial")
        assert greylists(port)
        assert server.stop() == 0
        assert "Traceback" not in server.log()


# SIGHUP -----------------------------------------------------------------------------------------


def passes(server: Running, name: str) -> bool:
    """Whether a client of that name is whitelisted."""
    reply = ask(server.port, client_name=name, recipient=f"user{time.monotonic_ns()}@example.org")
    return reply == "action=DUNNO"


def hup(server: Running) -> None:
    """Have the whitelists read again, and wait until they have been."""
    counter = re.compile(r'greyd_whitelist_reloads_total\{result="\w+"\} (\d+)')

    def reloads() -> int:
        page = get(int(server.extra["metrics"]), "/metrics")[1]
        return sum(int(count) for count in counter.findall(page))

    before = reloads()
    server.signal(signal.SIGHUP)
    wait_until(lambda: reloads() > before, "the whitelists read again", SOON_SECONDS)


@contextlib.contextmanager
def with_whitelist(folder: Path, *options: str) -> Iterator[tuple[Running, Path]]:
    """Run greyd with a whitelist of one client, friend.example.net."""
    clients = folder / "whitelist_clients"
    clients.write_text("friend.example.net\n")
    metrics = free_port()
    options = (f"--whitelist-clients={clients}", f"--metrics=127.0.0.1:{metrics}", *options)
    with ready(folder, *options) as server:
        server.extra["metrics"] = metrics
        assert passes(server, "friend.example.net")
        assert not passes(server, "newcomer.example.net")
        yield server, clients


def test_a_changed_whitelist_is_in_force_after_hup(tmp_path: Path) -> None:
    with with_whitelist(tmp_path) as (server, clients):
        clients.write_text("newcomer.example.net\n")
        assert not passes(server, "newcomer.example.net"), "not before the signal"
        hup(server)
        assert passes(server, "newcomer.example.net")
        assert not passes(server, "friend.example.net")


def test_a_bad_line_is_reported_and_the_others_stand(tmp_path: Path) -> None:
    with with_whitelist(tmp_path) as (server, clients):
        clients.write_text("newcomer.example.net\n/bad(pattern/\nfriend.example.net\n")
        hup(server)
        assert passes(server, "newcomer.example.net")
        assert passes(server, "friend.example.net")
        has_said(server, f"{clients}:2:")


def test_a_whitelist_that_vanished_stays_in_force(tmp_path: Path) -> None:
    with with_whitelist(tmp_path) as (server, clients):
        clients.unlink()
        hup(server)
        assert passes(server, "friend.example.net")
        has_said(server, "stay in force")
        clients.write_text("newcomer.example.net\n")
        hup(server)
        assert passes(server, "newcomer.example.net")


def test_a_whitelist_that_became_unreadable_stays_in_force(everybodys: Path) -> None:
    only_as_root()
    os.chown(everybodys, 65534, 65534)
    with with_whitelist(everybodys, "--user=nobody") as (server, clients):
        clients.write_text("newcomer.example.net\n")
        clients.chmod(0)
        hup(server)
        assert passes(server, "friend.example.net")
        assert not passes(server, "newcomer.example.net")
        has_said(server, "stay in force")
        metrics = get(int(server.extra["metrics"]), "/metrics")[1]
        assert 'greyd_whitelist_reloads_total{result="failure"} 1.0' in metrics
        assert 'greyd_whitelist_entries{list="clients"} 1.0' in metrics


def test_a_folder_in_the_place_of_a_whitelist_changes_nothing(tmp_path: Path) -> None:
    with with_whitelist(tmp_path) as (server, clients):
        clients.unlink()
        clients.mkdir()
        hup(server)
        assert passes(server, "friend.example.net")


def test_several_hups_in_a_row_end_with_the_newest_whitelist(tmp_path: Path) -> None:
    with with_whitelist(tmp_path) as (server, clients):
        for number in range(20):
            clients.write_text(f"client{number}.example.net\n")
            server.signal(signal.SIGHUP)
        wait_until(lambda: passes(server, "client19.example.net"), "the newest list", SOON_SECONDS)
        assert not passes(server, "client18.example.net")


def test_nobody_who_asks_meanwhile_notices_a_hup(tmp_path: Path) -> None:
    with with_whitelist(tmp_path) as (server, clients), Load(server.port) as load:
        for number in range(5):
            many = "\n".join(f"host{count}.example.com" for count in range(20_000))
            clients.write_text(f"{many}\nclient{number}.example.net\n")
            hup(server)
            assert passes(server, f"client{number}.example.net")
            load.wait_for_answers(100)
        load.stop()
        assert not load.troubles
        assert {each.reply[:13] for each in load.asked if each.reply} == {b"action=DEFER_"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hup_at_the_very_beginning_is_not_the_end(tmp_path: Path, workers: str) -> None:
    # Debian's unit is of Type=simple: to systemd it has started, and may be told to reload.
    path = tmp_path / "socket"
    command = [*SERVE, *QUIET, f"--unix={path}", f"--dbdir={tmp_path}", f"--workers={workers}"]
    with running(command, tmp_path, 0, lambda: appears(path)) as server:
        server.signal(signal.SIGHUP)
        has_said(server, "listens on", times=int(workers))
        assert ask_unix(path).startswith(GREYLISTED.encode())
        assert server.stop() == 0


# Stopping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_stop_under_load_answers_all_that_was_asked(
    tmp_path: Path, number: signal.Signals, store: str
) -> None:
    with contextlib.ExitStack() as ends:
        options = []
        if store == "redis":
            redis = ends.enter_context(redis_server(tmp_path))
            options.append(f"--store=redis://127.0.0.1:{redis.port}/0")
        server = ends.enter_context(ready(tmp_path, *options))
        with Load(server.port) as load:
            signalled_at = time.monotonic()
            server.signal(number)
            assert server.process.wait(SOON_SECONDS) == 0
            load.stop()
        assert not load.unanswered(before=signalled_at)
        with greyd(tmp_path, *options, port=server.port) as second:
            assert greylists(second.port)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("clients", ["known", "new"])
def test_requests_still_on_their_way_when_the_stop_comes_are_answered(
    tmp_path: Path, clients: str, workers: str
) -> None:
    # Asleep, the server has read none of this when it wakes up with the signal waiting for it:
    # neither what known connections ask, nor that there are new ones at all.
    with ready(tmp_path, f"--workers={workers}") as server, contextlib.ExitStack() as ends:
        asleep = processes_of(tmp_path)
        asking = []
        if clients == "known":
            asking = [ends.enter_context(PolicyClient(server.port)) for _ in range(50)]
            for client in asking:
                assert client.ask(request(sender="before@example.com"))
        for pid in asleep:
            os.kill(pid, signal.SIGSTOP)
        if clients == "new":
            asking = [ends.enter_context(PolicyClient(server.port)) for _ in range(50)]
        for number, client in enumerate(asking):
            client.send(encode(request(sender=f"number{number}@example.com")))
        server.signal(signal.SIGTERM)
        for pid in asleep:
            os.kill(pid, signal.SIGCONT)
        assert [answer(client) for client in asking].count(None) == 0
        assert server.process.wait(SOON_SECONDS) == 0


def answer(client: PolicyClient) -> bytes | None:
    """Return the reply; None where there is none, however the connection ended."""
    try:
        return client.reply()
    except ConnectionResetError:
        return None


def test_idle_connections_do_not_hold_up_the_stop(tmp_path: Path) -> None:
    with ready(tmp_path) as server, contextlib.ExitStack() as ends:
        idle = [ends.enter_context(PolicyClient(server.port)) for _ in range(50)]
        for client in idle:
            assert client.ask(request())
        idle[0].send(b"request=smtpd_access_policy\nprotocol_sta")
        server.signal(signal.SIGTERM)
        assert server.process.wait(SOON_SECONDS) == 0
        assert [answer(client) for client in idle] == [None] * 50


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_in_the_middle_of_the_start_leaves_nothing_behind(
    tmp_path: Path, workers: str
) -> None:
    pidfile, path = tmp_path / "pid", tmp_path / "socket"
    # It waits for this Redis, and bound its sockets before.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = f"--store=redis://127.0.0.1:{silent.getsockname()[1]}/0"
        options = [store, "--store-timeout=3", f"--workers={workers}"]
        with greyd(tmp_path, *options, f"--pidfile={pidfile}", f"--unix={path}") as server:
            silent.accept()[0].close()
            server.signal(signal.SIGTERM)
            assert server.process.wait(SOON_SECONDS) == 0
    assert not pidfile.exists()
    assert not path.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("moment", ["socket", "pid"])
def test_a_stop_at_the_very_beginning_leaves_nothing_behind(
    tmp_path: Path, moment: str, workers: str
) -> None:
    pidfile, path, temporary = tmp_path / "pid", tmp_path / "socket", tmp_path / "tmp"
    temporary.mkdir()
    command = [
        *SERVE, *QUIET, f"--unix={path}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}",
        f"--workers={workers}",
    ]  # fmt: skip
    told = {"TMPDIR": str(temporary)}
    # Each time the signal comes at another point of the start, a few ms from the last.
    for _ in range(6):
        with running(command, tmp_path, 0, lambda: appears(tmp_path / moment), told) as server:
            server.signal(signal.SIGTERM)
            assert server.process.wait(SOON_SECONDS) == 0, server.log()
        assert not pidfile.exists()
        assert not path.exists()
        assert not list(temporary.iterdir())


def appears(path: Path) -> bool:
    """Wait a little for a file, and notice it within half a millisecond."""
    for _ in range(1000):
        if path.exists():
            return True
        time.sleep(0.0005)
    return False


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_nothing_acknowledged_is_lost_when_greyd_is_killed(tmp_path: Path, store: str) -> None:
    options = ["--delay=2"]
    with contextlib.ExitStack() as ends:
        if store == "redis":
            redis = ends.enter_context(redis_server(tmp_path))
            options.append(f"--store=redis://127.0.0.1:{redis.port}/0")
        with greyd(tmp_path, *options) as server, Load(server.port) as load:
            load.wait_for_answers(500)
            server.process.kill()
            load.stop()
        acknowledged = [each for each in load.asked if each.reply]
        assert {each.reply[:13] for each in acknowledged if each.reply} == {b"action=DEFER_"}
        # The delay is what is being waited for.
        time.sleep(2.1)
        with (
            greyd(tmp_path, *options, port=server.port) as again,
            PolicyClient(again.port) as client,
        ):
            replies = [
                client.ask(request(recipient=f"user{count}@client{number}.example.org"))
                for number in range(load.connections)
                for count in range(1, 1 + load.answered(number))
            ]
        assert len(replies) == len(acknowledged)
        assert {(reply or "")[:25] for reply in replies} <= {
            "action=PREPEND X-Greylist",
            "action=DUNNO",
        }


# systemd ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told_of_each_step(tmp_path: Path, workers: str) -> None:
    address = tmp_path / "notify"
    with Datagrams(address) as systemd:
        told = {"NOTIFY_SOCKET": str(address)}
        with greyd(tmp_path, f"--workers={workers}", environment=told) as server:
            systemd.wait_for("READY=1")
            assert greylists(server.port), "ready means that it answers"
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            server.signal(signal.SIGHUP)
            # Type=notify-reload waits for this pair, and fails the reload where it does not come.
            reloading = systemd.wait_for("RELOADING=1")
            at = int(dict(line.split("=") for line in reloading.split())["MONOTONIC_USEC"])
            assert before <= at <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            systemd.wait_for("READY=1", times=2)
            server.signal(signal.SIGTERM)
            systemd.wait_for("STOPPING=1")
            assert server.process.wait(SOON_SECONDS) == 0
        steps = [each.split("=")[0] for each in systemd.collect()]
        assert steps == ["READY", "RELOADING", "READY", "STOPPING"]


def test_systemd_is_told_at_an_abstract_address_too(tmp_path: Path) -> None:
    name = f"greyd-test-{os.getpid()}"
    with (
        Datagrams(f"\0{name}") as systemd,
        greyd(tmp_path, environment={"NOTIFY_SOCKET": f"@{name}"}),
    ):
        systemd.wait_for("READY=1")


LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS=sys.argv[2], LISTEN_PID=sys.argv[3] or str(os.getpid()))
os.execv(sys.argv[4], sys.argv[4:])
"""


@contextlib.contextmanager
def handed_over(
    folder: Path, listening: socket.socket, *options: str, pid: str = ""
) -> Iterator[Running]:
    """Run greyd as systemd does by a socket unit: with a listening socket on descriptor 3."""
    command = [
        sys.executable, "-c", LAUNCHER, str(listening.fileno()), "1", pid, *SERVE, *QUIET,
        f"--dbdir={folder}", *options,
    ]  # fmt: skip
    os.set_inheritable(listening.fileno(), True)
    output = folder / "activated"
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=CHECKOUT,
            pass_fds=[listening.fileno()],
        )  # fmt: skip
    server = Running(process, 0, output)
    try:
        yield server
    finally:
        server.stop()


def test_a_socket_from_systemd_is_answered_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with handed_over(tmp_path, listening) as server:
            # The kernel takes connections from the first moment on: nobody has to wait or retry.
            assert greylists(port)
            has_said(server, f"listens on 127.0.0.1:{port};")
            assert server.stop() == 0
        # systemd keeps it, so that nobody is refused while greyd is started anew.
        with handed_over(tmp_path, listening):
            assert greylists(port)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket_from_systemd_stays_where_it_is(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        options = [f"--unix={path}", f"--workers={workers}"]
        for _ in range(2):
            with handed_over(tmp_path, listening, *options) as server:
                assert ask_unix(path).startswith(GREYLISTED.encode())
                assert server.stop() == 0


def test_a_socket_meant_for_another_process_is_left_alone(tmp_path: Path) -> None:
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        handed_over(tmp_path, listening, f"--inet=127.0.0.1:{port}", pid="1") as server,
    ):
        has_said(server, f"listens on 127.0.0.1:{port};")
        assert greylists(port)


# Modes and sources of settings ------------------------------------------------------------------


def test_learn_passes_all_remembers_and_logs_what_it_would_do(tmp_path: Path) -> None:
    options = ["--test-time", "--delay=60"]
    with greyd(tmp_path, "--mode=learn", *options) as server:
        for at in ("1000000", "1000010"):
            assert ask(server.port, policy_test_time=at) == "action=DUNNO"
        has_said(server, "action=pass, reason=learning (new), client_name=")
        has_said(server, "action=pass, reason=learning (early-retry (50s missing)), client_name=")
    with greyd(tmp_path, *options) as server:
        reply = ask(server.port, policy_test_time="1000060")
        assert (reply or "").startswith("action=PREPEND X-Greylist: delayed 60 seconds")


def test_off_passes_all_and_remembers_nothing(tmp_path: Path) -> None:
    with greyd(tmp_path, "--mode=off") as server:
        assert ask(server.port) == "action=DUNNO"
        has_said(server, "action=pass, reason=mode off")
    with greyd(tmp_path, "--delay=60", "--greylist-text=wait %s") as server:
        assert ask(server.port) == "action=DEFER_IF_PERMIT 4.2.0 wait 60"


def test_a_file_stands_behind_the_environment_behind_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text('delay = 100\ngreylist-text = "wait %s"\ngreylist_action = "defer"\n')
    config = f"--config={file}"
    environment = {"GREYD_DELAY": "200", "GREYD_GREYLIST_ACTION": "DEFER"}
    with greyd(tmp_path, config) as server:
        assert ask(server.port, sender="a@example.com") == "action=defer 4.2.0 wait 100"
    with greyd(tmp_path, config, environment=environment) as server:
        assert ask(server.port, sender="b@example.com") == "action=DEFER 4.2.0 wait 200"
    with greyd(tmp_path, config, "--delay=300", environment=environment) as server:
        assert ask(server.port, sender="c@example.com") == "action=DEFER 4.2.0 wait 300"
    with greyd(tmp_path, environment={**environment, "GREYD_CONFIG": str(file)}) as server:
        assert ask(server.port, sender="d@example.com") == "action=DEFER 4.2.0 wait 200"


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    port, second, path = free_port(), free_port(), tmp_path / "socket"
    environment = {
        "GREYD_INET": f"127.0.0.1:{port} 127.0.0.1:{second}", "GREYD_UNIX": str(path),
        "GREYD_DBDIR": str(tmp_path), "GREYD_METRICS": "0", "GREYD_DELAY": "77",
        "GREYD_GREYLIST_TEXT": "wait %s", "GREYD_WHITELIST_CLIENTS": "/dev/null",
        "GREYD_WHITELIST_RECIPIENTS": "/dev/null", "GREYD_COLOUR": "grey",
    }  # fmt: skip
    with running(SERVE, tmp_path, port, lambda: accepts(port), environment) as server:
        assert ask(port) == "action=DEFER_IF_PERMIT 4.2.0 wait 77"
        assert greylists(second)
        assert ask_unix(path).startswith(GREYLISTED.encode())
        has_said(server, "warning: GREYD_COLOUR: unknown setting")


def test_a_file_alone_is_enough(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "greyd.toml"
    file.write_text(
        f'inet = ["127.0.0.1:{port}"]\ndbdir = "{tmp_path}"\nmetrics = 0\ndelay = 66\n'
        'greylist_text = "wait %s"\nwhitelist_clients = ["/dev/null"]\n'
        'whitelist_recipients = ["/dev/null"]\nexim = true\n'
    )
    command = [*SERVE, f"--config={file}"]
    with running(command, tmp_path, port, lambda: accepts(port)), PolicyClient(port) as client:
        assert client.ask(request()) == "action=DEFER_IF_PERMIT 4.2.0 wait 66"
        assert client.reply() is None, "exim: one reply a connection"


def test_the_store_of_the_command_line_is_taken_before_the_environments(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine.db", tmp_path / "theirs.db"
    with greyd(
        tmp_path, f"--store=sqlite:{mine}", environment={"GREYD_STORE": f"sqlite:{theirs}"}
    ) as server:
        assert greylists(server.port)
        assert mine.exists()
        assert not theirs.exists()


# Two servers, one Redis -------------------------------------------------------------------------


def test_two_servers_on_one_redis_remember_together(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        options = [f"--store=redis://127.0.0.1:{redis.port}/0", "--test-time", "--delay=60"]
        with greyd(tmp_path / "a", *options) as first, greyd(tmp_path / "b", *options) as second:
            assert (ask(first.port, policy_test_time="1000000") or "").startswith(GREYLISTED)
            assert (ask(second.port, policy_test_time="1000030") or "").startswith(GREYLISTED)
            reply = ask(second.port, policy_test_time="1000060", instance="x")
            assert (reply or "").startswith("action=PREPEND X-Greylist: delayed 60 seconds")
            assert ask(first.port, policy_test_time="1000061", instance="y") == "action=DUNNO"


def test_key_prefixes_keep_two_instances_in_one_redis_apart(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        options = [f"--store=redis://127.0.0.1:{redis.port}/0", "--test-time", "--delay=60"]
        with (
            greyd(tmp_path / "a", "--key-prefix=mx-a:", *options) as first,
            greyd(tmp_path / "b", "--key-prefix=mx-b:", *options) as second,
        ):
            assert (ask(first.port, policy_test_time="1000000") or "").startswith(GREYLISTED)
            assert (ask(second.port, policy_test_time="1000060") or "").startswith(GREYLISTED)
            assert (ask(first.port, policy_test_time="1000060") or "").startswith("action=PREPEND")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_mail_passes_until_a_redis_that_was_away_at_the_start_appears(
    tmp_path: Path, workers: str
) -> None:
    port, metrics = free_port(), free_port()
    options = [
        f"--store=redis://127.0.0.1:{port}/0", f"--metrics=127.0.0.1:{metrics}",
        f"--workers={workers}",
    ]  # fmt: skip
    with greyd(tmp_path, *options) as server:
        assert ask(server.port) == "action=DUNNO"
        assert get(metrics, "/readyz")[0] == 503
        assert get(metrics, "/healthz") == (200, "ok\n")
        assert "greyd_store_up 0.0" in get(metrics, "/metrics")[1]
        has_said(server, "store away")
        with redis_server(tmp_path, port=port):
            # Issue 3: greylisting is back within 5 s. What comes on top is this machine's load.
            wait_until(lambda: greylists(server.port), "greylisting again", 5.0 + SOON_SECONDS)
            wait_until(lambda: get(metrics, "/readyz")[0] == 200, "readiness", SOON_SECONDS)
            assert "greyd_store_up 1.0" in get(metrics, "/metrics")[1]
            has_said(server, "the store is back")
