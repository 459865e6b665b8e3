"""Make text that an administrator typed safe to repeat in a message: one line, no credentials.

A mistyped URL may contain its password anywhere. The functions therefore do not search for
passwords, but remove everything from the point where one could begin.
"""

from __future__ import annotations

import os
import re

MAX_EXCERPT_CHARACTERS = 100
"""The maximum length of an excerpt, unless the caller gives another."""

_REDIS = re.compile(
    r"\b((?:redis|rediss|valkey|valkeys|unix)(?:\+[a-z]+)?)[ ]?(?:[:;.]?[ ]?[/\\]|:).*",
    re.IGNORECASE | re.DOTALL,
)
"""A Redis scheme, perhaps mistyped, and everything after it."""

_URL = re.compile(r"://.*", re.DOTALL)
_SECRET = re.compile(r"(passw(?:or)?d|passphrase|secret)( ?= ?).*", re.IGNORECASE | re.DOTALL)

_LIST_KEY = re.compile(
    r"(?<![a-z0-9_-])[a-z0-9_-]{8,}+"
    r"(?=(?:\.[a-z0-9_-]++){0,6}\.(?:dq\.spamhaus\.net|mail\.abusix\.zone))",
    re.IGNORECASE,
)
"""The key of a registered user in the zone of a DNS list.

The time is linear in the length of a text: each run of characters is tried once, without
backtracking.
"""


def has_list_key(zone: str) -> bool:
    """Whether the zone of a DNS list contains the key of a registered user."""
    return _LIST_KEY.match(zone) is not None


def contains_list_key(text: str) -> bool:
    """Whether a text contains the zone of a DNS list with the key of a registered user."""
    return _LIST_KEY.search(text) is not None


def without_list_keys(text: str) -> str:
    """Return a text with ``{key}`` in the place of each key in the zone of a DNS list."""
    return _LIST_KEY.sub("{key}", text)


def redacted(text: str) -> str:
    """Replace the contents of URLs, ``user:password`` pairs and secrets with ``…``."""
    text = _URL.sub("://…", _REDIS.sub(r"\1:…", text))
    # Assume a login from the first colon to the last @: a password may contain spaces.
    end = text.rfind("@")
    colon = text.find(":", 0, max(end, 0))
    if colon >= 0:
        begin = text.rfind(" ", 0, colon) + 1
        text = f"{text[:begin]}…{text[end:]}"
    return _SECRET.sub(r"\1\2…", _LIST_KEY.sub("…", text))


def excerpt(text: str, max_characters: int = MAX_EXCERPT_CHARACTERS) -> str:
    """Return the beginning of a text, redacted and printable, for a message."""
    # Cut after redacting: a pattern may need text beyond the limit.
    return _printable(redacted(text)[:max_characters])


def redacted_path(path: str | os.PathLike[str]) -> str:
    """Return a path, redacted and printable: an administrator may have typed a URL instead."""
    return _printable(redacted(os.fspath(path)))


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
