"""Reads the table of all commands and options, which completes words and shows the help.

``make generate`` writes ``table.json`` from the commands' declarations. Neither completion nor help
then imports typer or a command, which takes ten times as long as starting Python.
"""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False  # without typing, whose import takes as long as all others
if TYPE_CHECKING:
    from typing import Any

TABLE = __file__.removesuffix(".py") + ".json"
"""The path of the table, as text."""


@cache
def read_table() -> dict[str, Any]:
    """Return the table: options of ``greyd``, and by name each command with its options.

    An option has the keys names, help, group, value (``=N`` for one that takes a value, ``[=N]``
    for one that may have one), default, multiple and choices; an argument has name, help and
    choices.
    """
    import json

    with open(TABLE, encoding="utf-8") as file:  # noqa: PTH123 - the import of pathlib takes longer
        table: dict[str, Any] = json.load(file)
    for command in table["commands"].values():
        command["options"] += [table["shared"][name] for name in command.pop("shared")]
    return table
