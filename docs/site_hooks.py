"""Stands in for pages that are still being written, so that links to them hold.

Each of them is taken from here once its file is there; when none is left, this module goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

COMING = ("docker.md", "install.md", "metrics.md", "operations.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add an empty page for each that is missing (called by MkDocs)."""
    for name in COMING:
        if not (Path(config.docs_dir) / name).exists():
            title = name.removesuffix(".md").capitalize()
            files.append(File.generated(config, name, content=f"# {title}\n"))
    return files
