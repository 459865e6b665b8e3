"""Which whitelist files are in force, and what happens to those that can't be read."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.monitoring.log import Log, Severity
from greyd.whitelist import files
from greyd.whitelist.entries import MAX_FILE_BYTES, read_whitelist_file
from greyd.whitelist.errors import WhitelistError
from greyd.whitelist.files import (
    MAX_LOGGED_DIAGNOSTICS,
    LoadMessages,
    bundled_whitelist,
    files_in_force,
    load_whitelists,
    reload_whitelists,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.monitoring.log import Line
    from greyd.whitelist.matcher import Whitelists


class Kept:
    """A log's sink that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, lines: Sequence[Line]) -> None:
        self.lines += lines

    def said(self, most: Severity = Severity.INFO) -> list[str]:
        return [line.text.decode() for line in self.lines if line.severity <= most]


def reading(
    how: Callable[[Settings], tuple[Whitelists | None, LoadMessages]], settings: Settings
) -> tuple[Whitelists | None, list[str], list[str]]:
    """Read whitelists; returns them, the warnings and all that was logged."""
    kept = Kept()
    log = Log(kept)
    whitelists, messages = how(settings)
    messages.log_to(log)
    log.close()
    return whitelists, kept.said(Severity.WARNING), kept.said()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Move the default places under ``tmp_path``: greyd's, postgrey's, Postfix's folder."""
    folders = (tmp_path / "greyd", tmp_path / "postgrey", tmp_path / "postfix")
    for folder in folders:
        folder.mkdir()
    greyd, postgrey, postfix = folders
    monkeypatch.setattr(files, "_PLACES", (f"{greyd}/", f"{postgrey}/", f"{postfix}/postgrey_"))
    return folders


NAME = "whitelist_clients"


def test_files_that_are_given_replace_the_defaults(
    tmp_path: Path, places: tuple[Path, Path, Path]
) -> None:
    (places[0] / NAME).write_text("default.example\n")
    given = [tmp_path / "one", tmp_path / "two"]
    assert files_in_force(given, NAME) == given


def test_the_first_of_the_default_files_that_exists_is_taken_and_its_local_one(
    places: tuple[Path, Path, Path],
) -> None:
    greyd, postgrey, postfix = places
    for file in (postfix / f"postgrey_{NAME}", postgrey / NAME, greyd / NAME):
        file.touch()
        assert files_in_force((), NAME) == [file, file.with_name(file.name + ".local")]


def test_without_any_the_list_that_comes_with_greyd_is_taken_and_greyd_s_local_one(
    places: tuple[Path, Path, Path],
) -> None:
    assert files_in_force((), NAME) == [bundled_whitelist(NAME), places[0] / f"{NAME}.local"]
    assert bundled_whitelist(NAME).exists()
    assert bundled_whitelist("whitelist_recipients").exists()


def test_the_two_lists_are_looked_for_apart(places: tuple[Path, Path, Path]) -> None:
    (places[1] / NAME).write_text("c.example\n")
    (places[0] / "whitelist_recipients").write_text("r@example.com\n")
    whitelists, warnings, said = reading(load_whitelists, Settings())
    assert whitelists is not None
    assert warnings == []
    assert whitelists.match_client(b"c.example", None)
    assert whitelists.match_recipient(b"r@example.com")
    assert (len(whitelists.clients), len(whitelists.recipients)) == (1, 1)
    assert str(places[1] / NAME) in said[-1]
    assert "1 clients, 1 recipients" in said[-1]


def test_the_local_file_adds_to_the_main_one(places: tuple[Path, Path, Path]) -> None:
    (places[1] / NAME).write_text("main.example\n")
    (places[1] / f"{NAME}.local").write_text("local.example\n")
    whitelists, _, _ = reading(load_whitelists, Settings())
    assert whitelists is not None
    assert whitelists.match_client(b"main.example", None)
    assert whitelists.match_client(b"local.example", None)


def settings_of(*files: Path) -> Settings:
    """Return settings with these client files and no recipients."""
    empty = files[0].parent / "empty"
    empty.touch()
    return Settings(whitelist_clients=files, whitelist_recipients=(empty,))


