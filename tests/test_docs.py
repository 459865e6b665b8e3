"""The pages, manual pages and completions agree with the code."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from greyd.cli.app import build
from greyd.cli.config.example import example_file
from greyd.cli.help.table import read_table
from greyd.config.options import OPTIONS
from tests.pages.all_metrics import all_metrics
from tests.processes import program
from tools import render_completions, render_config, render_man, render_options

DOCS = Path(__file__).parent.parent / "docs"

AGAIN = "; run make generate"


def files_below(folder: Path) -> dict[str, str]:
    """Return the text of each file below a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_options_page_is_up_to_date() -> None:
    assert render_options.FILE.read_text() == render_options.render(), "the page is stale" + AGAIN


def test_the_example_of_a_configuration_file_is_up_to_date() -> None:
    assert render_config.FILE.read_text() == example_file(), "greyd.toml is stale" + AGAIN


def test_the_manual_pages_are_up_to_date() -> None:
    assert files_below(render_man.FOLDER) == render_man.render(), "a manual page is stale" + AGAIN


def test_the_completions_are_up_to_date() -> None:
    made = render_completions.render()
    assert files_below(render_completions.FOLDER) == made, "a completion is stale" + AGAIN


def test_the_summary_of_a_command_is_one_line_in_a_terminal_of_80_columns() -> None:
    names = list(read_table()["commands"])
    width = 80 - len("  ") - max(map(len, names)) - len("  ")
    summaries = {name: read_table()["commands"][name]["help"] for name in names}
    assert [text for text in summaries.values() if len(text) > width or text[-1] != "."] == []


def test_each_command_has_a_manual_page_and_the_first_page_names_it() -> None:
    commands = build().commands  # type: ignore[attr-defined]
    pages = render_man.render()
    assert set(pages) == {"greyd.8"} | {f"greyd-{name}.8" for name in commands}
    for name in commands:
        assert f".It Cm {name}\n" in pages["greyd.8"]


def rendered(page: str) -> str:
    """Render a manual page, as one line of text."""
    mandoc = program("mandoc")
    done = subprocess.run(
        [mandoc, "-Tutf8", "-Owidth=1000"], input=page, capture_output=True, text=True, check=True
    )
    plain = subprocess.run(["col", "-bx"], input=done.stdout, capture_output=True, text=True)
    return " ".join(plain.stdout.split())


def test_the_manual_page_of_serve_describes_each_option() -> None:
    page = rendered(render_man.render()["greyd-serve.8"])
    for option in OPTIONS:
        assert f"--{option.name}" in page
        assert option.help in page
        assert f"Environment: {option.variable}." in page
        if option.shown_default:
            assert f"Default: {option.shown_default}." in page
    sections = ["FILES", "SIGNALS", "EXIT STATUS", "EXAMPLES", "SEE ALSO", "ENVIRONMENT"]
    assert [name for name in sections if f" {name} " not in page] == []
    assert "greyd serve --inet=127.0.0.1:10023 --delay=60" in page


