"""Sockets and pid files in folders of other users: nothing elsewhere changes, at no moment."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.server.errors import SetupError
from greyd.server.files.folders import make_folder, open_folder, umask
from greyd.server.files.pid_file import PidFile
from greyd.server.sockets import Owner, UnixSocket, listen
from tests import attackers
from tests.attackers import NOBODY
from tests.integration.lives import only_as_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATTACKS = ["link", "hard link", "file", "folder", "aside"]
ROUNDS = 300

Found = dict[str, tuple[int, int, int, int, bytes]]


@dataclass
class Scene:
    """A folder of an attacker's, and root's files elsewhere."""

    folder: Path
    outside: Path

    def look(self) -> Found:
        """Return all that matters of root's files."""
        found = {}
        for path in [self.outside, *self.outside.rglob("*")]:
            is_ = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(is_.st_mode) else b""
            found[str(path)] = is_.st_mode, is_.st_uid, is_.st_gid, is_.st_ino, content
        return found

    @contextlib.contextmanager
    def attacked(self, how: str, name: str) -> Iterator[None]:
        """Let the attacker, as the user nobody, do so all the while."""
        # Everybody may read and write it: only so could an attacker make a hard link to it.
        victim = self.outside / name
        command = [sys.executable, attackers.__file__, how, self.folder, name, victim]
        attacker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with attacker:
            assert attacker.stdout is not None
            assert attacker.stdout.readline() == b"ready\n"
            yield
            assert attacker.poll() is None, "the attacker goes on to the end"


@pytest.fixture
def scene() -> Iterator[Scene]:
    only_as_root()
    with tempfile.TemporaryDirectory(prefix="greyd-test-", ignore_cleanup_errors=True) as name:
        base = Path(name)
        outside, attackers_own = base / "outside", base / "theirs"
        outside.mkdir(mode=0o755)
        for file in ("socket", "pid"):
            (outside / file).write_text("root's\n")
            (outside / file).chmod(0o666)
        (attackers_own / "folder").mkdir(parents=True)
        for each in (attackers_own, attackers_own / "folder"):
            os.chown(each, NOBODY, NOBODY)
        base.chmod(0o755)
        yield Scene(attackers_own / "folder", outside)


def bind(scene: Scene) -> None:
    """Listen, and remove the socket again."""
    settings = Settings(unix=(scene.folder / "socket",), socket_mode=0o660)
    with contextlib.ExitStack() as undo:
        for each in listen(settings, undo, Owner(NOBODY - 1, 1)):
            undo.enter_context(each)


def write_pid(scene: Scene) -> None:
    """Write the pid file, and remove it again."""
    PidFile(scene.folder / "pid").remove()


@pytest.mark.parametrize("how", ATTACKS)
@pytest.mark.parametrize(("name", "make"), [("socket", bind), ("pid", write_pid)])
def test_who_owns_the_folder_turns_no_step_of_root_on_a_file_elsewhere(
    scene: Scene, how: str, name: str, make: Callable[[Scene], None]
) -> None:
    before = scene.look()
    done = refused = 0
    with scene.attacked(how, name):
        while done + refused < ROUNDS:
            try:
                make(scene)
                done += 1
            except (SetupError, OSError):
                refused += 1
            # Where there are fewer cores than processes, the attacker has its turn too.
            time.sleep(0.0005)
    assert scene.look() == before


# What nobody disturbs -------------------------------------------------------------------------


