"""Parses the location of a SQLite store, the part of its URL after ``sqlite:``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from greyd.store.errors import StoreError
from greyd.store.sqlite.permissions import folder_is_missing

_MAX_SHOWN_CHARACTERS = 500
"""The length to which a message cuts a path; longer than any real path."""


@dataclass(frozen=True, slots=True)
class Location:
    """The path of the file, and how SQLite syncs it."""

    path: str
    """The path without symbolic links: SQLite names the write-ahead log after the real file."""
    synchronous: str
    """The value of SQLite's pragma of that name: ``NORMAL`` or ``FULL``."""


def parse_location(text: str) -> Location:
    """Parse a path, ``///path``, or either with ``?synchronous=full``.

    Raises:
        StoreError: the text is invalid, or the folder does not exist.
    """
    path, _, query = text.partition("?")
    path = path.removeprefix("//")
    options = dict(parse_qsl(query))
    synchronous = options.pop("synchronous", "normal").upper()
    if options or synchronous not in ("NORMAL", "FULL") or not path:
        raise StoreError(f"sqlite:{text}: write sqlite:PATH or sqlite:PATH?synchronous=full")
    folder = Path(path).parent
    if folder_is_missing(folder):
        raise StoreError(
            f"sqlite:{_shorten(path)}: no folder {_shorten(str(folder))}; create it or name another"
        )
    return Location(os.path.realpath(path), synchronous)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…"