def test_several_files_that_are_given_add_up(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a.example\n")
    (tmp_path / "b").write_text("b.example\n")
    whitelists, warnings, _ = reading(load_whitelists, settings_of(tmp_path / "a", tmp_path / "b"))
    assert whitelists is not None
    assert len(whitelists.clients) == 2
    assert warnings == []


def test_a_missing_local_file_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a.example\n")
    files = (tmp_path / "a", tmp_path / "a.local", tmp_path / "no-folder" / "x.local")
    for how in (load_whitelists, reload_whitelists):
        whitelists, warnings, _ = reading(how, settings_of(*files))
        assert whitelists is not None
        assert warnings == []


@pytest.mark.parametrize("name", ["missing", "a.LOCAL", "a.local.x", "alocal"])
def test_another_missing_file_is_told_and_the_others_count(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").write_text("a.example\n")
    settings = settings_of(tmp_path / name, tmp_path / "there")
    whitelists, warnings, _ = reading(load_whitelists, settings)
    assert whitelists is not None
    assert whitelists.match_client(b"a.example", None)
    (warning,) = warnings
    assert f"{tmp_path / name}: No such file or directory" in warning


def test_at_a_reload_a_file_that_can_t_be_read_keeps_the_old_lists(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "a", tmp_path / "gone")
    (tmp_path / "a").write_text("a.example\n")
    whitelists, warnings, _ = reading(reload_whitelists, settings)
    assert whitelists is None
    (warning,) = warnings
    assert str(tmp_path / "gone") in warning
    assert "stay in force" in warning


def test_a_reload_sees_what_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("old.example\n")
    reading(load_whitelists, settings_of(file))
    file.write_text("new.example\n")
    whitelists, _, _ = reading(reload_whitelists, settings_of(file))
    assert whitelists is not None
    assert whitelists.match_client(b"new.example", None)
    assert not whitelists.match_client(b"old.example", None)


def test_the_lists_of_senders_and_of_clients_never_to_auto_whitelist_have_no_default_files(
    places: tuple[Path, Path, Path],
) -> None:
    for folder in places:
        for name in ("whitelist_senders", "never_auto_whitelist"):
            (folder / name).write_text("a.example\n")
    whitelists, _, said = reading(load_whitelists, Settings())
    assert whitelists is not None
    assert (len(whitelists.senders), len(whitelists.never_auto)) == (0, 0)
    assert "senders" not in said[-1]


def test_all_four_lists_are_reloaded_together(tmp_path: Path) -> None:
    senders, never = tmp_path / "senders", tmp_path / "never"
    senders.write_text("a.example\n")
    never.write_text("192.0.2.0/24\n")
    settings = Settings(whitelist_senders=(senders,), never_auto_whitelist=(never,))
    whitelists, warnings, said = reading(load_whitelists, settings)
    assert whitelists is not None
    assert warnings == []
    assert ", 1 senders, 1 clients never to auto-whitelist from " in said[-1]
    assert said[-1].endswith(f"{senders}, {never}")
    senders.write_text("a.example\nb.example\n.c.example d\n")
    whitelists, warnings, _ = reading(reload_whitelists, settings)
    assert whitelists is not None
    assert len(whitelists.senders) == 2
    assert [f"{senders}:3" in each for each in warnings] == [True]
    never.unlink()
    whitelists, warnings, _ = reading(reload_whitelists, settings)
    assert whitelists is None
    assert len(warnings) == 1
    assert "never" in warnings[0]


def test_a_line_that_can_t_be_used_is_told_with_file_and_line_at_the_start_and_later(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a"
    file.write_text("one.example\n/(broken/\ntwo words\n")
    for how in (load_whitelists, reload_whitelists):
        whitelists, warnings, _ = reading(how, settings_of(file))
        assert whitelists is not None
        assert len(whitelists.clients) == 1
        assert len(warnings) == 2
        assert all(f"{file}:{line}: " in text for line, text in zip((2, 3), warnings, strict=True))


def test_thousands_of_odd_lines_do_not_flood_the_log(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("two words\n" * 5000)
    _, warnings, _ = reading(load_whitelists, settings_of(file))
    assert len(warnings) == MAX_LOGGED_DIAGNOSTICS + 1
    assert f"{5000 - MAX_LOGGED_DIAGNOSTICS} more" in warnings[-1]


# One file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["missing", "folder", "under a file"])
def test_an_error_names_the_file_and_says_why(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    path = {
        "missing": tmp_path / "missing",
        "folder": tmp_path,
        "under a file": tmp_path / "file" / "x",
    }[what]
    with pytest.raises(WhitelistError, match=rf"^{path}: \w+"):
        read_whitelist_file(str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(mode=0)
    with pytest.raises(WhitelistError, match="Permission denied"):
        read_whitelist_file(str(file))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "huge"
    with file.open("wb") as opened:
        opened.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(WhitelistError, match="larger than 32 MiB"):
        read_whitelist_file(str(file))
    with file.open("r+b") as opened:
        opened.truncate(MAX_FILE_BYTES)
    assert len(read_whitelist_file(str(file)).content) == MAX_FILE_BYTES


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a named pipe or a pipe, not a regular file"),
        (bind, "a socket, not a regular file"),
        (Path.mkdir, "a directory, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "a device, not a regular file"),
        (lambda path: path.symlink_to("/dev/tty"), "a device, not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
    ids=["fifo", "socket", "directory", "zero", "tty", "loop"],
)
def test_what_is_no_regular_file_can_t_be_read_and_nobody_waits_for_it(
    tmp_path: Path, make: Callable[[Path], object], kind: str
) -> None:
    make(tmp_path / "odd")
    with pytest.raises(WhitelistError, match=kind):
        read_whitelist_file(str(tmp_path / "odd"))


def test_a_named_pipe_with_a_writer_is_none_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(writer, b"example.com\n")
        with pytest.raises(WhitelistError, match="a named pipe"):
            read_whitelist_file(str(tmp_path / "pipe"))
    finally:
        os.close(writer)


def test_dev_null_is_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    assert (
        read_whitelist_file("/dev/null").content
        == read_whitelist_file(str(tmp_path / "link")).content
        == b""
    )


def test_a_list_that_becomes_a_pipe_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "clients"
    file.write_text("example.com\n")
    settings = Settings(whitelist_clients=(file,), whitelist_recipients=(Path("/dev/null"),))
    before, warnings, _ = reading(reload_whitelists, settings)
    assert before is not None
    assert (len(before.clients), warnings) == (1, [])
    file.unlink()
    os.mkfifo(file)
    after, warnings, _ = reading(reload_whitelists, settings)
    assert after is None, "the old ones stay"
    (warning,) = warnings
    assert f"{file}: a named pipe or a pipe, not a regular file; the old whitelists" in warning
