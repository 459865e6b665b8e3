"""Parses the text of ``--x-greylist-header``: a header field, or ``none``.

Postfix ignores ``PREPEND`` with a text that is not a header field, and logs a warning each time.
"""

from __future__ import annotations

import re

from greyd.config.numbers import OFF_WORDS

NO_HEADER = ""
"""The value for mail that gets no header."""

_FIELD = re.compile(r"[!-9;-~]+ *:")
"""A field's name, of printable ASCII characters without colon (RFC 5322, section 3.6.8), and the
colon. Postfix accepts spaces before it.
"""

_EXAMPLES = {"%t": "300", "%v": "0.2.0", "%h": "mx1", "%d": "Mon, 02 Nov 2026 09:00:00 UTC"}


def parse_header(text: str) -> str:
    """Return the text of a header field; ``NO_HEADER`` for ``none``, ``off``, ``no`` and ``false``.

    Raises:
        ValueError: Postfix would not add the text as a header.
    """
    if text.lower() in OFF_WORDS:
        return NO_HEADER
    if not text.isprintable():
        raise ValueError("a header on one line, without control characters")
    # A variable in the field's name may have a value that a name can't contain.
    example = text
    for variable, value in _EXAMPLES.items():
        example = example.replace(variable, value, 1)
    if not _FIELD.match(example):
        raise ValueError(
            "a header with a name in ASCII and a colon, such as X-Greylist: delayed %t seconds; or"
            " none, to add no header"
        )
    return text
