"""Parse pages: blocks, headings, links, and words in code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from markdown_it.token import Token

CHECKOUT = Path(__file__).parents[2]
README = CHECKOUT / "README.md"
DOCS = CHECKOUT / "docs"
PAGES = (README, *sorted(DOCS.rglob("*.md")))
OTHERS = (CHECKOUT / "CONTRIBUTING.md", CHECKOUT / "SECURITY.md")
"""Checked, but not run."""

_MARKDOWN = MarkdownIt("commonmark").enable("table")

LANGUAGES = {"sh", "console", "cf", "ini", "toml", "yaml", "text", "exim", "log", "promql"}
"""``inside.run`` handles each language."""

TITLED = {"cf", "ini", "toml", "yaml", "text", "exim"}
"""Languages whose blocks name their file in a title."""

README_TITLES = {
    "cf": "/etc/postfix/main.cf",
    "ini": "/etc/systemd/system/postgrey.service.d/override.conf",
    "toml": "/etc/greyd/greyd.toml",
}
"""Readers of README.md do not show titles, so its text names the files."""


class PageError(Exception):
    """A page has a block that cannot run or has failed; the text says where."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def where(self) -> str:
        """Name the place in a message."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """A page and its contents."""

    path: Path

    @property
    def name(self) -> str:
        """The page's path in the checkout."""
        inside = self.path.is_relative_to(CHECKOUT)
        return str(self.path.relative_to(CHECKOUT) if inside else self.path)

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return self.path.read_text()

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The page's blocks in order.

        Raises:
            PageError: a block has no language, one that nobody knows, or no title where one is due.
        """
        return tuple(
            self._block(token.map[0] + 1, token.info, token.content)
            for token in _MARKDOWN.parse(self.text)
            if token.type in ("fence", "code_block") and token.map
        )

    def _block(self, line: int, info: str, text: str) -> Block:
        language, _, rest = info.partition(" ")
        title = re.fullmatch(r'title="([^"]+)"', rest)
        title_text = title[1] if title else ""
        if self.path == README:
            title_text = title_text or README_TITLES.get(language, "")
        block = Block(self.name, line, language, title_text, text)
        if language not in LANGUAGES:
            known = ", ".join(sorted(LANGUAGES))
            raise PageError(f"{block.where}: a block of language {language!r}; give one of {known}")
        if (language in TITLED) != bool(title_text):
            raise PageError(
                f'{block.where}: {language} and title="{title_text}" do not go together'
            )
        return block

    @cached_property
    def links(self) -> tuple[str, ...]:
        """The targets of the page's links."""
        return tuple(str(each.attrs["href"]) for each in self._inline("link_open"))

    @cached_property
    def code_spans(self) -> tuple[str, ...]:
        """The texts in backquotes."""
        return tuple(each.content for each in self._inline("code_inline"))

    @cached_property
    def words_in_code(self) -> tuple[str, ...]:
        """The texts in backquotes, and the words of the blocks."""
        in_blocks = [word for block in self.blocks for word in block.text.split()]
        return (*self.code_spans, *in_blocks)

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub generates them."""
        headings = re.findall(r"^#+ +(.+)$", self.text, re.MULTILINE)
        plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
        return {heading.strip().replace(" ", "-") for heading in plain}

    def _inline(self, kind: str) -> list[Token]:
        return [
            child
            for token in _MARKDOWN.parse(self.text)
            for child in token.children or ()
            if child.type == kind
        ]
