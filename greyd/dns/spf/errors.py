"""The error of SPF records."""

from __future__ import annotations


class SpfPermanentError(Exception):
    """The records can't be understood, or ask too much (RFC 7208, 2.6.7)."""
