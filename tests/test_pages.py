"""Links, anchors, options, variables, metrics and reasons on the pages exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.pages import words
from tests.pages.all_metrics import all_metrics
from tests.pages.blocks import OTHERS, PAGES, Page, PageError

if TYPE_CHECKING:
    from pathlib import Path

every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


@every_page
def test_every_block_has_a_language_and_text(path: Path) -> None:
    assert all(block.text.strip() for block in Page(path).blocks)


@pytest.mark.parametrize(
    "block",
    ["```\na\n```", "```bash\na\n```", "    a", "```toml\na = 1\n```", '```sh title="a"\na\n```'],
    ids=["no language", "an unknown one", "indented", "a file without a name", "a named command"],
)
def test_a_block_that_is_not_run_is_an_error(tmp_path: Path, block: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{block}\n")
    with pytest.raises(PageError, match=r"page\.md:3: "):
        _ = Page(page).blocks


@pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=lambda path: path.name)
def test_links_have_targets(path: Path) -> None:
    for link in Page(path).links:
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if "://" in link:
            continue
        assert target.exists(), link
        assert not anchor or anchor in Page(target).anchors, link


@every_page
def test_options_and_variables_exist(path: Path) -> None:
    assert words.strangers(path.read_text()) == []


def test_each_listed_option_of_another_program_is_on_a_page() -> None:
    texts = "".join(path.read_text() for path in PAGES)
    assert [name for name in words.OTHERS if f"--{name}" not in texts] == []


def test_an_unknown_option_or_variable_is_found() -> None:
    text = "`--delay=60 --dealy=60`, GREYD_DELAY, GREYD_DEALY, table--cell"
    assert words.strangers(text) == ["--dealy", "GREYD_DEALY"]


NO_METRICS = {
    "greyd_acl": "a file of Exim's",
    "greyd_dbdir": "FreeBSD's rc.conf",
    "greyd_docs": "a label of Prometheus's",
    "greyd_enable": "FreeBSD's rc.conf",
    "greyd_options": "FreeBSD's rc.conf",
    "greyd_probe": "an attribute of requests",
}
"""Names on the pages that look like metrics. Add a new one here."""


@every_page
def test_metrics_exist(path: Path) -> None:
    families = all_metrics().registry.collect()
    samples = {sample.name for family in families for sample in family.samples}
    known = samples | {name.removesuffix("_bucket") for name in samples} | NO_METRICS.keys()
    for word in Page(path).words_in_code:
        for metric in re.findall(r"\bgreyd_[a-z_]+\b", word):
            prefixes = tuple(known) if metric.endswith("_") else ()
            assert metric in known or any(each.startswith(metric) for each in prefixes), word
