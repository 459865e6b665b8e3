"""The administrator's commands: what all of them share. Each has a file of its own beside this.

A command is a function that gets an ``Admin`` and its own arguments, declared for typer, and
returns the exit status: 0 (also by None) when all is well, 1 when the answer is no (nothing found,
something wrong), 2 when it can't be done. ``greyd.commands`` adds the options that every command
has: those that say which server it is about, and ``--json``.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import pwd
import re
import socket
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from greyd.configuration import default_folder, read_secrets, read_settings_of_server
from greyd.control import CONTROL_KEY, Control, change_control
from greyd.durations import read_duration
from greyd.log import one_line
from greyd.redaction import redacted
from greyd.store import (
    Access,
    Answer,
    StoreError,
    StoreUnwritable,
    UnusableStoreError,
    is_sqlite,
    open_store,
    require_url,
    sqlite_file,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from rich.console import Console, RenderableType

    from greyd.settings import Settings
    from greyd.store import Rule, Store

    Question = tuple[Sequence[bytes], Rule[Any]]

Function = TypeVar("Function", bound="Callable[..., Any]")

NO = 1
"""Exit status: the answer is no."""

CANNOT = 2
"""Exit status: it can't be done."""

PATIENCE_SECONDS = 5.0
"""How long a command waits for the store at a time; mail does not wait for it."""

SHARED_OPTIONS = (
    "config", "store", "store-password-file", "sentinel-user", "sentinel-password-file", "dbdir",
    "key-prefix",
)  # fmt: skip
"""Options of the server that every command takes."""


class AdminError(Exception):
    """A command can't do what it is told; the text says why, and what to do."""


def command(function: Function) -> Function:
    """Mark a function as a command: its annotations are read when the program runs."""
    return function


