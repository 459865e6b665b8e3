"""Completes ``--watch`` without a value: typer has no options with an optional value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SECONDS = 2


def with_watch_value(words: Sequence[str]) -> list[str]:
    """Return a command line in which each ``--watch`` without a value has the default."""
    end = words.index("--") if "--" in words else len(words)
    options = [f"--watch={DEFAULT_SECONDS}" if each == "--watch" else each for each in words[:end]]
    return options + list(words[end:])
