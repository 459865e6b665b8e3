"""Decides without an index which keys a scan yields, see ``Store.records``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def may_contain(key: bytes, texts: Sequence[bytes]) -> bool:
    """Whether a scan for keys that contain one of these texts yields a key; without texts, True."""
    return not texts or not key.isascii() or any(text in key for text in texts)
