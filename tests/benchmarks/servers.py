"""The servers under test: how each is started, where it keeps its state, what it costs.

All of them write their log to a file, listen on TCP and use the whitelist they are shipped with.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import redis

import greyd
from tests import processes
from tests.benchmarks import load

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from tests.processes import Running

PROJECT = Path(__file__).parent.parent.parent
MEMORY = Path("/dev/shm")
KEY_PREFIX = "greyd-benchmark:"

NAMES = (
    "greyd-sqlite",
    "greyd-preset",
    "greyd-redis",
    "greyd-redis-2",
    "postgrey-disk",
    "postgrey-memory",
    "sqlgrey",
    "gross",
)
"""All servers there are; the number says how many workers."""

UNTIMED_MODES = ("new", "known")
"""The loads for a server that ignores ``policy_test_time``.

``mixed`` needs early retries that stay early, and so a long delay; ``known`` needs a short one.
"""

SQLITE_WAL = "WAL, synchronous=NORMAL: synced at checkpoints"
POSTGREY_DISK = "synced to disk at each commit"
POSTGREY_MEMORY = "none: the database is in /dev/shm, where a sync costs nothing"
SQLGREY = "SQLite's defaults: synced at each commit"
GROSS = "none: Bloom filters in memory, no state file"

GROSS_STATUS_PORT = 5522
"""Debian's grossd listens there, too, and refuses the options that its manual has for it."""

_PROGRAMS = {
    "greyd-redis": ("redis-server", "redis-server"),
    "greyd-redis-2": ("redis-server", "redis-server"),
    "postgrey-disk": ("postgrey", "postgrey"),
    "postgrey-memory": ("postgrey", "postgrey"),
    "sqlgrey": ("sqlgrey", "sqlgrey and libdbd-sqlite3-perl"),
    "gross": ("grossd", "gross"),
}
"""The program that a server needs, and Debian's packages for it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be started, again and again on the same state."""

    name: str
    version: str
    durability: str
    folder: Path
    command: Callable[[int], list[str]]
    """The command line that listens on this port."""
    passes_clean: bool = False
    """Whether new mail passes that shows no sign of spam software."""
    modes: tuple[str, ...] = load.MODES
    """The loads that it can get."""
    retry_after_seconds: float | None = None
    """When a retry passes, by the clock; None where ``policy_test_time`` sets the time."""
    redis_process: int | None = None
    """Process id of the Redis that works for it, where that is our own."""

    @contextlib.contextmanager
    def running(self) -> Iterator[tuple[Running, float]]:
        """Run it; yields the process and the seconds from its start to its first answer."""
        port = processes.free_port()
        answered_at: list[float] = []
        begun = time.perf_counter()
        with processes.running(
            self.command(port), self.folder, port, partial(_first_answer, port, answered_at)
        ) as server:
            yield server, answered_at[0] - begun


