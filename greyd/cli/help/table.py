"""Reads the table of all commands and options, which completes words and shows the help.

``make generate`` writes ``table.json`` from the commands' declarations. So neither a
completion nor the help imports typer or a command, whose import takes ten times as long as
Python's own start.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("table.json")


@cache
def read_table() -> dict[str, Any]:
    """Return the table: options of ``greyd``, and by name each command with its options.

    An option has the keys names, help, group, value (``=N`` for one that takes a value, ``[=N]``
    for one that may have one), default, multiple and choices; an argument has name, help and
    choices.
    """
    import json

    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    for command in table["commands"].values():
        command["options"] += [table["shared"][name] for name in command.pop("shared")]
    return table
