"""TAB gets the answers of typer, without importing it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer._completion_classes import BashComplete, FishComplete, ZshComplete

from greyd.cli.app import build
from greyd.cli.help.completion import complete, matching
from greyd.cli.help.table import TABLE, read_table
from greyd.config.options import BY_NAME, OPTIONS
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
    ["mode", "--for", "1h", ""],
    ["serve", ""],
    ["serve", "--lookup"],
    ["serve", "--delay=5", "--d"],
    ["serve", "--delay", "5", "--d"],
    ["serve", "-q", "-"],
    ["unknown", "-"],
    *[[name, "-"] for name in APP.commands],
    *[[name, "--j"] for name in APP.commands],
    # typer does not know the one server to switch from.
    *[[name, ""] for name in APP.commands if name != "switch-from"],
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


ON = [
    ("serve --mode=", ["--mode=on", "--mode=learn", "--mode=off"]),
    ("serve --mode l", ["learn"]),
    ("serve --preset=", ["--preset=recommended"]),
    ("serve --identity=spf,", ["--identity=spf,name", "--identity=spf,subnet"]),
    ("serve --identity=spf,n", ["--identity=spf,name"]),
    ("serve --identity spf,n", ["spf,name"]),
    ("serve --shadow=mo", ["--shadow=mode=on", "--shadow=mode=learn", "--shadow=mode=off"]),
    ("serve --shadow=preset=", ["--shadow=preset=recommended"]),
    ("serve --log-format=j", ["--log-format=json"]),
    ("serve --syslog-facility=lo", [f"--syslog-facility=local{n}" for n in range(8)]),
    ("serve --facility=ma", ["--facility=mail"]),
    ("serve --dnsbl=z", ["--dnsbl=zen.spamhaus.org"]),
    ("serve --dnswl=list.dnswl.org=no", ["--dnswl=list.dnswl.org=none,support"]),
    ("serve --store=rediss", ["--store=rediss://"]),
    ("serve --on-store-failure ", ["pass", "defer"]),
    ("replay --with gre", ["greylist=all", "greylist=suspicious"]),
    ("replay --with=lookup-by-host=", ["--with=lookup-by-host=yes", "--with=lookup-by-host=no"]),
    ("list --sort=pas", ["--sort=passes-at"]),
    ("list --sort -pas", []),
    ("list --sort=-pas", ["--sort=-passes-at"]),
    ("report --sort=-lo", ["--sort=-longest", "--sort=-longest-wait"]),
    ("stats --sort=w", ["--sort=waiting"]),
    ("list --since=1", ["--since=1h", "--since=1d"]),
    ("show --sort=pas", ["--sort=passes-at"]),
    ("tune --subnet 24", ["24,32", "24"]),
    ("tune --retry-window=12", ["--retry-window=12h,2d"]),
    ("tune --auto-whitelist=0,1,5", ["--auto-whitelist=0,1,5"]),
    ("check-whitelist --sort ", ["file", "hits"]),
    ("mode ", ["on", "learn", "off", "reset"]),
    ("mode --for=3", ["--for=30s", "--for=30m"]),
    ("mode --for 1h ", ["on", "learn", "off", "reset"]),
    ("whitelist ", ["add", "remove", "list"]),
    ("serve --pidfile=", []),
    ("serve --quiet=", []),
    ("serve --nosuch=", []),
]
"""Lines, and the words that complete their last word."""


@pytest.mark.parametrize(("line", "expected"), ON)
def test_the_values_of_options_are_completed(line: str, expected: list[str]) -> None:
    *words, incomplete = line.split(" ")
    assert sorted(word for word, _ in matching(words, incomplete)) == sorted(expected)


@pytest.mark.parametrize(("line", "expected"), ON)
def test_bash_gets_what_follows_its_last_word_break(
    line: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["greyd"]
    for word in line.split(" "):
        words += re.findall("[=:]+|[^=:]+", word) or [""]
    is_break = words[-1].strip("=:") == ""
    environment = {
        "_GREYD_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    assert complete(environment) == 0
    typed = line.rsplit(" ", maxsplit=1)[-1]
    after = typed if not is_break and "=" not in typed else re.split("[=:]", typed)[-1]
    start = len(typed) - len(after)
    assert sorted(capsys.readouterr().out.split()) == sorted(each[start:] for each in expected)


def test_each_option_with_a_fixed_set_of_values_completes_them() -> None:
    lacking = [
        (name, option["names"][0])
        for name, command in read_table()["commands"].items()
        for option in command["options"]
        if re.fullmatch(
            r"=[a-z]+(\|[a-z]+)*|=DURATION|=NAME=VALUE|=COLUMN|=ORDER|=VALUES", option["value"]
        )
        and not option["choices"]
    ]
    assert lacking == []


@pytest.mark.parametrize("name", [each.name for each in OPTIONS if each.choices])
def test_each_word_that_completes_a_value_is_one(name: str) -> None:
    option = BY_NAME[name]
    for word in option.choices:
        assert option.read(word) is not None or word == "off"


def test_the_table_is_up_to_date() -> None:
    assert Path(TABLE).read_text() == render_table(), (
        "the completion table is stale; run make generate"
    )


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


HEAVY = {
    "typer", "rich", "redis", "re2", "uvloop", "h11", "prometheus_client", "asyncio", "typing",
    "pathlib", "dataclasses", "inspect", "shutil", "textwrap", "sqlite3", "textual",
}  # fmt: skip
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
    # What Python's own start imports, e.g. for a .pth file, is no fault of greyd's.
    program = "import sys; print(*sys.modules)"
    python = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not (HEAVY & imported) - set(python.stdout.split())
    assert not {f"greyd.{name}" for name in PACKAGES} & imported


def test_a_command_imports_no_other_command() -> None:
    imported = modules_of("postfix-config")
    assert "greyd.cli.postfix_config" in imported
    assert not {"greyd.cli.doctor", "greyd.cli.replay", "greyd.cli.report"} & imported
