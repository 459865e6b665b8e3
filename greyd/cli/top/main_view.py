"""Lays out the main screen of ``greyd top`` as lines of text, for a terminal of any size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from greyd.cli.tables.shorten import shorten_address, shorten_middle, wrap_words
from greyd.cli.top.overview_lines import overview_lines
from greyd.cli.top.waiting_mail import MAX_LISTED, ListedMail, Order
from greyd.escaping import printable_text
from greyd.terminal import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.top.live_data import LiveData

WIDE = 70
"""The minimum width at which the list has a column for the client."""

MIN_LIST_ROWS = 3
_TITLE_LINES = 2
_MAX_MESSAGE_LINES = 4

_KEYS = (
    "↑↓ move  / filter  Enter explain  r release  w whitelist  e expect  f forget  s sort  ? help"
    "  q quit",
    "/ filter Enter explain r release w whitelist e expect f forget ? help q quit",
    "r release w whitelist / filter ? help q quit",
    "? help  q quit",
)
"""The keys, the longest text first."""


@dataclass
class ListState:
    """The list of waiting mail: its order, its filter and the selected mail."""

    order: Order = Order.NEWEST
    pattern: str = ""
    rows: Sequence[ListedMail] = ()
    index: int = 0
    """The index of the selected mail."""
    top: int = 0
    """The index of the first mail on the screen."""
    page: int = 1
    """The number of mails on the screen."""
    message: str = ""
    """What the last key has done, or the error."""
    is_error: bool = False
    selected_key: bytes = field(default=b"")

    @property
    def selected(self) -> ListedMail | None:
        """The selected mail; None if the list is empty."""
        return self.rows[self.index] if self.rows else None

    @property
    def visible(self) -> Sequence[ListedMail]:
        """The mails on the screen."""
        return self.rows[self.top : self.top + self.page]

    def set_rows(self, rows: Sequence[ListedMail]) -> None:
        """Replace the mails; the selection stays on its mail, or on its place in the list."""
        self.rows = rows
        place = next((i for i, mail in enumerate(rows) if mail.key == self.selected_key), None)
        self.move_to(self.index if place is None else place)

    def move_to(self, index: int) -> None:
        """Select a mail by its index, or the nearest one."""
        self.index = max(min(index, len(self.rows) - 1), 0)
        self.selected_key = self.rows[self.index].key if self.rows else b""

    def scroll(self) -> None:
        """Bring the selected mail onto the screen."""
        lowest = max(len(self.rows) - self.page, 0)
        self.top = min(max(self.top, self.index - self.page + 1, 0), self.index, lowest)


def main_lines(data: LiveData, state: ListState, width: int, height: int, now: float) -> list[Text]:
    """Return exactly ``height`` lines; sets the number of mails on the screen in ``state``."""
    width, height = max(width, 10), max(height, 5)
    bar_count = min(max((height - 17) // 3, 0), 6)
    upper = [
        _head_line(width, now),
        *overview_lines(data, width, bar_count, charts=height >= 18),
    ]
    lower = [*_message_lines(state, width), *_key_lines(width)]
    detail_count = 0 if height < 16 else 3 if width >= WIDE else 4
    # The list needs its rows more than the overview does.
    room = height - len(lower) - _TITLE_LINES - detail_count - MIN_LIST_ROWS
    if len(upper) > max(room, 1):
        upper = upper[: max(room, 1)]
        upper[-1] = Text(
            "… this terminal is too short for the overview: greyd stats"[:width], "dim"
        )
    state.page = max(height - len(upper) - len(lower) - _TITLE_LINES - detail_count, 1)
    state.scroll()
    rows = [
        _row(mail, width, now, is_selected=state.top + place == state.index)
        for place, mail in enumerate(state.visible)
    ]
    if not state.rows:
        rows = [Text(line, "dim") for line in wrap_words(_empty_text(data, state), width)]
    rows = rows[: state.page]
    rows += [Text()] * (state.page - len(rows))
    details = _detail_lines(state.selected, width, now)[:detail_count]
    details += [Text()] * (detail_count - len(details))
    lines = [*upper, *_title_lines(data, state, width), *rows, *details, *lower]
    return lines[:height] + [Text()] * (height - len(lines))


def _head_line(width: int, now: float) -> Text:
    clock = format_time("%a %H:%M", now)
    return Text(f"greyd top{clock:>{max(width - 9, 0)}}"[:width], "bold")


def _title_lines(data: LiveData, state: ListState, width: int) -> list[Text]:
    """Return the counts above the list, and the heads of its columns."""
    listed, total = len(data.waiting), data.waiting_count
    if total is None:
        count = f"{listed:,} waiting so far"
    elif total > listed:
        count = f"{listed:,} newest of {total:,} waiting"
    else:
        count = f"{total:,} waiting"
    parts = [count]
    if state.pattern:
        parts.append(f'{len(state.rows):,} with "{printable_text(state.pattern)}"')
    parts.append(state.order.value)
    if len(state.rows) > state.page:
        first = state.top + 1
        parts.append(f"{first:,}–{min(state.top + state.page, len(state.rows)):,}")
    title = Text(shorten_middle(", ".join(parts), width), "bold")
    heads = ["waits", "passes", "client", "sender", "recipient"]
    if width < WIDE:
        heads[3] = "sender (client: below)"
    return [title, Text(_columns(width, *heads)[:width], "dim")]


def _columns(width: int, *cells: str) -> str:
    """Return a row of the list; a narrow one lacks columns that are below the list."""
    waits, passes, client, sender, recipient = cells
    if width >= WIDE:
        client_width = 18 if width < 110 else 24
        client = f"{shorten_middle(client, client_width):<{client_width}} "
        text = f"{waits:>6} {passes:<8} {client}"
        left = (width - len(text) - 1) // 2
    else:
        text = f"{waits:>5} "
        left = (width - len(text)) * 6 // 10
    right = max(width - len(text) - left - 1, 1)
    return f"{text}{shorten_address(sender, left):<{left}} {shorten_address(recipient, right)}"


def _row(mail: ListedMail, width: int, now: float, *, is_selected: bool) -> Text:
    waits = _short_duration(now - mail.entry.first_seen)
    passes, style = _passes(mail, now)
    text = _columns(width, waits, passes, mail.client, mail.sender, mail.recipient)
    line = Text(f"{text:<{width}}"[:width])
    if is_selected:
        line.stylize("reverse")
    elif width >= WIDE:
        line.stylize(style, 7, 15)
    else:
        line.stylize(style, 0, 5)
    return line


def _passes(mail: ListedMail, now: float) -> tuple[str, str]:
    """Return when a mail passes, in at most eight characters, and the style of the text."""
    if mail.released_at is not None:
        return "released", "green"
    if mail.passes(now):
        return "at retry", "green"
    return f"in {_short_duration(mail.entry.passes_at - now)}"[:8], "yellow"


def _short_duration(seconds: float) -> str:
    """Return a duration in its largest unit, in at most five characters.

    Seconds would change with each refresh, and cost bytes on a slow line.
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{min(int(seconds // size), 999)}{'m' if unit == 'min' else unit}"
    return "<1m"


def _detail_lines(mail: ListedMail | None, width: int, now: float) -> list[Text]:
    """Return the selected mail in at most three lines; four on a narrow terminal."""
    if mail is None:
        return []
    first_seen = format_time("%H:%M:%S", mail.entry.first_seen)
    passes_at = format_time("%H:%M:%S", mail.entry.passes_at)
    if mail.released_at is not None:
        then = f"released {passes_at}"
    else:
        then = f"passes {'since' if mail.passes(now) else 'from'} {passes_at}"
    lines = [
        f"from {shorten_address(mail.sender, width - 5)}",
        f"  to {shorten_address(mail.recipient, width - 5)}",
    ]
    client, times = f"  of {mail.client}", f"first seen {first_seen}, {then}"
    if width >= WIDE:
        lines.append(f"{client}, {times}")
    else:
        lines += [client, f"     {times}"]
    return [Text(shorten_middle(line, width)) for line in lines]


def _empty_text(data: LiveData, state: ListState) -> str:
    if state.pattern and len(data.waiting):
        return f'no waiting mail has "{printable_text(state.pattern)}"; Esc shows all'
    if data.view.store.fault:
        return "the store does not answer; its mail will appear when it does"
    if data.waiting_count is None:
        return "scanning the store …"
    return f"no mail is waiting; the list shows at most {MAX_LISTED:,}"


def _message_lines(state: ListState, width: int) -> list[Text]:
    if not state.message:
        return [Text()]
    lines = wrap_words(printable_message(state.message), width)
    if len(lines) > _MAX_MESSAGE_LINES:
        rest = " ".join(lines[_MAX_MESSAGE_LINES - 1 :])
        lines[_MAX_MESSAGE_LINES - 1 :] = [shorten_middle(rest, width)]
    style = "bold red" if state.is_error else "bold green"
    return [Text(line, style) for line in lines]


def printable_message(text: str) -> str:
    """Return a message as one line without control characters."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def _key_lines(width: int) -> list[Text]:
    text = next((each for each in _KEYS if len(each) <= width), _KEYS[-1])
    return [Text(text[:width], "dim")]