@dataclass(frozen=True)
class Admin:
    """What a command works with."""

    settings: Settings
    """The server's."""
    as_json: bool = False
    _output: list[Console] = field(default_factory=list)

    @classmethod
    def of(cls, given: Mapping[str, str | None], *, as_json: bool = False) -> Admin:
        """Return one for the server that the options name.

        Raises:
            SettingsError: the server's settings can't be read.
            SetupError: nor can its secrets.
            StoreError: the URL of its store means nothing.
        """
        words = [f"--{name}={text}" for name, text in given.items() if text is not None]
        settings = read_secrets(read_settings_of_server(words))
        require_url(settings.store)
        return cls(replace(settings, store_timeout_seconds=PATIENCE_SECONDS), as_json)

    # The store ----------------------------------------------------------------------------------

    @property
    def store_url(self) -> str:
        """The URL of the server's store; it may hold a password."""
        folder = self.settings.dbdir or default_folder()
        return self.settings.store or f"sqlite:{folder / 'greyd.db'}"

    @contextlib.asynccontextmanager
    async def store(self, *, writes: bool = False, make: bool = False) -> AsyncIterator[Store]:
        """Open the server's store: to read, to write, or with ``make`` one that may be new.

        Raises:
            StoreError: there is none, or it can't be opened.
        """
        async with opened(self.store_url, self.settings, writes=writes, make=make) as store:
            yield store

    # What is told -------------------------------------------------------------------------------

    @property
    def console(self) -> Console:
        """Standard output, for people."""
        if not self._output:
            self._output.append(_console(sys.stdout))
        return self._output[0]

    def tell(self, *lines: RenderableType) -> None:
        """Show something to people; left out where a program reads."""
        if not self.as_json:
            for line in lines:
                self.console.print(line)

    def tell_json(self, thing: object) -> None:
        """Show something to a program; left out where people read."""
        if self.as_json:
            # In ASCII: what came from the network can't steer a terminal.
            sys.stdout.write(json.dumps(thing) + "\n")
            sys.stdout.flush()

    def table(
        self, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
    ) -> None:
        """Show a table; the columns named in ``numbers`` stand to the right."""
        from rich.table import Table

        shown = Table(box=None, pad_edge=False, header_style="bold")
        for name in head:
            shown.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
        for row in rows:
            shown.add_row(*row)
        self.tell(shown)

    @contextlib.contextmanager
    def progress(self, what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
        """Show a bar on standard error while work is done; yields what is told each piece done."""
        from rich.progress import Progress

        console = _console(sys.stderr)
        shown = console.is_terminal and not self.as_json
        with Progress(console=console, transient=True, disable=not shown) as bars:
            task = bars.add_task(what, total=total)
            yield lambda done: bars.advance(task, done)


_hidden: list[tuple[re.Pattern[str], str]] = []


def hide_logins(words: Sequence[str]) -> None:
    """Let ``complain`` leave out what looks like a login among the words of a command.

    A URL may have got into any place, and messages repeat what they do not understand.
    """
    pieces = {piece for word in words for piece in (word, word.partition("=")[2]) if piece}
    odd = sorted((each for each in pieces if redacted(each) != each), key=len, reverse=True)
    _hidden[:] = [
        (re.compile(re.escape(form), re.IGNORECASE), redacted(each))
        for each in odd
        for form in (each, plain_text(each))
    ]


def complain(text: str) -> None:
    """Write a line to standard error."""
    for login, shown in _hidden:
        text = login.sub(lambda _, shown=shown: shown, text)  # type: ignore[misc]  # its default
    text = "".join(each if each.isprintable() else "?" for each in text)
    sys.stderr.write(f"greyd: {text}\n")


def plain(octets: bytes) -> str:
    """Return octets of a stranger as they can stand on a terminal."""
    return one_line(octets).decode()


def plain_text(text: str) -> str:
    """Return a text of a stranger as it can stand on a terminal; any octets may be in it."""
    return plain(text.encode(errors="surrogateescape"))


def clock(when: float) -> str:
    """Return a time as people read it, in this machine's zone; empty for 0."""
    return format_time("%Y-%m-%d %H:%M:%S", when) if when else ""


def format_time(form: str, when: float) -> str:
    """Return a time by a form of strftime's; where no calendar has it, as ``@SECONDS``."""
    try:
        return time.strftime(form, time.localtime(when))
    except (OverflowError, ValueError, OSError):
        return f"@{when:.0f}"


def seconds(text: str, option: str) -> int:
    """Return the seconds of a duration that an option names.

    Raises:
        AdminError: it is none.
    """
    try:
        return read_duration(text)
    except ValueError as error:
        raise AdminError(f"{option}={plain_text(text)}: write {error}") from None


def who() -> str:
    """Return who gives the command: the account that logged in, and the host."""
    name = os.environ.get("SUDO_USER") or ""
    with contextlib.suppress(KeyError, OSError):
        name = name or pwd.getpwuid(os.getuid()).pw_name or getpass.getuser()
    return plain(f"{name or os.getuid()}@{socket.gethostname()}".encode())


def _console(stream: Any) -> Console:
    from rich.console import Console

    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        # What a program reads is not cut to a terminal's width.
        console.width = 400
    return console


async def note_act(
    store: Store, settings: Settings, what: str, named: Mapping[str, str | None]
) -> None:
    """Let the servers' logs say what was done, of whom, by whom and when.

    With ``--privacy`` they are not told of whom: what waits for the log is in the store.
    """
    if not settings.privacy:
        given = [f"--{name}={plain_text(text)}" for name, text in named.items() if text]
        what = " ".join([what, *given])
    now, by = int(time.time()), who()
    await tell_servers(store, lambda control: control.with_act(by, what, now), now)


async def told_servers(store: Store) -> Control:
    """Return what all servers on a store have been told."""
    record = await store.get(CONTROL_KEY)
    return Control.load(record.value if record else None)


async def tell_servers(store: Store, change: Callable[[Control], Control], now: int) -> Control:
    """Tell all servers on a store something else; returns what they are told then."""
    return await store.transact([CONTROL_KEY], change_control(change, now))


# The store ----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def opened(
    url: str, settings: Settings, *, writes: bool = False, make: bool = False
) -> AsyncIterator[Store]:
    """Open a store to read what is there; nothing of a file is changed.

    With ``writes`` it may be changed, and with ``make`` a file that is not there is made, and is
    its folder's owner's.

    Raises:
        UnusableStoreError: it is not greyd's.
        StoreError: there is none, or it can't be opened.
    """
    if url.startswith("memory:"):
        raise StoreError("memory:// is within the server's process, where no command can reach it")
    access = Access.WRITE if writes or make else Access.READ
    if is_sqlite(url):
        _require(sqlite_file(url), make=make)
    store = open_store(replace(settings, store=url), Path(), access)
    try:
        yield store
    except UnusableStoreError:
        raise
    except StoreUnwritable as error:
        # What mends it for a server, a chown to this user, would take it from the server.
        raise StoreError(f"{error.what}; run this as root, or as the server's user") from None
    finally:
        await store.close()


