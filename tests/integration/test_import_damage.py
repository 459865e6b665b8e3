"""Damaged databases of postgrey: what can be read is imported, and a loss is never a success."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import run_here
from tests.processes import program

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

PAGE = 4096
ENTRIES = 3000
LEAF = 30
"""A page in the middle of the tree; page 0 has the file's header, page 1 is the tree's root."""

WRITE = r"""
use BerkeleyDB;
my ($folder, $count, $kind, $end) = @ARGV;
my $env = BerkeleyDB::Env->new(-Home => $folder, -SetFlags => DB_AUTO_COMMIT,
    -Flags => DB_CREATE | DB_RECOVER | DB_INIT_TXN | DB_INIT_MPOOL | DB_INIT_LOG) or die;
tie my %h, "BerkeleyDB::$kind", -Filename => 'postgrey.db', -Flags => DB_CREATE | DB_AUTO_COMMIT,
    -Env => $env or die;
my $now = time;
for my $i (1 .. $count) {
    $h{"10.0.0.0/user$i\@example.com/bob\@example.org"} = ($now - 1000) . ',' . ($now - 100);
    $env->txn_checkpoint(0, 0) if $i == $count / 2;
}
kill 9, $$ if $end eq 'killed';
untie %h;
$env->txn_checkpoint(0, 0);
"""


def made(folder: Path, count: int = ENTRIES, kind: str = "Btree", end: str = "clean") -> Path:
    """Write a folder as postgrey has it, with BerkeleyDB, which postgrey uses."""
    folder.mkdir()
    perl = subprocess.run(
        [program("perl"), "-e", WRITE, folder, str(count), kind, end], capture_output=True
    )
    if perl.returncode > 0:
        pytest.skip(f"Perl has no BerkeleyDB: {perl.stderr.decode()}")
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a postgrey that was stopped."""
    return made(tmp_path_factory.mktemp("sound") / "postgrey")