@pytest.mark.parametrize("name", sorted(render_man.render()))
def test_mandoc_accepts_each_manual_page_without_a_warning(name: str) -> None:
    command = [program("mandoc"), "-Tlint", "-Wwarning", render_man.FOLDER / name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", sorted(render_man.render()))
def test_man_shows_each_manual_page_without_a_warning(name: str) -> None:
    command = [program("man"), "--warnings", "--local-file", render_man.FOLDER / name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(name.removesuffix(".8").upper() + "(8)")


def cells(page: str, begins: str) -> list[list[str]]:
    """Return the cells of the table rows on a page whose first cell starts with ``begins``."""
    rows = [line.strip("|").split("|") for line in (DOCS / page).read_text().splitlines()]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip().startswith(begins)]


def test_the_metrics_page_lists_exactly_the_metrics_of_the_server() -> None:
    documented = {
        (row[0].strip("`"), row[1], frozenset(re.findall(r"`(\w+)`", row[2])))
        for row in [*cells("metrics.md", "`greyd_"), *cells("metrics.md", "`process_")]
    }
    exported = set()
    for family in all_metrics().registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported.add((name, family.type, frozenset(labels)))
    assert documented == exported


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


# CONTRIBUTING.md ----------------------------------------------------------------------------------

CHECKOUT = DOCS.parent
GREYD = CHECKOUT / "greyd"


def lines_of_the_house() -> list[tuple[Path, str]]:
    """Return each folder that the tree in CONTRIBUTING.md draws, with its description."""
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    house = text.partition("## The house")[2].partition("\n## ")[0]
    drawn = re.findall(r"^    (  |)(\w+)/ +(\S.*)$", house, re.MULTILINE)
    return [(GREYD / name if inside else CHECKOUT / name, rest) for inside, name, rest in drawn]


def packages_of_greyd() -> set[Path]:
    """Return the folders of greyd's packages."""
    return {path.parent for path in GREYD.glob("*/__init__.py")}


def test_contributing_draws_each_package_in_the_order_that_make_check_enforces() -> None:
    drawn = [folder.name for folder, _ in lines_of_the_house() if folder.parent == GREYD]
    assert {GREYD / name for name in drawn} == packages_of_greyd()
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    rank = {name: number for number, layer in enumerate(layers) for name in layer.split(" | ")}
    assert [rank[name] for name in drawn] == sorted(rank[name] for name in drawn), layers


@pytest.mark.parametrize("line", lines_of_the_house(), ids=lambda line: line[0].name)
def test_the_files_that_contributing_draws_in_a_folder_exist(line: tuple[Path, str]) -> None:
    folder, description = line
    names = re.findall(r"[\w/]+\.py\b|\b\w+/(?![\w*])", description)
    assert folder.is_dir()
    assert [name for name in names if not (folder / name).exists()] == []


def test_the_files_that_contributing_names_exist() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    modules = re.search(r"^      ([\w ]+\.py[\w .]*)$", text, re.MULTILINE)
    assert modules
    assert set(modules[1].split()) == {path.name for path in GREYD.glob("[!_]*.py")}
    named = re.findall(r"`(\w+/[\w/.]*)`", text)
    assert len(named) > 8
    assert [
        name for name in named if not (GREYD / name).exists() and not (CHECKOUT / name).exists()
    ] == []


# Messages -----------------------------------------------------------------------------------------

OF_OTHERS = {
    "Connection refused": "the operating system",
    "Name or service not known": "the resolver",
    "NOAUTH": "Redis",
    "WRONGPASS": "Redis",
    "NOPERM": "Redis",
    "OOM command not allowed": "Redis",
    "database or disk is full": "SQLite",
}
"""Quoted messages of other programs. A new one is added here."""

MIN_WORDS = 2


def texts_of_greyd() -> str:
    """Return all texts in greyd's code, with a line feed for each variable part."""
    texts = []
    for path in GREYD.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "\n" for part in node.values
                ]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def is_in(texts: str, fragment: str) -> bool:
    """Whether texts contain a fragment, which one variable part may divide."""
    words = fragment.split(" ")
    halves = ((" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words)))
    return fragment in texts or any(one in texts and other in texts for one, other in halves)


def quoted_messages(page: str, heading: str) -> list[str]:
    """Return the texts in code in the first column of a section's table."""
    section = (DOCS / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize(
    ("page", "heading"), [("troubleshooting.md", "Store away"), ("operations.md", "Logs")]
)
def test_the_messages_that_a_page_quotes_are_greyd_s(page: str, heading: str) -> None:
    messages = quoted_messages(page, heading)
    assert len(messages) > 8
    texts = texts_of_greyd()
    fragments = [
        fragment.strip(" ,;:()")
        for message in messages
        if message not in OF_OTHERS
        for fragment in re.split(r"…|\b[A-Z]+\b|[\d.:]+", message)
    ]
    whole = [fragment for fragment in fragments if len(fragment.split()) >= MIN_WORDS]
    assert len(whole) > 5
    assert [fragment for fragment in whole if not is_in(texts, fragment)] == []
