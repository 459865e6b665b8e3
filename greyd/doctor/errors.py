"""The errors of ``greyd doctor``'s checks."""

from __future__ import annotations

from greyd.errors import GreydError


class DoctorError(GreydError):
    """Something cannot be checked; the text says what and why."""
