"""Tables on terminals of every width, and in pipes."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from rich.console import Console, ConsoleDimensions

from greyd.cli.errors import CommandError
from greyd.cli.tables.cell_text import format_value, relative_time
from greyd.cli.tables.column import Kind, Meaning, TableColumn
from greyd.cli.tables.limit import more_line
from greyd.cli.tables.rendering import TableWriter, render_table
from greyd.cli.tables.shorten import cell_width, shorten_address, shorten_middle, wrap_words
from greyd.cli.tables.sorting import FirstRows, parse_sort, sorted_rows
from greyd.plurals import counted
from greyd.terminal import format_timestamp, has_colours, new_console

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1_800_000_000


@dataclass(frozen=True)
class Mail:
    state: str
    seen: int
    client: bytes
    sender: bytes
    tries: int
    why: str = ""


MAILS = [
    Mail("waiting", NOW - 65, b"192.0.2.0/24", b"alice@example.com", 1, "a verified name"),
    Mail(
        "never returned",
        NOW - 3 * 3600,
        b"2001:db8:1234:5678:9abc:def0:1234:0/112",
        b"bounces+1234567-abcd-bob=example.org@em1234.newsletter.example.com",
        12_345,
        "an address that wrote before; a name that resolves both ways, and no list knows it",
    ),
    Mail("passed", NOW + 86_400, b"198.51.100.0/24", "烏龍茶@例え.example".encode(), 0),
    Mail("passed", 0, b"198.51.100.0/24", b"\x1b[31m\x9b@example.net\n", 2),
]
COLUMNS: Sequence[TableColumn[Mail]] = (
    TableColumn("state", Kind.VERDICT, lambda m: m.state, meaning=Meaning.WAITING),
    TableColumn("last seen", Kind.TIME, lambda m: m.seen, priority=3, label="seen"),
    TableColumn("client", Kind.NETWORK, lambda m: m.client),
    TableColumn("sender", Kind.ADDRESS, lambda m: m.sender, label="from"),
    TableColumn("tries", Kind.NUMBER, lambda m: m.tries, priority=2),
    TableColumn("why", Kind.TEXT, lambda m: m.why, priority=4),
)


def console_of(width: int | None, **options: object) -> Console:
    text = io.StringIO()
    if width is None:
        return new_console(text)
    return Console(file=text, width=width, force_terminal=True, color_system=None, **options)  # type: ignore[arg-type]


def rendered(width: int | None, rows: Sequence[Mail] = MAILS) -> list[str]:
    console = console_of(width)
    render_table(COLUMNS, rows, console, now=NOW)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.endswith("\n")
    return text[:-1].split("\n")  # type: ignore[no-any-return]


@pytest.mark.parametrize("width", [20, 30, 45, 59, 60, 66, 80, 81, 100, 131, 160, 300])
def test_no_line_is_too_long_and_none_has_trailing_blanks(width: int) -> None:
    lines = rendered(width)
    assert [line for line in lines if cell_width(line) > width] == []
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("width", [30, 45, 60, 80, 100, 160])
def test_no_column_is_missing_without_a_word(width: int) -> None:
    text = "\n".join(rendered(width))
    for value, label in {
        "never returned": "state", "3 h ago": "last seen", "12,345": "tries",
        "alice@example.com": "sender", "verified": "why", "192.0.2.0/24": "client",
    }.items():  # fmt: skip
        note = text.partition("left out at ")[2]
        assert value in text or label in note


@pytest.mark.parametrize("width", [45, 60, 80, 100, 160])
def test_no_word_of_a_text_is_folded(width: int) -> None:
    words = set(re.findall(r"\S+", "\n".join(rendered(width))))
    if "why" in "\n".join(rendered(width)).partition("left out at ")[2]:
        return
    assert set(MAILS[1].why.split()) <= words


def test_a_pipe_gets_everything_in_lines_of_their_own() -> None:
    head, *lines = rendered(None)
    assert head.split("  ")[0] == "state"
    assert len(lines) == len(MAILS)
    assert MAILS[1].sender.decode() in lines[1]
    assert MAILS[1].why in lines[1]
    assert "2027-01-15" in lines[0]
    assert "\x1b" not in "".join(lines)


def test_a_narrow_terminal_gets_cards() -> None:
    assert rendered(45, MAILS[:2]) == [
        "waiting  seen 1 min ago  client 192.0.2.0/24",
        "  from alice@example.com  tries 1",
        "  why a verified name",
        "never returned  seen 3 h ago",
        "  client 2001:db8:1234:5678…c:def0:1234:0/112",
        "  from bounces…@em1234.newsletter.example.com",
        "  tries 12,345",
        "  why an address that wrote before; a name",
        "  that resolves both ways, and no list knows",
        "  it",
    ]


def test_what_does_not_fit_is_named() -> None:
    *_, note = rendered(60)
    assert note == "left out at 60 columns: last seen, why; 88 columns show all"


def test_no_rows_are_no_table() -> None:
    console = console_of(80)
    render_table(COLUMNS, [], console)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_later_groups_keep_the_columns_of_the_first() -> None:
    console = console_of(100)
    writer = TableWriter(COLUMNS[:4], console, now=NOW, fill=True)
    writer.write(MAILS[:1])
    writer.write(MAILS[1:2])
    writer.end()
    head, first, second = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert head.index("client") == first.index("192.0.2") == second.index("2001:")
    assert cell_width(second) <= 100


def test_colours_show_the_meaning_and_blanks_have_none() -> None:
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, color_system="standard")
    render_table(COLUMNS[:1], MAILS[:2], console, now=NOW)
    assert text.getvalue().splitlines() == [
        "\x1b[1mstate\x1b[0m", "\x1b[33mwaiting\x1b[0m", "\x1b[33mnever returned\x1b[0m",
    ]  # fmt: skip


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "on_terminal", "in_pipe"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "xterm", "FORCE_COLOR": "0"}, False, False),
        ({"TERM": "xterm", "CLICOLOR": "0"}, False, False),
        ({"TERM": "xterm", "CLICOLOR": "1"}, True, False),
        ({"TERM": "xterm", "CLICOLOR_FORCE": "1"}, True, True),
        ({"TERM": "xterm", "CLICOLOR": "0", "CLICOLOR_FORCE": "0"}, False, False),
        ({"TERM": "xterm", "CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_the_conventions_for_colours_hold(
    environ: dict[str, str], on_terminal: bool, in_pipe: bool
) -> None:
    assert has_colours(_Terminal(), environ) is on_terminal
    assert has_colours(io.StringIO(), environ) is in_pipe


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_encoding_without_an_ellipsis_is_no_error(encoding: str) -> None:
    data = io.BytesIO()
    console = new_console(io.TextIOWrapper(data, encoding=encoding))
    console.size = ConsoleDimensions(30, 20)
    render_table(COLUMNS, MAILS, console, now=NOW)
    console.print("… and 2 more")
    console.file.flush()
    assert ("…" if encoding == "utf-8" else "?") in data.getvalue().decode(encoding)


# Cells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "width", "shown"),
    [
        ("alice@example.com", 17, "alice@example.com"),
        ("alice@example.com", 16, "ali…@example.com"),
        ("alice@example.com", 14, "a…@example.com"),
        ("alice@example.com", 13, "a…@…ample.com"),
        ("a@mail.example.com", 14, "a@…example.com"),
        ("@mail.example.com", 12, "@mail.…e.com"),
        ("<>", 14, "<>"),
        ("bob=example.org@x@example.com", 16, "bob…@example.com"),
        ("alice@example.com", 4, "al…m"),
        ("alice@example.com", 1, "…"),
        ("烏龍茶的朋友@example.com", 18, "烏龍…@example.com"),
    ],
)
def test_a_shortened_address_keeps_beginning_and_domain(
    address: str, width: int, shown: str
) -> None:
    assert shorten_address(address, width) == shown
    assert cell_width(shown) <= width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("mail-0123456789.example.com", 15, "mail-01…ple.com"),
        ("abc", 3, "abc"),
        ("abcd", 3, "a…d"),
        ("abcd", 0, ""),
        ("例え例え例え", 7, "例…え"),
        ("ae\u0301ae\u0301ae\u0301", 5, "ae\u0301…ae\u0301"),
        ("e\u0301" * 9, 3, "e\u0301…e\u0301"),
    ],
)
def test_other_names_keep_beginning_and_end(text: str, width: int, shown: str) -> None:
    assert shorten_middle(text, width) == shown
    assert cell_width(shown) <= width


def test_lines_wrap_between_words() -> None:
    assert wrap_words("one two three", 8) == ["one two", "three"]
    assert wrap_words("a supercalifragilistic b", 9) == ["a", "supe…stic", "b"]
    assert wrap_words("head\n  more and more", 12) == ["head", "  more and", "  more"]
    assert wrap_words("", 9) == [""]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "now"), (0.4, "now"), (1, "in 1 s"), (59, "in 59 s"), (60, "in 1 min"),
        (-240, "4 min ago"), (-3599, "59 min ago"), (-3600, "1 h ago"), (-86_399, "23 h ago"),
        (-86_400, "1 d ago"), (99 * 86_400, "in 99 d"), (-200 * 86_400, "2026-06-29"),
    ],
)  # fmt: skip
def test_times_are_relative_to_now(seconds: float, shown: str) -> None:
    assert relative_time(NOW + seconds, NOW) == shown
    assert len(shown) <= 10


@pytest.mark.parametrize(
    ("kind", "when", "shown"),
    [
        (Kind.DUE, NOW - 60, "now"), (Kind.DUE, NOW, "now"), (Kind.DUE, NOW + 60, "in 1 min"),
        (Kind.DUE, 0, "-"), (Kind.TIME, NOW - 60, "1 min ago"), (Kind.TIME, 0, "-"),
    ],
)  # fmt: skip
def test_what_is_due_is_due_now(kind: Kind, when: int, shown: str) -> None:
    assert format_value(when, kind, NOW) == shown
    assert format_value(when, kind, None) == (format_timestamp(when) or "-")


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 errors"), (1, "1 error"), (2, "2 errors"), (1500, "1,500 errors")]
)
def test_a_count_has_the_right_noun(number: int, shown: str) -> None:
    assert counted(number, "error") == shown
    assert counted(number, "entry", "entries").endswith("entry" if number == 1 else "entries")


# Order and limit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tries"),
    [
        ("tries", [0, 1, 2, 12_345]), ("-tries", [12_345, 2, 1, 0]),
        ("last-seen", [12_345, 1, 0, 2]), ("-last seen", [0, 1, 12_345, 2]),
        ("-Last_Seen", [0, 1, 12_345, 2]), ("seen", [12_345, 1, 0, 2]),
        ("why", [1, 12_345, 0, 2]), ("-why", [12_345, 1, 0, 2]),
    ],
)  # fmt: skip
def test_rows_are_sorted_by_each_column_and_no_value_is_last(text: str, tries: list[int]) -> None:
    order = parse_sort(text, COLUMNS)
    assert [mail.tries for mail in sorted_rows(MAILS, order)] == tries


@pytest.mark.parametrize("text", ["", "-", "size", "tries,why"])
def test_an_unknown_column_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(CommandError, match="state, last-seen, client, sender, tries, why"):
        parse_sort(text, COLUMNS)


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_the_first_rows_of_many_are_kept_in_bounded_memory(limit: int) -> None:
    numbers = [(each * 7919) % 1009 for each in range(1009)]
    column = TableColumn[int]("n", Kind.NUMBER, lambda each: each)
    first = FirstRows(parse_sort("-n", [column]), limit)
    for number in numbers:
        first.add(number)
    assert first.rows() == sorted(numbers, reverse=True)[:limit]
    assert first.count == 1009


def test_what_a_limit_hides_is_counted() -> None:
    assert more_line(412) == "… and 412 more; --limit=0 shows all"
    assert more_line(1412, at_least=True) == "… and at least 1,412 more; --limit=0 shows all"
