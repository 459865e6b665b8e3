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
    from collections.abc import Callable, Collection, Iterator

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
)
"""All servers there are; the number says how many workers."""

SQLITE_WAL = "WAL, synchronous=NORMAL: synced at checkpoints"
POSTGREY_DISK = "synced to disk at each commit"
POSTGREY_MEMORY = "none: the database is in /dev/shm, where a sync costs nothing"


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


@dataclass(frozen=True, slots=True)
class Redis:
    """The Redis that greyd remembers in."""

    url: str
    version: str
    durability: str
    process: int | None = None


@contextlib.contextmanager
def redis_store(folder: Path, url: str | None) -> Iterator[Redis | None]:
    """Yield the Redis at ``url``, or one of our own that syncs each second, or None."""
    if url is None and not _installed("redis-server"):
        yield None
        return
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
    servers = []
    with contextlib.ExitStack() as stack:
        if "greyd-sqlite" in names:
            servers.append(_greyd("greyd-sqlite", folder, SQLITE_WAL))
        if "greyd-preset" in names:
            options = ("--preset=recommended", f"--resolver={stack.enter_context(name_server())}")
            servers.append(_greyd("greyd-preset", folder, SQLITE_WAL, *options))
        if {"greyd-redis", "greyd-redis-2"} & set(names):
            store = stack.enter_context(redis_store(folder / "redis", url))
            servers += _greyd_on_redis(folder, store, names) if store is not None else []
        if _installed("postgrey"):
            if "postgrey-disk" in names:
                servers.append(_postgrey("postgrey-disk", folder, POSTGREY_DISK))
            if "postgrey-memory" in names and MEMORY.is_dir():
                memory = MEMORY / f"greyd-benchmark-{os.getpid()}"
                stack.callback(shutil.rmtree, memory, ignore_errors=True)
                servers.append(_postgrey("postgrey-memory", memory, POSTGREY_MEMORY))
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
            f"--user={getpass.getuser()}", f"--group={grp.getgrgid(os.getegid()).gr_name}",
        ]  # fmt: skip

    return Server(name, version.stdout.strip(), durability, folder, command)


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
