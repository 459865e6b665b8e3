"""What of a text that somebody gave may stand in a message: one line, and nothing like a login.

A URL that is mistyped has its password anywhere. So nothing is searched for that looks like a
password: what follows where one could begin is left out.
"""

from __future__ import annotations

import re

MAX_EXCERPT_CHARACTERS = 100
"""Characters of a text that a message shows."""

_REDIS = re.compile(
    r"\b((?:redis|rediss|valkey|valkeys|unix)(?:\+[a-z]+)?)[ ]?(?:[:;.]?[ ]?[/\\]|:).*",
    re.IGNORECASE | re.DOTALL,
)
"""A scheme as it may be mistyped, and all that follows."""

_URL = re.compile(r"://.*", re.DOTALL)
_SECRET = re.compile(r"(passw(?:or)?d|passphrase|secret)( ?= ?).*", re.IGNORECASE | re.DOTALL)


def redacted(text: str) -> str:
    """Return a text without what follows a scheme of Redis, what may be a login, and secrets."""
    text = _URL.sub("://…", _REDIS.sub(r"\1:…", text))
    # A colon, and an @ anywhere behind it: there may be spaces between.
    end = text.rfind("@")
    colon = text.find(":", 0, max(end, 0))
    if colon >= 0:
        begin = text.rfind(" ", 0, colon) + 1
        text = f"{text[:begin]}…{text[end:]}"
    return _SECRET.sub(r"\1\2…", text)


def excerpt(text: str, max_characters: int = MAX_EXCERPT_CHARACTERS) -> str:
    """Return a text that somebody gave as it can stand in a message."""
    # Cut last: a login may be longer than what is shown.
    text = redacted(text)[:max_characters]
    return "".join(each if each.isprintable() else "?" for each in text)
