"""The error of an SPF evaluation."""

from __future__ import annotations

from greyd.errors import GreydError


class SpfPermanentError(GreydError):
    """A record is invalid, or a limit is exceeded (``permerror``; RFC 7208, 2.6.7).

    It never leaves the package, and is no ``DnsError``: an evaluation survives some of those.
    """
