"""Warns of a store without entries: it is most likely not the one that the server uses.

A wrong database number, a wrong key prefix and a new file look the same to a command: all counts
are 0, and nothing matches.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from greyd.rules.entries import is_internal_key
from greyd.store.errors import StoreError
from greyd.store.opening import is_sqlite_url
from greyd.store.url import parse_redis_url, redact_url

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.store.contract import Store

MAX_SEARCH_SECONDS = 2.0
"""Maximum time to search for an entry among other programs' keys."""


async def empty_store_warning(store: Store, url: str, settings: Settings) -> str:
    """Return a one-line warning if the store has no entry; an empty text if it has one.

    The text is also empty if the store fails, which the command reports itself, or if an ACL
    forbids the search: some commands do not need that right.

    Args:
        store: the store, which is open.
        url: its URL.
        settings: the command's settings.
    """
    started, was_cut = time.monotonic(), False
    try:
        async for group in store.records():
            if not all(is_internal_key(record.key) for record in group):
                return ""
            if was_cut := time.monotonic() - started > MAX_SEARCH_SECONDS:
                break
    except StoreError:
        return ""
    cut = f" (in {MAX_SEARCH_SECONDS:g} s of searching)" if was_cut else ""
    if is_sqlite_url(url):
        found, options = f"{redact_url(url)} has no entry", "--dbdir or --store"
    else:
        found = f'{_place(url)} has no entry with the key prefix "{settings.key_prefix}"'
        options = "--store and --key-prefix"
    try:
        hints = await store.other_contents()
    except StoreError:
        hints = ["its other contents can't be read"]
    more = f"; {'; '.join(hints)}" if hints else ""
    return f"{found}{cut}: unless it is new, name the server's store with {options}{more}"


def _place(url: str) -> str:
    """Describe a Redis and its database in words: messages redact the URL of an option."""
    parsed = parse_redis_url(url)
    where = parsed.path or ",".join(map(str, parsed.hosts))
    database = "" if parsed.topology == "cluster" else f"database {parsed.database} of "
    return f"{database}the Redis at {where}"
