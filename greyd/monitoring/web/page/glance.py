"""The top of the status page: the verdict, the amount of waiting mail, and the usual numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.config.durations import format_duration, format_percentage
from greyd.monitoring.activity.counter_history import REQUESTS
from greyd.monitoring.activity.usual import is_usual
from greyd.monitoring.activity.week import summed
from greyd.monitoring.health.problems import MIN_HOUR_SECONDS, ProblemLevel, mode_in_words
from greyd.monitoring.web.html import format_number, join
from greyd.monitoring.web.page.elements import last
from greyd.plurals import counted
from greyd.rules.entries import EntryKind
from greyd.rules.reasons import GREYLIST, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.monitoring.web.page.view import StatusView

_ALL = [(REQUESTS, *each.outcome) for each in Reason]
_GREYLISTED = [(REQUESTS, *each.outcome) for each in Reason if each.action == GREYLIST]


def is_new(view: StatusView) -> bool:
    """Whether there is nothing to show: no triplet, and no request in the last week."""
    if view.summary is not None and view.summary.number(EntryKind.TRIPLET):
        return False
    return not view.day.sum(_ALL) and not any(each.requests for each in view.week_steps)


def verdict(view: StatusView) -> tuple[str, str]:
    """Return the state of the server, as a CSS class and in words."""
    if any(each.level is ProblemLevel.ERROR for each in view.problems):
        return "error", "✖ Something is broken"
    if view.mode.mode == "off":
        return "warning", "▲ Greylisting is switched off"
    if view.mode.mode == "learn":
        return "warning", "▲ Greylisting is only learning"
    if view.problems:
        return "warning", "▲ Greylisting works but needs attention"
    if is_new(view):
        return "good", "✔ Ready, and waiting for the first request"
    return "good", "✔ All is well"


def glance(view: StatusView) -> Iterator[Markup]:
    """Yield the verdict with the problems, and the figures that count."""
    level, words = verdict(view)
    yield Markup('<section class="verdict {}">\n<h2>{}</h2>\n').format(level, words)
    if view.problems:
        yield Markup("<ul>\n")
        for each in view.problems:
            remedy = Markup(" <code>{}</code>").format(each.remedy) if each.remedy else ""
            yield Markup("<li>{}{}</li>\n").format(_sentence(each.text), remedy)
        yield Markup("</ul>\n")
    else:
        yield Markup("<p>The store answers, and mail is greylisted as configured.</p>\n")
    if any(each.mode for each in view.settings.recipient_domains):
        yield Markup("<p>Some recipient domains have a mode of their own: see <code>greyd mode"
                     "</code></p>\n")  # fmt: skip
    yield Markup("</section>\n")
    if is_new(view):
        yield Markup(
            "<p>No requests yet{}. <code>greyd ask</code> sends one as Postfix does.</p>\n"
        ).format("" if view.summary is None else ", and the store is empty")
        return
    yield Markup('<div class="tiles">\n{}</div>\n').format(join(_tiles(view)))
    days = view.usual.day_count
    words = (
        f"The usual number is the median of the same hour on the last {counted(days, 'day')}."
        if days
        else "The usual numbers at this hour are shown from tomorrow on."
    )
    yield Markup('<p class="soft">{}</p>\n').format(words)


def _sentence(text: str) -> str:
    # A text may begin with the name of a DNS list.
    is_word = text.partition(" ")[0].isalpha()
    return f"{text[:1].upper() if is_word else text[:1]}{text[1:]}."


def _tiles(view: StatusView) -> Iterator[Markup]:
    requests, greylisted, span = _last_hour(view)
    yield _waiting_tile(view)
    yield _tile(
        format_number(greylisted),
        f"greylisted in the {span}",
        *_compared(view, greylisted, view.usual.greylisted),
    )
    yield _tile(
        format_number(requests),
        f"requests in the {span}",
        *_compared(view, requests, view.usual.requests),
    )
    day = summed(0, view.day_steps)
    yield _tile(
        format_duration(day.waited_seconds / day.waited) if day.waited else "–",
        "mean wait in the last 24 hours",
        f"{counted(day.waited, 'mail')} passed after the delay" if day.waited else "",
    )
    yield _tile(
        format_percentage(day.waited, day.new),
        "came back in the last 24 hours",
        f"of {counted(day.new, 'first contact')}; the rest is almost always spam"
        if day.new
        else "no first contact",
    )
    yield _tile(view.mode.mode, "mode", _mode_note(view))


def _last_hour(view: StatusView) -> tuple[float, float, str]:
    """Return the requests, those that were greylisted, and the name of the period.

    The counters begin again with the server, so after a restart the history is used.
    """
    hour, before = view.hour, view.hour_before
    if hour.seconds < MIN_HOUR_SECONDS and before is not None:
        return before.requests, before.greylisted, "last hour"
    return hour.sum(_ALL), hour.sum(_GREYLISTED), last(hour.seconds)


def _waiting_tile(view: StatusView) -> Markup:
    summary = view.summary
    if summary is None:
        is_down = any(each.level is ProblemLevel.ERROR for each in view.problems)
        note = "the store has not been counted" if is_down else "the store is being counted"
        return _tile("…", "waiting", note)
    usual = view.usual.waiting
    compared = _compared(view, summary.waiting, usual) if usual is not None else ("", False)
    due = f"{format_number(sum(summary.due))} of them may pass now" if summary.waiting else ""
    note = "; ".join(filter(None, (due, compared[0])))
    return _tile(format_number(summary.waiting), "waiting", note, compared[1])


def _compared(view: StatusView, number: float, usual: float) -> tuple[str, bool]:
    """Return how a number compares with the usual one, and whether it is far from it."""
    if not view.usual.day_count:
        return "", False
    is_known = view.hour.seconds >= MIN_HOUR_SECONDS or view.hour_before is not None
    is_odd = is_known and not is_usual(number, usual)
    return f"usual at this hour: {format_number(usual)}", is_odd


def _mode_note(view: StatusView) -> str:
    words = mode_in_words(view.mode).removeprefix(view.mode.mode)
    return words.strip(" ,")


def _tile(figure: str, what: str, note: str = "", odd: bool = False) -> Markup:
    css_class = "note odd" if odd else "note"
    return Markup(
        '<div class="tile"><b>{}</b><span>{}</span> <span class="{}">{}</span></div>\n'
    ).format(figure, what, css_class, note)
