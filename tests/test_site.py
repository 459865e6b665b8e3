"""The site builds without a warning and loads nothing from other servers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.pages.blocks import CHECKOUT, DOCS
from tests.processes import program

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


_MEASURE = """
<body></body><script>
const frames = PAGES.map(([page, width]) => {
  const frame = document.createElement("iframe");
  frame.width = width;
  frame.height = 900;
  frame.src = page;
  document.body.append(frame);
  return frame;
});
addEventListener("load", () => {
  const cut = [];
  let count = 0;
  for (const frame of frames)
    for (const table of frame.contentDocument.querySelectorAll("article table")) {
      count += 1;
      const room = table.parentElement.parentElement.clientWidth;
      if (table.scrollWidth > room)
        cut.push(`${frame.src.split("/").pop()} at ${frame.width}: ${table.scrollWidth} > ${room}`);
    }
  document.title = `${count} tables, cut off: ${cut.join("; ") || "none"}`;
});
</script>
"""


def test_no_table_is_cut_off_on_a_screen_nor_the_options_on_a_phone(tmp_path: Path) -> None:
    chromium = program("chromium")
    built = build(CHECKOUT, tmp_path)
    assert built.returncode == 0, built.stderr
    built_pages = sorted(tmp_path.rglob("*.html"))
    pages = [(str(page.relative_to(tmp_path)), 1280) for page in built_pages]
    frames = json.dumps([*pages, ("options.html", 390)])
    (tmp_path / "measure.html").write_text(_MEASURE.replace("PAGES", frames))
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
        "--allow-file-access-from-files", "--virtual-time-budget=20000",
        f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "measure.html").as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True)
    title = re.search(r"<title>(\d+) tables, cut off: (.*?)</title>", shown.stdout)
    assert title, shown.stderr
    assert int(title[1]) > 30
    assert title[2] == "none"


@pytest.mark.parametrize("link", ["no-such-page.md", "stores.md#no-such-heading"])
def test_a_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(CHECKOUT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs/index.md").open("a") as page:
        page.write(f"\n[broken]({link})\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert link in built.stderr
