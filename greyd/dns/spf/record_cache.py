"""A bounded LRU cache of parsed SPF records. The key is the text of a record."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from greyd.dns.spf.errors import SpfPermanentError
from greyd.dns.spf.parser import RecordParser

if TYPE_CHECKING:
    from greyd.dns.spf.record import SpfRecord

MAX_CACHED_RECORDS = 5000
MAX_CACHED_BYTES = 8 * 1024 * 1024
"""Maximum total size of the cached records, by an estimate."""

_INVALID_RECORD_BYTES = 300


class RecordCache:
    """Parses SPF records and caches the results, including those of invalid records."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, SpfRecord | None] = OrderedDict()
        """None for an invalid record."""
        self._memory_bytes = 0

    def parse(self, text: bytes) -> SpfRecord:
        """Return the parsed record, from the cache if possible.

        Raises:
            SpfPermanentError: the record is invalid, or exceeds a limit.
        """
        if text in self._records:
            self._records.move_to_end(text)
            record = self._records[text]
        else:
            try:
                record = RecordParser().parse(text)
            except SpfPermanentError:
                record = None
            self._put(text, record)
        if record is None:
            raise SpfPermanentError
        return record

    def _put(self, text: bytes, record: SpfRecord | None) -> None:
        self._records[text] = record
        self._memory_bytes += _memory_bytes(text, record)
        while (
            len(self._records) > MAX_CACHED_RECORDS or self._memory_bytes > MAX_CACHED_BYTES
        ) and len(self._records) > 1:
            self._memory_bytes -= _memory_bytes(*self._records.popitem(last=False))


def _memory_bytes(text: bytes, record: SpfRecord | None) -> int:
    return len(text) + (_INVALID_RECORD_BYTES if record is None else record.memory_bytes)
