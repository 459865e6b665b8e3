"""TAB in real shells, which find the completions where the wheel puts them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.processes import program, unavailable
from tests.wheels import build_wheel, put_data_below

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

LOADER = Path("/usr/share/bash-completion/bash_completion")
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder ``share`` with the wheel's files."""
    folder = tmp_path_factory.mktemp("wheel")
    put_data_below(folder, build_wheel(folder))
    return folder / "share"


def environment(share: Path) -> dict[str, str]:
    """Return a shell's environment: ``greyd`` in its path, nothing of the user's own."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(share.parent),
        "XDG_DATA_DIRS": f"{share}:/usr/local/share:/usr/share",
        "TERM": "dumb",
        "PS1": "$ ",
        "LC_ALL": "C.UTF-8",
    }


@contextlib.contextmanager
def shell(share: Path, name: str, *arguments: str, begin: str) -> Iterator[pexpect.spawn]:
    """Run a shell on a terminal of its own."""
    running = pexpect.spawn(
        program(name), list(arguments), env=environment(share), dimensions=(50, 200),
        encoding="utf-8", timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    try:
        # The terminal shows what is typed, so the word that is waited for is not typed whole.
        running.sendline(f"{begin}; echo rea''dy")
        running.expect("ready")
        yield running
    finally:
        running.close(force=True)


def assert_completes(running: pexpect.spawn) -> None:
    """Press TAB after half a command, half an option, and an option of which there are two."""
    running.send("greyd ser\t")
    running.expect("greyd serve")
    running.send("--del\t")
    running.expect("--delay")
    running.send("=1 --lookup-by-\t\t")
    running.expect("--lookup-by-host")
    running.send("\x15greyd serve --mode=le\t")
    running.expect("--mode=learn")
    running.send("--shadow=prese\t")
    running.expect("--shadow=preset=recommended")


def test_bash_loads_it_by_itself(share: Path) -> None:
    if not LOADER.exists():
        unavailable("bash-completion is not installed")
    with shell(share, "bash", "--norc", "--noprofile", begin=f"source {LOADER}") as running:
        assert_completes(running)


def test_zsh_loads_it_by_itself(share: Path) -> None:
    load = f"fpath=({share}/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D"
    with shell(share, "zsh", "-f", begin=load) as running:
        assert_completes(running)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("greyd ser", "serve"),
        ("greyd serve --del", "--delay"),
        ("greyd serve --lookup-by-", "--lookup-by-host"),
    ],
)
def test_fish_loads_it_by_itself(share: Path, typed: str, offered: str) -> None:
    # On a terminal fish shows little of what it is asked for as text; so it is asked what it would.
    done = subprocess.run(
        [program("fish"), "--private", "--command", f"complete --do-complete '{typed}'"],
        env=environment(share), capture_output=True, text=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert offered in [line.split("\t")[0] for line in done.stdout.splitlines()]
