"""Joins a decision that a terminal or a mail program wrapped into several rows of a file.

A terminal breaks a line anywhere, so all rows but the last have its width; a mail program breaks a
line at spaces. Rows are joined only where that is certain: the first one begins a decision, no
other one has a date or another decision, and together they are a decision with all its fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.maillog.dates import has_date
from greyd.maillog.decisions import parse_decision
from greyd.maillog.heads import parse_line
from greyd.rules.address import parse_address
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.maillog.decisions import LoggedDecision
    from greyd.maillog.heads import LogLine
    from greyd.maillog.times import TimeParser

MAX_ROWS = 50
"""The maximum number of rows of a decision: with all fields, on a narrow terminal."""

MAX_ROW_BYTES = 4096

MAX_HELD_BYTES = 16 * 1024
"""The maximum length of rows that wait for those in the next block."""

MAX_DATE_PLACE_BYTES = 200
"""How far into a row to search for a date."""

_MAX_ROWS_OF_HEAD = 2
_MAX_HEAD_BYTES = 300
_MARGIN = b"> \t\r"
_INDENT = b"    "
_KEY_BYTES = len(_INDENT)

_REASONS = {each.text.encode() for each in Reason}
_begin_of_decision = re.compile(rb"(?<![\w.=<-])action(?:=|\Z)").search
_has_other_entry = re.compile(rb"(?<!\w)(?:action|shadow)=|[{}]").search
_quotation = re.compile(rb"(?:> ?)*").match
_names_program = re.compile(rb"postgrey|greyd").search
_has_recipient = re.compile(rb", recipient=[^,\s]").search
_open_reason = re.compile(rb"reason=[^,(]*\Z").search
_closed_reason = re.compile(rb"reason=([^,(]*?)(?: \(|,)").search
_missing_seconds = re.compile(rb"\([0-9]{1,12}s missing\)").search
_FIELD = re.compile(
    rb", (?:helo|reverse_client_name|protocol|identity|other_identities|signals|dns|dns_off)="
)
_may_follow_recipient = re.compile(rb"\s*\S*(?:\s+[a-z_]+=\S*)*(?:\s+[a-z_]+)?\s*\Z").match
_is_word = re.compile(rb"[\w.@%+=:\[\]-]+\Z").match


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """A line that was wrapped into rows."""

    text: bytes
    end: int
    """Where the last row ends in the block."""


def may_be_wrapped(block: bytes, start: int, end: int) -> bool:
    """Whether the row after a line may continue it: it begins with other bytes than the line.

    In most logs all lines begin with the same month or year. Each decision needs this check, so it
    has to be fast.
    """
    key = block[end + 1 : end + 1 + _KEY_BYTES]
    return key != block[start : start + _KEY_BYTES] or key == _INDENT


def line_under_head(text: bytes, before: bytes, times: TimeParser) -> LogLine | None:
    """Return the line of a decision without a date whose head is in the rows before; None if not.

    Args:
        text: the row with the decision.
        before: what precedes it in the file.
        times: parses the date in the head.
    """
    text = text.lstrip(_MARGIN)
    if text.startswith(b"action=") and not _names_program(before[-_MAX_HEAD_BYTES:]):
        return None
    rows = before[-_MAX_HEAD_BYTES:].rstrip(b"\r\n").split(b"\n")[-_MAX_ROWS_OF_HEAD:]
    for count in range(1, len(rows) + 1):
        head = b" ".join(each.strip(_MARGIN) for each in rows[-count:])
        if b"=" in head:
            # A line of its own.
            return None
        for space in (b" ", b""):
            whole = head + space + text
            line = parse_line(whole, times)
            if line and line.when and _names_program(whole[: whole.find(b"action=")]):
                return line
    return None


class RowJoiner:
    """Joins the rows of lines in blocks of a file; stores the width of the last block's rows."""

    def __init__(self) -> None:
        self._block = b""
        self._terminal_width = 0
        self._has_joined = False

    def join(self, block: bytes, start: int, end: int) -> JoinedRows | None:
        """Return the line that begins in a row and continues in the next ones; None if none does.

        Args:
            block: whole rows.
            start: where the row begins.
            end: where it ends.
        """
        text = block[start:end].rstrip(b"\r")
        next_end = block.find(b"\n", end + 1)
        # Most decisions are whole, and followed by a line of many words.
        is_whole = _has_recipient(text) and not _may_follow_recipient(block, end + 1, next_end)
        if next_end < 0 or is_whole or _begin_of_decision(text) is None:
            return None
        joined, widths, quotation = None, [_width(text)], _quotation(text)
        for row, row_end in _rows_after(block, end, quotation[0] if quotation else b""):
            longer = self._longer(text, row, widths, block)
            if longer is None:
                break
            text = longer
            widths.append(_width(row))
            if _has_recipient(text):
                joined = JoinedRows(text, row_end)
        if joined is None or not _is_certain(joined.text):
            return None
        self._has_joined = True
        return joined

    def needs_next_block(self, block: bytes, start: int, end: int) -> bool:
        """Whether rows of a decision at the end of a block may be in the next block."""
        if len(block) - start > MAX_HELD_BYTES:
            return False
        text = block[start:end].rstrip()
        if (decision := _decision_in(text)) is None:
            return False
        # A decision to pass without a recipient is a fault of greyd's: no more was logged.
        is_cut = not _has_recipient(text) and decision.action == "greylist"
        if not is_cut and not text.endswith(b",") and not self._has_joined:
            return False
        for row, row_end in _rows_after(block, end, b""):
            if not _is_continuation(row):
                return False
            end = row_end
        return end + 1 >= len(block)

    def _longer(self, text: bytes, row: bytes, widths: Sequence[int], block: bytes) -> bytes | None:
        """Return the text with the row that follows; None if the row does not continue it."""
        if not _has_recipient(text):
            return _continued(text, row) if _is_continuation(row) else None
        # The first check is the faster one.
        if not _may_follow_recipient(row) or not _is_continuation(row):
            return None
        return _with_fields(text, row) or self._with_end(text, row, widths, block)

    def _with_end(
        self, text: bytes, row: bytes, widths: Sequence[int], block: bytes
    ) -> bytes | None:
        """Return a line and the row that follows if that is the end of its last word.

        It is if a terminal has wrapped the line: all rows before the last one have the same width,
        or have lost a space at their end.
        """
        width = max(widths)
        is_filled = widths[-1] == width and min(widths) >= width - 1 and _width(row) <= width
        if not is_filled or not _is_word(row) or text.endswith((b" ", b",")):
            return None
        joined = text + row
        if len(widths) > 1 or self._width_of_terminal(block) == width:
            return joined
        # One row says nothing about the width.
        has_only_now_domain = b"@" in _recipient_of(joined) and b"@" not in _recipient_of(text)
        return joined if has_only_now_domain else None

    def _width_of_terminal(self, block: bytes) -> int:
        """Return the width of the terminal that wrapped a block's rows; 0 if none did.

        One did if several rows have the same width, and none is wider.
        """
        if block is not self._block:
            widths = [_width(each.rstrip(b"\r")) for each in block.split(b"\n")]
            widest = max(widths)
            is_terminals = widths.count(widest) > 1 or widest == self._terminal_width
            self._terminal_width = widest if is_terminals else 0
            self._block = block
        return self._terminal_width


