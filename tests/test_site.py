"""The site builds without a warning and loads nothing from other servers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.pages.blocks import CHECKOUT, DOCS

if TYPE_CHECKING:
    from pathlib import Path


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as ``make docs`` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_the_site_builds_without_a_warning_and_loads_nothing(tmp_path: Path) -> None:
    built = build(CHECKOUT, tmp_path)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "troubleshooting.html").exists()
    for page in tmp_path.glob("**/*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text())
        assert [tag for tag in tags if re.search(r"""(src|href)=["']?(https?:)?//""", tag)] == []
    for style in tmp_path.glob("**/*.css"):
        assert re.findall(r"""url\(["']?(?:https?:)?//""", style.read_text()) == []


@pytest.mark.parametrize("link", ["no-such-page.md", "stores.md#no-such-heading"])
def test_a_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(CHECKOUT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs/index.md").open("a") as page:
        page.write(f"\n[broken]({link})\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert link in built.stderr
