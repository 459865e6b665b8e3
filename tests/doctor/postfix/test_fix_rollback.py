"""``greyd doctor --fix``: if Postfix rejects the written files, the old ones are put back."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from greyd.doctor.postfix.fix.plan import FileChange, FixError, FixPlan
from greyd.doctor.postfix.fix.writing import write_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OLD = {"main.cf": "a = 1\r\nb = \udcff\n", "master.cf": "smtp inet n - y - - smtpd"}


@dataclass
class Site:
    """A folder with both files, and a ``postfix`` that accepts their copy."""

    folder: Path
    postfix: Path

    def when_written(self, script: str) -> None:
        """Set what ``postfix check`` does to the files themselves."""
        self.postfix.write_text(
            f'#!/bin/sh\n[ "$2" = {self.folder} ] || exit 0\ncd {self.folder}\n{script}\n'
        )
        self.postfix.chmod(0o755)

    def plan(self) -> FixPlan:
        changes = [
            FileChange(self.folder / name, text, f"{text}\n# changed\n")
            for name, text in OLD.items()
        ]
        return FixPlan(self.folder, changes, is_default_folder=False)

    def fix(self) -> str:
        """Return the error."""
        with pytest.raises(FixError) as raised:
            asyncio.run(write_plan(self.plan()))
        return str(raised.value)

    def content(self) -> dict[str, str]:
        return {
            each.name: each.read_bytes().decode(errors="surrogateescape")
            for each in self.folder.iterdir()
            if each.is_file()
        }


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder = tmp_path / "etc"
    folder.mkdir()
    for name, text in OLD.items():
        (folder / name).write_bytes(text.encode(errors="surrogateescape"))
        (folder / name).chmod(0o640)
    return Site(folder, tmp_path / "postfix")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'postfix: fatal: bad' >&2; exit 1", "rejects the changed files: fatal: bad"),
        ("exit 75", "rejects the changed files"),
        ("kill -9 $$", "rejects the changed files"),
        ("head -c 2000000 /dev/zero", "more than 1 MiB of output"),
        # It puts one file back itself.
        ("head -c 16 /dev/null >master.cf; printf 'smtp inet n - y - - smtpd' >master.cf; exit 1",
         "rejects the changed files"),
    ],
)  # fmt: skip
def test_files_that_postfix_rejects_are_as_before_and_leave_no_backup(
    site: Site, script: str, message: str
) -> None:
    site.when_written(script)
    assert message in site.fix()
    assert site.content() == OLD
    assert {each.stat().st_mode & 0o777 for each in site.folder.iterdir()} == {0o640}


def test_ctrl_c_during_the_check_puts_them_back(site: Site) -> None:
    site.when_written("touch started; exec sleep 60")

    async def interrupted() -> None:
        task = asyncio.create_task(write_plan(site.plan()))
        while not (site.folder / "started").exists():  # noqa: ASYNC110 - a program creates it
            await asyncio.sleep(0.01)
        assert "# changed" in site.content()["main.cf"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    (site.folder / "started").unlink()
    assert site.content() == OLD


SIGNALS = ("INT", "TERM", "HUP")
AT_COPY = "the check of the copy"
AT_FILES = "the check of the files"
AT_FIRST = "the first file's replacement"
AT_SECOND = "the second file's replacement"
AT_ROLLBACK = "the rollback"


@pytest.fixture
def handled() -> Iterator[list[str]]:
    """Catch signals that greyd leaves to the process, which they would end; return their names."""
    numbers = [signal.Signals[f"SIG{name}"] for name in SIGNALS]
    caught: list[str] = []
    before = {
        each: signal.signal(each, lambda number, _: caught.append(signal.Signals(number).name))
        for each in numbers
    }
    yield caught
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("step", [AT_COPY, AT_FIRST, AT_SECOND, AT_FILES, AT_ROLLBACK])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_at_any_step_leaves_the_old_files_and_no_backup(
    site: Site,
    handled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    step: str,
    times: int,
) -> None:
    sends = f"for each in {' '.join('x' * times)}; do kill -s {name} $PPID; done; exec sleep 60"
    at_copy = sends if step == AT_COPY else "exit 0"
    at_files = {AT_FILES: sends, AT_ROLLBACK: "exit 1"}.get(step, "exit 0")
    site.postfix.write_text(
        f'#!/bin/sh\nif [ "$2" = {site.folder} ]; then\n{at_files}\nfi\n{at_copy}\n'
    )
    site.postfix.chmod(0o755)
    replace, count = os.replace, itertools.count(1)
    number_of_step = {AT_FIRST: 1, AT_SECOND: 2, AT_ROLLBACK: 3}.get(step)

    def replace_and_signal(*paths: Path) -> None:
        replace(*paths)
        if next(count) == number_of_step:
            for _ in range(times):
                os.kill(os.getpid(), signal.Signals[f"SIG{name}"])

    monkeypatch.setattr(os, "replace", replace_and_signal)
    expected = KeyboardInterrupt if name == "INT" and step != AT_ROLLBACK else FixError
    with pytest.raises(expected) as raised:
        asyncio.run(write_plan(site.plan()))
    if step == AT_ROLLBACK:
        assert "rejects the changed files" in str(raised.value)
    elif name != "INT":
        assert str(raised.value) == f"interrupted by SIG{name}; nothing was changed"
    assert site.content() == OLD
    assert handled == []


def test_a_signal_that_was_ignored_before_stays_so(site: Site) -> None:
    site.when_written("kill -s HUP $PPID")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert len(asyncio.run(write_plan(site.plan()))) == 2
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("script", "message", "after"),
    [
        ("echo mine >main.cf; exit 1", "was changed meanwhile, and stays so", "mine\n"),
        ("rm main.cf; exit 1", "is still changed (No such file or directory)", None),
        ("rm main.cf; mkdir main.cf; exit 1", "is still changed (Is a directory)", None),
    ],
)
def test_one_that_cannot_be_put_back_is_named_with_its_backup_and_the_other_is_put_back(
    site: Site, script: str, message: str, after: str | None
) -> None:
    site.when_written(script)
    error = site.fix()
    found = site.content()
    (backup,) = (name for name in found if name.startswith("main.cf.greyd-"))
    assert message in error
    assert f"to put it back: cp -p {site.folder}/{backup} {site.folder}/main.cf" in error
    assert found[backup] == OLD["main.cf"]
    assert found["master.cf"] == OLD["master.cf"]
    assert found.get("main.cf") == after


def test_a_backup_that_cannot_be_made_changes_nothing(site: Site) -> None:
    site.when_written("exit 0")
    now = time.time()
    others = [
        site.folder / time.strftime("master.cf.greyd-%Y%m%d-%H%M%S", time.localtime(now + each))
        for each in range(20)
    ]
    for each in others:
        each.write_text("of an earlier change")
    assert site.fix().endswith("File exists; nothing was changed")
    assert site.content() == OLD | dict.fromkeys(
        (each.name for each in others), "of an earlier change"
    )


def test_accepted_files_are_kept_with_backups(site: Site) -> None:
    site.when_written("exit 0")

    async def written() -> Sequence[str]:
        return [each.backup.name for each in await write_plan(site.plan())]

    backups = asyncio.run(written())
    found = site.content()
    assert [found[name] for name in backups] == list(OLD.values())
    assert [found[name] for name in OLD] == [f"{text}\n# changed\n" for text in OLD.values()]
