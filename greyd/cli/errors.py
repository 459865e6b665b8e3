"""The exception of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.errors import GreydError

if TYPE_CHECKING:
    from collections.abc import Iterable


class CommandError(GreydError):
    """A command cannot do its work; the text gives the reason and the remedy."""

    def __init__(self, text: str, choices: Iterable[str] = ()) -> None:
        """Create an error.

        Args:
            text: the reason and the remedy, in one line.
            choices: the alternatives, one per line, if the remedy is a choice.
        """
        super().__init__(text)
        self.choices = tuple(choices)
