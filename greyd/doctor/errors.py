"""The errors of ``greyd doctor``'s checks."""

from __future__ import annotations

from greyd.errors import GreydError


class DoctorError(GreydError):
    """A check cannot be made; the text names the subject and the reason."""
