"""Whatever words a command has: an answer or one line, no traceback, no wait, no password.

``make fuzz`` runs the same for longer (``--hypothesis-profile=fuzz``).
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greyd.cli.app import build
from tests.cli.test_fuzz_words import NO_DOMAINS, arguments, no_hang
from tests.commands import fill, run_here

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())

# The server and a screen stay; the doctor asks this machine's programs, and a switch stops them.
LEFT_OUT = {"serve", "top", "doctor", "switch-from"}
COMMANDS = [name for name in build().commands if name not in LEFT_OUT]  # type: ignore[attr-defined]

STAYS = {"--store", "--dbdir", "--html"}
"""Options that say where something is written: no odd word may lead to a file of this machine's."""

EXAMPLES = settings.default.max_examples // 12  # type: ignore[union-attr] # there is a default
"""Of each command: some take half a second."""


@cache
def options_of(command: str) -> list[tuple[str, bool]]:
    """Return a command's options, and whether each is a flag."""
    parameters: Any = build().commands[command].params  # type: ignore[attr-defined]
    return [
        (name, each.is_flag)
        for each in parameters
        if each.param_type_name == "option"
        for name in each.opts
        if not STAYS & set(each.opts)
    ]


@st.composite
def lines(draw: st.DrawFn, command: str) -> list[str]:
    """Make a command's words: options of its own with odd values, and odd words."""
    line: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        name, is_flag = draw(st.sampled_from(options_of(command)))
        if is_flag:
            line.append(name)
        elif name.startswith("--") and draw(st.booleans()):
            line.append(f"{name}={draw(arguments)}")
        else:
            line += [name, draw(arguments)]
    # Nor may a word be taken for such an option.
    more = draw(st.lists(arguments, max_size=4))
    return line + [word for word in more if not word.startswith("--")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:{tmp_path_factory.mktemp('fuzz')}/greyd.db"
    fill(
        url,
        {
            b"{192.0.2.0}/a@b.invalid/c@d.invalid": b"%d" % (NOW - 10),
            b"{192.0.2.0}:192.0.2.7": b"5,%d" % NOW,
            b"\xff": b"\xff",
        },
    )
    return url


@pytest.mark.parametrize("command", COMMANDS)
def test_no_words_of_a_command_end_in_a_traceback(
    command: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    @settings(NO_DOMAINS, max_examples=EXAMPLES, derandomize=True)
    @given(lines(command))
    def run_it(line: list[str]) -> None:
        with no_hang():
            done = run_here(command, f"--store={store}", *line)
        # 3: no server runs; 4: a server's state is unknown.
        expected = (0, 1, 2, 3, 4) if command == "status" else (0, 1, 2)
        assert done.returncode in expected, (line, done)
        assert "Traceback" not in done.stderr, line
        assert "internal error" not in done.stderr, (line, done.stderr)
        assert "geheim" not in done.stderr, (line, done.stderr)
        if done.returncode == 2:
            # A line for each thing that is wrong, e.g. two files that can't be read.
            said = done.stderr.splitlines()
            assert said, line
            assert all(each.startswith("greyd: ") and each.isprintable() for each in said), (
                line,
                said,
            )

    run_it()
