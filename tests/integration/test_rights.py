"""Who owns what greyd makes, and who may read it, whatever the umask; as the page Security says."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import (
    CHECKOUT,
    QUIET,
    SERVE,
    SOON_SECONDS,
    ask,
    ask_unix,
    has_said,
    lives,
    only_as_root,
    open_folder,
    ready,
    serve,
)
from tests.processes import accepts, free_port, postgrey, program, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.processes import Running

pytestmark = pytest.mark.integration

NOBODY = 65534
GREYLISTED = b"action=DEFER_IF_PERMIT "


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with open_folder() as folder:
        yield folder


# Modes --------------------------------------------------------------------------------------------

WITH_UMASK = ["/bin/sh", "-c", 'umask "$0"; exec "$@"']


def stated_modes() -> dict[str, int]:
    """Return what the page says of what greyd makes, by name."""
    page = (CHECKOUT / "docs/security.md").read_text()
    table = page.partition("\n## Files and folders\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\S+)` \| (\d+) ", table, re.MULTILINE)
    modes = {name: int(mode, 8) for name, mode in rows}
    assert len(modes) > 5
    return modes


def found_modes(folder: Path) -> dict[str, int]:
    """Return the modes of all that is in a folder, by the names that the page has for it."""
    return {
        _stated_name(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
    }


def _stated_name(path: Path) -> str:
    for name in stated_modes():
        patterns = name.split("/")
        if all(map(fnmatch.fnmatchcase, path.parts[-len(patterns) :], patterns)):
            return name
    return str(path)


@contextlib.contextmanager
def serving(folder: Path, umask: str, *options: str) -> Iterator[Running]:
    """Run a server that makes all that a server can make, in folders below this one."""
    port = free_port()
    for name in ("tmp", "run"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(0o1777)
    command = [
        *WITH_UMASK, umask, *SERVE, f"--inet=127.0.0.1:{port}", f"--unix={folder}/run/socket",
        f"--pidfile={folder}/run/pid", *QUIET, *options,
    ]  # fmt: skip
    environment = {"TMPDIR": str(folder / "tmp"), "XDG_STATE_HOME": str(folder / "state")}
    with running(command, folder / "log", port, lambda: accepts(port), environment) as server:
        has_said(server, "listens on")
        assert ask(port, recipient="somebody@example.org")
        yield server


@pytest.mark.parametrize("umask", ["000", "077", "027"])
def test_all_that_a_server_makes_has_the_mode_that_the_page_says(
    open_to_all: Path, umask: str
) -> None:
    database = open_to_all / "run"
    with serving(open_to_all, umask, "--workers=2", f"--dbdir={database}"):
        found = found_modes(database) | found_modes(open_to_all / "tmp")
    stated = stated_modes()
    assert found == {name: stated[name] for name in found}
    assert {"socket", "pid", "greyd.db", "greyd.db-*"} < set(found)
    assert {"greyd-metrics-*", "greyd-metrics-*/*.db"} < set(found)


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_folder_that_is_made_where_none_is_named_has_it_too(
    open_to_all: Path, umask: str
) -> None:
    only_as_root()
    home = open_to_all / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    environment = {"XDG_STATE_HOME": f"{home}/.local/state"}
    with as_nobody(open_to_all, *WITH_UMASK, umask, environment=environment):
        database = home / ".local" / "state" / "greyd"
        assert found_modes(database.parent)["greyd"] == stated_modes()["greyd"]
        assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(database.parent.parent.stat().st_mode) == 0o700


@contextlib.contextmanager
def as_nobody(
    folder: Path, *before: str, options: Sequence[str] = (), environment: Mapping[str, str]
) -> Iterator[Running]:
    """Run a server that the user nobody has started, who is in the group of Postfix too."""
    port = free_port()
    command = [
        *before, sys.executable, "-c", AS_NOBODY, "serve", f"--inet=127.0.0.1:{port}", *QUIET,
        *options,
    ]  # fmt: skip
    with running(command, folder / "log", port, lambda: accepts(port), environment) as server:
        has_said(server, "listens on")
        yield server


# Its modules are loaded first: the interpreter may be where only root can read.
AS_NOBODY = """\
import grp, importlib, os, sys
for name in ("server.process", "server.serve", "store.sqlite.store", "config.loading"):
    importlib.import_module("greyd." + name)