def _first_answer(port: int, answered_at: list[float], seconds: float = 0.5) -> bool:
    """Ask until there is an answer; False where there is none so soon."""
    end = time.perf_counter() + seconds
    question = [load.Ask("new", load.triplet(b"first", time.time_ns() // 1000))]
    while time.perf_counter() < end:
        try:
            clients = load.connect("127.0.0.1", port, 1)
            load.Load(clients, question).run()
        except load.LoadError:
            time.sleep(0.001)
            continue
        answered_at.append(time.perf_counter())
        clients[0].socket.close()
        return True
    return False


# Which there are --------------------------------------------------------------------------------


def reasons_to_skip(names: Collection[str], url: str | None) -> dict[str, str]:
    """Return those of the named servers that can't run here, and what to do about it."""
    reasons = {}
    for name, (program, packages) in _PROGRAMS.items():
        if name not in names or (program == "redis-server" and url is not None):
            continue
        if not _installed(program) or (name == "sqlgrey" and not _has_perl_sqlite()):
            reasons[name] = f"install {packages}"
        elif name == "gross" and processes.accepts(GROSS_STATUS_PORT):
            reasons[name] = f"stop what listens on port {GROSS_STATUS_PORT}, a grossd perhaps"
    return reasons


@dataclass(frozen=True, slots=True)
class Redis:
    """The Redis that greyd remembers in."""

    url: str
    version: str
    durability: str
    process: int | None = None


@contextlib.contextmanager
def redis_store(folder: Path, url: str | None) -> Iterator[Redis]:
    """Yield the Redis at ``url``, or one of our own that syncs each second."""
    with contextlib.ExitStack() as stack:
        process = None
        if url is None:
            options = ("--appendonly", "yes", "--appendfsync", "everysec")
            server = stack.enter_context(processes.redis_server(folder, *options))
            process, url = server.process.pid, f"redis://127.0.0.1:{server.port}/0"
        client = stack.enter_context(redis.Redis.from_url(url))
        yield Redis(url, client.info("server")["redis_version"], _redis_durability(client), process)
        if process is None:
            for key in client.scan_iter(f"{KEY_PREFIX}*", count=1000):
                client.unlink(key)


def _redis_durability(client: redis.Redis) -> str:
    try:
        appends = client.config_get("appendonly")["appendonly"]
        sync = client.config_get("appendfsync")["appendfsync"]
    except redis.ResponseError:
        return "unknown: Redis does not tell its configuration"
    return f"appendonly {appends}, appendfsync {sync}"


@contextlib.contextmanager
def all_servers(
    folder: Path, url: str | None, names: Collection[str] = NAMES
) -> Iterator[list[Server]]:
    """Yield those of the named servers that this machine can run, with their state in ``folder``.

    Args:
        folder: on the disk that is to be measured.
        url: of a Redis that somebody else runs; None starts one.
        names: which servers; see ``NAMES``.
    """
    names = set(names) - reasons_to_skip(names, url).keys()
    servers = []
    with contextlib.ExitStack() as stack:
        if "greyd-sqlite" in names:
            servers.append(_greyd("greyd-sqlite", folder, SQLITE_WAL))
        if "greyd-preset" in names:
            options = ("--preset=recommended", f"--resolver={stack.enter_context(name_server())}")
            servers.append(_greyd("greyd-preset", folder, SQLITE_WAL, *options))
        if {"greyd-redis", "greyd-redis-2"} & names:
            store = stack.enter_context(redis_store(folder / "redis", url))
            servers += _greyd_on_redis(folder, store, names)
        if "postgrey-disk" in names:
            servers.append(_postgrey("postgrey-disk", folder, POSTGREY_DISK))
        if "postgrey-memory" in names and MEMORY.is_dir():
            memory = MEMORY / f"greyd-benchmark-{os.getpid()}"
            stack.callback(shutil.rmtree, memory, ignore_errors=True)
            servers.append(_postgrey("postgrey-memory", memory, POSTGREY_MEMORY))
        if "sqlgrey" in names:
            servers.append(_sqlgrey(folder))
        if "gross" in names:
            servers.append(_gross(folder))
        yield servers


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """Run ``tests.benchmarks.name_server``; yields its address."""
    command = [sys.executable, "-m", "tests.benchmarks.name_server"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _greyd_on_redis(folder: Path, store: Redis, names: Collection[str]) -> list[Server]:
    workers = {"greyd-redis": (), "greyd-redis-2": ("--workers=2",)}
    return [
        _greyd(name, folder, store.durability, *options, store=store)
        for name, options in workers.items()
        if name in names
    ]


def _greyd(
    name: str, folder: Path, durability: str, *options: str, store: Redis | None = None
) -> Server:
    folder = folder / name
    folder.mkdir(parents=True)
    version = f"greyd {greyd.__version__}"
    if store is None:
        version += f" on SQLite {sqlite3.sqlite_version}"
        options += (f"--dbdir={folder}",)
    else:
        version += f" on Redis {store.version}"
        options += (f"--store={store.url}", f"--key-prefix={KEY_PREFIX}{name}:")

    def command(port: int) -> list[str]:
        return [
            sys.executable, "-m", "greyd", "serve", f"--inet=127.0.0.1:{port}", "--test-time",
            f"--metrics=127.0.0.1:{processes.free_port()}",
            f"--whitelist-clients={PROJECT / 'whitelists' / 'whitelist_clients'}",
            f"--whitelist-recipients={PROJECT / 'whitelists' / 'whitelist_recipients'}",
            *options,
        ]  # fmt: skip

    return Server(
        name,
        version,
        durability,
        folder,
        command,
        passes_clean="--preset=recommended" in options,
        redis_process=store.process if store else None,
    )


def _postgrey(name: str, folder: Path, durability: str) -> Server:
    folder = folder / name
    database = folder / "db"
    database.mkdir(parents=True)
    program = processes.program("postgrey")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)

    def command(port: int) -> list[str]:
        return [
            program, f"--inet=127.0.0.1:{port}", f"--dbdir={database}",
            f"--user={getpass.getuser()}", f"--group={_group()}",
        ]  # fmt: skip

    return Server(name, version.stdout.strip(), durability, folder, command)


def _sqlgrey(folder: Path) -> Server:
    """Return sqlgrey on SQLite with Debian's whitelists; a retry passes in the next second."""
    folder = folder / "sqlgrey"
    folder.mkdir(parents=True)
    program = processes.program("sqlgrey")

    def command(port: int) -> list[str]:
        settings = {
            "user": getpass.getuser(),
            "group": _group(),
            "inet": f"127.0.0.1:{port}",
            "pidfile": folder / "sqlgrey.pid",
            "db_type": "SQLite",
            "db_name": folder / "sqlgrey.db",
            "reconnect_delay": 0,
            "prepend": 0,
            # Empty: it sends no mail.
            "admin_mail": "",
        }
        return [program, "-f", str(_write_settings(folder / "sqlgrey.conf", settings))]

    return Server(
        "sqlgrey",
        f"{_version([program, '--version'])} on SQLite",
        SQLGREY,
        folder,
        command,
        modes=UNTIMED_MODES,
        # It compares whole seconds.
        retry_after_seconds=1.5,
    )


def _gross(folder: Path) -> Server:
    """Return gross as a plain greylisting server: it asks no list."""
    folder = folder / "gross"
    folder.mkdir(parents=True)
    program = processes.program("grossd")

    def command(port: int) -> list[str]:
        settings = {
            "host": "127.0.0.1",
            "port": port,
            "protocol": "postfix",
            "grey_delay": 1,
            # Without a check, greylist everything.
            "grey_threshold": 0,
        }
        file = _write_settings(folder / "grossd.conf", settings)
        # -d: in the foreground, log to standard output; -r: no second server to copy to.
        return [program, "-d", "-r", "-u", getpass.getuser(), "-f", str(file)]

    return Server(
        "gross",
        f"gross {_version([program, '-V']).rpartition(' ')[2].rstrip('.')}",
        GROSS,
        folder,
        command,
        modes=UNTIMED_MODES,
        retry_after_seconds=2.0,
    )


def _write_settings(file: Path, settings: Mapping[str, object]) -> Path:
    file.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    return file


def _version(command: list[str]) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout.strip()


def _group() -> str:
    return grp.getgrgid(os.getegid()).gr_name


def _has_perl_sqlite() -> bool:
    """Whether the system's Perl, which runs sqlgrey, has its driver for SQLite."""
    perl = shutil.which("perl", path=processes.SYSTEM_PATH)
    if perl is None:
        return False
    command = [perl, "-MDBD::SQLite", "-e1"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _installed(program: str) -> bool:
    return shutil.which(program, path=processes.SYSTEM_PATH) is not None


# What they cost ---------------------------------------------------------------------------------


def process_tree(process: int) -> list[int]:
    """Return a process and its children."""
    return [process, *(each for each in _all_processes() if _fields(each)[1:2] == [str(process)])]


def resident_mb(process: int) -> float:
    """Return the memory that a process and its children hold; shared pages count for each."""
    pages = sum(
        int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in process_tree(process)
    )
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process and its children have used."""
    ticks = sum(sum(map(int, _fields(each)[11:13])) for each in process_tree(process))
    return ticks / os.sysconf("SC_CLK_TCK")


def _all_processes() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def _fields(process: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the third, the state, on."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
