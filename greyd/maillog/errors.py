"""The error of mail logs."""

from __future__ import annotations

from greyd.errors import GreydError


class MailLogError(GreydError):
    """A mail log cannot be read, or a line contains neither a decision nor a rejection."""