def _require(path: Path, *, make: bool) -> None:
    """See that a file is greyd's before anybody opens it."""
    from greyd.store.sqlite_identity import identify

    identity = identify(str(path))
    if identity.version is not None:
        return
    if not make:
        raise StoreError(
            f"sqlite:{path}: nothing is stored there; name the server's --dbdir or --store"
        )
    if not identity.exists:
        _make_for_owner(path)


def _make_for_owner(path: Path) -> None:
    """Make an empty file that the server can write, whoever runs this."""
    try:
        folder = path.parent.stat()
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"sqlite:{path}: {error.strerror}; run this as root") from None
    with contextlib.closing(os.fdopen(descriptor, "wb")):
        if os.geteuid() == 0:
            os.fchown(descriptor, folder.st_uid, folder.st_gid)


class Pace:
    """How much is done at a time, so that the server's requests come in between."""

    SECONDS = 0.015
    """That one batch is to take; the server waits no longer for it."""
    REST_SECONDS = 0.015
    """Between two. Who waits for SQLite's lock looks again after so long at the most, at first."""
    MOST = 5000

    def __init__(self) -> None:
        self.size = 50
        self._rested_at = 0.0

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Do one batch, some time after the one before, and choose the size of the next."""
        await asyncio.sleep(max(self._rested_at - time.perf_counter(), 0))
        started = time.perf_counter()
        yield
        ended = time.perf_counter()
        self._rested_at = ended + self.REST_SECONDS
        # The size follows the time that one of them takes, but not each hiccup of a busy machine.
        fits = self.size * self.SECONDS / max(ended - started, 1e-6)
        self.size = round(min(max(fits, self.size / 2, 1), self.size * 2, self.MOST))


def step_back() -> None:
    """Let the servers have the processor first, from now on.

    Not for who writes: while it waits for the processor, it may hold what they wait for.
    """
    with contextlib.suppress(OSError):
        os.nice(10)


_NEAR = 50_000


def near_together(store: Store, questions: Iterable[Question]) -> Iterator[Question]:
    """Put many questions into an order in which their answers are cheap to store."""
    left = iter(questions)
    while some := list(islice(left, _NEAR)):
        yield from sorted(some, key=lambda question: store.place_of(question[0][0]))


async def decide_all(store: Store, questions: Iterable[Question]) -> AsyncIterator[list[Any]]:
    """Decide by many rules, a batch at a time; yields the answers of each batch in order.

    Raises:
        StoreError: the store has failed several times in a row.
    """
    pace, left = Pace(), iter(questions)
    while batch := list(islice(left, pace.size)):
        async with pace.batch():
            answers = await _patiently(partial(_decide, store, batch))
        yield answers


async def delete_all(store: Store, keys: Iterable[bytes]) -> int:
    """Forget many entries, a batch at a time; returns how many there were.

    Raises:
        StoreError: the store has failed several times in a row.
    """
    pace, left, gone = Pace(), iter(keys), 0
    while batch := list(islice(left, pace.size)):
        async with pace.batch():
            gone += await _patiently(partial(store.delete, batch))
    return gone


_ATTEMPTS = 5


async def _patiently(do: Callable[[], Awaitable[Answer]]) -> Answer:
    """Try again where the store is busy: rules can be asked again, and forgetting too."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return await do()
        except StoreError:
            await asyncio.sleep(0.1 * attempt)
    return await do()


async def _decide(store: Store, batch: Sequence[Question]) -> list[Any]:
    """Ask all rules in one turn of the loop, so that they travel together."""
    answers: list[Any] = [None] * len(batch)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(batch)

    def done(place: int, answer: Any, error: Exception | None) -> None:
        nonlocal left
        left -= 1
        answers[place] = answer
        if error is not None or not left:
            tell(ended, None, error)

    for place, (keys, rule) in enumerate(batch):
        store.begin(keys, rule, partial(done, place))
    await ended
    return answers
