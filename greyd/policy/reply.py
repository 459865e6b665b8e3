"""Renders a decision as an action of access(5), the text after ``action=`` in a reply.

The first occurrence of each variable in a text is replaced (postgrey's behaviour). Control
characters from a request become ``?`` in a reply, so that they cannot end the reply early.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd import __version__

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.request import Request

DUNNO = b"DUNNO"

PROBE_ANSWER = b"DUNNO greyd %b" % __version__.encode()
"""The action for a request from ``greyd doctor``: it names the program and its version."""

STORE_AWAY = b"DEFER_IF_PERMIT 4.3.0 Greylisting is out of order, try again later"
"""The action with ``--on-store-failure defer`` while the store does not answer."""

CONTROL_TO_QUESTION_MARK = bytes(
    ord("?") if byte < 0x20 or byte == 0x7F else byte for byte in range(256)
)
"""A table for ``bytes.translate``; Postfix replaces control characters in the same way."""


@dataclass(frozen=True, slots=True)
class Replies:
    """The texts of ``--greylist-action``, ``--greylist-text`` and ``--x-greylist-header``."""

    action: bytes
    text: bytes
    enhanced: bool
    """Whether ``text`` begins with an enhanced status code."""
    header: bytes
    version: bytes
    hostname: bytes

    @classmethod
    def from_settings(cls, settings: Settings, version: str) -> Replies:
        """Return the texts from the settings; ``version`` is greyd's, for the header."""
        text = settings.greylist_text.encode()
        return cls(
            action=settings.greylist_action.encode(),
            text=text,
            enhanced=text[:1].isdigit(),
            header=settings.header.encode(),
            version=version.encode(),
            hostname=(settings.hostname or "").encode(),
        )

    def greylisted(self, request: Request, missing_seconds: int) -> bytes:
        """Return the action for mail whose delay ends in ``missing_seconds``."""
        domain = (request.recipient or b"").rpartition(b"@")[2]
        text = self.text.replace(b"%s", b"%d" % missing_seconds, 1)
        text = text.replace(b"%r", domain.translate(CONTROL_TO_QUESTION_MARK), 1)
        # Postfix before 2.3 does not support enhanced status codes, and does not send etrn_domain.
        code = b"4.2.0 " if request.etrn_domain is not None and not self.enhanced else b""
        return b"%b %b%b" % (self.action, code, text)

    def prepend_header(self, waited_seconds: int, clock: float) -> bytes:
        """Return the action that adds the header to mail that has waited; DUNNO without a header.

        Args:
            waited_seconds: how long the mail has waited.
            clock: the time, in seconds since 1970. The header has it in the host's time zone.
        """
        if not self.header:
            return DUNNO
        date = time.strftime("%a, %d %b %Y %H:%M:%S %Z", time.localtime(clock))
        header = self.header.replace(b"%t", b"%d" % waited_seconds, 1)
        header = header.replace(b"%v", self.version, 1)
        header = header.replace(b"%h", self.hostname, 1)
        return b"PREPEND " + header.replace(b"%d", date.encode(), 1)
