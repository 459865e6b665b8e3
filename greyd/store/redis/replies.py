"""Checks of the replies to plain commands.

They compare types exactly: in Python True is an int, and a RESP 3 push is a list.
"""

from __future__ import annotations

import re
from typing import Any


def is_int(reply: Any) -> bool:
    """Whether a reply is an integer."""
    return type(reply) is int


def is_value(reply: Any) -> bool:
    """Whether a reply is a string or nil."""
    return reply is None or type(reply) is bytes


def is_single_value(reply: Any) -> bool:
    """Whether a reply is a list of one value."""
    return type(reply) is list and len(reply) == 1 and is_value(reply[0])


def is_scan_step(reply: Any) -> bool:
    """Whether a reply has the form of SCAN's: the next cursor, and keys."""
    if type(reply) is not list or len(reply) != 2:
        return False
    cursor, keys = reply
    return (
        type(cursor) is bytes
        and cursor.isdigit()
        and len(cursor) <= 20
        and type(keys) is list
        and all(type(key) is bytes for key in keys)
    )


def info_number(info: object, name: bytes) -> int:
    """Return a number in the reply to ``INFO``; 0 if the reply lacks it."""
    text = info if isinstance(info, bytes) else b""
    found = re.search(rb"^%b:([0-9]{1,18})" % re.escape(name), text, re.MULTILINE)
    return int(found[1]) if found else 0
