"""Writes changed settings as lines for the server's configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN = re.compile(r"[\w.,:=/@%+-]+", re.ASCII)
"""A value that needs no quotes in an environment file."""


def lines_to_set(changes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for the environment file, and one for ``greyd.toml``.

    Args:
        changes: names of options without dashes, and their values as typed.
    """
    values: dict[str, list[str]] = {}
    for name, value in changes:
        values.setdefault(name, []).append(value)
    if not values:
        return
    toml = "; ".join(f"{name.replace('-', '_')} = {_toml(each)}" for name, each in values.items())
    if all(_PLAIN.fullmatch(value) for each in values.values() for value in each):
        options = " ".join(f"--{name}={value}" for name, each in values.items() for value in each)
        yield f'In /etc/default/greyd: GREYD_OPTS="{options}" (add this to the existing options)'
        yield f"or in greyd.toml: {toml}"
    else:
        yield f"In greyd.toml: {toml}"


def _toml(values: list[str]) -> str:
    texts = [each if each.isdigit() else _quoted(each) for each in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
