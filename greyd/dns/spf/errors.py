"""The error of an SPF evaluation."""

from __future__ import annotations

from greyd.errors import GreydError


class SpfPermanentError(GreydError):
    """A record is invalid, or a limit is exceeded (``permerror``; RFC 7208, 2.6.7).

    Only ``greyd.dns.spf`` raises and catches it. It is no ``DnsError``, because an evaluation
    continues after some of these but never after a permanent error.
    """
