"""What the pages name exists: links, anchors, options, variables, metrics, files."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from greyd.cli import read_settings
from greyd.observe import OUTCOMES, Metrics
from greyd.settings import OPTIONS
from tests.pages import PAGES, ROOT, anchors, blocks, links, words_in_code

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = {"sh", "cf", "ini", "toml", "text", "yaml", "exim"}
"""``text`` is what a program says; all others are tried by a test."""

OF_OTHER_PROGRAMS = re.compile(r"^--(help|version|user=postgrey)")
"""Options of all programs."""


def of(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


@pytest.mark.parametrize("page", of(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", of(PAGES))
def test_blocks_say_what_they_are(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block


@pytest.mark.parametrize("page", of(PAGES))
def test_options_of_greyd_exist(page: Path) -> None:
    known = {f"--{name}" for option in OPTIONS for name in (option.name, *option.spellings)}
    for block in blocks(page):
        for line in block.text.splitlines():
            _, serve, options = line.partition("greyd serve")
            for word in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", options if serve else ""):
                assert word in known | {"--help", "--version"}, block


@pytest.mark.parametrize("page", of(PAGES))
def test_variables_exist(page: Path) -> None:
    known = {option.variable for option in OPTIONS} | {"GREYD_OPTS"}
    for word in words_in_code(page):
        for variable in re.findall(r"\bGREYD_[A-Z0-9_]+", word):
            assert variable in known or variable.endswith("_"), word


@pytest.mark.parametrize("page", of(PAGES))
def test_metrics_exist(page: Path) -> None:
    samples = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    known = samples | {name.removesuffix("_bucket") for name in samples}
    for word in words_in_code(page):
        for metric in re.findall(r"\bgreyd_[a-z_]+(?=\b)", word):
            assert metric in known, word


@pytest.mark.parametrize("page", of(PAGES))
def test_examples_of_the_toml_file_are_read(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            assert tomllib.loads(block.text), block
            (tmp_path / "greyd.toml").write_text(block.text)
            read_settings([f"--config={tmp_path / 'greyd.toml'}"])


def test_all_pages_are_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    names = {page.name for page in PAGES if page.parent.name == "docs"} - {"index.md"}
    assert names == {link for link in links(index) if not link.startswith("..")}


def test_every_reason_is_explained() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    for _, reason in OUTCOMES:
        assert f"`{reason}" in text, reason