# Rows ---------------------------------------------------------------------------------------------


def _rows_after(block: bytes, end: int, quotation: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the rows that follow a line, without their quotation marks, and where each ends."""
    for _ in range(MAX_ROWS - 1):
        start = end + 1
        end = block.find(b"\n", start)
        if end < 0 or end - start > MAX_ROW_BYTES:
            return
        row = block[start:end].rstrip(b"\r")
        if not row.startswith(quotation.rstrip()):
            return
        row = row[len(quotation) :]
        if not row.strip():
            return
        yield row, end


def _is_continuation(row: bytes) -> bool:
    """Whether a row has nothing that a line of its own has."""
    return not has_date(row[:MAX_DATE_PLACE_BYTES]) and not _has_other_entry(row)


def _width(row: bytes) -> int:
    return len(row) if row.isascii() else len(row.decode(errors="replace"))


def _continued(text: bytes, row: bytes) -> bytes | None:
    """Return a line without a recipient, and the row that follows; None if that is uncertain."""
    own = row.lstrip()
    if text.endswith(b","):
        return text + b" " + own
    if text.endswith(b" "):
        return text + own
    if row.startswith(b" ") and not row.startswith(b"  "):
        return text + row
    if _open_reason(text):
        # Reasons have spaces, so both ways are tried.
        for space in (b"", b" "):
            closed = _closed_reason(text + space + own)
            if closed and closed[1] in _REASONS:
                return text + space + own
        return None if b"," in own else text + own
    spaced = text + b" " + own
    has_lost_space = _missing_seconds(spaced) and not _missing_seconds(text + own)
    return spaced if has_lost_space and not _missing_seconds(text) else text + own


def _with_fields(text: bytes, row: bytes) -> bytes | None:
    """Return a line with a recipient, and the row that follows if it has more of its fields."""
    before = _decision_in(text)
    spaced = text + b" " + row.lstrip()
    joined = spaced if text.endswith(b",") else max(text + row, spaced, key=_field_count)
    after = _decision_in(joined)
    if before is None or after is None or _field_count(joined) <= _field_count(text):
        return None
    # The row may have the end of the recipient too, or what was read as that belongs to a field.
    names = before.recipient, after.recipient
    return joined if names[0].startswith(names[1]) or names[1].startswith(names[0]) else None


# Decisions ----------------------------------------------------------------------------------------


def _decision_in(text: bytes) -> LoggedDecision | None:
    begin = _begin_of_decision(text)
    return parse_decision(0.0, text[begin.start() :]) if begin else None


def _recipient_of(text: bytes) -> bytes:
    decision = _decision_in(text)
    return b"" if decision is None else decision.recipient


def _field_count(text: bytes) -> int:
    """Return the number of a decision's fields after the recipient; the last may be incomplete."""
    return len(_FIELD.findall(text, text.rfind(b", recipient=")))


def _is_certain(text: bytes) -> bool:
    """Whether a text is one decision, whose fields are all there and contain nothing else."""
    decision = _decision_in(text)
    return (
        decision is not None
        and decision.reason.encode() in _REASONS
        and parse_address(decision.client_address) is not None
        and text.count(b", client_address=") == text.count(b", sender=") == 1
        and not any(map(_has_space, (decision.client_name, decision.sender, decision.recipient)))
    )


def _has_space(name: bytes) -> bool:
    return len(name.split()) > 1