import concurrent.futures.thread, encodings.idna, uvloop
from greyd.cli.main import main
os.setgroups([65534, grp.getgrnam("postfix").gr_gid])
os.setgid(65534)
os.setuid(65534)
main(sys.argv[1:])
"""


@pytest.mark.parametrize("umask", ["000", "077"])
def test_all_that_the_commands_make_has_it_too(tmp_path: Path, umask: str) -> None:
    made = tmp_path / "made"
    made.mkdir()
    log = tmp_path / "mail.log"
    log.write_text(
        "Nov 27 03:00:00 mx postgrey[1]: action=greylist, reason=new, client_name=mail.example.com,"
        " client_address=192.0.2.7, sender=alice@example.com, recipient=bob@example.org\n"
    )
    greyd = [*WITH_UMASK, umask, sys.executable, "-m", "greyd"]
    for command in (
        ["report", f"--html={made}/report.html", log],
        ["expect", "--store", f"sqlite:{made}/greyd.db", "bob@example.org"],
    ):
        done = subprocess.run([*greyd, *command], cwd=CHECKOUT, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
    found = found_modes(made)
    stated = stated_modes()
    assert {"report.html", "greyd.db"} <= set(found)
    assert found == {name: stated[name] for name in found}


STAND_IN = """\
#!/bin/sh
# Notes what is in TMPDIR while the real program runs.
(cd "$TMPDIR" && find . -mindepth 1 -printf '%m %P\\n') >>"$NOTES"
exec {real} "$@"
"""


@pytest.mark.parametrize("umask", ["000", "077"])
def test_a_copy_of_postgreys_database_is_for_the_importing_user_alone(
    tmp_path: Path, umask: str
) -> None:
    programs, temporary, notes = tmp_path / "bin", tmp_path / "tmp", tmp_path / "notes"
    for folder in (programs, temporary):
        folder.mkdir()
    for name in ("db5.3_dump", "db5.3_recover", "db5.3_stat", "db5.3_verify"):
        (programs / name).write_text(STAND_IN.format(real=program(name)))
        (programs / name).chmod(0o755)
    with postgrey(tmp_path) as server:
        ask(server.port)
    done = subprocess.run(
        [*WITH_UMASK, umask, sys.executable, "-m", "greyd", "import", tmp_path / "postgrey-db",
         "--store", f"sqlite:{tmp_path}/greyd.db", "--dry-run"],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(temporary),
             "NOTES": str(notes)},
        cwd=CHECKOUT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    found = {_stated_name(Path(name)): int(mode, 8) for mode, name in seen}
    assert set(found) == {"greyd-import-*", "greyd-import-*/*"}
    assert found == {name: stated_modes()[name] for name in found}
    assert not list(temporary.iterdir())


# Owners -------------------------------------------------------------------------------------------


def connects_as(user: str, path: Path) -> bool:
    """Whether a user, with its own group alone as Postfix's processes are, gets an answer."""
    account = pwd.getpwnam(user)
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            status = 0 if ask_unix(path).startswith(GREYLISTED) else 2
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


RIGHTS = ["--socketmode=0660", "--user=postgrey", "--group=postfix"]


