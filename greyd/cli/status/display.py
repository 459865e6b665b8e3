"""Renders the status as lines of text: a label, then the state."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.status.server_status import Health
from greyd.cli.status.sparkline import ASCII_BLOCKS, BLOCKS, sparkline
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable_text
from greyd.monitoring.activity.counter_history import HOUR_SECONDS
from greyd.monitoring.health.problems import ProblemLevel, mode_in_words
from greyd.monitoring.mode_in_force import ModeInForce

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.status.server_status import ServerStatus
    from greyd.monitoring.health.problems import HealthProblem
    from greyd.monitoring.stats import ServerStats

_LABEL_WIDTH = 11
_MIN_TEXT_WIDTH = 25
_MAX_SPARKLINE = 60
MAX_SHOWN_PROBLEMS = 5
MAX_SHOWN_SERVERS = 10
"""Maximum number of servers of one store to show; the rest is counted."""

GREEN, YELLOW, RED, BOLD = "32", "33", "31", "1"
_HEALTH_COLOURS = {
    Health.WELL: GREEN,
    Health.FAULTY: RED,
    Health.STOPPED: RED,
    Health.UNKNOWN: YELLOW,
}


@dataclass(frozen=True, slots=True)
class StatusStyle:
    """The capabilities of the output."""

    width: int
    """In columns; a line that is longer wraps."""
    has_colours: bool = False
    has_blocks: bool = True
    """Whether the output's encoding has the characters of the sparkline."""

    @property
    def ellipsis(self) -> str:
        """The character for what is left out."""
        return "…" if self.has_blocks else "..."

    def coloured(self, text: str, colour: str) -> str:
        """Return the text in a colour, if the output shows colours."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.has_colours else text

    @property
    def is_narrow(self) -> bool:
        """Whether a label has a line of its own, above its text."""
        return self.width < _LABEL_WIDTH + 2 + _MIN_TEXT_WIDTH

    @property
    def indent_width(self) -> int:
        """The columns to the left of the texts."""
        return 2 if self.is_narrow else _LABEL_WIDTH + 2

    @property
    def text_width(self) -> int:
        """The columns for the texts."""
        return self.width - self.indent_width

    def row(self, label: str, text: str, colour: str = "") -> Iterator[str]:
        """Yield the lines of a label and its text; the text is in the colour, if one is given."""
        indent = " " * self.indent_width
        lines = textwrap.wrap(
            text, max(self.text_width, 1), break_long_words=False, break_on_hyphens=False
        )
        first = indent
        if label and self.is_narrow:
            yield f"{label}:"
        elif label:
            first = f"{label + ':':>{_LABEL_WIDTH + 1}} "
        for number, line in enumerate(lines or ["-"]):
            shown = self.coloured(line, colour) if colour else line
            yield f"{indent if number else first}{shown}"

    def verdict(self, text: str, health: Health, *, has_warnings: bool = False) -> str:
        """Return the first line: a dot in the colour of the state, and the state in words."""
        colour = YELLOW if health is Health.WELL and has_warnings else _HEALTH_COLOURS[health]
        dots = {Health.STOPPED: "○"} if self.has_blocks else {}
        dot = dots.get(health, "●" if self.has_blocks else "*")
        first, *others = textwrap.wrap(
            f"{dot} {text}", self.width, subsequent_indent="  ", break_long_words=False
        )
        shown = first.replace(dot, self.coloured(dot, colour), 1)
        return "\n".join([shown, *others])


def render_store(servers: Sequence[ServerStatus], style: StatusStyle) -> Iterator[str]:
    """Yield the lines about the servers of one store."""
    has_warnings = any(each.problems() for each in servers)
    yield style.verdict(*_verdict(servers), has_warnings=has_warnings)
    for each in servers[:MAX_SHOWN_SERVERS]:
        yield from style.row("Server", _server(each))
    if len(servers) > MAX_SHOWN_SERVERS:
        yield from style.row(
            "", f"{style.ellipsis} and {len(servers) - MAX_SHOWN_SERVERS} more; see --json"
        )
    answers = [each.stats for each in servers if each.stats]
    yield from style.row("Store", _store(servers, answers))
    if answers:
        yield from style.row("Mode", _mode(answers))
        yield from _last_hour(answers, style)
        yield from style.row("Waiting", _waiting(answers))
    elif not any(each.has_metrics for each in servers):
        text = "nothing else is known, because the server runs with --metrics=off; see greyd stats"
        yield from style.row("Mode", text)


def _verdict(servers: Sequence[ServerStatus]) -> tuple[str, Health]:
    states = [each.health for each in servers]
    hosts = {each.stats.host for each in servers if each.stats and each.stats.host}
    where = f" on {printable_text(min(hosts))}" if hosts else ""
    name = f"greyd{where}"
    if Health.FAULTY in states:
        if all(each.stats is None for each in servers):
            return f"{name} is running but does not answer", Health.FAULTY
        return f"{name} is running, with errors", Health.FAULTY
    if Health.UNKNOWN in states:
        return f"{name} is running; its health is unknown", Health.UNKNOWN
    modes = {each.stats.mode for each in servers if each.stats}
    if modes and "on" not in modes:
        shown = printable_text(", ".join(sorted(modes)))
        return f"{name} is running but passes all mail: mode {shown}", Health.WELL
    if any(each.problems() for each in servers):
        return f"{name} works but needs attention", Health.WELL
    return f"{name} is healthy", Health.WELL


def _server(status: ServerStatus) -> str:
    record = status.server.record
    address, version = printable_text(record.address), printable_text(record.version)
    text = f"{address}, pid {record.pid}, greyd {version}"
    if status.stats is None:
        return text
    workers = f", {status.stats.workers} workers" if status.stats.workers > 1 else ""
    return f"{text}, up {format_breakable_duration(status.stats.up_seconds)}{workers}"


def _store(servers: Sequence[ServerStatus], answers: Sequence[ServerStats]) -> str:
    url = printable_text(servers[0].server.record.store)
    if not answers:
        return url
    return f"{url}, {'answers' if all(each.ready for each in answers) else 'DOES NOT ANSWER'}"


def _mode(answers: Sequence[ServerStats]) -> str:
    texts = dict.fromkeys(
        printable_text(mode_in_words(_mode_of(each)))
        + (f"; delay {format_breakable_duration(each.delay_seconds)}" if each.mode == "on" else "")
        for each in answers
    )
    return " / ".join(texts)


def _mode_of(stats: ServerStats) -> ModeInForce:
    return ModeInForce(stats.mode, stats.configured_mode or stats.mode, stats.mode_set)


def _last_hour(answers: Sequence[ServerStats], style: StatusStyle) -> Iterator[str]:
    hours = [each.periods["hour"] for each in answers]
    passed = sum(each.passed for each in hours)
    greylisted = sum(each.greylisted for each in hours)
    counts = f"{passed:,} passed, {greylisted:,} greylisted"
    counted = [each.minutes for each in answers if each.minutes]
    if not counted or not passed + greylisted:
        # A restart forgets what was before.
        is_new = any(each.up_seconds < HOUR_SECONDS for each in answers)
        nothing = "no mail since the start" if is_new else "no mail"
        yield from style.row("Last hour", counts if passed + greylisted else nothing)
        if not passed + greylisted:
            yield from style.row("Postfix", "not checked here; greyd doctor checks it")
        return
    series = [numbers for each in counted for numbers in (each.passed, each.greylisted)]
    minutes = list(map(sum, zip(*series, strict=True)))
    width = min(_MAX_SPARKLINE, style.text_width)
    blocks = BLOCKS if style.has_blocks else ASCII_BLOCKS
    yield from style.row("Last hour", sparkline(minutes, width, blocks))
    yield from style.row("", f"{counts}; at most {max(minutes):,} a minute")


def _waiting(answers: Sequence[ServerStats]) -> str:
    scans = [each.triplets for each in answers if each.triplets]
    if not scans:
        return "not counted yet; greyd list --waiting shows it"
    newest = min(scans, key=lambda each: each.age_seconds)
    least = "" if newest.complete else "at least "
    text = f"{least}{newest.waiting:,} {'triplet' if newest.waiting == 1 else 'triplets'}"
    if newest.waiting_in_delay + newest.waiting_due:
        text += (
            f": {newest.waiting_in_delay:,} in the delay, {newest.waiting_due:,} due for a retry"
        )
    text += f"; {newest.never_returned:,} never returned"
    return f"{text} (counted {format_breakable_duration(newest.age_seconds)} ago)"


def render_problems(
    problems: Sequence[HealthProblem],
    next_command: str,
    style: StatusStyle,
    answers: Sequence[ServerStats] = (),
) -> Iterator[str]:
    """Yield what looks wrong, the errors first, each with the command to run.

    ``next_command`` is left out, because it is shown after the problems; so is who has set the
    mode of ``answers``, because the row of the mode shows it.
    """
    label = "Problems"
    for each in problems[:MAX_SHOWN_PROBLEMS]:
        colour = RED if each.level is ProblemLevel.ERROR else YELLOW
        yield from style.row(label, printable_text(_without_setter(each.text, answers)), colour)
        label = ""
        if each.remedy and each.remedy != next_command:
            arrow = "→" if style.has_blocks else "->"
            yield from style.row("", f"{arrow} {printable_text(each.remedy)}")
    if len(problems) > MAX_SHOWN_PROBLEMS:
        more = len(problems) - MAX_SHOWN_PROBLEMS
        yield from style.row("", f"{style.ellipsis} and {more} more: greyd doctor")


def _without_setter(text: str, answers: Sequence[ServerStats]) -> str:
    """Return a problem's text with the mode alone: without who has set it, and until when."""
    for each in answers:
        text = text.replace(f"mode {mode_in_words(_mode_of(each))}", f"mode {each.mode}")
    return text
