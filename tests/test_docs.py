"""What the pages say is what the code does."""

from __future__ import annotations

from pathlib import Path

from docs.render_options import render

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_options_is_the_one_that_the_table_makes() -> None:
    assert (DOCS / "options.md").read_text() == render()
