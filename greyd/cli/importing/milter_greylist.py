"""Reads milter-greylist's dump file, ``greylist.db``, which is a text.

Versions 1.0 to 4.6 write lines such as these; other versions may write spaces instead of tabs::

    # milter-greylist databases, dumped by milter-greylist-4.6.4 on 2026-05-01 10:00:00.
    192.0.2.7⭾<a@example.com>⭾<b@example.org>⭾1777629600 # 2026-05-01 10:00:00
    192.0.2.8⭾<a@example.com>⭾<b@example.org>⭾1777716000 AUTO # 2026-05-02 10:00:00
    192.0.2.9⭾<a@example.com>⭾<b@example.org>⭾1777629600⭾60 TARPIT # 2026-05-01 10:00:00
    # Summary: 3 records, 1 greylisted, 1 whitelisted, 1 tarpitted

The first is waiting mail: its time is when the mail may pass. The second has passed: its time is
when milter-greylist forgets it. The time of the pass itself is not stored, and neither is the
duration that a rule may have set, so the entry counts as a pass of one day before that time, which
is milter-greylist's default, but not after the dump.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from greyd.cli.importing.items import (
    MAX_EXCERPT_BYTES,
    ImportedEntry,
    ImportItem,
    SkippedEntry,
    SourceWarning,
    UnreadableItem,
)
from greyd.cli.importing.merge import adapt_to_delay
from greyd.cli.importing.timestamps import parse_time
from greyd.config.vocabulary import DAY
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind
from greyd.rules.keys import request_keys
from greyd.rules.records import Triplet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from greyd.config.settings import Settings

_MAX_LINE_BYTES = 4096

_HEADER = re.compile(rb"^# milter-greylist databases", re.MULTILINE)
_DUMPED = re.compile(rb"dumped by milter-greylist-\S+ on ([0-9-]+ [0-9:]+)")
_SUMMARY = re.compile(rb"#\s*Summary: ([0-9]+) records")
_ADDRESS = rb"([0-9a-fA-F:.]+)(?:%\w+)?"
_NAME = rb"(<?(?:\"(?:[^\"\\]|\\.)*\"|[^\s\"])*>?)"
_LINE = re.compile(
    rb"\s*" + _ADDRESS + rb"\s+" + _NAME + rb"\s+" + _NAME + rb"\s+([0-9]{1,12})(?:\s+([0-9]+))?"
    rb"(?:\s+(AUTO|TARPIT))?\s*(?:#.*)?",
    re.IGNORECASE,
)

_TARPITTED = "senders that did not wait for a tarpit: greyd has none"


def is_milter_greylist_dump(begin: bytes) -> bool:
    """Whether a text that begins with ``begin`` is milter-greylist's dump file."""
    if _HEADER.search(begin):
        return True
    lines = (line.strip() for line in begin.splitlines()[:_MAX_COMMENT_LINES])
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    entry = _LINE.fullmatch(first)
    return entry is not None and parse_address(entry[1]) is not None


_MAX_COMMENT_LINES = 50


@dataclass
class MilterGreylistDump:
    """The entries of a dump file."""

    settings: Settings
    delay_seconds: int
    """milter-greylist's ``greylist`` delay."""
    zone: tzinfo | None
    """The time zone of the dump's date; None: this machine's."""
    now: int
    _dumped_at: int = field(init=False)
    _has_header: bool = field(default=False, init=False)
    _expected_count: int | None = field(default=None, init=False)
    _read_count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._dumped_at = self.now

    def read(self, stream: IO[bytes]) -> Iterator[ImportItem]:
        """Yield an item for each entry."""
        while line := stream.readline(_MAX_LINE_BYTES):
            text = line.strip()
            if text.startswith(b"#"):
                self._read_comment(text)
            elif text:
                self._read_count += 1
                yield self._decode(text)

    def warnings(self) -> Iterator[SourceWarning]:
        """Yield a warning if entries are missing at the end."""
        if self._expected_count is None and self._has_header:
            yield SourceWarning(
                "the file has no summary at its end: it was truncated, and entries are missing",
                is_problem=True,
            )
        elif self._expected_count is not None and self._expected_count > self._read_count:
            yield SourceWarning(
                f"the file's summary counts {self._expected_count:,} entries, and the file has only"
                f" {self._read_count:,}",
                is_problem=True,
            )

    def _read_comment(self, text: bytes) -> None:
        if dumped := _DUMPED.search(text):
            self._has_header = True
            when = parse_time(dumped[1].decode(), self.zone)
            self._dumped_at = self.now if when is None else min(when, self.now)
        elif summary := _SUMMARY.match(text):
            self._expected_count = int(summary[1])

    def _decode(self, text: bytes) -> ImportItem:
        line = _LINE.fullmatch(text)
        address = line and parse_address(line[1])
        if line is None or address is None:
            return UnreadableItem(text[:MAX_EXCERPT_BYTES])
        kind = (line[6] or b"").upper()
        if kind == b"TARPIT":
            return SkippedEntry(EntryKind.TRIPLET, _TARPITTED)
        sender, recipient = _without_brackets(line[2]), _without_brackets(line[3])
        key = request_keys(address, sender, recipient, self.settings).triplet
        return ImportedEntry(EntryKind.TRIPLET, (key,), self._triplet(int(line[4]), kind))

    def _triplet(self, when: int, kind: bytes) -> Triplet:
        if kind == b"AUTO":
            passed_at = min(when - DAY, self._dumped_at)
            triplet = Triplet(passed_at, passed_at, passed_at)
            return adapt_to_delay(triplet, self.delay_seconds, self.settings)
        first_seen = min(when - self.delay_seconds, self._dumped_at)
        return Triplet(first_seen, first_seen)


def _without_brackets(name: bytes) -> bytes:
    return name[1:-1] if name.startswith(b"<") and name.endswith(b">") else name
