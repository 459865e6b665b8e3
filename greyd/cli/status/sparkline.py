"""Draws numbers as a line of blocks of different heights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-=+*%#"
"""Blocks for an output that supports only ASCII."""


def sparkline(numbers: Sequence[int], width: int, blocks: str = BLOCKS) -> str:
    """Return a line of at most ``width`` characters; the highest number has the highest block.

    If there are more numbers than characters, a character stands for the sum of several. The lowest
    block is 0 or nearly 0.
    """
    per_character = -(-len(numbers) // max(width, 1))
    sums = [
        sum(numbers[begin : begin + per_character])
        for begin in range(0, len(numbers), max(per_character, 1))
    ]
    most = max(sums, default=0) or 1
    top = len(blocks) - 1
    # Any number above 0 gets a higher block than 0, so that a single mail is visible.
    return "".join(blocks[-(-each * top // most) if each > 0 else 0] for each in sums)
