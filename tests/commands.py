"""Run the administrator's commands on a store with known entries."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from greyd.cli.main import main
from greyd.cli.store_access import open_store_for_command
from greyd.config.settings import Settings
from greyd.rules.transaction import Change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from greyd.store.contract import Store

CHECKOUT = Path(__file__).parent.parent

_MAX_PIPE_BYTES = 65_536


def is_setting(variable: str) -> bool:
    """Whether a variable sets an option that a test must not inherit.

    ``GREYD_RUN_DIR`` keeps the servers of other tests out of a command, so it stays.
    """
    return variable.startswith(("GREYD_", "POSTGREY_")) and variable != "GREYD_RUN_DIR"


def environment_without_settings() -> dict[str, str]:
    """Return this process's environment without the variables that set options."""
    return {name: value for name, value in os.environ.items() if not is_setting(name)}


def run(
    *arguments: str | Path, given: str | bytes = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``greyd`` to its end, without this machine's settings except /etc/default."""
    environment = environment_without_settings()
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run(
        [sys.executable, "-m", "greyd", *map(str, arguments)],
        env={**environment, "COLUMNS": "200", **variables},
        cwd=CHECKOUT,
        input=data,
        capture_output=True,
        timeout=120,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


class _TerminalText(io.StringIO):
    """What a terminal shows."""

    def isatty(self) -> bool:
        return True


def run_here(
    *arguments: str | Path,
    given: str | bytes = b"",
    columns: int | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``greyd`` to its end in this process, which is a hundred times faster.

    What it writes to file descriptors, not to ``sys.stdout``, is not caught. With ``columns``,
    standard output is a terminal of this width without colours.
    """
    words = [str(each) for each in arguments]
    output = io.StringIO() if columns is None else _TerminalText()
    errors = io.StringIO()
    if columns is not None:
        variables = {"COLUMNS": str(columns), "TERM": "dumb", **variables}
    before, umask = dict(os.environ), os.umask(0o077)
    for name in [name for name in os.environ if is_setting(name)]:
        del os.environ[name]
    os.environ.update({"COLUMNS": "200", **variables})
    status: object = 0
    # A start that fails leaves its signals held, which processes of later tests would inherit.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        data = given.encode() if isinstance(given, str) else given
        with (
            redirect_stdout(output),
            redirect_stderr(errors),
            _input(data),
            _time_zone(variables),
            # A lower CPU priority would stay, and later tests' servers inherit it.
            patch.object(os, "nice"),
        ):
            main(words)
    except SystemExit as end:
        status = end.code
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.umask(umask)
        os.environ.clear()
        os.environ.update(before)
    code = status if isinstance(status, int) else 0
    return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())


@contextmanager
def _input(given: bytes) -> Iterator[None]:
    """Make bytes the standard input, also of what reads the file descriptor."""
    before, descriptor = sys.stdin, os.dup(0)
    # A pipe, as a process has it, could not hold more.
    source, target = os.pipe() if len(given) <= _MAX_PIPE_BYTES else (-1, os.memfd_create("input"))
    with os.fdopen(target, "wb") as file:
        file.write(given)
        if source < 0:
            file.flush()
            source = os.dup(target)
            os.lseek(source, 0, os.SEEK_SET)
    os.dup2(source, 0)
    os.close(source)
    sys.stdin = os.fdopen(0, closefd=False)
    try:
        yield
    finally:
        sys.stdin.close()
        sys.stdin = before
        os.dup2(descriptor, 0)
        os.close(descriptor)


@contextmanager
def _time_zone(variables: Mapping[str, str]) -> Iterator[None]:
    """Let a variable ``TZ`` apply in this process, as it would in a new one."""
    if "TZ" not in variables:
        yield
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = variables["TZ"]
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def answer_of(*arguments: str | Path, **variables: str) -> Any:
    """Run a command with ``--json``, which has to succeed; returns the parsed output."""
    done = run_here(*arguments, "--json", **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@asynccontextmanager
async def store_at(url: str, prefix: str = "greyd:") -> AsyncIterator[Store]:
    """Open a store; creates it if it does not exist."""
    async with open_store_for_command(url, Settings(key_prefix=prefix), create=True) as store:
        yield store


def fill(
    url: str,
    records: Mapping[bytes, bytes],
    ttl_seconds: int = 100_000,
    *,
    key_prefix: str = "greyd:",
) -> None:
    """Store records unchanged."""

    async def put_all() -> None:
        async with store_at(url, key_prefix) as store:
            # A store that nobody uses is not made.
            await store.count()
            for key, value in records.items():
                change = Change(key, value, ttl_seconds)
                await store.transact([key], lambda _, change=change: (None, [change]))  # type: ignore[misc]

    asyncio.run(put_all())


def content(url: str) -> dict[bytes, bytes]:
    """Return all stored records."""

    async def read_all() -> dict[bytes, bytes]:
        async with store_at(url) as store:
            return {each.key: each.value async for group in store.records() for each in group}

    return asyncio.run(read_all())
