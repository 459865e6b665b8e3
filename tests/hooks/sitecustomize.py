"""Notes what nobody catches in a greyd that a test starts, in a file that the test reads.

Python imports this by itself where its folder is in ``PYTHONPATH``: greyd knows nothing of it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_FILE = os.environ.get("TESTS_UNHANDLED")


def _note(where: str, error: BaseException | None) -> None:
    if _FILE is not None and error is not None:
        text = "".join(traceback.format_exception(error))
        with Path(_FILE).open("a") as file:
            file.write(f"not caught in {where}: {text}\n")


def _in_process(
    kind: type[BaseException], error: BaseException, frames: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _note("the process", error)
    sys.__excepthook__(kind, error, frames)


def _in_thread(arguments: threading.ExceptHookArgs) -> None:
    if not issubclass(arguments.exc_type, SystemExit):
        _note(f"the thread {arguments.thread and arguments.thread.name}", arguments.exc_value)
    threading.__excepthook__(arguments)


def _in_finalizer(unraisable: sys.UnraisableHookArgs) -> None:
    _note(f"{unraisable.object!r}", unraisable.exc_value)
    sys.__unraisablehook__(unraisable)


def _is_no_timing(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio's debug mode says more than how long a callback took.

    On a loaded machine any callback may take longer than asyncio's 0.1 s.
    """
    return not str(record.msg).startswith("Executing ")


if _FILE is not None:
    logging.getLogger("asyncio").addFilter(_is_no_timing)
    sys.excepthook = _in_process
    threading.excepthook = _in_thread
    sys.unraisablehook = _in_finalizer
