"""Hides the passwords in this process's command line, which every user of the machine can read."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from greyd.redaction import redacted
from greyd.store.url import StoreUrlError, parse_redis_url

_SCHEME = re.compile(rb"(?:.*=)?[a-z+]+://|[^=]*=|")
_ARG_START = 48 - 3
"""The index of ``arg_start`` among the fields after the command's name in /proc/PID/stat."""


def hide_passwords() -> None:
    """Overwrite the passwords in store URLs, so that ``ps`` and /proc/PID/cmdline hide them.

    Works on Linux only. The first process of a container keeps its command line, because commands
    read the store's URL from it; a user who can read it can also read the container's settings.
    """
    if os.getpid() == 1:
        return
    with contextlib.suppress(OSError, ValueError):
        words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
        hidden = [_hidden(word) for word in words]
        if hidden != words:
            _write_over(b"\0".join(hidden))


def _hidden(word: bytes) -> bytes:
    text = word.decode(errors="surrogateescape")
    if redacted(text) == text or _is_no_secret(text):
        return word
    shown = _SCHEME.match(word)
    begin = shown.end() if shown else 0
    return word[:begin] + b"x" * (len(word) - begin)


def _is_no_secret(text: str) -> bool:
    """Whether a word is a URL without password and options, or ends in one after ``=``."""
    try:
        url = parse_redis_url(text.rpartition("=")[2] if "?" not in text else text)
    except StoreUrlError:
        return False
    return url.password is None and not url.options


def _write_over(data: bytes) -> None:
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        memory.seek(int(fields[_ARG_START]))
        memory.write(data)