@pytest.fixture(scope="module")
def unwritten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a postgrey that was killed: the second half is only in the log files."""
    return made(tmp_path_factory.mktemp("unwritten") / "postgrey", end="killed")


def imported(source: Path, folder: Path) -> tuple[int, Any]:
    """Import a source; return the exit status and what the command says."""
    done = run_here("import", source, f"--dbdir={folder}", "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def page(number: int, content: bytes) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        return data[: number * PAGE] + content.ljust(PAGE, b"\0") + data[(number + 1) * PAGE :]

    return damage


def bytes_at(offset: int, content: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + content + data[offset + len(content) :]


NOISE = random.Random(1).randbytes(PAGE)


@pytest.mark.parametrize("kind", ["Btree", "Hash"])
def test_a_sound_database_is_imported_whole(tmp_path: Path, kind: str) -> None:
    status, told = imported(made(tmp_path / "postgrey", 500, kind), tmp_path)
    assert (status, told["remarks"]) == (0, [])
    assert told["entries"]["triplets"]["imported"] == 500


@pytest.mark.parametrize(
    ("damage", "salvaged", "words"),
    [
        (page(LEAF, b""), 2900, "BDB0501 Page 30"),
        (page(LEAF, NOISE), 2900, "BDB0536 Page 30"),
        (page(LEAF, b"hello world" * 300), 2900, "BDB0536 Page 30"),
        (lambda data: data[: LEAF * PAGE] + data[-PAGE:] + data[(LEAF + 1) * PAGE :], 2900,
         "BDB0536 Page 30"),
        (bytes_at(LEAF * PAGE + 2000, b"\xff" * 1500), 2900, "BDB0566 Page 30"),
        (page(1, b""), ENTRIES, "BDB1073 Page 0"),
        (page(1, NOISE), ENTRIES, "BDB0536 Page 1"),
        (page(0, b""), ENTRIES, "unexpected file type or format"),
        (bytes_at(12, b"\1\2\3\4"), ENTRIES, "unexpected file type or format"),
        (bytes_at(16, b"\x0a\0\0\0"), ENTRIES, "unsupported btree version: 10"),
        (bytes_at(16, b"\x06\0\0\0"), ENTRIES, "requires a version upgrade"),
        (lambda data: data[:100_000], 500, "not a multiple of the pagesize"),
        (lambda data: data[: 20 * PAGE], 400, "last_pgno is not correct"),
        (lambda data: data[:PAGE], 0, "last_pgno is not correct"),
        (lambda data: data[:100], 0, "unexpected file type or format"),
        (lambda data: data[: 2 * PAGE].ljust(len(data), b"\0"), 0, "Page 2"),
        (lambda _: b"hello\n", 0, "unexpected file type or format"),
    ],
    ids=[
        "zeroed page", "overwritten page", "page of text", "copied page", "overwritten entries",
        "zeroed root", "overwritten root", "zeroed header", "wrong magic number", "newer version",
        "older version", "cut within a page", "cut between pages", "one page left",
        "less than a page left", "all pages zeroed", "text",
    ],
)  # fmt: skip
def test_a_damaged_database_is_salvaged_and_never_counts_as_a_success(
    tmp_path: Path,
    sound: Path,
    damage: Callable[[bytes], bytes],
    salvaged: int,
    words: str,
) -> None:
    folder = tmp_path / "postgrey"
    shutil.copytree(sound, folder)
    for log in folder.glob("log.*"):
        log.unlink()
    file = folder / "postgrey.db"
    file.write_bytes(damage(file.read_bytes()))
    status, told = imported(folder, tmp_path)
    assert status == 1
    (said,) = [remark for remark in told["remarks"] if "postgrey.db is damaged" in remark]
    assert words in said
    assert str(tmp_path) not in said
    imported_count = told["entries"]["triplets"]["imported"]
    assert salvaged <= imported_count <= ENTRIES
    read_count = told["entries"]["triplets"]["read"]
    assert f"salvaged {read_count:,} entries" in said
    # A second import gives the same.
    status, told = imported(folder, tmp_path)
    assert (status, told["entries"]["triplets"]["unchanged"]) == (1, read_count)


def test_an_empty_file_is_not_a_success(tmp_path: Path) -> None:
    (tmp_path / "postgrey.db").touch()
    status, told = imported(tmp_path, tmp_path)
    assert status == 1
    assert told["remarks"] == ["postgrey.db: the file is empty: no entry was read from it"]


def test_what_is_only_in_the_log_files_is_imported(tmp_path: Path, unwritten: Path) -> None:
    status, told = imported(unwritten, tmp_path)
    assert (status, told["remarks"]) == (0, [])
    assert told["entries"]["triplets"]["imported"] == ENTRIES


def remove(log: Path) -> None:
    log.unlink()


def rename(log: Path) -> None:
    log.rename(log.with_name("log.0000000007"))


def overwrite_begin(log: Path) -> None:
    log.write_bytes(NOISE + log.read_bytes()[PAGE:])


def overwrite_middle(log: Path) -> None:
    data = log.read_bytes()
    log.write_bytes(data[:100_000] + NOISE + data[100_000 + PAGE :])


def cut(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:100_000])


def empty(log: Path) -> None:
    log.write_bytes(b"")


@pytest.mark.parametrize("damage", [remove, rename, overwrite_begin, overwrite_middle, cut, empty])
def test_without_the_log_files_the_rest_is_imported_and_the_loss_reported(
    tmp_path: Path, unwritten: Path, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "postgrey"
    folder.mkdir()
    for file in (unwritten / "postgrey.db", *unwritten.glob("log.*")):
        shutil.copy(file, folder)
    for log in folder.glob("log.*"):
        damage(log)
    status, told = imported(folder, tmp_path)
    assert status == 1
    assert told["remarks"]
    assert told["entries"]["triplets"]["imported"] < ENTRIES


@pytest.mark.parametrize("form", ["-r", "-rp", "-R", "-Rp"])
@pytest.mark.parametrize("number", [0, LEAF], ids=["zeroed header", "zeroed page"])
@pytest.mark.parametrize("by_file", [True, False], ids=["file", "standard input"])
def test_what_db_dump_salvages_is_imported(
    tmp_path: Path, sound: Path, form: str, number: int, *, by_file: bool
) -> None:
    file = tmp_path / "postgrey.db"
    file.write_bytes(page(number, b"")((sound / "postgrey.db").read_bytes()))
    dump = subprocess.run([program("db5.3_dump"), form, file], capture_output=True).stdout
    (tmp_path / "dump").write_bytes(dump)
    source = tmp_path / "dump" if by_file else "-"
    done = run_here("import", source, f"--dbdir={tmp_path}", "--json", given=dump)
    told = json.loads(done.stdout)
    assert told["entries"]["triplets"]["imported"] >= 2900
    # The aggressive form may add keys without values.
    assert (done.returncode == 0) == (told["unreadable"]["count"] == 0)
    assert "salvaged" in told["remarks"][0]


def test_one_database_under_another_name_is_a_source(tmp_path: Path, sound: Path) -> None:
    other = tmp_path / "postgrey.db.bak"
    shutil.copy(sound / "postgrey.db", other)
    _, told = imported(other, tmp_path)
    assert told["entries"]["triplets"]["imported"] == ENTRIES
    _, told = imported(sound / "postgrey.db", tmp_path)
    assert told["entries"]["triplets"]["unchanged"] == ENTRIES
    assert told["remarks"] == []


def test_a_dry_run_salvages_too_and_changes_nothing(tmp_path: Path, sound: Path) -> None:
    file = tmp_path / "old.db"
    file.write_bytes(page(LEAF, b"")((sound / "postgrey.db").read_bytes()))
    began = time.time()
    done = run_here("import", file, f"--dbdir={tmp_path}", "--dry-run")
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert not (tmp_path / "greyd.db").exists()
    assert file.stat().st_mtime <= began
    assert [each.name for each in Path(tmp_path).iterdir()] == ["old.db"]
