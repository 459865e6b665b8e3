"""Every fault of a SQLite file is found, and the file stays as it is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.sqlite import (
    DatabaseFile,
    check_sqlite,
    filesystem_of,
    finding_of_filesystem,
    finding_of_owner,
    finding_of_secrecy,
    finding_of_space,
    finding_of_wal,
)
from greyd.store.errors import UnusableStoreError
from tests.commands import fill

FILE = DatabaseFile(
    path=Path("/var/lib/greyd/greyd.db"), mode=0o600, owner="greyd", folder_mode=0o750,
    folder_owner="greyd", free_bytes=10**9, wal_bytes=10**6, filesystem="ext4",
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
        ({"free_bytes": 50 * 2**20}, State.WARNING),
        ({"free_bytes": 2**20}, State.ERROR),
        ({"wal_bytes": 2**30}, State.WARNING),
        ({"filesystem": "nfs4"}, State.ERROR),
    ],
)
def test_each_fault_of_a_file_is_found(changed: dict[str, Any], state: State) -> None:
    file = replace(FILE, **changed)
    found = [
        judge(file)
        for judge in (
            finding_of_secrecy,
            finding_of_owner,
            finding_of_space,
            finding_of_wal,
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


def test_only_a_thorough_check_finds_a_damaged_file(tmp_path: Path) -> None:
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


def test_a_file_that_is_no_database_ends_the_command(tmp_path: Path) -> None:
    path = tmp_path / "greyd.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(UnusableStoreError, match="not a SQLite file"):
        check_sqlite(f"sqlite:{path}", thorough=True)


def test_a_check_leaves_the_file_unchanged(tmp_path: Path) -> None:
    path = made(tmp_path / "greyd.db")
    before = path.read_bytes()
    check_sqlite(f"sqlite:{path}", thorough=True)
    assert path.read_bytes() == before
