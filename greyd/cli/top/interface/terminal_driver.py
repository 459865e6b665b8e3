"""Textual's driver, writing to standard output: Textual itself writes to standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App


class StandardOutputDriver(LinuxDriver):
    """Draws on standard output, so that errors can be redirected to a file."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        if sys.__stdout__ is not None:
            self._file = sys.__stdout__