def test_a_socket_belongs_to_whom_postgreys_belongs_to(open_to_all: Path) -> None:
    only_as_root()
    theirs, ours = open_to_all / "postgrey", open_to_all / "greyd"
    for folder in (theirs, theirs / "postgrey-db", ours):
        folder.mkdir()
        os.chown(folder, pwd.getpwnam("postgrey").pw_uid, -1)
    command = [
        program("postgrey"), *RIGHTS, f"--unix={theirs}/socket", f"--dbdir={theirs}/postgrey-db",
        "--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null",
    ]  # fmt: skip
    with (
        running(command, open_to_all / "log", 0, (theirs / "socket").exists),
        ready(ours, *RIGHTS, f"--unix={ours}/socket", "--store=memory://"),
    ):
        wait_until(lambda: connects_as("postfix", theirs / "socket"), "postgrey's rights")
        expected, found = (theirs / "socket").stat(), (ours / "socket").stat()
        assert oct(found.st_mode) == oct(expected.st_mode)
        assert (found.st_uid, found.st_gid) == (expected.st_uid, expected.st_gid)
        assert connects_as("postfix", ours / "socket")
        assert not connects_as("nobody", ours / "socket")


@pytest.mark.parametrize("owner", ["root", "postfix", "postgrey"])
def test_postfix_reaches_a_socket_whoever_owns_its_folder(open_to_all: Path, owner: str) -> None:
    only_as_root()
    folder = open_to_all / "private"
    folder.mkdir()
    shutil.chown(folder, owner)
    with ready(open_to_all, *RIGHTS, f"--unix={folder}/greyd", "--store=memory://"):
        assert connects_as("postfix", folder / "greyd")
        assert (folder / "greyd").owner() == "postgrey"


def test_another_of_the_users_own_groups_can_have_the_socket_without_root(
    open_to_all: Path,
) -> None:
    only_as_root()
    folder = open_to_all / "run"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    options = [
        f"--dbdir={folder}", f"--unix={folder}/socket", "--socketmode=0660", "--group=postfix"
    ]  # fmt: skip
    with as_nobody(open_to_all, options=options, environment={}):
        found = folder / "socket"
        assert (found.stat().st_uid, found.group()) == (NOBODY, "postfix")
        assert stat.S_IMODE(found.stat().st_mode) == 0o660
        assert connects_as("postfix", found)


# A restart ----------------------------------------------------------------------------------------


def test_a_server_that_ends_leaves_what_the_next_one_has_made(tmp_path: Path) -> None:
    path, pidfile = tmp_path / "socket", tmp_path / "pid"
    options = [f"--unix={path}", f"--pidfile={pidfile}"]
    with ready(tmp_path / "old", *options) as old:
        # As if it had ended its listening, and were still busy with a long list.
        path.unlink()
        with ready(tmp_path / "new", *options) as new:
            assert old.stop() == 0
            assert ask_unix(path).startswith(GREYLISTED)
            assert pidfile.read_text() == f"{new.process.pid}\n"
        assert not path.exists()
        assert not pidfile.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_ends_in_the_middle_of_a_reload_leaves_the_next_one_reachable(
    tmp_path: Path, workers: str
) -> None:
    path, pidfile, names = tmp_path / "socket", tmp_path / "pid", tmp_path / "names"
    names.write_text("".join(f"host{number}.example.com\n" for number in range(300_000)))
    options = [f"--unix={path}", f"--pidfile={pidfile}", f"--workers={workers}"]
    with ready(tmp_path / "old", *options, f"--whitelist-clients={names}") as old:
        old.signal(signal.SIGHUP)
        has_said(old, "HUP received")
        old.signal(signal.SIGTERM)
        wait_until(lambda: refuses(path), "the old one listens no more")
        with ready(tmp_path / "new", *options) as new:
            old.process.wait(60)
            assert ask_unix(path).startswith(GREYLISTED)
            assert pidfile.read_text() == f"{new.process.pid}\n"


def refuses(path: Path) -> bool:
    """Whether nobody listens at a socket any more."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) != 0


def test_a_daemon_ends_with_its_files_and_only_those(tmp_path: Path) -> None:
    path, pidfile = tmp_path / "socket", tmp_path / "pid"
    started = serve(
        "--daemonize", f"--unix={path}", f"--pidfile={pidfile}", f"--dbdir={tmp_path}", *QUIET
    )
    assert started.status == 0, started.errors
    pid = int(pidfile.read_text())
    pidfile.write_text("4711\n")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not lives(pid), "its end", SOON_SECONDS)
    assert not path.exists()
    assert pidfile.read_text() == "4711\n"
