"""Keeps the notes about a simulation until its result is printed."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def notes_after_result() -> Iterator[Callable[[str], None]]:
    """Yield a function that takes notes, and write them to standard error at the end.

    So the verdict is the first thing on a terminal. The notes are written after an error, too.
    """
    notes: list[str] = []
    try:
        yield notes.append
    finally:
        if notes:
            # Otherwise a pipe for both outputs would get the notes first.
            sys.stdout.flush()
        for each in notes:
            print_error(each)
