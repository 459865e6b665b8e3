"""The ``--limit`` option of the commands that print long tables."""

from __future__ import annotations

from typing import Annotated

import typer

Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", metavar="N", min=0, help="Maximum number of rows; 0 for all."),
]
"""The annotation of a ``--limit`` option; the command's help names the default."""


def more_line(count: int, *, at_least: bool = False, remedy: str = "--limit=0 shows all") -> str:
    """Return the line below a table that is not complete: ``… and 412 more; --limit=0 shows all``.

    Args:
        count: how many rows are missing; 0 if only their existence is known.
        at_least: whether there may be more than ``count``.
        remedy: what shows all.
    """
    least = "at least " if at_least else ""
    return f"… and {least}{count:,} more; {remedy}" if count else f"… and more; {remedy}"
