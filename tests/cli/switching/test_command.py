"""``greyd switch-from`` before it does anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from greyd.cli.switching import found_postgrey
from greyd.cli.switching.output import manual_steps
from tests.commands import run_here


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sqlgrey"], "sqlgrey can't be replaced by a command: see greyd import"),
        (["milter-greylist"], "milter-greylist can't be replaced by a command: see greyd import"),
        (["rspamd", "--dry-run"], "rspamd can't be replaced by a command"),
        (["greyd"], "greyd can't be switched from; --undo returns from greyd to postgrey"),
        (["postgray"], "postgray: only postgrey can be replaced by this command"),
        (["\x1b[31m"], "%1B[31m: only postgrey can be replaced"),
        (["postgrey", "--undo", "--dry-run"], "--undo and --dry-run: give one of them"),
        ([], "missing argument"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words: list[str], message: str) -> None:
    done = run_here("switch-from", *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message.lower() in done.stderr.lower()


@pytest.mark.parametrize("words", [[], ["--yes"], ["--undo"], ["--undo", "--yes"]])
def test_only_root_may_switch(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    done = run_here("switch-from", "postgrey", *words)
    assert done.returncode == 2
    assert done.stderr == ("greyd: switching stops and starts services: run it as root (sudo)\n")


def test_another_service_manager_gets_the_steps_to_do_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(found_postgrey, "DEFAULT_FOLDERS", (Path("/var/lib/none"),))
    steps = manual_steps("--inet=10023 --dbdir=/var/db/postgrey")
    assert steps[0] == "1. greyd import /var/db/postgrey"
    assert steps[2] == "3. in its place start: greyd serve --inet=10023 --dbdir=/var/db/postgrey"
    assert manual_steps("")[0] == "1. greyd import /var/lib/none"
