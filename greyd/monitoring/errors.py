"""The base of the errors of logging, metrics and statistics."""

from __future__ import annotations

from greyd.errors import GreydError


class MonitoringError(GreydError):
    """Logging, metrics or statistics cannot do what was asked; the text says what and why."""
