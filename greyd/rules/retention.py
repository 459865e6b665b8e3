"""How long records are kept, and which records are too old to count. Times are in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from greyd.config.vocabulary import HOUR
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.transaction import Change

if TYPE_CHECKING:
    from greyd.config.settings import Settings

COUNT_EVERY = HOUR
"""Minimum seconds between two counted successes of a client or identity (postgrey's behaviour)."""

_Record = TypeVar("_Record", Triplet, Client, Identity)


def load_current(
    kind: type[_Record], text: bytes | None, now: int, settings: Settings
) -> _Record | None:
    """Load a record; return None if its last use is more than max-age before or after ``now``.

    Only a wrong clock writes a last use that far in the future.
    """
    record = None if text is None else kind.load(text)
    if record is None:
        return None
    used_at = record.last_seen if isinstance(record, Triplet) else record.last_counted
    return record if abs(now - used_at) <= settings.max_age_seconds else None


def change_to_store(key: bytes, record: Client | Identity, settings: Settings) -> Change:
    """Return the change that stores the record of a client or identity, with its time to live."""
    return Change(key, record.dump(), ttl_for(settings.max_age_seconds))


def ttl_for(seconds: int) -> int:
    """Return the time to live of a record that the rules use for this long, in seconds."""
    # The rules check the age themselves. The extra hour keeps a store whose clock is slightly wrong
    # from dropping a record before that.
    return max(seconds, 0) + HOUR
