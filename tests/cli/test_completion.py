"""TAB gets the answers of typer, without importing it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer._completion_classes import BashComplete, FishComplete, ZshComplete

from greyd.cli.app import build
from greyd.cli.help.completion import complete, matching
from greyd.cli.help.table import TABLE
from tools.render_completions import render_table

if TYPE_CHECKING:
    from collections.abc import Sequence

APP: Any = build()

LINES = [
    [""],
    ["-"],
    ["--v"],
    ["s"],
    ["nothing"],
    ["mode", ""],
    ["mode", "o"],
    ["mode", "on", ""],
    ["mode", "--for", ""],
    ["mode", "--for", "1h", ""],
    ["serve", ""],
    ["serve", "--lookup"],
    ["serve", "--delay=5", "--d"],
    ["serve", "--delay", "5", "--d"],
    ["serve", "-q", "-"],
    ["serve", "--mode="],
    ["unknown", "-"],
    *[[name, "-"] for name in APP.commands],
    *[[name, "--j"] for name in APP.commands],
    *[[name, ""] for name in APP.commands],
]


def line_of(words: Sequence[str]) -> str:
    """Write words as a shell hands them over."""
    return " ".join(["greyd", *words])


@pytest.mark.parametrize("words", LINES, ids=line_of)
def test_the_words_that_fit_are_those_that_typer_names(words: list[str]) -> None:
    *complete_words, incomplete = words
    typers = BashComplete(APP, {}, "greyd", "_GREYD_COMPLETE")
    expected = typers.get_completions(complete_words, incomplete)
    # typer's order of the names of --help changes at each start, and it cuts the commands' help.
    found = sorted(matching(complete_words, incomplete))
    wanted = sorted((each.value, (each.help or "").removesuffix("...")) for each in expected)
    assert [word for word, _ in found] == [word for word, _ in wanted]
    for (_, help_), (_, begin) in zip(found, wanted, strict=True):
        assert help_.startswith(begin)


@pytest.mark.parametrize("words", LINES, ids=line_of)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_what_typer_would_print(
    shell: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = {
        "_GREYD_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line_of(words),
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": line_of(words),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    typers = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    expected = typers(APP, {}, "greyd", "_GREYD_COMPLETE").complete()
    assert complete() == 0
    # typer breaks a long help where a terminal of 80 columns would, and cuts the commands' help.
    if "..." not in expected:
        assert words_of(capsys.readouterr().out) == words_of(expected)


def words_of(answer: str) -> list[str]:
    """Return the sorted words of an answer, without the brackets of zsh around all of them."""
    return sorted(word.strip("()':") for word in answer.split())


@pytest.mark.parametrize(("words", "status"), [(["serve", "--de"], 0), (["serve", "file"], 1)])
def test_fish_completes_files_where_no_word_fits(words: list[str], status: int) -> None:
    assert (
        complete(
            {
                "_GREYD_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_FISH_ACTION": "is-args",
                "_TYPER_COMPLETE_ARGS": line_of(words),
            }
        )
        == status
    )


@pytest.mark.parametrize(
    "line", ["greyd serve 'open", 'greyd serve "open', "greyd serve \\", "", "greyd"]
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_an_unfinished_line_is_completed_or_not_but_never_an_error(shell: str, line: str) -> None:
    environment = {"COMP_WORDS": line, "COMP_CWORD": "2", "_TYPER_COMPLETE_ARGS": line}
    assert complete({"_GREYD_COMPLETE": f"complete_{shell}", **environment}) == 0


def test_the_table_is_up_to_date() -> None:
    assert TABLE.read_text() == render_table(), "the completion table is stale; run make generate"


def modules_of(*words: str, environment: dict[str, str] | None = None) -> set[str]:
    """Return the modules that ``greyd`` has imported when it ends."""
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('modules', *sys.modules, file=sys.stderr))\n"
        "from greyd.cli.main import main\n"
        f"main({list(words)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment or {}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.partition("modules ")[2].split())


HEAVY = {"typer", "rich", "redis", "re2", "uvloop", "h11", "prometheus_client", "asyncio"}
PACKAGES = {"server", "policy", "monitoring", "store", "whitelist", "rules", "config", "dns"}


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--version"], None),
        (["serve", "--version"], None),
        (["-h"], None),
        (["serve", "-h"], None),
        (["list", "--help"], None),
        ([], {"_GREYD_COMPLETE": "complete_bash", "COMP_WORDS": "greyd st", "COMP_CWORD": "1"}),
    ],
    ids=["version", "serve-version", "help", "serve-help", "list-help", "completion"],
)
def test_version_help_and_completion_import_neither_typer_nor_the_server(
    words: list[str], environment: dict[str, str] | None
) -> None:
    imported = modules_of(*words, environment=environment)
    assert not HEAVY & imported
    assert not {f"greyd.{name}" for name in PACKAGES} & imported


def test_a_command_imports_no_other_command() -> None:
    imported = modules_of("postfix-config")
    assert "greyd.cli.postfix_config" in imported
    assert not {"greyd.cli.doctor", "greyd.cli.replay", "greyd.cli.report"} & imported
