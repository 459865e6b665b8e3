"""What the pages say is what the code does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from greyd.cli.app import build
from greyd.config.options import OPTIONS
from greyd.monitoring.metrics import Metrics
from tests.processes import program
from tools import render_completions, render_man, render_options

DOCS = Path(__file__).parent.parent / "docs"

AGAIN = "; run make generate"


def files_below(folder: Path) -> dict[str, str]:
    """Return the texts of all files in a folder."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_options_page_is_up_to_date() -> None:
    assert render_options.FILE.read_text() == render_options.render(), "the page is stale" + AGAIN


def test_the_manual_pages_are_up_to_date() -> None:
    assert files_below(render_man.FOLDER) == render_man.render(), "a manual page is stale" + AGAIN


def test_the_completions_are_up_to_date() -> None:
    made = render_completions.render()
    assert files_below(render_completions.FOLDER) == made, "a completion is stale" + AGAIN


def test_each_command_has_a_manual_page_and_the_first_page_names_it() -> None:
    commands = build().commands  # type: ignore[attr-defined]
    pages = render_man.render()
    assert set(pages) == {"greyd.8"} | {f"greyd-{name}.8" for name in commands}
    for name in commands:
        assert f".It Cm {name}\n" in pages["greyd.8"]


def as_read(page: str) -> str:
    """Return a page as it is read, in one line."""
    mandoc = program("mandoc")
    done = subprocess.run(
        [mandoc, "-Tutf8", "-Owidth=1000"], input=page, capture_output=True, text=True, check=True
    )
    plain = subprocess.run(["col", "-bx"], input=done.stdout, capture_output=True, text=True)
    return " ".join(plain.stdout.split())


def test_the_manual_page_of_serve_tells_all_of_each_option() -> None:
    page = as_read(render_man.render()["greyd-serve.8"])
    for option in OPTIONS:
        assert f"--{option.name}" in page
        assert option.help in page
        assert f"Environment: {option.variable}." in page
        if option.default:
            assert f"Default: {option.default}." in page
    sections = ["FILES", "SIGNALS", "EXIT STATUS", "EXAMPLES", "SEE ALSO", "ENVIRONMENT"]
    assert [name for name in sections if f" {name} " not in page] == []
    assert "greyd serve --inet=127.0.0.1:10023 --delay=60" in page


@pytest.mark.parametrize("name", sorted(render_man.render()))
def test_mandoc_has_nothing_to_say_of_a_manual_page(name: str) -> None:
    command = [program("mandoc"), "-Tlint", "-Wwarning", render_man.FOLDER / name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", sorted(render_man.render()))
def test_man_shows_a_manual_page_without_a_warning(name: str) -> None:
    command = [program("man"), "--warnings", "--local-file", render_man.FOLDER / name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(name.removesuffix(".8").upper() + "(8)")


def cells(page: str, begins: str) -> list[list[str]]:
    """Return the cells of a page's table rows whose first one begins so."""
    rows = [line.strip("|").split("|") for line in (DOCS / page).read_text().splitlines()]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip().startswith(begins)]


def test_the_page_of_metrics_has_those_that_there_are() -> None:
    told = {
        (row[0].strip("`"), row[1], frozenset(re.findall(r"`(\w+)`", row[2])))
        for row in [*cells("metrics.md", "`greyd_"), *cells("metrics.md", "`process_")]
    }
    there = set()
    metrics = Metrics()
    metrics.watch_dns()
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        there.add((name, family.type, frozenset(labels)))
    assert told == there


def named_in_the_table(page: str) -> list[str]:
    """Return the tests that a page names, as ``path`` or ``path::test``."""
    return re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", page)


def test_the_tests_that_the_security_page_names_exist() -> None:
    named = named_in_the_table((DOCS / "security.md").read_text())
    assert named
    for each in named:
        path, _, function = each.partition("::")
        file = DOCS.parent / path
        assert file.is_file(), each
        assert f"def {function}(" in file.read_text() or not function, each
