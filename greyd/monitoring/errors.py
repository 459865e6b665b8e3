"""The base of the errors of logging, metrics and statistics."""

from __future__ import annotations

from greyd.errors import GreydError


class MonitoringError(GreydError):
    """The base class of errors in logging, metrics and statistics; the text has the reason."""