@contextlib.contextmanager
def bound(path: Path, mode: int = 0o660, owner: Owner | None = None) -> Iterator[None]:
    """Listen on a socket."""
    settings = Settings(unix=(path,), socket_mode=mode)
    with contextlib.ExitStack() as undo:
        for each in listen(settings, undo, owner or Owner()):
            undo.enter_context(each)
        yield


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o666, 0o660, 0o600, 0o777])
def test_a_socket_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int, mask: int) -> None:
    path = tmp_path / "socket"
    with umask(mask), bound(path, mode):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert [each.name for each in tmp_path.iterdir()] == ["socket"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


@pytest.mark.parametrize("owner", [Owner(NOBODY, 1), Owner(NOBODY), Owner(gid=1)])
def test_a_socket_belongs_to_user_and_group(tmp_path: Path, owner: Owner) -> None:
    only_as_root()
    path = tmp_path / "socket"
    with bound(path, owner=owner):
        found = path.stat()
        assert found.st_uid == max(owner.uid, 0)
        assert found.st_gid == max(owner.gid, 0)


def test_a_socket_says_its_path_and_the_working_directory_stays(tmp_path: Path) -> None:
    before = Path.cwd()
    settings = Settings(unix=(tmp_path / "socket",))
    with contextlib.ExitStack() as undo:
        listening = [undo.enter_context(each) for each in listen(settings, undo)]
        assert [each.path for each in listening if isinstance(each, UnixSocket)] == [
            tmp_path / "socket"
        ]
    assert Path.cwd() == before


@pytest.mark.parametrize("kind", ["file", "folder", "fifo", "link", "dangling link"])
def test_what_is_no_socket_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "socket"
    make_entry(path, kind)
    before = path.lstat()
    with pytest.raises(SetupError, match="not a socket has this name; remove it"), bound(path):
        pass
    assert path.lstat() == before


def make_entry(path: Path, kind: str) -> None:
    """Put something there."""
    letter = path.parent / "letter"
    letter.write_text("somebody's\n")
    match kind:
        case "file":
            letter.rename(path)
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to(letter)
        case "dangling link":
            path.symlink_to(path.parent / "nowhere")
        case "old pid":
            path.write_text("4711\n")
        case "old pid of postgrey":
            path.write_text("4711")
        case "empty file":
            path.touch()


def test_a_socket_that_takes_no_more_connections_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with contextlib.ExitStack() as ends:
        busy = ends.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        for _ in range(3):
            waiting = ends.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(str(path))
        with pytest.raises(SetupError, match="in use"), bound(path):
            pass
        assert path.exists()


def test_of_two_sockets_at_one_path_the_end_of_the_first_leaves_the_second(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = contextlib.ExitStack()
    listening = listen(Settings(unix=(path,)), first)
    for each in listening:
        # It answers nobody any more, and has not ended yet: the number of its inode is still used.
        each.close()
    with bound(path):
        first.close()
        assert path.is_socket()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


# The pid file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize(
    "kind", ["nothing", "old pid", "old pid of postgrey", "empty file", "link", "dangling link"]
)
def test_a_pid_file_is_readable_for_all_and_takes_the_place_of_an_old_one(
    tmp_path: Path, kind: str, mask: int
) -> None:
    path = tmp_path / "pid"
    make_entry(path, kind)
    with umask(mask):
        file = PidFile(path)
    assert stat.S_ISREG(path.lstat().st_mode)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o644
    assert path.read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "letter").read_text() == "somebody's\n", "no link is followed"
    assert {each.name for each in tmp_path.iterdir()} == {"pid", "letter"}
    file.remove()
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "fifo"])
def test_what_is_no_pid_file_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pid"
    make_entry(path, kind)
    before = path.lstat()
    with pytest.raises(OSError, match="name another path"):
        PidFile(path)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert kind != "file" or path.read_text() == "somebody's\n"


@pytest.mark.parametrize("how", ["replaced", "written over", "removed"])
def test_a_pid_file_of_another_server_is_not_removed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "pid"
    ours = PidFile(path)
    if how == "replaced":
        PidFile(path)
    elif how == "written over":
        path.write_text("4711\n")
    else:
        path.unlink()
    ours.remove()
    assert path.exists() == (how != "removed")


# Folders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "followed"), [(0, True), (NOBODY, False)])
@pytest.mark.parametrize("relative", [True, False])
def test_a_link_on_the_way_is_followed_where_root_made_it(
    tmp_path: Path, owner: int, followed: bool, relative: bool
) -> None:
    only_as_root()
    target = tmp_path / "a" / "target"
    target.mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/target" if relative else target)
    os.chown(tmp_path / "link", owner, owner, follow_symlinks=False)
    if followed:
        folder = open_folder(tmp_path / "link")
        assert os.fstat(folder).st_ino == target.stat().st_ino
        os.close(folder)
    else:
        with pytest.raises(OSError, match="symbolic link of another user"):
            open_folder(tmp_path / "link")


def test_links_in_a_circle_have_an_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels"):
        open_folder(tmp_path / "one")


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_a_folder_has_its_mode_and_its_parents_are_private(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "some" / "parents" / "greyd"
    with umask(mask):
        make_folder(path, 0o750)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, *path.parents[:2])]
    assert modes == [0o750, 0o700, 0o700]
