"""Describes what a Redis contains besides the entries under greyd's prefix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.escaping import printable
from greyd.store.redis.replies import is_scan_step

if TYPE_CHECKING:
    from greyd.store.redis.transport import RedisTransport

MAX_NAMED = 3
"""The maximum number of other prefixes, and of databases, to name."""

MAX_KEYS = 1000
"""The number of keys to examine: those of one step of SCAN."""

_ENTRY = re.compile(
    # {network}/sender/recipient and {network}:address, or with --privacy a hash.
    rb"(?P<prefix>.{0,100}?)(?:\{[0-9a-zA-Z.:_-]+\}[/:~]|[/:](?:[0-9a-f]{40}|[0-9a-f]{64})\Z)",
    re.DOTALL,
)


async def other_contents(transport: RedisTransport, prefix: bytes) -> list[str]:
    """Return other prefixes of keys that look like greyd's, and the databases with keys, in words.

    Raises:
        StoreError: Redis failed, or its ACL forbids ``INFO``.
    """
    prefixes, databases = dict[bytes, None](), dict[int, int]()
    for send in await transport.nodes():
        _, keys = await send("SCAN", 0, "COUNT", MAX_KEYS, is_valid=is_scan_step)
        prefixes |= dict.fromkeys(each for each in map(prefix_of_entry, keys) if each is not None)
        # A Cluster has one database.
        if not transport.is_divided:
            databases |= database_sizes(await send("INFO", "keyspace"))
    prefixes.pop(prefix, None)
    return [
        *(
            f'keys with the prefix "{printable(each)}" look like greyd\'s'
            for each in list(prefixes)[:MAX_NAMED]
        ),
        *(
            f"database {number} of this Redis has {count:,} key{'s' * (count != 1)}"
            for number, count in list(databases.items())[:MAX_NAMED]
        ),
    ]


def prefix_of_entry(key: bytes) -> bytes | None:
    """Return the prefix of a key that looks like an entry's; None for any other key."""
    found = _ENTRY.match(key)
    return found["prefix"] if found else None


def database_sizes(info: object) -> dict[int, int]:
    """Return the number of keys of each database, from the reply to ``INFO keyspace``."""
    text = info if isinstance(info, bytes) else b""
    found = re.findall(rb"^db([0-9]{1,9}):keys=([0-9]{1,18})", text, re.MULTILINE)
    return {int(number): int(count) for number, count in found}
